// Why: any methods beside each other, for one class or two, with their parameters and their colours at hand.

import { correlation, ranks } from "./agree.js";
import { ask, cancel } from "./talk.js";
import { draw, end, floats, number, pixels, Pointed, signed, valueAt } from "./draw.js";
import { element, keeping, percent, recipe } from "./element.js";

const USUAL = ["saliency", "guided_backprop", "grad_cam"];
let root, facts, place, pointed, grid, choices, inks, photograph, shownPhoto, trial;
let panels = new Map(); // by method and class

export function enter(main, known, where) {
  [root, facts, place, pointed, panels, shownPhoto] = [main, known, where, new Pointed(), new Map(), null];
  grid = element("div", { className: "grid" });
  choices = chooser();
  inks = colours();
  trial = { box: element("section", { className: "part trial", tabIndex: -1 }), asked: null, numbers: [] };
  root.append(element("h1", { className: "unseen" }, "Why"), choices, inks, grid, trial.box);
}

export function leave() {
  for (const panel of panels.values()) cancel(panel.numbers);
  cancel(trial.numbers);
}

// ---- what is asked, as the address has it ----------------------------------------------------------------------------

const list = (text) => (text ? text.split(",").filter(Boolean) : []);
const methods = () => list(place.get("methods") ?? USUAL.join()).filter((name) => facts.methods.some((one) => one.name === name));
const targets = () => [place.get("for") ?? "", place.get("and")].filter((one) => one !== null); // "": the top class

function options(method) {
  const found = {};
  for (const { flag } of method.options) {
    const value = place.get(method.name + flag.slice(1));
    if (value !== null) found[flag] = value === "yes" ? true : value;
  }
  return found;
}

// ---- the controls ----------------------------------------------------------------------------------------------------

function chooser() {
  const target = (name, label) => {
    const field = element("input", { id: `class-${name}`, name, type: "text", autocomplete: "off", placeholder: name === "for" ? "the top class, or A - B" : "none" });
    field.setAttribute("list", "labels");
    field.addEventListener("change", () => place.change({ [name]: field.value.trim() }));
    return element("label", { htmlFor: field.id }, label, field);
  };
  const boxes = facts.methods.map(({ name, title, about, slow }) => {
    const box = element("input", { type: "checkbox", value: name, id: `method-${name}` });
    box.addEventListener("change", () => {
      const chosen = [...choices.querySelectorAll("input:checked")].map((one) => one.value);
      place.change({ methods: chosen.join() || "none" });
    });
    return element("label", { htmlFor: box.id, title: about }, box, ` ${title}`, slow ? element("span", { className: "quiet" }, " slow") : null);
  });
  return element(
    "form",
    { className: "choices", onsubmit: (event) => event.preventDefault() },
    element("div", { className: "classes" }, target("for", "Why"), target("and", "and why")),
    element("fieldset", {}, element("legend", {}, "by"), ...boxes),
  );
}

const INKS = { mix: "", percentile: "99.5", sign: "all", scale: "own" };

function colours() {
  const slider = (name, label, low, high, step, value) =>
    element("label", {}, label, element("input", { type: "range", name, min: low, max: high, step, value }), element("output", {}));
  const select = (name, label, words) =>
    element("label", {}, label, element("select", { name }, ...Object.entries(words).map(([value, text]) => element("option", { value }, text))));
  const form = element(
    "form",
    { className: "inks", onsubmit: (event) => event.preventDefault() },
    slider("mix", "Photograph or map", 0, 100, 5, 50),
    slider("percentile", "Colours end at percentile", 80, 100, 0.5, 99.5),
    select("sign", "Values", { all: "all", positive: "for", negative: "against", size: "their size" }),
    select("scale", "Colours", { own: "of each map", one: "the same for a method" }),
    element("button", { type: "reset" }, "Usual colours"),
  );
  form.addEventListener("input", ({ target }) => {
    place.change({ [target.name]: target.value === INKS[target.name] ? null : target.value }, { back: false });
  });
  form.addEventListener("reset", () => place.change(Object.fromEntries(Object.keys(INKS).map((name) => [name, null]))));
  return form;
}

function showControls() {
  for (const name of ["for", "and"]) {
    const field = choices.querySelector(`[name=${name}]`);
    if (document.activeElement !== field) field.value = place.get(name) ?? "";
  }
  const chosen = methods();
  for (const box of choices.querySelectorAll("[type=checkbox]")) box.checked = chosen.includes(box.value);
  for (const [name, usual] of Object.entries(INKS)) {
    const field = inks.querySelector(`[name=${name}]`);
    field.value = place.get(name) ?? (name === "mix" ? "50" : usual);
    const shown = name === "mix" && place.get("mix") === null ? "as it suits" : field.value;
    if (field.type === "range") field.nextElementSibling.textContent = shown;
  }
}

// ---- the panels ------------------------------------------------------------------------------------------------------

export async function show(photo) {
  showControls();
  if (shownPhoto !== photo) {
    shownPhoto = photo;
    photograph = null;
    pixels(`/photographs/${photo}.png`).then(
      (found) => {
        photograph = found;
        for (const panel of panels.values()) paint(panel);
      },
      () => {},
    );
  }
  const chosen = methods().map((name) => facts.methods.find((one) => one.name === name));
  const wanted = targets().flatMap((target) => chosen.map((method) => [method, target]));
  grid.style.setProperty("--methods", Math.max(1, chosen.length));
  const keys = wanted.map(([method, target]) => `${method.name} ${target}`);
  for (const [key, panel] of panels) {
    if (keys.includes(key)) continue;
    cancel(panel.numbers);
    panel.figure.remove();
    panels.delete(key);
  }
  const asked = [];
  wanted.forEach(([method, target], n) => {
    const panel = panels.get(keys[n]) ?? panelFor(method, target);
    panels.set(keys[n], panel);
    if (grid.children[n] !== panel.figure) grid.insertBefore(panel.figure, grid.children[n] ?? null);
    const question = { view: "why", photo, method: method.name, target, options: options(method) };
    if (JSON.stringify(question) !== JSON.stringify(panel.question)) asked.push([panel, question]);
    else paint(panel);
  });
  showTrial(photo); // before the maps: of two wishes the newer one comes first, and a trial takes long
  request(asked.sort(([a], [b]) => a.method.slow - b.method.slow));
  compare();
}

function request(asked) {
  cancel(asked.flatMap(([panel]) => panel.numbers));
  const began = performance.now();
  const numbers = ask(asked.map(([panel, question]) => [question, (answer) => hear(panel, answer, began)]));
  asked.forEach(([panel, question], n) => {
    [panel.question, panel.numbers] = [question, [numbers[n]]];
    panel.figure.classList.add("waits");
    panel.figure.setAttribute("aria-busy", "true");
    panel.stop.hidden = !panel.method.slow;
    showSettings(panel);
  });
}

function panelFor(method, target) {
  const canvas = element("canvas", { width: 8, height: 8, role: "img" });
  const panel = {
    method,
    target,
    canvas,
    numbers: [],
    map: null,
    title: element("figcaption", {}, method.title),
    value: element("output", { className: "at-pointer" }),
    said: element("p", { className: "said quiet" }),
    agrees: element("p", { className: "agrees quiet" }),
    bar: element("progress", { max: 1, value: 0, hidden: true }),
    settings: element("div", { className: "settings" }),
    more: element("div", {}),
  };
  panel.bar.setAttribute("aria-label", `${method.title}: how far it is`);
  panel.stop = element("button", { type: "button", hidden: true, onclick: () => cancel(panel.numbers, true) }, "Stop");
  panel.figure = element(
    "figure",
    { className: "panel" },
    panel.title,
    element("div", { className: "frame" }, canvas),
    element("div", { className: "row" }, panel.value, panel.bar, panel.stop),
    panel.said,
    panel.agrees,
    panel.settings,
    panel.more,
  );
  pointed.add(canvas, (column, row) => {
    if (panel.map) panel.value.textContent = `${valueAt(panel.map, column, row)} in column ${column}, row ${row}`;
  });
  return panel;
}

function hear(panel, answer, began) {
  if (answer.map) {
    panel.map = floats(answer.map);
    panel.map.end = {};
    paint(panel);
  }
  panel.bar.hidden = answer.done || !answer.steps;
  if (answer.steps) panel.bar.value = answer.step / answer.steps;
  if (!answer.done) return;
  panel.figure.classList.remove("waits");
  panel.figure.removeAttribute("aria-busy");
  panel.stop.hidden = true;
  if (answer.refused) {
    panel.map = null;
    [panel.canvas.width, panel.canvas.height] = [8, 8];
    panel.value.textContent = "";
    panel.said.textContent = answer.refused;
    return panel.more.replaceChildren();
  }
  const shares = answer.p.map(percent).join(", ");
  panel.title.textContent = `${answer.title}: ${answer.of}${shares ? ` (${shares})` : ""}`;
  panel.canvas.setAttribute("aria-label", `${panel.title.textContent}. ${answer.measures}. Arrow keys move the pointer.`);
  const at = answer.layer ? `, at ${answer.layer}` : "";
  panel.said.textContent = [`${answer.measures || "gradient, a colour for each channel"}${at}`, answer.ending, ...answer.warnings].filter(Boolean).join(". ");
  const files = answer.ending ? [] : keeping(panel.method.name, panel.question);
  panel.more.replaceChildren(facts.tried.includes(panel.method.name) ? doubt(panel) : "", recipe(answer, files));
  panel.figure.dataset.seconds = answer.seconds;
  requestAnimationFrame(() => {
    panel.figure.dataset.shown = performance.now() - began;
    setTimeout(compare); // the picture comes first
  });
}

// Say of each map how far the others of its class agree with it, those that agree most first. A map in colours has no
// one number for each pixel.
function compare() {
  const whole = [...panels.values()].filter(({ map, figure }) => map?.shape.length === 2 && !figure.matches(".waits"));
  for (const { map } of whole) map.ranks ??= ranks(map.values);
  for (const panel of panels.values()) {
    const others = whole.includes(panel) ? whole.filter((one) => one !== panel && one.target === panel.target) : [];
    const found = others.map((one) => [one.method.title, correlation(panel.map.ranks, one.map.ranks)]).sort(([, a], [, b]) => b - a);
    const words = found.map(([title, value]) => `${title.split(",")[0]} ${value.toFixed(2).replace(/^-0.00$/, "0.00").replace("-", "−")}`);
    panel.agrees.textContent = words.length ? `Rank correlation, pixel by pixel, with ${words.join(", ")}.` : "";
  }
}

function paint(panel) {
  if (!panel.map) return;
  const sign = place.get("sign") ?? INKS.sign;
  const percentile = Number(place.get("percentile") ?? INKS.percentile);
  const ending = (one) => (one.map.end[`${sign} ${percentile}`] ??= end(signed(one.map, sign), percentile));
  const alike = place.get("scale") === "one" ? [...panels.values()].filter((one) => one.method === panel.method && one.map) : [panel];
  const asked = place.get("mix");
  const mix = asked === null ? (panel.method.coarse ? 0.5 : 1) : Number(asked) / 100;
  draw(panel.canvas, photograph, panel.map, { values: signed(panel.map, sign), high: Math.max(...alike.map(ending)), mix });
  panel.figure.dataset.high = number(Math.max(...alike.map(ending)));
}

// ---- a method's own parameters ---------------------------------------------------------------------------------------

function showSettings(panel) {
  const { method, settings } = panel;
  if (!method.options.length) return;
  const asked = options(method);
  const key = JSON.stringify(asked);
  if (settings.dataset.key === key) return;
  settings.dataset.key = key;
  const open = settings.querySelector("details")?.open ?? false;
  const focused = settings.contains(document.activeElement) ? document.activeElement.name : null;
  const fields = method.options.map((option) => control(method, option, asked[option.flag]));
  settings.replaceChildren(element("details", { open }, element("summary", {}, "Parameters"), ...fields));
  if (focused) settings.querySelector(`[name="${focused}"]`)?.focus();
}

function control(method, option, value) {
  const name = method.name + option.flag.slice(1);
  const words = option.flag.replace(/^--/, "").replaceAll("-", " ");
  const usual = option.default ?? "";
  let field;
  if (option.kind === "switch") field = element("input", { type: "checkbox", checked: value === true });
  else if (option.kind === "number") field = element("input", { type: "number", step: option.step, value: value ?? usual });
  else if (option.kind === "text") field = element("input", { type: "text", value: value ?? "" });
  else {
    const named = option.kind === "layer" ? ["", ...facts.layers] : option.choices;
    field = element("select", {}, ...named.map((one) => element("option", { value: one }, one || "as usual")));
    field.value = value ?? usual;
  }
  field.name = name;
  field.addEventListener("change", () => {
    const given = option.kind === "switch" ? (field.checked ? "yes" : null) : field.value;
    place.change({ [name]: given === String(usual) ? null : given });
  });
  const range = option.range ? ` (${option.range})` : "";
  return element("label", { title: option.help + range }, words, field, element("span", { className: "quiet" }, option.help + range));
}

// ---- can I believe it ------------------------------------------------------------------------------------------------

function doubt({ method, target }) {
  const button = element("button", { type: "button" }, "Can I believe it?");
  button.addEventListener("click", () => place.change({ believe: `${method.name} ${target}` }));
  return button;
}

function showTrial(photo) {
  const [method, ...rest] = (place.get("believe") ?? "").split(" ");
  const question = facts.tried.includes(method) ? { view: "believe", photo, method, target: rest.join(" ") } : null;
  if (JSON.stringify(question) === JSON.stringify(trial.asked)) return;
  cancel(trial.numbers);
  [trial.asked, trial.numbers] = [question, []];
  if (!question) return trial.box.replaceChildren();
  const bar = element("progress", { max: 1, value: 0 });
  bar.setAttribute("aria-label", "How far the trial is");
  const stop = element("button", { type: "button", onclick: () => place.change({ believe: null }) }, "Stop");
  const { title } = facts.methods.find((one) => one.name === method);
  trial.box.replaceChildren(element("h2", {}, `Can I believe ${title}?`), element("p", {}, "It is put on trial, with its usual parameters, which takes a while: ", bar, " ", stop));
  trial.box.scrollIntoView({ block: "nearest" });
  trial.numbers = ask([[question, (answer) => hearTrial(title, question, answer, bar)]]);
}

function hearTrial(title, question, answer, bar) {
  if (answer.steps) bar.value = answer.step / answer.steps;
  if (!answer.done) return;
  if (answer.refused) return trial.box.replaceChildren(element("p", { className: "notice bad" }, answer.refused));
  const rows = answer.findings.map(({ name, sign, text }) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, element("strong", {}, sign)), element("td", {}, text)),
  );
  const map = (packed, caption) => {
    const found = floats(packed);
    const canvas = element("canvas", { role: "img" });
    canvas.setAttribute("aria-label", caption);
    draw(canvas, photograph, found, { high: end(found.values, 99.5), mix: 0.5 });
    return element("figure", {}, element("figcaption", {}, caption), canvas);
  };
  trial.box.replaceChildren(
    element("h2", {}, `Can I believe ${title} for ${answer.of}?`),
    element("p", {}, answer.verdict, " The map on trial is the one with its usual parameters."),
    element("table", { className: "shares findings" }, element("tbody", {}, ...rows)),
    element("div", { className: "trio" }, map(answer.map, "The map"), map(answer.random, "Of the network with random weights")),
    recipe(answer, keeping("trust", { ...question, options: { "--method": question.method } })),
  );
}
