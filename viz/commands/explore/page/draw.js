// Maps as colours on a canvas, as viz/colours.py draws them, and their values under the pointer.

import { element } from "./element.js";

let tables = null; // {plain, signed}: 256 colours each

export function useColours(colours) {
  tables = { plain: bytes(colours.plain), signed: bytes(colours.signed) };
}

const raw = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
export const bytes = ({ u1 }) => raw(u1);

// {shape, values} of an array of floats.
export function floats({ shape, f4 }) {
  return { shape, values: new Float32Array(raw(f4).buffer) };
}

// The pixels of a picture, {data, width, height}, as an ImageData has them.
export async function pixels(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

const SIGNS = {
  all: (x) => x,
  positive: (x) => Math.max(x, 0),
  negative: (x) => Math.min(x, 0),
  size: (x) => Math.abs(x),
};

export const signed = (map, sign) => (sign === "all" ? map.values : map.values.map(SIGNS[sign]));

// Where colours end: the size that `percentile` of the values stay below, as viz.colours.Scale has it.
export function end(values, percentile) {
  const sizes = values.map(Math.abs).sort();
  const largest = sizes[sizes.length - 1];
  const place = ((sizes.length - 1) * percentile) / 100;
  const low = Math.floor(place);
  const high = sizes[low] + (place - low) * (sizes[Math.min(low + 1, sizes.length - 1)] - sizes[low]);
  return (high < largest / 20 ? largest : high) || 1;
}

// Draw a map over a photograph. mix: 0 is the photograph, 1/2 the map over it, 1 the map alone.
export function draw(canvas, photograph, map, { values = map.values, high, mix = 1 }) {
  const [height, width] = map.shape.slice(-2);
  const colour = map.shape.length === 3 ? picture(values, width * height, high) : single(values, high);
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const [veil, cover] = [0.9 * Math.min(1, 2 * mix), Math.max(0, 2 * mix - 1)];
  const fits = photograph && photograph.width === width && photograph.height === height;
  for (let i = 0; i < width * height; i++) {
    const [r, g, b, size] = colour(i);
    const [red, green, blue] = fits ? photograph.data.subarray(4 * i, 4 * i + 3) : [0, 0, 0];
    const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
    const opacity = fits ? cover + (1 - cover) * veil * Math.min(1, size) : 1;
    const back = mix === 0 ? [red, green, blue] : [grey, grey, grey];
    image.data.set([r, g, b].map((c, n) => (1 - opacity) * back[n] + opacity * c), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function single(values, high) {
  const diverging = values.some((x) => x < 0);
  const table = diverging ? tables.signed : tables.plain;
  const low = diverging ? -high : 0;
  return (i) => {
    const x = values[i];
    if (!Number.isFinite(x)) return [128, 128, 128, 1];
    const n = Math.min(255, Math.max(0, Math.floor((256 * (x - low)) / (high - low))));
    return [...table.subarray(3 * n, 3 * n + 3), Math.abs(x) / high];
  };
}

function picture(values, size, high) {
  const level = (x) => 255 * Math.min(1, Math.max(0, 0.5 + (0.5 * x) / high));
  const largest = (i) => Math.max(...[0, 1, 2].map((c) => Math.abs(values[c * size + i])));
  return (i) => [...[0, 1, 2].map((c) => level(values[c * size + i])), largest(i) / high];
}

// ---- values ----------------------------------------------------------------------------------------------------------

export function number(x) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text = size >= 1e4 || size < 1e-3 ? x.toExponential(2) : x.toPrecision(3);
  return text.replaceAll("-", "−");
}

export function valueAt(map, column, row) {
  const [height, width] = map.shape.slice(-2);
  const at = row * width + column;
  if (map.shape.length === 2) return number(map.values[at]);
  return [0, 1, 2].map((c) => number(map.values[c * width * height + at])).join(", ");
}

// Canvases that are pointed at together: one's place is everyone's. each.tell(column, row) says the value there.
export class Pointed {
  constructor() {
    this.canvases = new Map();
    this.at = [0.5, 0.5];
  }

  add(canvas, tell, choose) {
    canvas.tabIndex = 0;
    const cross = element("span", { className: "cross", ariaHidden: "true" });
    canvas.after(cross);
    this.canvases.set(canvas, { tell, cross });
    const share = (x, size) => Math.min(Math.max(x / size, 0), 0.9999);
    canvas.addEventListener("pointermove", (event) => {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      this.point(share(event.clientX - left, width), share(event.clientY - top, height));
    });
    canvas.addEventListener("pointerdown", () => choose?.(...this.place(canvas)));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === "Enter" && choose) choose(...this.place(canvas));
      if (!step) return;
      event.preventDefault();
      const far = event.shiftKey ? 10 : 1;
      const [column, row] = this.place(canvas);
      const move = (at, by, size) => (Math.min(Math.max(at + by * far, 0), size - 1) + 0.5) / size;
      this.point(move(column, step[0], canvas.width), move(row, step[1], canvas.height));
    });
  }

  place(canvas) {
    return [Math.floor(this.at[0] * canvas.width), Math.floor(this.at[1] * canvas.height)];
  }

  point(u, v) {
    this.at = [u, v];
    for (const [canvas, { tell, cross }] of this.canvases) {
      if (!canvas.isConnected) {
        this.canvases.delete(canvas);
        continue;
      }
      [cross.style.left, cross.style.top] = [`${100 * u}%`, `${100 * v}%`];
      cross.classList.add("shown");
      tell(...this.place(canvas));
    }
  }
}

// ---- small maps and numbers ------------------------------------------------------------------------------------------

// The map (h,w) with every number as a block, at another size.
export function enlarged({ shape: [h, w], values }, height, width) {
  const found = new Float32Array(height * width);
  for (let i = 0; i < height; i++) {
    const row = Math.floor((i * h) / height) * w;
    for (let j = 0; j < width; j++) found[i * width + j] = values[row + Math.floor((j * w) / width)];
  }
  return { shape: [height, width], values: found };
}

// A canvas of levels, each the number of a colour.
export function shade(levels, width, height, isSigned) {
  const canvas = element("canvas", { width, height, ariaHidden: "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const table = isSigned ? tables.signed : tables.plain;
  levels.forEach((n, i) => image.data.set([...table.subarray(3 * n, 3 * n + 3), 255], 4 * i));
  context.putImageData(image, 0, 0);
  return canvas;
}

// [background, ink] for a number from -1 to 1.
export function tint(share) {
  const n = Math.min(255, Math.max(0, Math.floor(128 * (share + 1))));
  const [r, g, b] = tables.signed.subarray(3 * n, 3 * n + 3);
  return [`rgb(${r} ${g} ${b})`, 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff"];
}
