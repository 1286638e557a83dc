/** Makes the planes that are upscaled: of a picture, or of a picture that is first reduced, to test the network. */

import { FULL, GREY, STUDIO, lumaOf, toByte } from "./metrics";
import type { NetworkFile } from "./network";
import type { Picture } from "./picture";
import { type Plane, crop, makePlane, resample } from "./resample";
import type { Source } from "./worker";

/** Returns the planes; for a test, which leaves alpha out, also the original image and its luma. */
export function makeSource(picture: Picture, file: NetworkFile, isTest: boolean) {
  const kind = picture.isGrey && isTest ? GREY : file.degradation === "scipy" ? FULL : STUDIO;
  const [hasAlpha, step] = isTest ? [false, file.scale] : [picture.hasAlpha, 1];
  const [rows, cols] = [picture.rows, picture.cols].map((size) => size - (size % step));
  const pixels = crop(picture.pixels, 4 * picture.cols, [0, rows], [0, 4 * cols]);
  for (let at = 3; at < pixels.length && !hasAlpha; at += 4) pixels[at] = 255;
  const plane = (value: (at: number) => number): Plane => {
    const whole = makePlane(rows, cols, value);
    if (!isTest) return whole;
    const [height, width] = [rows / step, cols / step]; // reduced as in srcnn_tf/degradation.py
    const values = resample(whole, 1 / step, [0, height], [0, width], "repeat");
    return makePlane(height, width, (at) => values[at]);
  };
  const round = isTest && kind === STUDIO ? Math.round : Number; // as MATLAB's rgb2ycbcr
  const luma = (at: number) => round(lumaOf(pixels, at, kind)) / 255;
  const channel = (i: number) => plane((at) => pixels[4 * at + i] / 255);
  const [colors, alpha] = [(picture.isGrey ? [0] : [0, 1, 2]).map(channel), hasAlpha ? channel(3) : undefined];
  const source: Source = { colors, luma: plane(luma), alpha, gain: kind.gain, edges: isTest ? "repeat" : "mirror" };
  if (!isTest) return { source };
  const originalLuma = Uint8Array.from({ length: rows * cols }, (_, at) => toByte(luma(at)));
  return { source, original: new ImageData(pixels, cols), originalLuma };
}

/** Returns how the planes look. */
export function toImage({ colors, alpha, luma }: Source): ImageData {
  const image = new ImageData(luma.cols, luma.rows);
  const planes = [...[0, 1, 2].map((i) => colors[i % colors.length]), alpha];
  image.data.forEach((_, at) => (image.data[at] = toByte(planes[at % 4]?.values[at >> 2] ?? 1)));
  return image;
}
