// What would it rather see: gradient ascent to the image that a class, a channel or a neuron likes best, frame by frame.

import { element, percent, recipe } from "./element.js";
import { ask, cancel } from "./talk.js";

const USUAL = { steps: "128", size: "112", lr: "0.05", tv: "0" };
let root, facts, place, form, panels;

export function enter(main, known, where) {
  [root, facts, place, panels] = [main, known, where, new Map()];
  const number = (name, label, properties) => element("label", {}, label, element("input", { type: "number", name, ...properties }));
  const target = element("input", { type: "text", name: "goal", autocomplete: "off", placeholder: "the top class" });
  target.setAttribute("list", "labels");
  form = element(
    "form",
    { className: "inks", onsubmit: (event) => event.preventDefault() },
    element("label", {}, "A class, a layer or LAYER:CHANNEL", target),
    number("steps", "Steps", { min: 1, max: 5000, step: 1 }),
    number("size", "Side in pixels", { min: 32, max: 512, step: 16 }),
    number("lr", "Learning rate", { min: 0.001, step: "any" }),
    number("tv", "Smoothness (total variation)", { min: 0, step: "any" }),
  );
  form.addEventListener("change", ({ target: field }) => {
    const value = field.value.trim();
    place.change({ [field.name]: value === USUAL[field.name] ? null : value || null });
  });
  const grid = element("div", { className: "trio" }, ...facts.networks.map(panelFor));
  root.append(element("h1", { className: "unseen" }, "What would it rather see"), form, grid);
}

export function leave() {
  for (const panel of panels.values()) cancel(panel.numbers);
}

function panelFor(network) {
  const panel = { network, asked: null, numbers: [], image: element("img", { className: "whole", alt: "" }) };
  panel.bar = element("progress", { max: 1, value: 0 });
  panel.bar.setAttribute("aria-label", `${network}: how far it is`);
  panel.stop = element("button", { type: "button", onclick: () => cancel(panel.numbers, true) }, "Stop");
  panel.again = element("button", { type: "button", onclick: () => start([panel]), hidden: true }, "Once more");
  panel.said = element("p", { className: "quiet" });
  panel.more = element("div", {});
  panels.set(network, panel);
  return element("figure", { className: "panel" }, element("figcaption", {}, network), panel.image, element("div", { className: "row" }, panel.bar, panel.stop, panel.again), panel.said, panel.more);
}

export function show(photo) {
  for (const field of form.elements) {
    if (document.activeElement !== field) field.value = place.get(field.name) ?? USUAL[field.name] ?? "";
  }
  const value = (name) => place.get(name) ?? USUAL[name];
  const options = { "--steps": value("steps"), "--size": value("size"), "--lr": value("lr"), "--tv-weight": value("tv") };
  if (Number(options["--tv-weight"]) === 0) delete options["--tv-weight"];
  const waiting = [];
  for (const panel of panels.values()) {
    const question = { view: "rather", photo, network: panel.network, target: place.get("goal") ?? "", options };
    if (JSON.stringify(question) === JSON.stringify(panel.asked)) continue;
    panel.asked = question;
    waiting.push(panel);
  }
  if (waiting.length) start(waiting);
}

function start(chosen) {
  cancel(chosen.flatMap((panel) => panel.numbers));
  for (const panel of chosen) {
    [panel.stop.hidden, panel.again.hidden, panel.bar.hidden, panel.bar.value] = [false, true, false, 0];
    panel.said.textContent = "";
    panel.more.replaceChildren();
  }
  const numbers = ask(chosen.map((panel) => [panel.asked, (answer) => hear(panel, answer)]));
  chosen.forEach((panel, n) => (panel.numbers = [numbers[n]]));
}

function hear(panel, answer) {
  if (answer.image) panel.image.src = answer.image;
  if (answer.steps) panel.bar.value = answer.step / answer.steps;
  if (!answer.done) return;
  [panel.stop.hidden, panel.again.hidden, panel.bar.hidden] = [true, false, true];
  if (answer.refused) {
    panel.said.textContent = answer.refused;
    return;
  }
  panel.image.alt = `What ${panel.network} likes best for ${answer.of}`;
  panel.said.textContent = [`For ${answer.of}; of this it says ${answer.says}, ${percent(answer.p)}`, answer.ending].filter(Boolean).join(", ");
  panel.more.replaceChildren(recipe(answer));
}
