/** Reads an image file as the browser does, and what the browser does not say: is it grey, how is it compressed? */

import { quantizer } from "./vp8";

export type Picture = Awaited<ReturnType<typeof readPicture>>;

const LUMA_TABLE_SUM = 3688; // of the 64 numbers in table K.1 of the JPEG standard
const FILL = 8; // pixels that the filters reach from a visible one

/** Reads an image file, upright, as RGBA; of a large image the middle, of at most `maxPixels`. */
export async function readPicture(file: File, maxPixels: number) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name}: this browser cannot read it. Expected a JPEG, PNG, WebP, AVIF, GIF or BMP image.`);
  });
  const share = Math.min(1, Math.sqrt(maxPixels / (bitmap.width * bitmap.height)));
  const [rows, cols] = [bitmap.height, bitmap.width].map((size) => Math.max(1, Math.floor(size * share)));
  const canvas = new OffscreenCanvas(cols, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, (cols - bitmap.width) >> 1, (rows - bitmap.height) >> 1);
  const pixels = context.getImageData(0, 0, cols, rows).data;
  const hasAlpha = pixels.some((value, at) => at % 4 === 3 && value < 255);
  if (hasAlpha) {
    // Fully transparent pixels get a colour nearby, so that black does not bleed into what is visible.
    context.globalCompositeOperation = "destination-over";
    for (let i = 0; i < 4 * FILL; i++) context.drawImage(canvas, [1, -1, 0, 0][i % 4], [0, 0, 1, -1][i % 4]);
    const filled = context.getImageData(0, 0, cols, rows).data;
    pixels.forEach((_, at) => at % 4 < 3 && !pixels[at | 3] && (pixels[at] = filled[at]));
  }
  const { notes, ...properties } = inspect(new DataView(await file.slice(0, 2 ** 20).arrayBuffer()));
  if (share < 1) notes.push(`only its middle, ${cols} x ${rows} pixels, as this browser cannot hold the whole result`);
  return { rows, cols, pixels, hasAlpha, notes, ...properties };
}

/** Reads what srcnn_tf/images/decode.py does from a file's first bytes: is it stored with one channel, and how? */
function inspect(bytes: DataView) {
  const found = { isGrey: false, jpegQuality: undefined as number | undefined, notes: [] as string[] };
  const text = new TextDecoder("latin1").decode(bytes);
  if (text.startsWith("PNG", 1)) {
    found.isGrey = "\x00\x04".includes(text[25]); // the colour type
    if (text[24] === "\x10") found.notes.push("its 16 bits are rounded to 8");
  }
  const chunk = text.startsWith("WEBP", 8) ? text.search("VP8[ L]") : -1;
  if (text[chunk + 3] === " " && chunk > 0) found.jpegQuality = 99 - 0.39 * quantizer(bytes, chunk + 8);
  const isJpeg = bytes.byteLength > 2 && bytes.getUint16(0) === 0xffd8;
  for (let at = 2; isJpeg && at + 70 < bytes.byteLength; at += 2 + bytes.getUint16(at + 2)) {
    const marker = bytes.getUint8(at + 1);
    if (marker === 0xdb && !found.jpegQuality) {
      const sum = Array.from({ length: 64 }, (_, i) => bytes.getUint8(at + 5 + i)).reduce((a, b) => a + b);
      const percent = (100 * sum) / LUMA_TABLE_SUM;
      found.jpegQuality = Math.max(1, percent <= 100 ? (200 - percent) / 2 : 5000 / percent);
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { ...found, isGrey: bytes.getUint8(at + 9) === 1 };
  }
  return found;
}
