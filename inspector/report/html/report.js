// The HTML report's own script: draws where the page asks for it, sorts tables, switches light and dark. What it says is
// on the page without it.
import { barChart, bytesText, countText, curveChart, deviceBar, draw, histogram, layerStrip, numberText, phaseTimeline } from "./charts.js";

const data = JSON.parse(document.getElementById("data").textContent);
const PARTS = ["weights", "kv_cache", "activations", "overhead"];
const TRAINING = ["weights", "gradients", "optimizer_states", "activations", "logits", "temporaries"];
const WORDS = { bytes: bytesText, count: countText, number: numberText };

const pick = (record, names) => Object.fromEntries(names.map((name) => [name, record[name]]));

/** What a device must hold, in parts where these are of one GPU. */
function held(record, fit) {
  if (record.training) return pick(record.training, TRAINING);
  return fit.count === 1 && !record.serving ? pick(record.memory.inference, PARTS) : { needed: fit.needed };
}

const servings = (record) => (Array.isArray(record.serving) ? record.serving : record.serving ? [record.serving] : []);

const CHARTS = {
  bars: ({ bars }) => (width) => barChart(bars, width),
  curve: ({ curve }) => (width) => curveChart(curve, width),
  layers: ({ record }) => (width) => layerStrip(record.layers, width),
  device: ({ record }, { fit }) => {
    const found = record.fit[fit];
    return (width) => deviceBar(held(record, found), found.usable ?? found.capacity, width);
  },
  serving: ({ record }, { serving }) => {
    const found = servings(record)[serving];
    return (width) => deviceBar(found.per_gpu, found.capacity, width);
  },
  phases: ({ record }) => {
    const limits = (record.fit ?? []).map((fit) => ({ name: fit.gpu, bytes: fit.usable ?? fit.capacity }));
    return (width) => phaseTimeline(record.training, width, limits);
  },
  histogram: (_, { column, words, about }) => {
    const values = data.rows.map((row) => row[column]);
    return (width) => histogram(values, width, WORDS[words], about);
  },
};

for (const place of document.querySelectorAll("[data-chart]")) {
  place.hidden = false;
  draw(place, CHARTS[place.dataset.chart](data.models?.[place.dataset.model] ?? {}, place.dataset));
}

// --- Sorted by a column, as its head is selected: numbers by their value, text by its letters. ---

const order = new Intl.Collator("en", { numeric: true });

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending" || (at > 0 && !head.hasAttribute("aria-sort"));
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map((row) => [key(row.cells[at]), row]);
      keyed.sort(([one], [other]) => compared(one, other, down));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

function key(cell) {
  const value = cell.querySelector("data")?.value ?? cell.textContent;
  return value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}

/** What is not known comes last, whichever way. */
function compared(one, other, down) {
  if (one === "" || other === "") return (one === "") - (other === "");
  const sign = typeof one === "number" && typeof other === "number" ? one - other : order.compare(one, other);
  return down ? -sign : sign;
}

document.querySelectorAll("table.sortable").forEach(sortable);

// --- The bar of buttons ---

const theme = document.getElementById("theme"), unfold = document.getElementById("unfold");
const show = (isDark) => theme.setAttribute("aria-pressed", isDark);
show(matchMedia("(prefers-color-scheme: dark)").matches);
theme.addEventListener("click", () => {
  const isDark = theme.getAttribute("aria-pressed") !== "true";
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  show(isDark);
});
unfold.addEventListener("click", () => {
  const all = [...document.querySelectorAll("details")], open = all.some((each) => !each.open);
  for (const each of all) each.open = open;
  unfold.textContent = open ? "Fold all" : "Unfold all";
});
document.querySelector(".bar").hidden = false;

for (const button of document.querySelectorAll(".download")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const { record } = data.models[button.closest("article").dataset.model];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(record, null, 2)], { type: "application/json" }));
    link.download = `${String(record.repo_id).replace(/[^\w.-]+/g, "--")}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
