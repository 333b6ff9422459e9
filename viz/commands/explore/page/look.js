// Look: what the network gets of a photograph, and what it takes it for.

import { ask, cancel } from "./talk.js";
import { element, keeping, percent, recipe } from "./element.js";

let place, root, asked, numbers;

export function enter(main, facts, where) {
  [place, root, asked, numbers] = [where, main, null, []];
}

export function leave() {
  cancel(numbers);
}

export function show(photo) {
  if (asked === photo) return;
  cancel(numbers);
  asked = photo;
  const question = { view: "look", photo };
  numbers = ask([[question, (answer) => fill(photo, question, answer)]]);
}

function fill(photo, question, answer) {
  if (answer.refused) return root.replaceChildren(element("p", { className: "notice bad" }, answer.refused));
  const [top] = answer.classes;
  const rows = answer.classes.map(({ name, p }) => {
    const link = element("a", place.link("why", { photo, for: name }), name);
    const bar = element("span", { className: "fill" });
    bar.style.width = `${100 * p}%`;
    return element("tr", {}, element("th", { scope: "row" }, link), element("td", { className: "rail" }, bar), element("td", { className: "share" }, percent(p)));
  });
  const picture = element("img", {
    src: `/photographs/${photo}.png`,
    className: "whole",
    alt: `The photograph as the network gets it, ${answer.gets}`,
  });
  root.replaceChildren(
    element("h1", { className: "unseen" }, "Look"),
    element(
      "div",
      { className: "beside" },
      element("figure", {}, picture, element("figcaption", {}, `What the network gets: ${answer.gets}`)),
      element(
        "section",
        {},
        element("h2", {}, answer.unknown ? "Probably none of what it knows" : `It says ${top.name}, ${percent(top.p)}`),
        element("p", { className: "quiet" }, "Of all its classes these come first. Choose one to ask why."),
        element("table", { className: "shares" }, element("tbody", {}, ...rows)),
        recipe(answer, keeping("classify", question)),
      ),
    ),
  );
}
