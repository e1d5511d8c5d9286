// Numbers that unfold: each with its formula, its source and what it is made of.

import { bytesText, html, inert, label, numberText } from "./charts.js";

/** Long text from the library, as a text node: never markup, invisible characters as escapes. */
export const words = (text, most = 4000) => document.createTextNode(inert(text, most));

/**
 * A number on the page. `data-key` says where it stands in the JSON, and `data-value` its exact value.
 * @param shown its text, where it is no size in bytes.
 */
export function number(key, value, shown = bytesText(value)) {
  const exact = typeof value === "number" && shown !== String(value) ? `${numberText(value)}${shown.endsWith("B") && !shown.includes(" B") ? " bytes" : ""}` : null;
  return html("span", { class: "value", "data-key": key, "data-value": value === null ? "null" : String(value), title: exact }, words(shown, 80));
}

/** A row that unfolds: a name, a number, and behind them what it is. `inside` is a list of nodes; with none it is a row alone. */
export function row(id, name, shown, inside, { strong = false, beside = null } = {}) {
  const cells = [html("span", { class: strong ? "strong" : null }, words(name, 120)), ...(beside ? [html("span", { class: "number beside" }, beside)] : []),
    html("span", { class: `number${strong ? " strong" : ""}` }, shown)];
  if (!inside.length) return html("div", { class: "plain" }, ...cells);
  return html("details", { id: `row-${id}` }, html("summary", {}, ...cells), html("div", { class: "inside" }, ...inside));
}

/** A number under its name, to stand beside others; it unfolds over their whole width. */
export function stat(id, name, shown, inside) {
  const cells = [html("span", { class: "name" }, words(name, 60)), shown];
  return html("details", { id: `row-${id}`, class: "stat" }, html("summary", {}, ...cells), html("div", { class: "inside" }, ...inside));
}

export const stats = (...all) => html("div", { class: "stats" }, ...all.filter(Boolean));

export const rows = (...all) => html("div", { class: "rows" }, ...all.filter(Boolean));

/** A paragraph of explanation. */
export const says = (text, kind = null) => html("p", { class: kind }, words(text));

/**
 * A part of `--explain`, with its own parts.
 * @param key where it stands in the JSON: "explain.2".
 * @param beside what stands beside its number.
 */
export function part(each, id, key, { name = label(each.name), beside = null } = {}) {
  const inside = [
    each.formula ? says(each.formula, "formula") : null,
    each.low !== null && each.high !== null && each.low !== each.high ? says(`measured: ${bytesText(each.low)} to ${bytesText(each.high)}`, "quiet") : null,
    each.source ? says(`Source: ${each.source}`, "quiet source") : null,
    each.parts.length ? rows(...each.parts.map((one, at) => part(one, `${id}-${at}`, `${key}.parts.${at}`))) : null,
  ].filter(Boolean);
  return row(id, name, number(`${key}.bytes`, each.bytes), inside, { beside });
}
