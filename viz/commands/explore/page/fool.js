// Fool it: a small change that makes the network say something else, and what defences make of it.

import { draw, end, floats } from "./draw.js";
import { element, keeping, percent, recipe } from "./element.js";
import { ask, cancel } from "./talk.js";

const [BUDGET, LARGEST] = [4, 32]; // of 255 levels
let root, facts, place, photo, asked, numbers, form, shown;
let search; // for the smallest budget: {fails, succeeds}, those between which it lies; null where none is under way

export function enter(main, known, where) {
  [root, facts, place, asked, numbers, search] = [main, known, where, null, [], null];
  form = controls();
  shown = element("section", { className: "part" });
  root.append(element("h1", { className: "unseen" }, "Fool it"), form, shown);
}

export function leave() {
  cancel(numbers);
}

function controls() {
  const method = element("select", { name: "method" }, ...Object.entries(facts.attacks).map(([value, text]) => element("option", { value }, text)));
  const budget = element("input", { type: "range", name: "budget", min: 1, max: LARGEST, step: 1 });
  const target = element("input", { type: "text", name: "to", autocomplete: "off", placeholder: "any other class" });
  target.setAttribute("list", "labels");
  const stop = element("button", { type: "button", hidden: true, onclick: halt, className: "stop" }, "Stop");
  const least = element("button", { type: "button", onclick: begin, className: "least" }, "Find the smallest budget");
  const bar = element("progress", { max: 1, value: 0, hidden: true });
  bar.setAttribute("aria-label", "How far it is");
  for (const field of [method, budget, target]) {
    field.addEventListener("change", () => {
      search = null;
      place.change({ [field.name]: field.value.trim() || null });
    });
  }
  budget.addEventListener("input", () => (budget.nextElementSibling.textContent = `${budget.value} of 255 levels`));
  return element(
    "form",
    { className: "inks", onsubmit: (event) => event.preventDefault() },
    element("label", {}, "By", method),
    element("label", {}, "with at most", budget, element("output", {})),
    element("label", {}, "it shall say", target),
    least,
    bar,
    stop,
  );
}

// ---- the smallest budget that succeeds, by halving -------------------------------------------------------------------

function begin() {
  search = { fails: 0, succeeds: LARGEST + 1 };
  attempt();
}

function halt() {
  search = null;
  cancel(numbers, true);
}

function attempt() {
  asked = null; // also where the budget in view comes first
  place.change({ budget: String((search.fails + search.succeeds) >> 1) }, { back: false });
  show(photo);
}

// A sentence once it is found. Until then the next attempt is begun.
function narrow(budget, fooled) {
  search[fooled ? "succeeds" : "fails"] = budget;
  const { fails, succeeds } = search;
  if (succeeds - fails > 1) return void attempt();
  if (budget < succeeds && succeeds <= LARGEST) return void place.change({ budget: String(succeeds) }, { back: false }); // to be seen
  search = null;
  if (fails === LARGEST) return `No budget up to ${LARGEST} of 255 levels succeeds.`;
  return fails ? `No smaller budget of this attack succeeds: with ${fails} of 255 levels it fails. Another attack may do with less.` : "No smaller budget is to be had: one level is the least.";
}

// ---- an attack -------------------------------------------------------------------------------------------------------

export function show(key) {
  if (photo !== key) search = null;
  photo = key;
  const method = place.get("method") in facts.attacks ? place.get("method") : "pgd";
  const budget = place.get("budget") ?? String(BUDGET);
  const target = place.get("to") ?? "";
  const limited = !["deepfool", "one_pixel"].includes(method);
  form.method.value = method;
  form.budget.value = budget;
  form.budget.disabled = !limited;
  form.querySelector(".least").hidden = !limited;
  form.budget.nextElementSibling.textContent = limited ? `${budget} of 255 levels` : "as little as it takes";
  if (document.activeElement !== form.to) form.to.value = target;
  form.to.disabled = method === "deepfool";
  const options = { "--method": method, ...(limited ? { "--epsilon": `${budget}/255` } : {}) };
  const question = { view: "fool", photo, target: method === "deepfool" ? "" : target, options };
  if (JSON.stringify(question) === JSON.stringify(asked)) return;
  cancel(numbers);
  asked = question;
  shown.setAttribute("aria-busy", "true");
  form.querySelector(".stop").hidden = false;
  numbers = ask([[question, (answer) => hear(question, answer)]]);
}

function hear(question, answer) {
  const bar = form.querySelector("progress");
  bar.hidden = answer.done || !answer.steps;
  if (answer.steps) bar.value = answer.step / answer.steps;
  if (!answer.done) return;
  shown.removeAttribute("aria-busy");
  form.querySelector(".stop").hidden = true;
  if (answer.refused) return shown.replaceChildren(element("p", { className: "notice bad" }, answer.refused));
  const least = search && narrow(parseInt(question.options["--epsilon"]), answer.fooled);
  const [original, attacked, saved] = answer.readings;
  const says = (one) => `${one.class}, ${percent(one.p)}`;
  const difference = floats(answer.difference);
  const canvas = element("canvas", { role: "img" });
  canvas.setAttribute("aria-label", `The difference, ${answer.linf.toFixed(0)} of 255 levels at most, made visible`);
  draw(canvas, null, difference, { high: end(difference.values, 100) });
  const picture = (source, caption, text) =>
    element("figure", {}, element("figcaption", {}, caption), element("img", { src: source, alt: caption, className: "whole" }), element("p", { className: "quiet" }, text));
  const rows = answer.defences.map(({ name, original: before, saved: after }) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, says(before)), element("td", {}, says(after))),
  );
  const head = element("tr", {}, ...["Behind", "the photograph", "the changed one"].map((text) => element("th", { scope: "col" }, text)));
  shown.replaceChildren(
    element("h2", {}, `It ${answer.ends}: ${saved.class}`),
    element("p", { className: "quiet" }, `Changed by ${answer.linf.toFixed(1)} of 255 levels at most, L2 ${answer.l2.toPrecision(3)}, in ${answer.l0} places. ${[answer.ending, least].filter(Boolean).join(" ")}`),
    element(
      "div",
      { className: "trio" },
      picture(answer.original, "The photograph", `It says ${says(original)}.`),
      element("figure", {}, element("figcaption", {}, "The difference, made visible"), canvas, element("p", { className: "quiet" }, "Grey is none.")),
      picture(answer.saved, "Changed, and saved in 8 bits", `It says ${says(saved)}; before it was saved, ${says(attacked)}.`),
    ),
    element("h3", {}, "Behind defences that the attack did not know"),
    element("table", { className: "shares" }, element("thead", {}, head), element("tbody", {}, ...rows)),
    recipe(answer, keeping("attack", question)),
  );
}
