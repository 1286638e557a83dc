/** The page: takes an image, upscales it with what is chosen, shows the result and saves it. */

import { learn } from "./learn";
import { toByte } from "./metrics";
import { type NetworkFile, decodeBase64 } from "./network";
import { type Picture, readPicture } from "./picture";
import { type Pool, startPool, upscaleTiles } from "./pool";
import { makeSource, toImage } from "./source";

const AUTOMATIC_LIMITS = { jpeg: [81.0, 78.0, 78.0], jpeg90: [93.5, 93.5, 93.5] }; // at x2, x3, x4, as in upscaler.py
const MAX_PIXELS = matchMedia("(pointer: coarse)").matches ? 4096 ** 2 : 1e8; // of a result: what a phone can hold

const element = <Kind extends HTMLElement>(id: string) => document.getElementById(id) as Kind;
const [scale, device] = ["scale", "device"].map((id) => element<HTMLSelectElement>(id));
const [test, progress] = [element<HTMLInputElement>("test"), element<HTMLProgressElement>("progress")];
const networks: NetworkFile[] = JSON.parse(element("weights").textContent!);
const pools: Record<string, Promise<Pool>> = {};
const [left, right, view, line] = ["left", "right", "view", "line"].map((id) => element<HTMLInputElement>(id));
const version = element<HTMLSelectElement>("left-version");
let file: File | undefined;
let stop = new AbortController();

/** Chooses the network as --degradation=auto does, and says why. */
function choose({ jpegQuality }: Picture): [NetworkFile, string] {
  const quality = test.checked ? undefined : jpegQuality; // what the page reduces is not compressed
  const suited = Object.entries(AUTOMATIC_LIMITS).find(([, limits]) => Number(quality) < limits[+scale.value - 2])?.[0];
  const names = suited ? [suited, ...Object.keys(AUTOMATIC_LIMITS), "matlab"] : ["matlab"];
  const fitting = networks.filter((network) => network.scale === Number(scale.value));
  const [network] = names.flatMap((name) => fitting.filter(({ degradation }) => degradation === name)).concat(fitting);
  const why = `, as it is ${suited ? "" : "hardly "}compressed (JPEG quality ${quality?.toFixed()})`;
  return [network, `${network.degradation} weights${quality && fitting.length > 1 ? why : ""}`];
}

function show(state: "busy" | "done" | "cancelled" | "failed", ...notes: string[]): void {
  document.body.dataset.state = state;
  const lines = notes.map((textContent) => Object.assign(document.createElement("p"), { textContent }));
  element("status").replaceChildren(...lines);
}

function paint(id: string, image: CanvasImageSource, rows: number, cols: number): CanvasRenderingContext2D {
  const canvas = Object.assign(element<HTMLCanvasElement>(id), { width: cols, height: rows });
  const context = canvas.getContext("2d")!;
  context.imageSmoothingQuality = "high"; // bicubic
  context.drawImage(image, 0, 0, cols, rows);
  return context;
}

/** Upscales the image that is taken, or again the one before, and shows it tile by tile. */
async function run(taken?: File): Promise<void> {
  stop.abort();
  const { signal } = (stop = new AbortController());
  const image = (file = taken ?? file);
  if (!image) return;
  try {
    progress.value = 0;
    show("busy", `${image.name}: it is upscaled.`);
    const picture = await readPicture(image, MAX_PIXELS / (test.checked ? 1 : Number(scale.value) ** 2));
    const [network, choice] = choose(picture);
    const { source, original, originalLuma } = makeSource(picture, network, test.checked);
    const pool = await (pools[device.value] ??= startPool(device.value));
    const small = await createImageBitmap(toImage(source));
    const truth = original && (await createImageBitmap(original));
    if (signal.aborted) return;

    const [rows, cols] = [source.luma.rows * network.scale, source.luma.cols * network.scale];
    paint("bicubic", small, rows, cols);
    const result = paint("srcnn", small, rows, cols); // until its tiles are there
    paint("original", truth ?? small, truth ? rows : 1, truth ? cols : 1);
    version.options[1].disabled = !truth;
    if (!truth) version.value = "bicubic";
    view.style.setProperty("--cols", String(cols / devicePixelRatio));
    learn(pool, network, source);
    const [length, begin] = [originalLuma?.length ?? 0, performance.now()];
    const lumas = { bicubic: new Uint8Array(length), SRCNN: new Uint8Array(length) };
    await upscaleTiles(pool, network, source, signal, ({ rows: [top], cols: [left, right] }, upscaled, share) => {
      result.putImageData(new ImageData(upscaled.pixels, right - left), left, top);
      for (let at = 0; at < upscaled.restored.length && originalLuma; at++) {
        const to = (top + Math.floor(at / (right - left))) * cols + left + (at % (right - left));
        [lumas.bicubic[to], lumas.SRCNN[to]] = [toByte(upscaled.bicubic[at]), toByte(upscaled.restored[at])];
      }
      progress.value = share;
    });
    const seconds = (performance.now() - begin) / 1000;
    const time = `${((rows * cols) / 1e6).toFixed(2)} megapixels in ${seconds.toFixed(2)} s on ${pool.description}`;
    const notes = [`x${network.scale}, ${choice}`, time, ...picture.notes].map((note) => `${image.name}: ${note}.`);
    for (const [name, luma] of originalLuma ? Object.entries(lumas) : []) {
      const { psnr, ssim } = await pool.workers[0].score(luma, originalLuma!, cols, network.scale);
      notes.push(`${name}: PSNR ${psnr.toFixed(2)} dB, SSIM ${ssim.toFixed(4)}.`);
    }
    if (!signal.aborted) show("done", ...notes);
  } catch (error) {
    if (!signal.aborted) show("failed", (error as Error).message);
  }
}

new Set(networks.map((network) => network.scale)).forEach((factor) =>
  scale.add(new Option(`x${factor}`, String(factor), factor === 3, factor === 3)));
element("take").onchange = ({ target }) => run((target as HTMLInputElement).files?.[0]);
for (const image of document.querySelectorAll("img")) {
  const [, type, data] = /^data:(.*);base64,(.*)$/.exec(image.src)!;
  image.parentElement!.onclick = () => run(new File([decodeBase64(data)], image.dataset.name!, { type }));
}
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
document.ondrop = ({ dataTransfer }) => run(dataTransfer?.files[0]);
document.onpaste = ({ clipboardData }) => run(clipboardData?.files[0]);
element("cancel").onclick = () => {
  stop.abort();
  show("cancelled", `${file!.name}: cancelled.`);
};
element("download").onclick = () => element<HTMLCanvasElement>("srcnn").toBlob((blob) => {
  const download = `${file!.name.replace(/\.[^.]*$/, "")}_x${scale.value}.png`;
  Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob!), download }).click();
});
line.oninput = () => view.style.setProperty("--line", `${line.value}%`);
left.onscroll = () => right.scrollTo(left.scrollLeft, left.scrollTop);
right.onscroll = () => left.scrollTo(right.scrollLeft, right.scrollTop);
