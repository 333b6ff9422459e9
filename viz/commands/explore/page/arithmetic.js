// The arithmetic of a place as tables of numbers: patch times kernel, the sum, the bias; who it is made of, who takes it.

import { number, tint } from "./draw.js";
import { element } from "./element.js";

const named = (layer, unit) =>
  `${layer || "the photograph"}, channel ${unit[0]}${unit.length > 1 ? `, row ${unit[1]}, column ${unit[2]}` : ""}`;

// answer: of "place". link(layer, unit, text): a link to another place. Gives a list of elements.
export function arithmetic(answer, link) {
  const { layer, unit, terms } = answer;
  const made = [
    element("h2", {}, `${named(layer, unit)}: ${number(answer.value)}`),
    element("p", {}, `${answer.kind}: ${answer.note}.`, answer.source ? ` The numbers are those of ${answer.source}.` : ""),
  ];
  for (const one of answer.inputs) made.push(element("p", {}, link(one.layer, one.unit, named(one.layer, one.unit)), `: ${number(one.value)}`));
  if (terms.length) made.push(element("div", { className: "terms" }, ...terms.map((term) => shown(term, answer, link))));
  if (answer.bias !== null || answer.more) made.push(total(answer));
  if (answer.uses.length) made.push(...taken(answer.uses, link));
  return made;
}

function shown(term, { source, kind }, link) {
  const at = (i, j) => [term.channel, term.row + i * term.step[0], term.column + j * term.step[1]];
  const place = (i, j, x) => (x === null ? "−∞" : link(source, kind === "Linear" ? [term.channel] : at(i, j), number(x)));
  const parts = [labelled("patch", grid(term.patch, place))];
  if (term.kernel) {
    const products = term.patch.map((row, i) => row.map((x, j) => x * term.kernel[i][j]));
    parts.push(sign("×"), labelled("kernel", grid(term.kernel)), sign("="), labelled("products", grid(products)), sign(`Σ = ${number(term.sum)}`));
  }
  return element("figure", { className: "term" }, element("figcaption", {}, `Input channel ${term.channel}`), element("div", { className: "product" }, ...parts));
}

const sign = (text) => element("span", { className: "sign" }, text);
const labelled = (label, table) => element("div", { className: "numbers" }, table, element("span", { className: "quiet" }, label));

function grid(rows, content = (i, j, x) => number(x)) {
  const largest = Math.max(...rows.flat().map(Math.abs)) || 1;
  const cells = rows.map((row, i) =>
    element(
      "tr",
      {},
      ...row.map((x, j) => {
        const cell = element("td", {}, content(i, j, x));
        [cell.style.background, cell.style.color] = tint(x / largest);
        return cell;
      }),
    ),
  );
  return element("table", { className: "grid-of-numbers" }, element("tbody", {}, ...cells));
}

function total({ terms, rest, more, bias, value }) {
  const sums = terms.map((term) => number(term.sum));
  if (more) sums.push(`${number(rest)} (of ${more} others)`);
  if (bias !== null) sums.push(`${number(bias)} (bias)`);
  return element("p", { className: "total" }, `${sums.join(" + ")} = `, element("strong", {}, number(value)));
}

function taken(uses, link) {
  const rows = uses.map(({ layer, unit, part, value }) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, link(layer, unit, named(layer, unit))),
      element("td", { className: "share" }, part === null ? "" : `${part >= 0 ? "+" : ""}${number(part)} of`),
      element("td", { className: "share" }, number(value)),
    ),
  );
  return [element("h3", {}, "Who takes it next"), element("table", { className: "shares uses" }, element("tbody", {}, ...rows))];
}
