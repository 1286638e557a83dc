/** Shows the network at work on the region of the small image that is chosen by pointer or keys. */

import { type NetworkFile, decodeWeights } from "./network";
import { type Pool, tileOf } from "./pool";
import { type Range, crop } from "./resample";
import type { Source } from "./worker";

const SIDE = 24; // rows and columns of the region, in small pixels
const [map, box] = ["map", "box"].map((id) => document.getElementById(id)!);

const highest = (maps: Float32Array) => maps.reduce((high, value) => Math.max(high, Math.abs(value)), 0);

/** Draws maps `(rows, cols, channels)` in a grid; a value of `high` is white, one of `low` black. */
function draw(id: string, values: Float32Array, cols: number, channels = 1, high = 1, low = 0): void {
  const canvas = document.getElementById(id) as HTMLCanvasElement;
  const [rows, across] = [values.length / cols / channels, Math.min(channels, 8)];
  [canvas.width, canvas.height] = [across * (cols + 1) - 1, Math.ceil(channels / across) * (rows + 1) - 1];
  const image = new ImageData(cols, rows);
  for (let channel = 0; channel < channels; channel++) {
    for (let at = 0; at < rows * cols; at++) {
      const grey = (255 * (values[at * channels + channel] - low)) / (high - low);
      image.data.set([grey, grey, grey, 255], 4 * at);
    }
    const [row, col] = [Math.floor(channel / across), channel % across];
    canvas.getContext("2d")!.putImageData(image, col * (cols + 1), row * (rows + 1));
  }
}

/** Shows the network at work on the middle of an image at first, later on the region under the pointer. */
export function learn({ workers: [worker] }: Pool, file: NetworkFile, source: Source): void {
  const { scale, sizes, counts } = file;
  const { rows, cols, values } = source.luma;
  const [filters] = decodeWeights(file);
  draw("map", values, cols);
  draw("filters", filters, sizes[0], counts[0], highest(filters) / 2, -highest(filters) / 2);
  document.body.dataset.network = [...sizes, ...counts].join("-"); // some sentences are about one of them
  let [isBusy, wanted] = [false, [0, 0]];
  const show = async (...corner: number[]) => {
    wanted = corner.map((at, axis) => Math.round(Math.max(0, Math.min(at, [rows, cols][axis] - SIDE))));
    if (isBusy) return;
    isBusy = true;
    const shown = wanted;
    const [down, across] = shown.map((at, axis): Range => [at, Math.min(at + SIDE, [rows, cols][axis])]);
    const shares = [down[0] / rows, 1 - across[1] / cols, 1 - down[1] / rows, across[0] / cols];
    box.style.inset = shares.map((share) => `${100 * share}%`).join(" ");
    const [tall, wide] = [down, across].map((range) => range.map((at) => at * scale) as Range);
    const width = across[1] - across[0];
    await worker.use(file);
    const { bicubic, restored, features } = await worker.upscale(file.name, tileOf(source, file, tall, wide), true);
    draw("small", crop(values, cols, down, across), width);
    draw("interpolated", bicubic, scale * width);
    draw("added", restored.map((value, at) => value - bicubic[at]), scale * width, 1, 0.25, -0.25);
    draw("restored", restored, scale * width);
    draw("features", features[0], scale * width + sizes[1] + sizes[2] - 2, counts[0], highest(features[0]));
    draw("mapped", features[1], scale * width + sizes[2] - 1, counts[1], highest(features[1]));
    isBusy = false;
    if (wanted !== shown) show(...wanted);
  };
  map.onpointermove = ({ offsetX, offsetY }) =>
    show((offsetY / map.clientHeight) * rows - SIDE / 2, (offsetX / map.clientWidth) * cols - SIDE / 2);
  map.onkeydown = (event) => {
    const step = { ArrowLeft: [0, -4], ArrowRight: [0, 4], ArrowUp: [-4, 0], ArrowDown: [4, 0] }[event.key];
    if (step) show(wanted[0] + step[0], wanted[1] + step[1]);
    if (step) event.preventDefault();
  };
  show((rows - SIDE) / 2, (cols - SIDE) / 2);
}
