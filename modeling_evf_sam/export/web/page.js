// The page: a photo, a sentence, and the mask drawn on the photo. Nothing leaves the browser.

import { loadModel } from "./model.js";

const LARGEST = 16e6; // pixels of a photo
const COLOUR = [255, 64, 129];

const element = (id) => document.getElementById(id);
const form = element("ask");
const canvas = element("photo");
const say = (text, kind = "") => Object.assign(element("answer"), { textContent: text, className: kind });

let model; // a promise
let photo; // what `model.encode` gives

/** A file or an address as {data, width, height}, upright. */
async function readPicture(blob, name) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${name} is no photo that this browser can open.`);
  }
  const { width, height } = bitmap;
  if (width * height > LARGEST) throw new Error(`${name} has over ${LARGEST / 1e6} megapixels: make it smaller.`);
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/** Show a photo and encode it; one that cannot be opened leaves the last one as it is. */
async function choose(blob, name) {
  const picture = await readPicture(blob, name);
  draw(picture);
  photo = await (await model).encode(picture);
}

/** The photo, and a mask over it. */
function draw(picture, mask) {
  const shown = new ImageData(new Uint8ClampedArray(picture.data), picture.width, picture.height);
  mask?.forEach((inside, pixel) => {
    if (inside)
      COLOUR.forEach((value, channel) => (shown.data[4 * pixel + channel] = (shown.data[4 * pixel + channel] + value) / 2));
  });
  Object.assign(canvas, { width: picture.width, height: picture.height });
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

async function find() {
  const sentence = element("sentence").value;
  const start = performance.now();
  const answer = await (await model).find(photo, sentence, element("semantic").checked);
  draw(photo.picture, answer.mask);
  const pixels = answer.mask.reduce((sum, one) => sum + one, 0);
  const presence = answer.presence === null ? "" : `, presence ${answer.presence.toFixed(2)}`;
  const seconds = ((performance.now() - start) / 1000).toFixed(2);
  if (!answer.present) say(`“${sentence}” is not in the photo${presence}.`);
  else say(`“${sentence}”: ${pixels} pixels, score ${answer.score.toFixed(2)}${presence}, in ${seconds} s.`, "found");
  Object.assign(window, { lastAnswer: answer }); // for whoever looks into it
}

/** Run something that a user asked for; what goes wrong is one line. */
async function run(action) {
  element("find").disabled = true;
  try {
    await action();
  } catch (error) {
    say(error.message, "wrong");
  } finally {
    element("find").disabled = false;
  }
}

async function open() {
  say("Loading the model …");
  model = loadModel(new URLSearchParams(location.search).get("backend") ?? undefined);
  const { settings, backend } = await model;
  element("semantic").parentElement.hidden = !settings.tokens.semantic_prompts;
  element("about").textContent =
    `On ${backend}. ` + (settings.model.trained_on === "rendered_scenes" ? "This model knows drawn shapes alone." : "");
  const { example } = settings;
  if (!example) return say("Choose a photo.");
  await choose(await (await fetch(example.photo)).blob(), example.photo);
  element("sentence").value = example.sentence;
  await find();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  run(async () => {
    if (!photo) throw new Error("Choose a photo.");
    await find();
  });
});
element("file").addEventListener("change", ({ target }) =>
  run(async () => {
    const [file] = target.files;
    if (!file) return;
    await choose(file, file.name);
    say("Type what to look for.");
  }),
);
run(open);
