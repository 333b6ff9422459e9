// Style: the photograph in the style of another picture, frame by frame; layers, weights and colours by hand.

import { element, keeping, recipe } from "./element.js";
import { ask, cancel } from "./talk.js";
import { number } from "./draw.js";

const USUAL = { steps: "60", size: "192", strokes: "1", content: "1", weight: "", colours: "" };
let root, facts, place, form, styles, shown, asked, numbers;

export function enter(main, known, where) {
  [root, facts, place, asked, numbers] = [main, known, where, undefined, []]; // null: nothing is asked yet
  if (facts.style.refused) return void root.append(element("p", { className: "notice bad" }, facts.style.refused));
  styles = element("div", { className: "styles" });
  form = controls();
  shown = element("section", { className: "part" });
  root.append(element("h1", { className: "unseen" }, "Style"), styles, form, shown);
}

export function leave() {
  cancel(numbers);
}

const own = (name) => place.get(`style-${name}`); // what the address has of this view's controls
const equal = () => (1 / facts.style.layers.length).toPrecision(3);
const network = () => facts.networks[0];

function controls() {
  const field = (name, label, properties) => element("label", {}, label, element("input", { type: "number", name, ...properties }));
  const select = (name, label, words) =>
    element("label", {}, label, element("select", { name }, ...Object.entries(words).map(([value, text]) => element("option", { value }, text))));
  const named = (names) => Object.fromEntries(names.map((name) => [name, name]));
  const layers = facts.style.layers.map((name) => field(`w-${name}`, name, { min: 0, step: "any", placeholder: "as suits" }));
  const made = element(
    "form",
    { className: "inks", onsubmit: (event) => event.preventDefault() },
    select("network", "By", named(facts.networks)),
    field("steps", "Steps", { min: 1, max: 2000, step: 1 }),
    field("size", "Longest side in pixels", { min: 32, max: 512, step: 16 }),
    field("strokes", "Size of the strokes", { min: 0.1, max: 4, step: "any" }),
    select("layer", "The photograph counts in", { "": "as usual", ...named(facts.layers) }),
    field("content", "with weight", { min: 0, step: "any" }),
    field("weight", "The style with weight", { min: 0, step: "any", placeholder: "as suits" }),
    select("colours", "Colours", { "": "of the style", kept: "of the photograph" }),
    element("fieldset", { className: "weights" }, element("legend", {}, "Weights of the style's layers"), ...layers),
  );
  made.addEventListener("change", ({ target }) => {
    const value = target.value.trim();
    const usual = { ...USUAL, network: network(), layer: "" }[target.name] ?? "";
    place.change({ [`style-${target.name}`]: value === usual ? null : value });
  });
  return made;
}

function showControls() {
  for (const field of form.querySelectorAll("[name]")) {
    if (document.activeElement !== field) field.value = own(field.name) ?? { ...USUAL, network: network() }[field.name] ?? "";
  }
}

// The pictures that can give the style: all whose file there is.
function showStyles(by) {
  const pictures = place.photographs().filter((one) => one.file !== false);
  const links = pictures.map(({ photo, name }) => {
    const link = element("a", { ...place.link("style", { style: photo }), title: name }, element("img", { src: `/photographs/${photo}.png`, alt: "" }));
    link.setAttribute("aria-label", `In the style of ${name}`);
    if (photo === by) link.setAttribute("aria-current", "true");
    return element("li", {}, link);
  });
  const file = element("input", { type: "file", accept: "image/*", id: "style-file", className: "unseen" });
  file.addEventListener("change", () => place.take(file.files[0], "style"));
  styles.replaceChildren(
    element("h2", {}, "In the style of"),
    element("ul", { className: "strip" }, ...links),
    element("span", {}, element("label", { className: "button", htmlFor: "style-file" }, "Choose a painting"), file),
  );
}

function options() {
  const value = (name) => own(name) ?? USUAL[name];
  const found = { "--steps": value("steps"), "--size": value("size"), "--style-scale": value("strokes"), "--content-weight": value("content") };
  if (value("weight")) found["--style-weight"] = value("weight");
  if (own("layer")) found["--content-layers"] = own("layer");
  if (value("colours")) found["--original-colours"] = true;
  const { layers } = facts.style;
  if (layers.some((name) => own(`w-${name}`) !== null)) {
    const weights = layers.map((name) => [name, own(`w-${name}`) ?? equal()]).filter(([, weight]) => Number(weight) > 0);
    found["--style-layers"] = weights.map(([name]) => name).join();
    found["--layer-weights"] = weights.map(([, weight]) => weight);
  }
  return found;
}

export function show(photo) {
  if (facts.style.refused) return;
  const by = place.get("style");
  showStyles(by);
  showControls();
  const question = by ? { view: "style", photo, style: by, network: own("network") ?? network(), options: options() } : null;
  if (JSON.stringify(question) === JSON.stringify(asked)) return;
  cancel(numbers);
  [asked, numbers] = [question, []];
  if (!question) return shown.replaceChildren(element("p", { className: "quiet" }, "Choose a painting, or any picture whose strokes and colours the photograph shall have."));
  if (question.options["--layer-weights"]?.length === 0) {
    return shown.replaceChildren(element("p", { className: "notice bad" }, "No layer of the style has a weight: give one at least."));
  }
  begin(question);
}

function begin(question) {
  const parts = {
    image: element("img", { className: "whole", alt: "The photograph in its new style, so far" }),
    bar: element("progress", { max: 1, value: 0 }),
    stop: element("button", { type: "button", onclick: () => cancel(numbers, true) }, "Stop"),
    said: element("p", { className: "quiet" }),
    more: element("div", {}),
  };
  parts.bar.setAttribute("aria-label", "How far it is");
  parts.row = element("div", { className: "row" }, parts.bar, parts.stop);
  const small = (key, caption) => element("figure", {}, element("figcaption", {}, caption), element("img", { className: "whole", src: `/photographs/${key}.png`, alt: caption }));
  const result = element("figure", { className: "panel" }, element("figcaption", {}, "The photograph in the style"), parts.image, parts.row, parts.said);
  shown.replaceChildren(element("div", { className: "trio" }, small(question.photo, "The photograph"), small(question.style, "The style"), result), parts.more);
  numbers = ask([[question, (answer) => hear(parts, question, answer)]]);
}

function hear({ image, bar, row, said, more }, question, answer) {
  if (answer.image) image.src = answer.image;
  if (answer.steps) bar.value = answer.step / answer.steps;
  if (!answer.done) return;
  row.remove();
  if (answer.refused) return (said.textContent = answer.refused);
  image.alt = "The photograph in its new style";
  const course = Object.entries(answer.losses).map(([name, [first, last]]) => `${name} loss from ${number(first)} to ${number(last)}`);
  said.textContent = [...course, `weight of the style ${number(answer.weight)}`, answer.ending].filter(Boolean).join(", ");
  const alone = element("a", { href: answer.image, download: "style.png", className: "keep" }, "The picture");
  more.replaceChildren(recipe(answer, [alone, ...(answer.ending ? [] : keeping("style_transfer", question))]));
}
