/** Bicubic interpolation and reduction as MATLAB's `imresize` and srcnn_tf/images/resize.py: Keys' kernel, a = -1/2. */

export type Floats = Float32Array<ArrayBuffer>;
export type Range = [begin: number, end: number]; // the end is not in it
export type Edges = "mirror" | "repeat"; // beyond them, upscaling mirrors the small image, testing repeats pixels
export type Taps = { index: number; weight: number }[]; // the input rows that make an output row

/** One channel of an image of `rows` x `cols` pixels, in [0, 1], or `width` columns of it, from `top` and `left` on. */
export type Plane = { rows: number; cols: number; top: number; left: number; width: number; values: Floats };

export function makePlane(rows: number, cols: number, value: (at: number) => number): Plane {
  return { rows, cols, top: 0, left: 0, width: cols, values: new Float32Array(rows * cols).map((_, at) => value(at)) };
}

/** Returns rows and columns of a resized plane. */
export function resample(plane: Plane, scale: number, rows: Range, cols: Range, edges: Edges): Floats {
  const down = bicubicTaps(rows, plane.rows, plane.top, scale, edges);
  const across = bicubicTaps(cols, plane.cols, plane.left, scale, edges);
  return new Float32Array(weighRows(weighRows(plane.values, plane.width, down), down.length, across));
}

/** Returns weighted sums of rows, transposed, so that doing it again weighs columns. */
export function weighRows(values: ArrayLike<number>, width: number, rows: Taps[]): Float64Array {
  const result = new Float64Array(rows.length * width);
  rows.forEach((taps, row) => taps.forEach(({ index, weight }) => {
    for (let col = 0; col < width; col++) result[col * rows.length + row] += weight * values[index * width + col];
  }));
  return result;
}

/** Returns the taps of output pixels, counted from the `first` input pixel. A reduction widens the kernel. */
function bicubicTaps([begin, end]: Range, size: number, first: number, scale: number, edges: Edges): Taps[] {
  const stretch = Math.min(scale, 1);
  return Array.from({ length: end - begin }, (_, at) => {
    const output = edges === "repeat" ? inside(begin + at, scale * size, edges) : begin + at;
    const center = (output + 0.5) / scale - 0.5;
    const inputs = Array.from({ length: Math.ceil(4 / stretch) }, (_, tap) => Math.ceil(center - 2 / stretch) + tap);
    const weights = inputs.map((input) => keys(stretch * (center - input)));
    const sum = weights.reduce((total, weight) => total + weight);
    return inputs.map((input, tap) => ({ index: inside(input, size, edges) - first, weight: weights[tap] / sum }));
  });
}

function keys(signed: number): number {
  const distance = Math.abs(signed);
  if (distance <= 1) return (1.5 * distance - 2.5) * distance ** 2 + 1;
  return distance <= 2 ? ((-0.5 * distance + 2.5) * distance - 4) * distance + 2 : 0;
}

/** Returns the pixel that stands for one beyond the edges. */
function inside(index: number, size: number, edges: Edges): number {
  if (edges === "repeat") return Math.min(Math.max(index, 0), size - 1);
  const mirrored = ((index % (2 * size)) + 2 * size) % (2 * size);
  return Math.min(mirrored, 2 * size - 1 - mirrored);
}

export function crop<Values extends Floats | Uint8Array | Uint8ClampedArray>(
  values: Values, cols: number, down: Range, across: Range,
): Values {
  const width = across[1] - across[0];
  const cut = new (values.constructor as new (length: number) => Values)((down[1] - down[0]) * width);
  for (let row = down[0], at = 0; row < down[1]; row++, at += width) {
    cut.set(values.subarray(row * cols + across[0], row * cols + across[1]), at);
  }
  return cut;
}

/** Cuts out what a rectangle of the upscaled image depends on, with a margin of large pixels around it. */
export function neededPart(plane: Plane, scale: number, rows: Range, cols: Range, margin: number): Plane {
  const limits = ([begin, end]: Range, size: number): Range =>
    [Math.max(0, Math.round((begin - margin) / scale) - 4), Math.min(size, Math.round((end + margin) / scale) + 4)];
  const [down, across] = [limits(rows, plane.rows), limits(cols, plane.cols)];
  const values = crop(plane.values, plane.cols, down, across);
  return { ...plane, top: down[0], left: across[0], width: across[1] - across[0], values };
}
