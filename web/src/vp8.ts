/** Reads how strongly a lossy WebP image is quantized, as srcnn_tf/images/formats/vp8.py does (RFC 6386, section 9). */

/** Returns the quantizer of the VP8 frame that begins there, 0 (fine) to 127 (coarse): the mean of its segments'. */
export function quantizer(bytes: DataView, frame: number): number {
  let [at, value, span, shifts, end] = [frame + 12, bytes.getUint16(frame + 10), 255, 0, bytes.byteLength];
  const bit = () => {
    const split = (span + 1) >> 1;
    const result = Number(value >= split << 8);
    [value, span] = [value - result * (split << 8), result ? span - split : split];
    for (; span < 128; span *= 2) value = 2 * value + (++shifts % 8 || at === end ? 0 : bytes.getUint8(at++));
    return result;
  };
  const number = (bits: number) => Array.from({ length: bits }, bit).reduce((sum, next) => 2 * sum + next, 0);
  const signed = (bits: number) => (bit() ? number(bits) * (1 - 2 * bit()) : 0);
  number(2); // colour space, clamping
  let [segments, isAbsolute] = [[0], 0];
  if (bit()) {
    const [hasMap, hasData] = [bit(), bit()];
    if (hasData) [isAbsolute, segments] = [bit(), [7, 7, 7, 7].map(signed)];
    if (hasData) [6, 6, 6, 6].forEach(signed); // loop filter
    for (let i = 0; i < 3 * hasMap; i++) number(8 * bit()); // probabilities
  }
  number(10); // loop filter: kind, level, sharpness
  if (bit() && bit()) [6, 6, 6, 6, 6, 6, 6, 6].forEach(signed);
  number(2); // partitions
  return number(7) * (1 - isAbsolute) + segments.reduce((sum, segment) => sum + segment) / segments.length;
}
