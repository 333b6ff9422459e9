// Pictures under the pointer: maps say their values, points of a map their names, and a click makes either large.

// ---- values: a map's colours stand for the 256 parts of its scale ----------------------------------------------------

const main = document.getElementById("main");
const entries = (colours) => new Map(colours.match(/.{6}/g).map((colour, n) => [parseInt(colour, 16), n]));
const tables = { plain: entries(main.dataset.plain), signed: entries(main.dataset.signed) };
const sheets = new WeakMap(); // the pixels of each picture that was pointed at

function pixels(image) {
  if (!sheets.has(image)) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    sheets.set(image, context.getImageData(0, 0, canvas.width, canvas.height));
  }
  return sheets.get(image);
}

// Where a share of the width and height lies: the column and row of a picture's pixel.
function cell(image, u, v) {
  const at = (share, size) => Math.min(size - 1, Math.floor(share * size));
  return [at(u, image.naturalWidth), at(v, image.naturalHeight)];
}

function value(image, column, row) {
  const { data, width } = pixels(image);
  const [r, g, b] = data.slice(4 * (row * width + column));
  const signed = "signed" in image.dataset;
  const n = tables[signed ? "signed" : "plain"].get((r << 16) | (g << 8) | b);
  if (n === undefined) return "no number";
  const high = Number(image.dataset.high);
  const step = (signed ? 2 * high : high) / 256;
  if ("clipped" in image.dataset && n === 255) return `≥ ${number(high, step)}`;
  if ("clipped" in image.dataset && n === 0 && signed) return `≤ ${number(-high, step)}`;
  const zero = signed ? 128 : 0;
  return n === zero ? "0" : number((n - zero + 0.5) * step, step);
}

// As many digits as tell two neighbouring colours apart.
function number(x, step) {
  const digits = Math.ceil(-Math.log10(step));
  const text = digits > 5 || step > 1000 ? x.toExponential(2) : x.toFixed(Math.max(0, digits));
  return text.replace(/^-(0(\.0*)?$)/, "$1").replaceAll("-", "−");
}

// ---- the crosshair: at the same place of all maps that belong together -----------------------------------------------

const probed = (probe) => probe.querySelector(".bare") ?? probe.querySelector("img");
const linked = (probe) => probe.closest("[data-linked]")?.querySelectorAll(".probe") ?? [probe];

function point(probe, u, v) {
  for (const other of linked(probe)) {
    const image = probed(other);
    other.classList.add("pointed");
    other.classList.toggle("low", v > 0.5);
    other.style.setProperty("--u", u);
    other.style.setProperty("--v", v);
    other.dataset.value = value(image, ...cell(image, u, v));
  }
}

function unpoint() {
  for (const pointed of document.querySelectorAll(".pointed")) pointed.classList.remove("pointed");
}

// ---- names of the points of a map ------------------------------------------------------------------------------------

function nearest(named, u, v) {
  const { width, height } = named.getBoundingClientRect();
  const points = JSON.parse(named.dataset.points);
  const distance = ([x, y]) => Math.hypot((x - u) * width, (y - v) * height);
  return points.reduce((best, one, n) => (distance(one) < distance(points[best]) ? n : best), 0);
}

function name(named, n) {
  const [x, y, text] = JSON.parse(named.dataset.points)[n];
  named.classList.add("pointed");
  named.style.setProperty("--u", x);
  named.style.setProperty("--v", y);
  [named.dataset.value, named.dataset.at] = [text, n];
  named.setAttribute("aria-label", text);
}

// ---- the pointer, and the arrow keys ---------------------------------------------------------------------------------

function place(box, event) {
  const { left, top, width, height } = box.getBoundingClientRect();
  const share = (x, size) => Math.min(Math.max(x / size, 0), 0.9999);
  return [share(event.clientX - left, width), share(event.clientY - top, height)];
}

function pointer(event) {
  const [probe, named] = [event.target.closest?.(".probe"), event.target.closest?.(".named")];
  unpoint();
  if (probe) point(probe, ...place(probe, event));
  if (named) name(named, nearest(named, ...place(named, event)));
  tell();
}

document.addEventListener("pointermove", pointer);
document.addEventListener("pointerdown", pointer);
document.documentElement.addEventListener("pointerleave", unpoint);

const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  const box = event.target.closest?.(".probe, .named, .view")?.closest(".probe, .named, .view");
  const target = box?.matches(".view") ? box.firstElementChild : box;
  const [dx, dy] = moves[event.key] ?? [0, 0];
  if (!target?.matches(".probe, .named") || !(dx || dy)) return;
  event.preventDefault();
  if (target.matches(".named")) {
    const count = JSON.parse(target.dataset.points).length;
    const at = Number(target.dataset.at ?? -1) + dx + dy;
    name(target, Math.min(Math.max(at, 0), count - 1));
  } else {
    const image = probed(target);
    const step = (variable, move, size) => {
      const before = Number(target.style.getPropertyValue(variable) || 0.5);
      return Math.min(Math.max((Math.floor(before * size) + 0.5 + move) / size, 0.5 / size), 1 - 0.5 / size);
    };
    point(target, step("--u", dx, image.naturalWidth), step("--v", dy, image.naturalHeight));
  }
  tell();
});

// ---- a picture made large --------------------------------------------------------------------------------------------

const dialog = document.getElementById("enlarged");
const view = dialog.querySelector(".view");

function enlarge(picture) {
  const image = picture.matches("img") ? picture : probed(picture);
  const { width, height } = picture.getBoundingClientRect();
  const copy = picture.cloneNode(true);
  for (const attribute of ["role", "tabindex", "aria-label"]) copy.removeAttribute(attribute);
  copy.classList.remove("pointed");
  copy.style.setProperty("--frame", getComputedStyle(picture).getPropertyValue("--frame"));
  view.replaceChildren(copy);
  view.style.setProperty("--ratio", width / height);
  dialog.classList.toggle("mixes", Boolean(picture.querySelector(".bare")));
  dialog.querySelector("#enlarged-title").textContent = image.alt;
  const slider = dialog.querySelector("input");
  slider.value = 100 * (Number(getComputedStyle(picture).getPropertyValue("--mix")) || 0);
  show(slider);
  dialog.showModal();
  view.focus();
}

// In words, for the picture made large: where its crosshair is, and the value there.
function tell() {
  const pointed = view.querySelector(".pointed");
  const output = dialog.querySelector("output");
  if (!pointed) output.textContent = "";
  else if (pointed.matches(".named")) output.textContent = pointed.dataset.value;
  else {
    const at = ["--u", "--v"].map((variable) => Number(pointed.style.getPropertyValue(variable)));
    const [column, row] = cell(probed(pointed), ...at);
    output.textContent = `${pointed.dataset.value} in column ${column}, row ${row}`;
  }
}

dialog.querySelector("button").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

for (const picture of main.querySelectorAll("figure > img, .stack, .probe, .named, .film")) {
  picture.classList.add("enlarges");
  picture.setAttribute("role", "button");
  picture.setAttribute("tabindex", "0");
  const image = picture.matches("img") ? picture : probed(picture);
  picture.setAttribute("aria-label", `Enlarge: ${image.alt}`);
  picture.addEventListener("click", () => enlarge(picture));
  picture.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    enlarge(picture);
  });
}
