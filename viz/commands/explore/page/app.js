// The page's frame: where one is (the address says it all), the photographs, and the view.

import { connect } from "./talk.js";
import { useColours } from "./draw.js";
import { element } from "./element.js";
import * as fool from "./fool.js";
import * as inside from "./inside.js";
import * as look from "./look.js";
import * as rather from "./rather.js";
import * as style from "./style.js";
import * as why from "./why.js";

const VIEWS = { look, why, inside, rather, fool, style };
const main = document.getElementById("main");
let facts = null; // what the server said first
const files = new Map(); // by key: the files that this tab has sent, for a server that was restarted

// ---- where one is ----------------------------------------------------------------------------------------------------

const place = {
  get view() {
    const name = location.pathname.slice(1);
    return name in VIEWS ? name : "look";
  },
  get(name) {
    return new URLSearchParams(location.search).get(name);
  },
  address(view, changes = {}) {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === "") query.delete(name);
      else query.set(name, value);
    }
    return `/${view}${query.size ? `?${query}` : ""}`;
  },
  // [{photo, name}] of all photographs, and how a file becomes one, whose key goes into the address as `name`.
  photographs: () => all(),
  take: (file, name) => take(file, name),
  // The properties of a link to a view, with changes.
  link(view, changes) {
    return { href: place.address(view, changes), data: { view, change: JSON.stringify(changes) } };
  },
  // Go on with other values in the address. back: whether the browser's Back leads here again.
  change(changes, { view = place.view, back = true } = {}) {
    const address = place.address(view, changes);
    if (address === location.pathname + location.search) return;
    history[back ? "pushState" : "replaceState"](null, "", address);
    show();
  },
};

addEventListener("popstate", () => show());
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-view]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const { view, change } = link.dataset; // change: of the address as it is now, not as it was when the link was made
  if (change) return place.change(JSON.parse(change), { view });
  history.pushState(null, "", link.href);
  show();
});

let shown = null; // the view that stands in the page

function show() {
  if (!facts) return;
  const view = place.view;
  for (const link of document.querySelectorAll("nav a[data-view]")) {
    link.href = place.address(link.dataset.view);
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown !== view) {
    if (shown) VIEWS[shown].leave();
    main.replaceChildren();
    main.className = view;
    VIEWS[view].enter(main, facts, place);
    shown = view;
  }
  document.title = `${view[0].toUpperCase()}${view.slice(1)} · Explore`;
  showStrip();
  if (photo()) VIEWS[view].show(photo());
}

// ---- photographs -----------------------------------------------------------------------------------------------------

const known = () => JSON.parse(sessionStorage.getItem("photographs") ?? "[]");
const photo = () => place.get("photo") ?? facts.photograph?.photo;

function all() {
  const own = facts.photograph ? [facts.photograph] : [];
  const others = known().filter((one) => one.photo !== facts.photograph?.photo);
  for (const asked of ["photo", "style"].map((name) => place.get(name))) {
    if (asked && ![...own, ...others].some((one) => one.photo === asked)) others.push({ photo: asked, name: "a photograph" });
  }
  return [...own, ...others];
}

function showStrip() {
  const items = all().map(({ photo: key, name }) => {
    const picture = element("img", { src: `/photographs/${key}.png`, alt: "", width: 56, height: 56 });
    const link = element("a", { href: place.address(place.view, { photo: key }), data: { view: place.view }, title: name }, picture);
    link.setAttribute("aria-label", `Photograph ${name}`);
    if (key === photo()) link.setAttribute("aria-current", "true");
    return element("li", {}, link);
  });
  const strip = document.getElementById("strip");
  const keys = items.map((item) => item.firstChild.href + item.firstChild.ariaCurrent).join();
  if (strip.dataset.keys !== keys) strip.replaceChildren(...items);
  strip.dataset.keys = keys;
}

const said = document.getElementById("said");

function say(sentence) {
  said.textContent = sentence;
  said.hidden = !sentence;
}

async function send(file) {
  const answer = await fetch(`/photographs?name=${encodeURIComponent(file.name || "pasted.png")}`, { method: "POST", body: file });
  const found = await answer.json().catch(() => ({ refused: `the server refused it (${answer.status})` }));
  if (found.photo) files.set(found.photo, file);
  return found;
}

async function take(file, name = "photo") {
  if (!file) return;
  say("");
  const found = await send(file).catch(() => ({ refused: "the photograph did not arrive: is the server running?" }));
  if (found.refused) return say(found.refused);
  const others = known().filter((one) => one.photo !== found.photo);
  sessionStorage.setItem("photographs", JSON.stringify([...others, { photo: found.photo, name: found.name }].slice(-24)));
  place.change({ [name]: found.photo });
}

document.getElementById("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = "";
});
addEventListener("paste", (event) => take([...event.clipboardData.files][0]));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files[0]);
});

// ---- the server ------------------------------------------------------------------------------------------------------

const gone = document.getElementById("gone");

async function begin(start) {
  const again = facts !== null;
  facts = start;
  gone.hidden = true;
  useColours(start.colours);
  document.getElementById("model").textContent = start.model;
  document.getElementById("labels").replaceChildren(...(start.labels ?? []).map((value) => element("option", { value })));
  if (again) for (const file of files.values()) await send(file).catch(() => {});
  if (shown) VIEWS[shown].leave();
  shown = null;
  say(photo() ? "" : "Drop, paste or choose a photograph.");
  show();
}

function lost() {
  gone.textContent = "The server is gone. Start it again (python -m viz explore), and this page goes on by itself.";
  gone.hidden = false;
}

connect(begin, lost);

const first = document.getElementById("first");
first.hidden = localStorage.getItem("met") !== null;
first.querySelector("button").addEventListener("click", () => {
  localStorage.setItem("met", "yes");
  first.hidden = true;
});
