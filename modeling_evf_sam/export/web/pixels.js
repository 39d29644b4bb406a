// Photos become views, and logits become masks, with the numbers of Pillow and torch, as Python has them.
//
// A picture is {data, width, height} with RGBA bytes, as a canvas gives them; planes are float32, one after the other.

const ROUNDED_BITS = 22; // of Pillow's weights, which are whole numbers

// [reach, weight at a distance] of Pillow's filters, by its numbers for them
const FILTERS = {
  2: [1, (x) => Math.max(0, 1 - x)],
  3: [2, (x) => cubic(x, -0.5)],
};

/** A picture as Pillow resizes it: smoothed where it shrinks, along the rows and then along the columns. */
export function resizePicture(picture, width, height, filter) {
  let { data } = picture;
  if (width !== picture.width) {
    const taps = pillowTaps(picture.width, width, filter);
    data = weigh(data, taps, picture.height, picture.width, 1, width, 1);
  }
  if (height !== picture.height) {
    const taps = pillowTaps(picture.height, height, filter);
    data = weigh(data, taps, width, 1, width, 1, width);
  }
  return { data, width, height };
}

/** For each new pixel [the first old one, weights]. */
function pillowTaps(before, after, filter) {
  const [reach, weight] = FILTERS[filter];
  const scale = before / after;
  const wide = Math.max(scale, 1);
  return Array.from({ length: after }, (_, index) => {
    const centre = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach * wide + 0.5));
    const last = Math.min(before, Math.trunc(centre + reach * wide + 0.5));
    const weights = Array.from({ length: last - first }, (_, k) => weight(Math.abs((first + k - centre + 0.5) / wide)));
    const sum = weights.reduce((total, one) => total + one, 0);
    return [first, weights.map((one) => Math.trunc((one / sum) * 2 ** ROUNDED_BITS + Math.sign(one) * 0.5))];
  });
}

/** Sums along one axis of RGBA bytes; strides are in pixels: of lines before, along the axis, and of lines after. */
function weigh(data, taps, lines, lineBefore, step, lineAfter, stepAfter) {
  const result = new Uint8ClampedArray(4 * lines * taps.length);
  for (let line = 0; line < lines; line++) {
    taps.forEach(([first, weights], index) => {
      for (let channel = 0; channel < 4; channel++) {
        let sum = 2 ** (ROUNDED_BITS - 1);
        let place = 4 * (line * lineBefore + first * step) + channel;
        for (const weight of weights) {
          sum += data[place] * weight;
          place += 4 * step;
        }
        result[4 * (line * lineAfter + index * stepAfter) + channel] = Math.floor(sum / 2 ** ROUNDED_BITS);
      }
    });
  }
  return result;
}

/** SAM's view of a picture: planes of 3 x S x S. */
export function samView(picture, views) {
  const [height, width] = reshapedSize(picture, views);
  const small = resizePicture(picture, width, height, views.resample);
  const side = views.image_size;
  const planes = new Float32Array(3 * side * side);
  for (let channel = 0; channel < 3; channel++) {
    const less = Math.fround(views.image_mean[channel] * views.unit);
    const by = Math.fround(views.image_std[channel] * views.unit);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        planes[(channel * side + y) * side + x] = Math.fround(small.data[4 * (y * width + x) + channel] - less) / by;
  }
  return planes;
}

/** [height, width] that a picture takes up in SAM's view. */
export function reshapedSize(picture, views) {
  if (views.image_layout === "stretch") return [views.image_size, views.image_size];
  const scale = views.image_size / Math.max(picture.width, picture.height);
  return [picture.height, picture.width].map((side) => Math.max(1, Math.trunc(side * scale + 0.5)));
}

/** The multimodal encoder's view of a picture: planes of 3 x s x s. */
export function multimodalView(picture, views) {
  const side = views.multimodal_image_size;
  const source = views.multimodal_antialias ? resizePicture(picture, side, side, 3) : picture;
  const planes = new Float32Array(3 * side * side);
  for (let channel = 0; channel < 3; channel++) {
    let plane = new Float32Array(source.width * source.height);
    for (let i = 0; i < plane.length; i++) plane[i] = source.data[4 * i + channel] / views.unit;
    if (!views.multimodal_antialias) plane = resizePlane(plane, picture.width, picture.height, side, side, cubicTaps);
    const mean = Math.fround(views.multimodal_image_mean[channel]);
    const std = Math.fround(views.multimodal_image_std[channel]);
    planes.set(plane.map((value) => Math.fround(value - mean) / std), channel * side * side);
  }
  return planes;
}

/** Logits of h x w at a picture's size. */
export function resizeLogits(logits, height, width, picture, views) {
  if (views.image_layout === "pad") {
    const side = views.image_size;
    const [rows, columns] = reshapedSize(picture, views);
    const whole = resizePlane(logits, width, height, side, side, linearTaps);
    logits = new Float32Array(rows * columns);
    for (let y = 0; y < rows; y++) logits.set(whole.subarray(y * side, y * side + columns), y * columns);
    [height, width] = [rows, columns];
  }
  return resizePlane(logits, width, height, picture.width, picture.height, linearTaps);
}

/** A plane as torch's `interpolate` resizes it, without smoothing. */
function resizePlane(plane, width, height, newWidth, newHeight, taps) {
  const high = new Float32Array(newHeight * width);
  Array.from({ length: newHeight }, (_, y) => taps(y, height, newHeight)).forEach((each, y) => {
    for (const [place, weight] of each)
      for (let x = 0; x < width; x++) high[y * width + x] += plane[place * width + x] * weight;
  });
  const result = new Float32Array(newHeight * newWidth);
  Array.from({ length: newWidth }, (_, x) => taps(x, width, newWidth)).forEach((each, x) => {
    for (const [place, weight] of each)
      for (let y = 0; y < newHeight; y++) result[y * newWidth + x] += high[y * width + place] * weight;
  });
  return result;
}

const centre = (index, before, after) => Math.fround(Math.fround(before / after) * (index + 0.5) - 0.5);
const inside = (place, length) => Math.min(Math.max(place, 0), length - 1);

function linearTaps(index, before, after) {
  const place = Math.max(0, centre(index, before, after));
  const first = Math.trunc(place);
  return [[first, 1 - (place - first)], [inside(first + 1, before), place - first]];
}

function cubicTaps(index, before, after) {
  const place = centre(index, before, after);
  const second = Math.floor(place);
  return [-1, 0, 1, 2].map((step) => [inside(second + step, before), cubic(Math.abs(place - second - step), -0.75)]);
}

/** The cubic kernel at a distance. */
function cubic(x, a) {
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? a * (((x - 5) * x + 8) * x - 4) : 0;
}
