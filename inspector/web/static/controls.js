// The controls: made of what the server says of the library's settings, so that each of them is one here, too.

import { html, inert, numberText, tokensText } from "./charts.js";
import { byArticle, controlsOf, engineOf, nearest, steps } from "./state.js";

const LABELS = {
  dtype: "Weights", kv_dtype: "KV cache", engine: "Engine", images: "Images per sequence", image_size: "Image size", price: "US$ per GPU-hour",
  objective: "Trains by", reference: "Reference model", reference_repo: "Another model as reference", reward_repo: "Another model as reward", texts: "Texts of a row", mini_batch: "Embedded at a time", completion_tokens: "Tokens of a completion", generation: "Completions by", fp32_outputs: "Logits cast to fp32", vllm_gpu_memory_utilization: "vLLM's share of the GPU",
  all_options: "All ways to run it", formulas: "Formulas", method: "Method", precision: "Precision", optimizer: "Optimizer",
  checkpointing: "Checkpointing", attention: "Attention", lora_rank: "LoRA rank", lora_targets: "LoRA targets", trained: "Train only",
  compiled: "torch.compile", set: "Config keys", config_only: "Leave the weights out", trainable_parameters: "Trainable, or a share", logits: "Logits", "sharding.fsdp": "GPUs, by FSDP", "sharding.grad_accum": "Microbatches per step",
};
const FIRST = {
  inference: ["dtype", "kv_dtype", "engine"],
  training: ["trainable_parameters", "dtype", "objective", "reference", "texts", "mini_batch", "completion_tokens", "generation", "method", "precision", "optimizer", "checkpointing", "lora_rank", "sharding.fsdp"],
};
const ADAPTERS = ["lora", "qlora"];
const OF_METHOD = {
  lora_rank: ADAPTERS, lora_targets: ADAPTERS, adapter_dtype: ADAPTERS, lora_dropout: ADAPTERS, dora: ADAPTERS, modules_to_save: ADAPTERS,
  double_quant: ["qlora"], base: ["qlora"], old_bitsandbytes: ["qlora"], trained: ["frozen-except"],
};
const DESIGN = ["set", "config_only"];
const LEAST_CONTEXT = 128;
const USUAL_CONTEXT = 128 * 1024;
const MOST_BATCH = 1024;

const labelOf = (name, control) => LABELS[name] ?? control.option.slice(2).replace("no-", name === "double_quant" ? "no " : "no-");

/**
 * @param place the form's element.
 * @param act { set(name, value), task(name), gpus(list), article(on) }: what a control does.
 */
export function controls(place, act) {
  let made = "", sync = [];

  /** @param facts { longest, context, batch, serving, kv_dtype, sees } of the last report; null before it. */
  return function show(form, state, facts) {
    const now = JSON.stringify([state.task, engineOf(form, state).name, state.values.method, state.values.objective, state.values.formulas, state.gpus, facts?.longest, facts?.sees]);
    if (now !== made) {
      made = now;
      const focused = document.activeElement?.id, open = [...place.querySelectorAll("details[open]")].map((each) => each.id);
      sync = [];
      place.replaceChildren(...groups(form, state, facts, act, sync));
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      if (focused && place.querySelector(`#${CSS.escape(focused)}`)) document.getElementById(focused).focus();
    }
    for (const each of sync) each(state, facts);
  };
}

function groups(form, state, facts, act, sync) {
  const all = controlsOf(form, state), training = state.task === "training", engine = engineOf(form, state);
  const shown = (name) => !OF_METHOD[name] || OF_METHOD[name].includes(state.values.method ?? "full");
  const one = (name) => field(name, all[name], form, engine, act, sync);
  const first = FIRST[state.task].filter((name) => all[name] && shown(name));
  const rest = Object.keys(all).filter((name) => !first.includes(name) && !["context", "batch"].includes(name) && shown(name));
  const serving = rest.filter((name) => name.startsWith("serving.")), sharding = rest.filter((name) => name.startsWith("sharding."));
  const more = rest.filter((name) => !name.includes(".") && !DESIGN.includes(name) && (!name.startsWith("image") || facts?.sees));
  return [
    segments("Task", ["inference", "training"], state.task, act.task),
    html("fieldset", {}, html("legend", {}, "Workload"),
      slider("context", "Context", "tokens", steps(LEAST_CONTEXT, Math.max(facts?.longest ?? USUAL_CONTEXT, 2 * LEAST_CONTEXT), 4), tokensText, act, sync),
      slider("batch", "Batch", "sequences", steps(1, MOST_BATCH, 4), numberText, act, sync)),
    byArticle(state) ? null : html("fieldset", {}, html("legend", {}, "Devices"), ...devices(form, state, act)),
    html("fieldset", {}, html("legend", {}, training ? "Training" : "Model and engine"), ...first.map(one)),
    ...folded("more-engine", `${engine.title} settings`, serving.map(one)),
    ...folded("more-gpus", "Several GPUs", sharding.map(one)),
    ...folded("design", "Change the model", DESIGN.filter((name) => all[name]).map(one)),
    ...folded("more", "More settings", more.map(one)),
    state.values.formulas === "article" ? null : html("fieldset", {}, compare(act, sync)),
  ].filter(Boolean);
}

const folded = (id, title, fields) =>
  fields.length ? [html("details", { id: `fold-${id}`, class: "fold" }, html("summary", {}, title), html("div", { class: "fields" }, ...fields))] : [];

function segments(title, names, now, act) {
  const one = (name) => {
    const input = html("input", { type: "radio", name: "task", id: `task-${name}`, value: name });
    input.checked = name === now;
    input.addEventListener("change", () => act(name));
    return html("span", {}, input, html("label", { for: `task-${name}` }, name[0].toUpperCase() + name.slice(1)));
  };
  return html("fieldset", { class: "segments" }, html("legend", { class: "hidden" }, title), ...names.map(one));
}

/** A slider over steps, and a box for any other number: both are one value. */
function slider(name, title, unit, places, text, act, sync) {
  const range = html("input", { type: "range", id: `range-${name}`, min: 0, max: places.length - 1, step: 1, "aria-label": `${title}, ${unit}` });
  const box = html("input", { type: "text", id: `set-${name}`, inputmode: "text", size: 7, "aria-label": `${title}, ${unit}: any number`, autocomplete: "off" });
  range.addEventListener("input", () => act.set(name, places[range.value]));
  box.addEventListener("change", () => act.set(name, box.value.trim()));
  sync.push((state, facts) => {
    const value = state.values[name] ?? facts?.[name] ?? "";
    const number = Number(value) || Number(facts?.[name]) || places[0];
    if (document.activeElement !== range || Number(places[range.value]) !== number) range.value = nearest(places, number);
    range.setAttribute("aria-valuetext", `${text(number)} ${unit}`);
    if (document.activeElement !== box) box.value = Number(value) ? text(Number(value)).replaceAll(",", "") : value;
  });
  return html("div", { class: "slider" }, html("span", { class: "name" }, title, " ", html("span", { class: "quiet" }, unit)), box, range);
}

/** One setting, by its kind. */
function field(name, control, form, engine, act, sync) {
  const id = `set-${name}`, title = labelOf(name, control);
  if (control.kind === "flag") return flag(id, name, title, control, act, sync);
  if (control.kind === "list" && control.values.length) return several(name, title, control, act, sync);
  const input = control.values.length ? choice(id, name, control, form, engine) : typed(id, control);
  input.addEventListener("change", () => act.set(name, input.value.trim()));
  sync.push((state, facts) => {
    const value = state.values[name] ?? "";
    if (input.localName === "select" && value && ![...input.options].some((each) => each.value === value)) {
      input.append(html("option", { value }, inert(value, 40)));
    }
    if (document.activeElement !== input || input.localName === "select") input.value = value || (input.localName === "select" ? usual(control) : "");
    if (name === "kv_dtype" && facts?.kv_dtype && !value) input.options[0].text = `default: ${facts.kv_dtype}`;
    if (input.localName === "input") input.placeholder = placeholder(name, control, facts);
  });
  return html("div", { class: "field" }, html("label", { for: id, title: control.help }, title), input);
}

const usual = (control) => (control.default === null ? "" : String(control.default));

const placeholder = (name, control, facts) => {
  const own = name.startsWith("serving.") ? facts?.serving?.[name.slice(8)] : null;
  if (name === "set") return "num_hidden_layers=40";
  return own !== undefined && own !== null ? String(own) : usual(control) || "default";
};

function choice(id, name, control, form, engine) {
  const option = (value, text = value) => html("option", { value }, text);
  const grouped = name === "dtype" || name === "kv_dtype";
  const none = control.default === null ? [option("", "default")] : [];
  if (!grouped) return html("select", { id }, ...none, ...control.values.map((value) => option(value)));
  const { precisions, recipes, file_types: types } = form.precisions;
  if (name === "kv_dtype") return html("select", { id }, ...none, ...precisions.filter((each) => each !== "stored").map((each) => option(each)));
  return html("select", { id },
    ...precisions.map((each) => option(each, each === "stored" ? "as stored" : each)),
    html("optgroup", { label: "recipes, scales included" }, ...recipes.map((each) => option(each))),
    ...(engine.makes_file_types ? [html("optgroup", { label: "llama.cpp's file types" }, ...types.map((each) => option(each)))] : []));
}

function typed(id, control) {
  const number = control.kind === "whole" || control.kind === "number";
  const bounds = number ? { min: control.least, max: control.most, step: control.kind === "whole" ? 1 : "any" } : {};
  return html("input", { id, type: number ? "number" : "text", autocomplete: "off", spellcheck: "false", ...bounds });
}

function flag(id, name, title, control, act, sync) {
  const input = html("input", { id, type: "checkbox" });
  input.addEventListener("change", () => act.set(name, input.checked === (control.default === true) ? "" : input.checked ? "1" : "0"));
  sync.push((state) => { input.checked = name in state.values ? state.values[name] === "1" : control.default === true; });
  return html("div", { class: "field flag" }, input, html("label", { for: id, title: control.help }, title.replace(/^no-?\s?/, "")));
}

function several(name, title, control, act, sync) {
  const boxes = control.values.map((value) => html("input", { type: "checkbox", id: `set-${name}-${value}`, value }));
  for (const box of boxes) box.addEventListener("change", () => act.set(name, boxes.filter((each) => each.checked).map((each) => each.value).join(",")));
  sync.push((state) => { for (const box of boxes) box.checked = (state.values[name] ?? "").split(",").includes(box.value); });
  return html("fieldset", { class: "field several" }, html("legend", { title: control.help }, title),
    ...boxes.map((box) => html("span", {}, box, html("label", { for: box.id }, box.value))));
}

/** A row a device: how many, of which; and one to add another. */
function devices(form, state, act) {
  const list = html("datalist", { id: "device-names" }, ...form.devices.map((each) => html("option", { value: each.name }, `${each.vendor}, ${each.gb} GB`)));
  const replaced = (at, text) => [...state.gpus.slice(0, at), ...(text ? [text] : []), ...state.gpus.slice(at + 1)];
  const row = (gpu, at) => {
    const [, many, name] = /^(?:(\d+)\s*x\s*)?(.*)$/i.exec(gpu);
    const count = html("input", { id: `gpu-count-${at}`, type: "number", min: 1, max: 1024, value: many ?? 1, "aria-label": `How many of device ${at + 1}` });
    const box = html("input", { id: `gpu-name-${at}`, type: "text", list: "device-names", value: name, placeholder: "add a device, or 24GiB", "aria-label": `Device ${at + 1}`, autocomplete: "off", spellcheck: "false" });
    const set = () => act.gpus(replaced(at, box.value.trim() && (Number(count.value) > 1 ? `${Number(count.value)}x${box.value.trim()}` : box.value.trim())));
    count.addEventListener("change", set);
    box.addEventListener("change", set);
    const drop = html("button", { type: "button", class: "drop", "aria-label": `Remove ${inert(name, 40)}`, title: "Remove" }, "×");
    drop.addEventListener("click", () => act.gpus(replaced(at, "")));
    return html("div", { class: "device" }, gpu ? count : null, box, gpu ? drop : null);
  };
  return [list, ...[...state.gpus, ""].map(row)];
}

function compare(act, sync) {
  const input = html("input", { id: "set-article", type: "checkbox", role: "switch" });
  input.addEventListener("change", () => act.article(input.checked));
  sync.push((state) => { input.checked = state.article; });
  return html("div", { class: "field flag" }, input,
    html("label", { for: "set-article", title: "The rules of thumb of the article 'LLM System Requirements', beside the exact formulas." }, "Compare with the article's formulas"));
}
