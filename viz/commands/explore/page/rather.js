// What would it rather see: gradient ascent to the image that a class, a channel or a neuron likes best, frame by frame.

import { element, kept, percent, recipe } from "./element.js";
import { ask, cancel, change, pause } from "./talk.js";

const FIELDS = {
  steps: ["Steps", { min: 1, max: 5000, step: 1 }],
  size: ["Longest side in pixels", { min: 32, max: 512, step: 16 }],
  lr: ["Learning rate", { min: 0.0001, step: "any" }],
  "tv-weight": ["Smoothness (total variation)", { min: 0, step: "any" }],
  blur: ["Blur in pixels", { min: 0, max: 100, step: "any" }],
  jitter: ["Jitter in pixels", { min: 0, step: 1 }],
  octaves: ["Octaves", { min: 1, max: 12, step: 1 }],
};
let root, facts, place, form, panels;

export function enter(main, known, where) {
  [root, facts, place, panels] = [main, known, where, new Map()];
  form = controls();
  const grid = element("div", { className: "trio" }, ...facts.networks.map(panelFor));
  root.append(element("h1", { className: "unseen" }, "What would it rather see"), form, grid);
}

export function leave() {
  for (const panel of panels.values()) cancel(panel.numbers);
}

// ---- what is asked, as the address has it ----------------------------------------------------------------------------

const list = (text) => (text ? text.split(",") : []);
const kind = () => (place.get("from") in facts.recipes ? place.get("from") : Object.keys(facts.recipes)[0]);
const usual = () => facts.recipes[kind()].usual;

// The value of a field: of the last change, or as it was to begin with. "40:lr=0.01": a change and its step.
function value(name) {
  const changed = list(place.get("changes")).map((one) => one.split(/[:=]/)).filter(([, flag]) => flag === name);
  return changed.length ? changed.at(-1)[2] : begun(name);
}
const begun = (name) => place.get(name) ?? String(usual()[name]);

function question(photo, network) {
  const names = Object.keys(usual()).filter((name) => name !== "tv-weight" || Number(begun(name)));
  const options = Object.fromEntries(names.map((name) => [`--${name}`, begun(name)]));
  const asked = { view: "rather", photo, network, recipe: kind(), target: place.get("goal") ?? "", options };
  return place.get("changes") ? { ...asked, changes: list(place.get("changes")) } : asked;
}

// ---- the controls ----------------------------------------------------------------------------------------------------

function controls() {
  const goal = element("input", { type: "text", name: "goal", autocomplete: "off" });
  goal.setAttribute("list", "labels");
  const titles = Object.entries(facts.recipes).map(([name, { title }]) => element("option", { value: name }, title));
  const numbers = Object.entries(FIELDS).map(([name, [label, properties]]) => element("label", {}, label, element("input", { type: "number", name, ...properties })));
  const made = element(
    "form",
    { className: "inks", onsubmit: (event) => event.preventDefault() },
    element("label", {}, "A class, a layer or LAYER:CHANNEL", goal),
    element("label", {}, "Made of", element("select", { name: "from" }, ...titles)),
    ...numbers,
  );
  made.addEventListener("change", ({ target }) => {
    const given = target.value.trim();
    if (target.name === "from") {
      const others = Object.fromEntries(Object.keys(FIELDS).map((name) => [name, null]));
      return place.change({ ...others, changes: null, from: given === Object.keys(facts.recipes)[0] ? null : given });
    }
    const running = [...panels.values()].filter((panel) => panel.busy);
    if (running.length && facts.recipes[kind()].live.includes(target.name) && given) {
      return change(running.flatMap((panel) => panel.numbers), `${target.name}=${given}`, kind());
    }
    place.change({ [target.name]: given === String(usual()[target.name] ?? "") ? null : given || null, changes: null });
  });
  return made;
}

function showControls() {
  for (const field of form.elements) {
    const shown = { from: kind(), goal: place.get("goal") ?? "" }[field.name];
    if (document.activeElement !== field || field.name === "from") field.value = shown ?? (field.name in usual() ? value(field.name) : "");
    if (!(field.name in FIELDS)) continue;
    field.disabled = !(field.name in usual());
    const live = facts.recipes[kind()].live.includes(field.name);
    field.parentElement.title = field.disabled ? `Not with ${facts.recipes[kind()].title}` : live ? "Acts while it runs" : "Begins it anew";
  }
  form.elements.goal.placeholder = kind() === "dream" ? "a layer in the middle" : "the top class";
}

// ---- the panels, one for each network --------------------------------------------------------------------------------

function panelFor(network) {
  const panel = { network, asked: null, numbers: [], busy: false, paused: false, image: element("img", { className: "whole", alt: "" }) };
  panel.bar = element("progress", { max: 1, value: 0 });
  panel.bar.setAttribute("aria-label", `${network}: how far it is`);
  panel.stop = element("button", { type: "button", onclick: () => cancel(panel.numbers, true) }, "Stop");
  panel.pause = element("button", { type: "button", onclick: () => rest(panel, !panel.paused) }, "Pause");
  panel.again = element("button", { type: "button", onclick: () => start([panel]) }, "Once more");
  panel.said = element("p", { className: "quiet", ariaLive: "polite" });
  panel.more = element("div", {});
  panels.set(network, panel);
  const row = element("div", { className: "row" }, panel.bar, panel.stop, panel.pause, panel.again);
  return element("figure", { className: "panel" }, element("figcaption", {}, network), panel.image, row, panel.said, panel.more);
}

function rest(panel, paused) {
  panel.paused = paused;
  panel.pause.textContent = paused ? "Go on" : "Pause";
  pause(panel.numbers, paused);
}

export function show(photo) {
  showControls();
  const waiting = [];
  for (const panel of panels.values()) {
    const asked = question(photo, panel.network);
    if (JSON.stringify(asked) === JSON.stringify(panel.asked)) continue;
    panel.asked = asked;
    waiting.push(panel);
  }
  if (waiting.length) start(waiting);
}

function start(chosen) {
  cancel(chosen.flatMap((panel) => panel.numbers));
  for (const panel of chosen) {
    [panel.busy, panel.paused, panel.bar.value, panel.pause.textContent] = [true, false, 0, "Pause"];
    showBusy(panel);
    panel.said.textContent = "";
    panel.more.replaceChildren();
  }
  const numbers = ask(chosen.map((panel) => [panel.asked, (answer) => hear(panel, answer)]));
  chosen.forEach((panel, n) => (panel.numbers = [numbers[n]]));
}

function showBusy({ busy, bar, pause, stop }) {
  bar.hidden = pause.hidden = stop.hidden = !busy;
}

function hear(panel, answer) {
  if (answer.image) panel.image.src = answer.image;
  if (answer.steps) panel.bar.value = answer.step / answer.steps;
  if (answer.said) panel.said.textContent = answer.said;
  if (answer.changes) {
    panel.asked = { ...panel.asked, changes: answer.changes }; // it goes on with them: the address only says so
    panel.said.textContent = "";
    place.change({ changes: answer.changes.join() }, { back: false });
  }
  if (!answer.done) return;
  panel.busy = false;
  showBusy(panel);
  if (answer.refused) {
    panel.said.textContent = answer.refused;
    return;
  }
  panel.image.alt = `What ${panel.network} likes best for ${answer.of}`;
  const says = answer.says ? `; of this it says ${answer.says}, ${percent(answer.p)}` : "";
  panel.said.textContent = [`For ${answer.of}${says}`, answer.ending].filter(Boolean).join(", ");
  panel.more.replaceChildren(recipe(answer, kept(answer, panel.asked)));
}
