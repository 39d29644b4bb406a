// The three graphs: a photo is encoded once, for any number of sentences.

import { multimodalView, resizeLogits, samView } from "./pixels.js";
import { Tokens } from "./tokens.js";

const VENDOR = new URL("./vendor/", import.meta.url).href;
const RUNTIMES = { webgpu: "ort.webgpu.min.mjs", wasm: "ort.wasm.min.mjs" };

/** Whether this browser can compute on a GPU, and not only as if. */
async function hasGpu() {
  const adapter = await navigator.gpu?.requestAdapter();
  return Boolean(adapter && !adapter.info?.isFallbackAdapter);
}

/** Load everything that lies beside this page, for WebGPU where there is one and WASM else, or for a given one. */
export async function loadModel(backend) {
  backend ??= (await hasGpu()) ? "webgpu" : "wasm";
  const ort = await import(VENDOR + RUNTIMES[backend]);
  const { Tokenizer } = await import(`${VENDOR}tokenizers.min.mjs`);
  ort.env.wasm.wasmPaths = VENDOR;
  if (!globalThis.crossOriginIsolated) ort.env.wasm.numThreads = 1; // threads need headers that few servers send
  const [settings, tokenizer] = await Promise.all(["evf_sam.json", "tokenizer.json"].map(readJson));
  const graphs = {};
  for (const name of ["photo", "sentence", "decode"])
    graphs[name] = await ort.InferenceSession.create(`${name}.onnx`, { executionProviders: [backend] });
  return new Model(ort, graphs, settings, new Tokens(new Tokenizer(tokenizer, {}), settings.tokens), backend);
}

async function readJson(file) {
  const answer = await fetch(file);
  if (!answer.ok) throw new Error(`${file} cannot be loaded: ${answer.status}`);
  return answer.json();
}

class Model {
  constructor(ort, graphs, settings, tokens, backend) {
    Object.assign(this, { ort, graphs, settings, tokens, backend });
  }

  /** What `find` needs of a picture. */
  async encode(picture) {
    const { image_size: side, multimodal_image_size: small } = this.settings.views;
    const view = this.floats(samView(picture, this.settings.views), [1, 3, side, side]);
    const levels = await this.graphs.photo.run({ pixel_values: view });
    if (!small) return { picture, levels, views: {} };
    const values = this.floats(multimodalView(picture, this.settings.views), [1, 3, small, small]);
    return { picture, levels, views: { multimodal_pixel_values: values } };
  }

  /** The mask of a sentence, one byte a pixel; SAM's score, and the presence where the model tells it. */
  async find({ picture, levels, views }, sentence, semantic) {
    const ids = this.tokens.encode(sentence, semantic);
    const read = { input_ids: this.integers(ids, [1, ids.length]), ...views };
    read.attention_mask = this.integers(ids.map(() => 1), [1, ids.length]);
    const said = await this.graphs.decode.run({
      ...levels,
      ...(await this.graphs.sentence.run(read)),
      photo: this.integers([0], [1]),
      points: this.floats(new Float32Array(0), [1, 0, 2]),
      labels: this.integers([], [1, 0]),
    });
    return this.answer(said, picture);
  }

  answer({ pred_masks: masks, iou_scores: scores, presence_logits: logits }, picture) {
    const [height, width] = masks.dims.slice(-2);
    const best = scores.data.indexOf(Math.max(...scores.data));
    const own = masks.data.slice(best * height * width, (best + 1) * height * width);
    const presence = logits ? 1 / (1 + Math.exp(-logits.data[0])) : null;
    const present = presence === null || presence >= this.settings.thresholds.present;
    const large = resizeLogits(own, height, width, picture, this.settings.views);
    const mask = Uint8Array.from(large, (value) => Number(present && value > this.settings.thresholds.mask));
    return { mask, score: scores.data[best], presence, present };
  }

  floats(values, shape) {
    return new this.ort.Tensor("float32", values, shape);
  }

  integers(values, shape) {
    return new this.ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
  }
}
