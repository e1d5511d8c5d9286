// The model box: known models by the letters typed, and after a pause what the Hub finds. An ARIA combobox.

import { html, inert } from "./charts.js";
import { isConfig } from "./state.js";

const SHOWN = 60;
const PAUSE = 250; // milliseconds without a key, before the Hub is asked
const WORTH_ASKING = 3;

/**
 * @param input the text box.
 * @param list the list below it.
 * @param search (words, signal) -> { models, problem }.
 * @param chosen is called with a model's name.
 */
export function modelBox(input, list, { search, chosen }) {
  let known = [], found = [], note = "", at = -1, timer = 0, asking = null;

  const matches = () => {
    const words = input.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (each) => words.every((word) => each.name.toLowerCase().includes(word));
    const mine = known.filter(fits), names = new Set(mine.map((each) => each.name));
    return [...mine, ...found.filter((each) => !names.has(each.name))].slice(0, SHOWN);
  };

  const show = () => {
    const entries = matches();
    at = Math.min(at, entries.length - 1);
    list.replaceChildren(
      ...entries.map((each, place) => {
        const item = html("li", { id: `model-${place}`, role: "option", "aria-selected": place === at, "data-name": each.name },
          html("span", {}, inert(each.name, 120)), html("span", { class: "quiet" }, each.where));
        item.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(each.name); });
        return item;
      }),
      ...(note ? [html("li", { class: "quiet", role: "presentation" }, note)] : []));
    open(entries.length > 0 || note !== "");
    if (at >= 0) list.children[at].scrollIntoView({ block: "nearest" });
    if (at >= 0) input.setAttribute("aria-activedescendant", `model-${at}`);
    else input.removeAttribute("aria-activedescendant");
  };

  const open = (is) => {
    list.hidden = !is;
    input.setAttribute("aria-expanded", is);
  };

  const close = () => {
    open(false);
    clearTimeout(timer);
    asking?.abort();
    at = -1;
  };

  const choose = (name) => {
    input.value = name;
    close();
    chosen(name);
  };

  const later = () => {
    clearTimeout(timer);
    asking?.abort();
    const words = input.value.trim();
    if (words.length < WORTH_ASKING || words.startsWith("{")) return;
    timer = setTimeout(async () => {
      asking = new AbortController();
      try {
        const answered = await search(words, asking.signal);
        found = answered.models;
        note = answered.problem ? inert(answered.problem, 120) : "";
        if (document.activeElement === input) show();
      } catch { /* typed on, or the server is lost: the page says so elsewhere */ }
    }, PAUSE);
  };

  input.addEventListener("input", () => {
    if (isConfig(input.value)) return choose(JSON.stringify(JSON.parse(input.value)));
    found = []; note = "";
    at = -1;
    show();
    later();
  });
  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => { if (list.hidden) { const typed = input.value; input.value = ""; show(); input.value = typed; } });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const many = matches().length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      at = list.hidden || !many ? -1 : at;
      at = event.key === "ArrowDown" ? Math.min(at + 1, many - 1) : Math.max(at - 1, 0);
      show();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const picked = list.hidden || at < 0 ? input.value.trim() : matches()[at].name;
      if (picked) choose(picked);
    } else if (event.key === "Escape") close();
  });

  return { known(models) { known = models; }, show(name) { if (document.activeElement !== input || list.hidden) input.value = name; } };
}
