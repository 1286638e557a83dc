/** Upscales an image in tiles, by one worker with WebGL or by several on the processor. */

import { type Remote, wrap } from "comlink";
import { type NetworkFile, decodeBase64 } from "./network";
import { type Plane, type Range, neededPart } from "./resample";
import type { Api, Source, Tile } from "./worker";

const TILE = 240; // rows and columns of the upscaled image; larger ones are not faster, and a phone has little memory

export type Pool = { workers: Remote<Api>[]; description: string };
type OnTile = (tile: Tile, upscaled: Awaited<ReturnType<Api["upscale"]>>, share: number) => void;

function startWorker(): Remote<Api> {
  const code = document.getElementById("worker")!.textContent!;
  return wrap<Api>(new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" }))));
}

/** Starts WebGL if it is chosen, or if the choice is automatic and there is a graphics card; else the processor. */
export async function startPool(choice: string): Promise<Pool> {
  const first = startWorker();
  const reason = choice === "processor" ? "as chosen" : await first.startWebGL(choice === "webgl");
  if (!reason) return { workers: [first], description: "the graphics card (WebGL)" };
  const others = Array.from({ length: Math.min(navigator.hardwareConcurrency || 2, 8) - 1 }, startWorker);
  const binary = decodeBase64(document.getElementById("wasm")!.textContent!);
  await Promise.all([first, ...others].map((worker) => worker.startProcessor(binary)));
  return { workers: [first, ...others], description: `the processor (${others.length + 1} workers; ${reason})` };
}

/** Returns a rectangle of the upscaled image. */
export function tileOf({ colors, luma, alpha, ...source }: Source, file: NetworkFile, rows: Range, cols: Range): Tile {
  const part = (plane: Plane) => neededPart(plane, file.scale, rows, cols, file.margin);
  return { ...source, colors: colors.map(part), luma: part(luma), alpha: alpha && part(alpha), rows, cols };
}

/** Upscales a source; gives out each tile, with the share that is done, until it is stopped. */
export async function upscaleTiles(pool: Pool, file: NetworkFile, source: Source, stop: AbortSignal, onTile: OnTile) {
  const [rows, cols] = [source.luma.rows * file.scale, source.luma.cols * file.scale];
  const [down, across] = [Math.ceil(rows / TILE), Math.ceil(cols / TILE)];
  const range = (number: number, size: number): Range => [number * TILE, Math.min((number + 1) * TILE, size)];
  let [next, done] = [0, 0];
  await Promise.all(pool.workers.map(async (worker) => {
    await worker.use(file);
    while (next < down * across && !stop.aborted) {
      const tile = tileOf(source, file, range(Math.floor(next / across), rows), range(next++ % across, cols));
      const upscaled = await worker.upscale(file.name, tile);
      if (!stop.aborted) onTile(tile, upscaled, ++done / (down * across));
    }
  }));
}
