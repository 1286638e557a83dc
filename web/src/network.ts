/**
 * The three layers of SRCNN in TensorFlow.js, on interpolated luma. Convolutions are fast with many channels, so the
 * columns of the first filters become channels: the input has the 9 pixels around each pixel. And so do the rows of the
 * last filter: the output has the products with each of its 5 rows, which are then added.
 */

import { type Tensor4D, dispose, fused, tensor1d, tensor4d, tidy } from "@tensorflow/tfjs-core";
import { type Floats, makePlane } from "./resample";

/**
 * A network in the page's script element `weights`, which srcnn_tf/export.py writes: margin says how many interpolated
 * pixels it takes from each side, and weights are kernels (row, col, input, output) and biases, float32 in base64.
 */
export type NetworkFile = { name: string; scale: number; degradation: string; margin: number } & Layers;
type Layers = { sizes: number[]; counts: number[]; weights: string };

/** Returns the kernels and biases of the three layers, in turn. */
export function decodeWeights({ sizes, counts, weights }: Layers): Floats[] {
  const [numbers, channels] = [new Float32Array(decodeBase64(weights)), [1, ...counts, 1]];
  const lengths = sizes.flatMap((size, i) => [size * size * channels[i] * channels[i + 1], channels[i + 1]]);
  let end = 0;
  return lengths.map((length) => numbers.slice(end, (end += length)));
}

export const decodeBase64 = (text: string) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;

/** Returns a function from luma, `width` pixels a row, to restored luma and, if wanted, the two layers before it. */
export function makeNetwork(file: NetworkFile) {
  const [first, firstBias, second, secondBias, last, lastBias] = decodeWeights(file);
  const [[f1, f2, f3], [n1, n2]] = [file.sizes, file.counts];
  const lastRows = makePlane(f3 * n2, f3, (at) => last[(at % f3) * f3 * n2 + Math.floor(at / f3)]).values;
  const shapes = [[f1, 1, f1, n1], [f2, f2, n1, n2], [1, f3, n2, f3]] as [number, number, number, number][];
  const kernels = [first, second, lastRows].map((kernel, layer) => tensor4d(kernel, shapes[layer]));
  const biases = [firstBias, secondBias, new Float32Array(f3)].map((bias) => tensor1d(bias));
  const convolve = (x: Tensor4D, layer: number, activation: "relu" | "linear" = "relu") =>
    fused.conv2d({ x, filter: kernels[layer], bias: biases[layer], strides: 1, pad: "valid", activation });

  return async (luma: Floats, width: number, areFeaturesWanted = false): Promise<Float32Array[]> => {
    const [height, cols] = [luma.length / width, width - f1 + 1];
    const fields = new Float32Array(height * cols * f1);
    for (let output = 0, at = 0; output < fields.length; at += at % width === cols - 1 ? f1 : 1) {
      for (let tap = 0; tap < f1; tap++) fields[output++] = luma[at + tap];
    }
    const layers = tidy(() => {
      const features = convolve(tensor4d(fields, [1, height, cols, f1]), 0);
      const mapped = convolve(features, 1);
      return [convolve(mapped, 2, "linear"), features, mapped];
    });
    const wanted = layers.slice(0, areFeaturesWanted ? 3 : 1);
    const [products, ...features] = await Promise.all(wanted.map((tensor) => tensor.data<"float32">()));
    const lastWidth = layers[0].shape[2];
    dispose(layers);
    const restored = new Float32Array(products.length / f3 - (f3 - 1) * lastWidth).fill(lastBias[0]);
    for (let at = 0; at < restored.length; at++) {
      for (let row = 0; row < f3; row++) restored[at] += products[(row * lastWidth + at) * f3 + row];
    }
    return [restored, ...features];
  };
}
