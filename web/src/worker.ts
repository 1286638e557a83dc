/** The worker: what takes long, so that the page stays responsive. */

import { env, registerKernel, setBackend } from "@tensorflow/tfjs-core";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm/dist/base";
import { fusedConv2DConfig as wasmConvolution } from "@tensorflow/tfjs-backend-wasm/dist/kernels/FusedConv2D";
import { setWebGLContext } from "@tensorflow/tfjs-backend-webgl/dist/base";
import { fusedConv2DConfig as webglConvolution } from "@tensorflow/tfjs-backend-webgl/dist/kernels/FusedConv2D";
import { expose } from "comlink";
import { score, toByte } from "./metrics";
import { type NetworkFile, makeNetwork } from "./network";
import { type Edges, type Plane, type Range, crop, resample } from "./resample";

/** Planes that are upscaled, one or three of colours, which change by `gain` where luma changes by 1. */
export type Source = { colors: Plane[]; luma: Plane; alpha?: Plane; gain: number; edges: Edges };
export type Tile = Source & { rows: Range; cols: Range }; // parts of the planes, for this part of the upscaled image

const networks: Record<string, { file: NetworkFile; restore: ReturnType<typeof makeNetwork> }> = {};

const api = {
  /** Starts WebGL, or returns why not. Without a graphics card, it must be wanted. */
  async startWebGL(isSoftwareWanted: boolean): Promise<string | undefined> {
    const context = new OffscreenCanvas(1, 1).getContext("webgl2");
    if (!context) return "this browser has no WebGL 2";
    const names = context.getExtension("WEBGL_debug_renderer_info");
    const renderer = context.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? context.RENDERER);
    if (!isSoftwareWanted && /swiftshader|llvmpipe|software|basic render/i.test(renderer)) return "no graphics card";
    setWebGLContext(2, context as unknown as WebGLRenderingContext);
    if (!env().getBool("WEBGL_RENDER_FLOAT32_CAPABLE")) return "this browser's WebGL does not compute in 32 bits";
    registerKernel(webglConvolution);
    await setBackend("webgl");
  },

  async startProcessor(binary: ArrayBuffer) {
    env().platform.fetch = async () => new Response(binary); // it is here already
    env().set("WASM_HAS_MULTITHREAD_SUPPORT", false); // needs headers that a file has not; several workers do without
    setWasmPaths("", true);
    registerKernel(wasmConvolution);
    await setBackend("wasm");
  },

  use(file: NetworkFile) {
    networks[file.name] ??= { file, restore: makeNetwork(file) };
  },

  /** Returns RGBA, luma, and features if wanted. Colour is a residual, as in srcnn_tf/upscaling/polyphase.py. */
  async upscale(network: string, tile: Tile, areFeaturesWanted = false) {
    const { file: { scale, margin }, restore } = networks[network];
    const { rows, cols, gain, edges } = tile;
    const around = ([begin, end]: Range): Range => [begin - margin, end + margin];
    const interpolated = resample(tile.luma, scale, around(rows), around(cols), edges);
    const [height, width] = [rows[1] - rows[0], cols[1] - cols[0]];
    const pending = restore(interpolated, width + 2 * margin, areFeaturesWanted);
    const interpolate = (plane: Plane) => resample(plane, scale, rows, cols, edges);
    const [colors, alpha] = [tile.colors.map(interpolate), tile.alpha && interpolate(tile.alpha)];
    const bicubic = crop(interpolated, width + 2 * margin, [margin, height + margin], [margin, width + margin]);
    const [restored, ...features] = await pending;
    const pixels = new Uint8ClampedArray(4 * restored.length);
    for (let at = 0; at < restored.length; at++) {
      const residual = gain * (Math.min(Math.max(restored[at], 0), 1) - bicubic[at]);
      for (let i = 0; i < 3; i++) pixels[4 * at + i] = toByte(colors[i % colors.length][at] + residual);
      pixels[4 * at + 3] = alpha ? toByte(alpha[at]) : 255;
    }
    return { pixels, bicubic, restored, features };
  },

  score,
};

export type Api = typeof api;
expose(api);
