// Inside: the network as its layers, the channels of one, a channel, and the arithmetic of a single place.

import { arithmetic } from "./arithmetic.js";
import { bytes, draw, end, enlarged, floats, number, pixels, Pointed, shade, valueAt } from "./draw.js";
import { element, keeping, kept, percent, recipe } from "./element.js";
import { ask, cancel } from "./talk.js";

const STEPS = 128; // of the ascent to the image that a channel likes best
let root, facts, place, photo, photograph, pointed;
let parts = {}; // the parts of the view: {box, asked, numbers}, each filled by its own answer

export function enter(main, known, where) {
  [root, facts, place, photo, photograph, pointed] = [main, known, where, null, null, new Pointed()];
  parts = {};
  const boxes = ["layer", "channel", "off", "ideal", "place"].map((name) => {
    const box = element("section", { className: `part part-${name}`, ariaLive: "off" });
    parts[name] = { box, asked: null, numbers: [] };
    return box;
  });
  const network = element("nav", { className: "network", ariaLabel: "Layers" }, ...facts.tree.map(drawn));
  root.append(element("h1", { className: "unseen" }, "Inside"), network, element("div", { className: "depths" }, ...boxes));
}

export function leave() {
  for (const part of Object.values(parts)) cancel(part.numbers);
}

// ---- the network -----------------------------------------------------------------------------------------------------

function drawn(node) {
  const size = node.shape?.every?.((n) => typeof n === "number") ? node.shape.join(" × ") : "";
  const link = element(
    "a",
    { data: { view: "inside", layer: node.name, kind: node.kind }, className: "node" },
    element("span", {}, node.name.split(".").at(-1)),
    element("span", { className: "quiet" }, ` ${node.kind} ${size}`),
  );
  const takes = node.takes.length ? element("span", { className: "takes quiet" }, `takes ${node.takes.join(" and ")}`) : null;
  if (!node.inner.length) return element("div", { className: "layer-node" }, link, takes);
  const within = element("div", { className: node.joined ? "branches" : "chain" }, ...node.inner.map(drawn));
  const joined = node.joined ? element("span", { className: "quiet joined" }, node.joined) : null;
  return element("div", { className: "group" }, link, takes, within, joined);
}

function mark(layer) {
  for (const link of root.querySelectorAll("a.node")) {
    const to = { layer: link.dataset.layer, channel: null, at: null, by: null, off: null, ideal: null };
    link.href = place.address("inside", to);
    if (link.dataset.layer === layer) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

// The layer to begin with: the last with positions that rectifies.
function usual(nodes = facts.tree) {
  const flat = (list) => list.flatMap((node) => [node, ...flat(node.inner)]);
  const found = flat(nodes).filter((node) => !node.inner.length && node.shape?.length === 3);
  return (found.filter((node) => /ReLU/i.test(node.kind)).at(-1) ?? found.at(-1))?.name;
}

// ---- what is asked ---------------------------------------------------------------------------------------------------

export async function show(key) {
  const layer = place.get("layer") ?? usual();
  const channel = place.get("channel");
  const at = place.get("at")?.split(",").map(Number);
  mark(layer);
  if (photo !== key) {
    [photo, photograph] = [key, null];
    pixels(`/photographs/${key}.png`).then(
      (found) => {
        photograph = found;
        parts.channel.paint?.();
      },
      () => {},
    );
  }
  const vector = nodeOf(layer)?.shape?.length === 1;
  const here = { photo, layer };
  const unit = channel === null ? null : vector ? [Number(channel)] : at ? [Number(channel), ...at] : null;
  const by = place.get("by")?.split(",").map(Number);
  const off = place.get("off");
  const ideal = place.get("ideal");
  await request({
    layer: [by ? { ...here, by } : here, showLayer],
    channel: channel !== null && [{ ...here, channel: Number(channel) }, showChannel],
    off: off && [{ ...here, channels: off.split(",").map(Number) }, showOff],
    ideal: channel !== null && ideal && [{ ...here, channel: Number(channel), steps: Number(ideal) }, showIdeal],
    place: unit && [{ ...here, unit }, showPlace],
  });
  parts.layer.box.querySelectorAll("a.channel").forEach((link) => markChannel(link, channel));
  if (unit && parts.channel.point) parts.channel.point(at);
}

const nodeOf = (name, nodes = facts.tree) =>
  nodes.reduce((found, node) => found ?? (node.name === name ? node : nodeOf(name, node.inner)), undefined);

function request(wanted) {
  const asked = [];
  for (const [name, wish] of Object.entries(wanted)) {
    const part = parts[name];
    const question = wish ? { view: name, ...wish[0] } : null;
    if (JSON.stringify(question) === JSON.stringify(part.asked)) continue;
    cancel(part.numbers);
    [part.asked, part.numbers] = [question, []];
    if (!question) {
      part.box.replaceChildren();
      [part.paint, part.point] = [null, null];
      part.box.removeAttribute("aria-busy");
    } else {
      asked.push([part, question, wish[1]]);
      part.box.setAttribute("aria-busy", "true");
    }
  }
  const numbers = ask(asked.map(([part, question, fill]) => [question, (answer) => hear(part, question, fill, answer)]));
  asked.forEach(([part], n) => (part.numbers = [numbers[n]]));
}

function hear(part, question, fill, answer) {
  if (answer.done) part.box.removeAttribute("aria-busy");
  if (answer.refused) {
    part.box.replaceChildren();
    const said = [...root.querySelectorAll(".notice.bad")].some((one) => one.textContent === answer.refused); // by a part above
    return said || part.box.append(element("p", { className: "notice bad" }, answer.refused));
  }
  fill(part, question, answer);
}

// ---- a layer ---------------------------------------------------------------------------------------------------------

function markChannel(link, channel) {
  if (link.dataset.channel === channel) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
}

function showLayer(part, question, answer) {
  const [count, height, width] = answer.shape;
  const levels = answer.maps ? bytes(answer.maps) : null;
  const [, h, w] = answer.maps?.shape ?? [];
  const what = question.by ? `in row ${question.by[0]}, column ${question.by[1]}` : "mean";
  const links = answer.channels.map(({ channel, strength, max }, n) => {
    const link = element(
      "a",
      {
        className: levels ? "channel" : "channel plain",
        ...place.link("inside", { layer: question.layer, channel, at: question.by?.join() ?? null, ideal: null }),
        title: `${what} ${number(strength)}, largest ${number(max)}`,
      },
      levels ? shade(levels.subarray(n * h * w, (n + 1) * h * w), w, h, answer.signed) : null,
      element("span", {}, levels ? String(channel) : `${channel}: ${number(strength)}`),
    );
    link.setAttribute("aria-label", `Channel ${channel}, ${what} ${number(strength)}, largest ${number(max)}`);
    link.dataset.channel = channel;
    markChannel(link, place.get("channel"));
    return link;
  });
  const size = levels ? `${count} channels of ${height} × ${width}` : `${count} numbers`;
  const first = question.by ? `the strongest ${what}` : "the strongest";
  const more = `, ${first} first` + (count > links.length ? ` (${links.length} shown)` : "");
  const silent = answer.silent ? `; ${answer.silent} do not respond` : "";
  const go = element("input", { type: "number", min: 0, max: count - 1, id: "go", placeholder: "number" });
  go.addEventListener("change", () => go.value && place.change({ layer: question.layer, channel: go.value, at: null, ideal: null }));
  const asked = { ...question, options: { "--layer": question.layer } };
  const mean = element("button", { type: "button", onclick: () => place.change({ by: null }) }, "Sort by mean");
  part.box.replaceChildren(
    element("h2", {}, question.layer),
    element("p", { className: "quiet" }, `${size}${more}${silent}. Choose a channel${levels ? ", and a place of its map to sort them by" : ""}, or give a number: `, element("label", { className: "unseen", htmlFor: "go" }, "Channel"), go, question.by ? mean : null),
    element("div", { className: "channels" }, ...links),
    recipe(answer, levels ? keeping("activations", asked) : []),
  );
}

// ---- a channel -------------------------------------------------------------------------------------------------------

function showChannel(part, question, answer) {
  const { layer, channel } = question;
  const columns = [];
  [part.paint, part.point] = [null, null];
  if (answer.map) {
    const map = floats(answer.map);
    const canvas = element("canvas", { width: 8, height: 8, role: "img" });
    canvas.setAttribute("aria-label", `Channel ${channel} of ${layer} over the photograph. Arrow keys move, Enter chooses a place.`);
    const value = element("output", { className: "at-pointer" }, "Choose a place of the map for its arithmetic.");
    const box = element("span", { className: "box", ariaHidden: "true" });
    const [h, w] = map.shape;
    const cell = (column, row) => [Math.floor((column * w) / canvas.width), Math.floor((row * h) / canvas.height)];
    part.paint = () => {
      const [height, width] = photograph ? [photograph.height, photograph.width] : [h, w];
      draw(canvas, photograph, enlarged(map, height, width), { high: end(map.values, 99.5), mix: 0.5 });
    };
    columns.push(
      element("figure", {}, element("figcaption", {}, "On the photograph"), element("div", { className: "frame" }, canvas, box), value),
    );
    pointed.add(
      canvas,
      (column, row) => {
        const [j, i] = cell(column, row);
        value.textContent = `${valueAt(map, j, i)} in row ${i}, column ${j}`;
      },
      (column, row) => {
        const [j, i] = cell(column, row);
        place.change({ layer, channel: String(channel), at: `${i},${j}` });
      },
    );
    part.point = (at) => at && pointed.point((at[1] + 0.5) / w, (at[0] + 0.5) / h);
    part.frame = (area) => outline(box, area);
    part.paint();
    part.frame(answer.box);
  }
  if (answer.back) {
    const back = floats(answer.back);
    const canvas = element("canvas", { role: "img" });
    canvas.setAttribute("aria-label", "Guided backpropagation of the largest response");
    draw(canvas, null, back, { high: end(back.values, 99.5) });
    const box = element("span", { className: "box", ariaHidden: "true" });
    outline(box, answer.box);
    columns.push(
      element(
        "figure",
        {},
        element("figcaption", {}, `What it responds to most, ${number(answer.max)}`),
        element("div", { className: "frame" }, canvas, box),
        element("p", { className: "quiet" }, "Guided backpropagation of its largest response; the box is all that it sees."),
      ),
    );
  }
  const none = facts.indexed.includes(layer)
    ? "No picture of the index makes it respond."
    : facts.indexed.length
      ? "The index of patches has the layers behind rectifiers: choose one of those."
      : "There is no index of patches for this network: python -m viz patch_index --help says how to make one.";
  const patches = answer.patches.map(({ picture, value }) => element("img", { src: picture, alt: `A patch, ${number(value)}`, title: number(value) }));
  columns.push(
    element(
      "figure",
      {},
      element("figcaption", {}, "Its best patches"),
      patches.length ? element("div", { className: "patch-grid" }, ...patches) : element("p", { className: "quiet" }, none),
      patches.length ? element("p", { className: "quiet" }, `Of ${answer.indexed} pictures, the strongest first.`) : null,
    ),
  );
  part.box.replaceChildren(
    element("h2", {}, `${layer}, channel ${channel}`),
    element("p", { className: "quiet" }, `Of ${answer.of} channels the ${ordinal(answer.rank)} strongest here.`),
    element("div", { className: "trio" }, ...columns),
    element("p", { className: "deeds" }, ...deeds(layer, channel)),
    recipe(answer, keeping("guided_backprop", { ...question, target: `${layer}:${answer.unit.join()}`, options: {} })),
  );
  part.point?.(place.get("at")?.split(",").map(Number));
}

function ordinal(n) {
  const teens = n % 100 > 10 && n % 100 < 14;
  return `${n}${(!teens && { 1: "st", 2: "nd", 3: "rd" }[n % 10]) || "th"}`;
}

function outline(box, [top, left, bottom, right]) {
  const [height, width] = photograph ? [photograph.height, photograph.width] : facts.size;
  const share = (n, of) => `${(100 * n) / of}%`;
  Object.assign(box.style, { top: share(top, height), left: share(left, width), height: share(bottom - top, height), width: share(right - left, width) });
}

// Switch it off, or on again; and the image that it likes best.
function deeds(layer, channel) {
  const off = () => (place.get("off") ?? "").split(",").filter(Boolean);
  const button = element("button", { type: "button" }, "Switch it off, or on again");
  button.addEventListener("click", () => {
    const others = off().filter((one) => one !== String(channel));
    const now = others.length === off().length ? [...others, channel] : others;
    place.change({ layer, off: now.join() || null });
  });
  const ideal = element("button", { type: "button" }, "Make the image it likes best");
  ideal.addEventListener("click", () => place.change({ layer, channel: String(channel), ideal: STEPS }));
  return [button, " ", ideal];
}

function showOff(part, question, answer) {
  const rows = answer.classes.map(({ name, p, after }) => {
    const bar = (share, kind) => {
      const made = element("span", { className: `fill ${kind}` });
      made.style.width = `${100 * share}%`;
      return made;
    };
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      element("td", { className: "rail" }, bar(p, "before"), bar(after, "")),
      element("td", { className: "share" }, `${percent(p)} → ${percent(after)}`),
    );
  });
  const then = answer.second === null ? "" : `, and second ${answer.second}`;
  const on = element("button", { type: "button", onclick: () => place.change({ off: null }) }, "Switch all on");
  part.box.replaceChildren(
    element("h2", {}, `Without ${answer.channels.length > 1 ? "channels" : "channel"} ${answer.channels.join(", ")} of ${question.layer}`),
    element("p", {}, `The score of ${answer.top}, before the softmax, ${answer.fall < 0 ? "rises" : "falls"} by ${number(Math.abs(answer.fall))}; it says ${answer.now}${then}. `, on),
    element("table", { className: "shares" }, element("tbody", {}, ...rows)),
    recipe(answer, kept(answer, question)),
  );
}

function showIdeal(part, question, answer) {
  if (!part.box.querySelector("img")) {
    const stop = element("button", { type: "button", onclick: () => cancel(part.numbers, true) }, "Stop");
    const bar = element("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-label", "How far it is");
    part.box.replaceChildren(
      element("h2", {}, `What channel ${question.channel} of ${question.layer} likes best`),
      element("img", { className: "ideal-image", alt: `The image that channel ${question.channel} of ${question.layer} likes best, so far` }),
      element("p", { className: "row" }, bar, stop),
      element("div", { className: "after" }),
    );
  }
  if (answer.image) part.box.querySelector("img").src = answer.image;
  if (answer.steps) part.box.querySelector("progress").value = answer.step / answer.steps;
  if (!answer.done) return;
  part.box.querySelector(".row").remove();
  part.box.querySelector(".after").replaceChildren(answer.ending ? element("p", { className: "quiet" }, answer.ending) : "", recipe(answer, kept(answer, question)));
}

// ---- a place ---------------------------------------------------------------------------------------------------------

function showPlace(part, question, answer) {
  parts.channel.frame?.(answer.box);
  const link = (layer, unit, text) => {
    const known = layer && unit.every((n) => n >= 0);
    if (!known) return element("span", {}, text);
    const at = unit.length > 1 ? unit.slice(1).join() : null;
    const to = { layer, channel: unit[0], at, by: null, off: null, ideal: null };
    return element("a", place.link("inside", to), text);
  };
  const { layer, unit } = answer;
  const by = unit.slice(1).join();
  const sort = element("button", { type: "button", onclick: () => place.change({ layer, by }) }, "Sort the channels by this place");
  const [title, ...rest] = arithmetic(answer, link);
  part.box.replaceChildren(title, by ? element("p", {}, sort) : "", ...rest, recipe(answer, kept(answer, question)));
}
