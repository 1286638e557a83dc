/** Luma, PSNR and SSIM as in srcnn_tf/images/color.py and metrics.py. */

import { type Taps, crop, weighRows } from "./resample";

// Weights of R, G, B in luma and the luma of black, both in 0..255, and by how much R, G, B change with luma.
export const STUDIO = { weights: [65.481, 128.553, 24.966], black: 16, gain: 255 / 219 };
export const FULL = { weights: [76.245, 149.685, 29.07], black: 0, gain: 1 };
export const GREY = { weights: [255, 0, 0], black: 0, gain: 1 }; // a test image stored with one channel is its own luma
const BAND = 256; // rows that are scored at a time, for the memory

export const lumaOf = (pixels: Uint8ClampedArray, at: number, { weights, black }: typeof STUDIO) =>
  weights.reduce((luma, weight, i) => luma + (weight * pixels[4 * at + i]) / 255, black);
export const toByte = (value: number) => Math.floor(Math.min(Math.max(value, 0), 1) * 255 + 0.5); // halves up

/** Scores luma against that of the original, `scale` pixels shaved from each side. */
export function score(image: Uint8Array, original: Uint8Array, cols: number, scale: number) {
  const [rows, width] = [image.length / cols - 2 * scale, cols - 2 * scale];
  const [x, y] = [image, original].map((luma) => crop(luma, cols, [scale, rows + scale], [scale, width + scale]));
  const error = x.reduce((sum, value, at) => sum + (value - y[at]) ** 2, 0) / x.length;
  const starts = Array.from({ length: Math.ceil((rows - 10) / BAND) }, (_, band) => BAND * band);
  const bands = starts.map((top) => [x, y].map((luma) => luma.subarray(top * width, (top + BAND + 10) * width)));
  const similarity = bands.reduce((sum, [xs, ys]) => sum + sumOfSimilarity(xs, ys, width), 0);
  return { psnr: 10 * Math.log10(255 ** 2 / error), ssim: similarity / ((rows - 10) * (width - 10)) };
}

/** Structural similarity (Wang et al., 2004), summed over all windows: Gaussian ones of 11 x 11 pixels, sigma 1.5. */
function sumOfSimilarity(x: Uint8Array, y: Uint8Array, cols: number): number {
  const gaussian = Array.from({ length: 11 }, (_, index) => ({ index, weight: Math.exp(-((index - 5) ** 2) / 4.5) }));
  const total = gaussian.reduce((sum, { weight }) => sum + weight, 0);
  const windows = (size: number): Taps[] => Array.from({ length: size - 10 }, (_, begin) =>
    gaussian.map(({ index, weight }) => ({ index: begin + index, weight: weight / total })));
  const [down, across] = [windows(x.length / cols), windows(cols)];
  const mean = (value: (at: number) => number) => 
    weighRows(weighRows(new Float32Array(x.length).map((_, at) => value(at)), cols, down), down.length, across);
  const [mx, my, c1, c2] = [mean((at) => x[at]), mean((at) => y[at]), (0.01 * 255) ** 2, (0.03 * 255) ** 2];
  const [squares, products] = [mean((at) => x[at] ** 2 + y[at] ** 2), mean((at) => x[at] * y[at])];
  return mx.reduce((sum, _, at) => {
    const [product, square] = [mx[at] * my[at], mx[at] ** 2 + my[at] ** 2];
    const structure = (2 * (products[at] - product) + c2) / (squares[at] - square + c2);
    return sum + ((2 * product + c1) / (square + c1)) * structure;
  }, 0);
}
