/** Builds the page: docs/demo/index.html, and srcnn_tf/demo.html, the same without weights, for `main.py --export`. */

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import h5wasm from "h5wasm/node";

const WEIGHTS = "../srcnn_tf/weights/";

/** Leaves out the threads of TensorFlow.js, which need headers that a file has not. */
const withoutThreads = {
  name: "without-threads",
  setup({ onLoad }) {
    onLoad({ filter: /wasm-threaded-simd(\.worker)?\.js$/ }, () => ({ contents: "export default undefined; export const wasmWorkerContents = '';" }));
  },
};

async function bundle(entry) {
  const options = { bundle: true, minify: true, format: "iife", target: "es2022", legalComments: "eof", write: false };
  const { outputFiles } = await build({ entryPoints: [entry], plugins: [withoutThreads], ...options });
  return outputFiles[0].text.replaceAll("</script", "<\\/script");
}

/** Reads a shipped network of 9-1-5; the name of another architecture has more words. */
function network(name) {
  const file = new h5wasm.File(`${WEIGHTS}${name}.weights.h5`, "r");
  const arrays = ["conv2d", "conv2d_1", "conv2d_2"].flatMap((layer) => [0, 1].map((number) => file.get(`layers/${layer}/vars/${number}`)));
  const [first, , second, , last] = arrays.map(({ shape }) => shape);
  const weights = Buffer.concat(arrays.map(({ value }) => Buffer.from(value.buffer, value.byteOffset, value.byteLength)));
  const [, scale, degradation] = /^srcnn_x(\d)_(\w+)$/.exec(name);
  return { name, scale: Number(scale), degradation, margin: (first[0] + second[0] + last[0] - 3) / 2, sizes: [first[0], second[0], last[0]], counts: [first[3], second[3]], weights: weights.toString("base64") };
}

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const base64 = (path) => readFileSync(path).toString("base64");

await h5wasm.ready;
const names = readdirSync(WEIGHTS).map((name) => /^(srcnn_x\d_(matlab|jpeg\d*))\.weights\.h5$/.exec(name)?.[1]).filter(Boolean).sort();
const parts = { style: readFileSync("style.css", "utf8"), page: await bundle("src/page.ts"), worker: await bundle("src/worker.ts") };
const policy = `default-src 'none'; script-src ${hash(parts.page)} 'wasm-unsafe-eval'; worker-src blob:; style-src ${hash(parts.style)}; img-src data:`;
const wasm = base64("node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm");
const values = { policy, wasm, ...parts };
const template = readFileSync("index.html", "utf8")
  .replace(/\{\{ (\w+) \}\}/g, (_, name) => values[name])
  .replace(/src="(samples\/.*?\.(png|jpg))"/g, (_, path, type) => `src="data:image/${type.replace("jpg", "jpeg")};base64,${base64(path)}"`);
writeFileSync("../srcnn_tf/demo.html", template);
mkdirSync("../docs/demo", { recursive: true });
writeFileSync("../docs/demo/index.html", template.replace('id="weights">[]', (match) => match.slice(0, -2) + JSON.stringify(names.map(network))));
