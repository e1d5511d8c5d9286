// What the page shows of an answer: sections, each made anew where its data has changed. Nothing is worked out here.

import { barChart, bytesText, countText, curveChart, deviceBar, draw, html, inert, label, layerStrip, numberText, phaseTimeline, tokensText } from "./charts.js";
import { number, part, row, rows, says, stat, stats, words } from "./rows.js";

const DEVICES_SHOWN = 10;
const ADVICE_SHOWN = 5;
const PARTS = ["weights", "kv_cache", "activations", "overhead"];
const STEP_PARTS = ["weights", "gradients", "optimizer_states", "activations", "logits", "temporaries", "frozen_models", "inference_engine"];

const pick = (object, names) => Object.fromEntries(names.map((name) => [name, object[name] ?? 0]));
const verdict = (fits) => (fits === null ? ["unsure", "cannot tell"] : fits ? ["good", "fits"] : ["bad", "does not fit"]);
const deviceName = (fit) => (fit.count > 1 && !fit.cards?.length ? `${fit.count} × ${fit.gpu}` : fit.gpu);
const rate = (value) => (value === null ? "not known" : `${value < 100 ? value.toPrecision(3) : numberText(Math.round(value))} tok/s`);
const servingsOf = (report) => (report.serving ? [report.serving].flat() : []);

/** A section's heading and what stands in it; `wide` nodes are charts: functions of the width. */
function section(id, title, about, ...inside) {
  return html("section", { id, "aria-labelledby": `${id}-title` }, html("h2", { id: `${id}-title` }, title), about ? html("p", { class: "quiet" }, words(about)) : null, ...inside);
}

function chart(make) {
  const place = html("div", {});
  draw(place, make);
  return place;
}

// --- Sections: name -> { data: what of an answer it is made of (null: it is left out), make }. ---

const head = {
  data: ({ report }) => ({ ...report, serving: servingsOf(report).length, fit: null, explain: null, network: null, warnings: null }),
  make: (report) => {
    const { model, checkpoint } = report, name = report.repo_id, at = name.lastIndexOf("/");
    const facts = [
      model.architecture ?? model.model_type,
      ...Object.entries(model.layer_kinds).map(([kind, count]) => `${count} × ${label(kind)}`),
      model.num_attention_heads && `${model.num_attention_heads} heads, ${model.num_key_value_heads ?? "?"} of keys and values`,
      model.experts && `${model.experts.active} of ${model.experts.total} experts`,
      model.max_position_embeddings && `${tokensText(model.max_position_embeddings)} tokens at most`,
      checkpoint.dtype && `stored in ${checkpoint.dtype}`,
    ].filter(Boolean);
    return html("section", { id: "head" },
      html("h1", {}, at < 0 ? null : html("span", { class: "owner" }, words(name.slice(0, at + 1), 120)), words(name.slice(at + 1), 200)),
      html("p", { class: "quiet facts" }, words(facts.join(" · "))), stats(...totals(report)));
  },
};

/** The first numbers of a model: what it has, what it takes, what a token adds, what is downloaded. */
function totals({ parameters, memory, training, checkpoint, serving }) {
  const { inference } = memory, whole = parameters.active === parameters.total;
  const components = Object.entries(parameters.by_component).map(([part, count]) => row(`parameters-${part}`, label(part), number(`parameters.by_component.${part}`, count, countText(count)), []));
  return [
    training
      ? stat("peak", training.formulas === "article" ? "Memory" : "Memory at the peak", number("training.peak", training.peak), [says(training.formulas === "article" ? "By the article's formulas: the sum of the parts below." : "What lives at once at the peak of the step, on the fullest GPU: its parts stand below.")])
      : serving ? null : stat("memory", "Memory", number("memory.inference.total", inference.total), [says("Under transformers, on one device: the sum of the parts below.")]),
    stat("parameters", "Parameters", number("parameters.total", parameters.total, countText(parameters.total)), [
      says(`${numberText(parameters.total)} parameters${parameters.exact ? ", as the class that the config names holds them" : ", as far as the shapes tell"}.`), rows(...components)]),
    whole ? null : stat("active", "Active per token", number("parameters.active", parameters.active, countText(parameters.active)), [says("Of a mixture of experts, the parameters that one token uses.")]),
    training
      ? stat("trainable", "Trainable", number("training.trainable_parameters", training.trainable_parameters, countText(training.trainable_parameters)), [says(`${numberText(training.trainable_parameters)} parameters that the optimizer changes.`)])
      : stat("token", "KV cache per token", number("memory.inference.kv_bytes_per_token", inference.kv_bytes_per_token), [says("What one more token of one sequence adds to the cache, over all layers; a layer with a window adds none once that is full.")]),
    stat("download", "Download", number("checkpoint.download_bytes", checkpoint.download_bytes), [says(`${numberText(checkpoint.tensors)} tensors of ${bytesText(checkpoint.tensor_bytes)} in ${numberText(checkpoint.files)} files (${checkpoint.format}).`)]),
  ].filter(Boolean);
}

const verdicts = {
  data: ({ report }) => (report.fit ? { fit: report.fit, serving: servingsOf(report), inference: report.memory.inference, training: report.training ?? null } : null),
  make: ({ fit, serving, inference, training }) =>
    section("verdicts", fit.length > 1 ? "Will it fit?" : `Will it fit ${inert(deviceName(fit[0]), 60)}?`, null, ...fit.map((each, at) => card(each, at, serving[at], inference, training))),
};

function card(fit, at, serving, inference, training) {
  const [kind, said] = verdict(fit.fits), key = `fit.${at}`;
  const sizes = serving ? pick(serving.per_gpu, Object.keys(serving.per_gpu).filter((name) => name !== "total"))
    : training ? { ...pick(training, STEP_PARTS), overhead: Math.max((fit.needed ?? 0) - (training.peak ?? 0), 0) } : pick(inference, PARTS);
  const whole = fit.count > 1 && !serving && !training && fit.needed !== null ? { needed: fit.needed } : sizes;
  const left = fit.headroom === null ? "" : fit.headroom >= 0 ? `, ${bytesText(fit.headroom)} left` : `, ${bytesText(-fit.headroom)} short`;
  return html("div", { class: "card" },
    html("h3", {}, words(deviceName(fit), 80), " ", html("span", { class: kind }, said + left)),
    chart((width) => deviceBar(whole, fit.capacity, width)),
    stats(...figures(fit, key, serving, training)),
    ...notes([...new Set([...fit.notes, ...(serving?.notes ?? [])])]));
}

/** The likely range of a speed, and what it rests on; null where too little was published. */
function likely(fit, key, part, name) {
  const found = fit[`${part}_forecast`], at = `${key}.${part}_forecast`;
  if (!found) return null;
  const shares = [found.share_low, found.share_high].map((share) => `${Math.round(share * 100)}%`).join(" to ");
  return stat(`${key}-${part}-likely`, name,
    html("span", {}, number(`${at}.low`, found.low, rate(found.low).replace(" tok/s", "")), " to ", number(`${at}.high`, found.high, rate(found.high))),
    [says(`${shares} of the bound: the 10th to 90th percentile of ${numberText(found.measurements)} published measurements of ${found.engine} on ${found.devices}.`)]);
}

function figures(fit, key, serving, training) {
  const usable = fit.usable ?? fit.capacity;
  return [
    stat(`${key}-needed`, `Needed${fit.count > 1 ? " on the fullest GPU" : ""}`, number(`${key}.needed`, fit.needed), [says("The sum of the parts below, on the GPU that has to hold the most.")]),
    stat(`${key}-usable`, "Usable", number(`${key}.usable`, fit.usable), [says(serving
      ? `What ${serving.engine} may use of the ${numberText(fit.capacity)} bytes that a program can have of it.` : `What a program can have of the device: ${numberText(fit.capacity)} bytes, as its driver reports them or as a share of the size on its box.`)]),
    stat(`${key}-headroom`, "Left", number(`${key}.headroom`, fit.headroom), [says(`usable ${numberText(usable)} − needed ${numberText(fit.needed)} bytes`, "formula")]),
    stat(`${key}-max_context`, "Longest context", number(`${key}.max_context`, fit.max_context, fit.max_context === null ? "cannot tell" : `${numberText(fit.max_context)} tokens`),
      [says("The most tokens per sequence that still fit at this batch, up to the model's own maximum: a search over the same sizes as above.")]),
    stat(`${key}-max_batch`, "Most sequences", number(`${key}.max_batch`, fit.max_batch, fit.max_batch === null ? "cannot tell" : numberText(fit.max_batch)), [says("The most sequences that still fit at this context, likewise.")]),
    serving?.max_concurrency ? stat(`${key}-concurrency`, "Requests at once", number("serving.max_concurrency", serving.max_concurrency, serving.max_concurrency.toFixed(2)), [says(`The pool of ${numberText(serving.kv_tokens)} tokens over what one request of this context takes.`)]) : null,
    training ? null : stat(`${key}-decode`, "Decode, upper bound", number(`${key}.decode_bound`, fit.decode_bound, rate(fit.decode_bound)), [says("batch × memory bandwidth / (bytes of the weights that a token uses + the whole cache): no kernel reaches it (the roofline of Williams, Waterman and Patterson, 2009).")]),
    likely(fit, key, "decode", "Decode, likely"),
    training || fit.prefill_bound === null ? null : stat(`${key}-prefill`, "Prefill, upper bound", number(`${key}.prefill_bound`, fit.prefill_bound, rate(fit.prefill_bound)), [says("arithmetic / (2 × active parameters), by the data sheet's dense 16-bit figure.")]),
    likely(fit, key, "prefill", "Prefill, likely"),
    fit.decode_cost === null ? null : stat(`${key}-cost`, "A million generated tokens, at least", number(`${key}.decode_cost`, fit.decode_cost, `US$ ${fit.decode_cost.toPrecision(3)}`), [says("price × GPUs / 3600 × 1,000,000 / tokens per second at most.")]),
  ].filter(Boolean);
}

const notes = (all) => (all.length ? [html("ul", { class: "notes quiet" }, ...all.map((each) => html("li", {}, words(each))))] : []);

const memory = {
  data: ({ report, article }) => ({ explain: report.explain, inference: report.memory.inference, training: report.training ?? null, serving: servingsOf(report), article: article ?? null }),
  make: ({ explain, inference, training, serving, article }, act) => {
    const summed = training?.formulas === "article";
    const own = article?.explain ?? [], theirs = Object.fromEntries(own.map((each) => [each.name, each]));
    const beside = (name) => (article ? (theirs[name] ? bytesText(theirs[name].bytes) : "–") : null);
    const isAllocated = (each) => each.name.startsWith("allocated_");
    let account = -1;
    const made = explain.map((each, at) => {
      if (each.name === "weights") account += 1; // each engine's account begins with them
      const name = label(isAllocated(each) ? each.name.slice(10) : each.name);
      return part(each, `part-${account}-${each.name}`, `explain.${at}`, { name: serving.length > 1 ? `${serving[account]?.gpu}: ${name}` : name, beside: isAllocated(each) ? null : beside(each.name) });
    });
    const listed = made.filter((_, at) => !isAllocated(explain[at])), allocated = made.filter((_, at) => isAllocated(explain[at]));
    const total = serving.length ? null : training && !summed ? row("total", "Peak", number("training.peak", training.peak), [
      says(`Never the sum of everything: the most that lives at once, in the pass called ${training.peak_phase ?? "?"}.`)], { strong: true, beside: article ? bytesText(article.training.peak) : null })
      : row("total", "Total", training ? number("training.peak", training.peak) : number("memory.inference.total", inference.total), [says("The sum of the parts.")], { strong: true, beside: article ? bytesText(article.memory.inference.total) : null });
    const about = summed ? `A step of ${numberText(training.context)} tokens × ${numberText(training.batch)}, by the article's formulas.` : training ? `At the peak of a step of ${numberText(training.context)} tokens × ${numberText(training.batch)}, on the fullest GPU.`
      : `${numberText(inference.context)} tokens × ${numberText(inference.batch)}, weights ${inference.dtype === "stored" ? "as stored" : inference.dtype}, KV cache in ${inference.kv_dtype ?? "no precision"}. Click a number for its formula.`;
    return section("memory", serving.length ? `Memory under ${act.title(serving[0].engine)}` : training ? "Memory of a training step" : "Memory", about,
      article ? html("p", { class: "columns quiet" }, html("span", {}, "the article"), html("span", {}, "exact")) : null,
      rows(...listed, total, allocated.length ? row("allocated", "What transformers' cache classes allocate", number("", null, ""), [rows(...allocated)]) : null),
      training?.phases ? chart((width) => phaseTimeline(training, width)) : null,
      ...(article && !article.error ? [html("details", { id: "row-article", class: "fold" }, html("summary", {}, "The article's formulas, with the numbers in them"),
        rows(...own.map((each, at) => part(each, `article-${each.name}`, `article.explain.${at}`))))] : []),
      article?.error ? says(article.error.message, "unsure") : null);
  },
};

const curve = {
  data: ({ curve: sweep, state }) => (sweep && !sweep.error ? { sweep, over: state.over } : null),
  make: ({ sweep, over }, act) => {
    const choose = (name) => {
      const input = html("input", { type: "radio", name: "over", id: `over-${name}`, value: name });
      input.checked = name === over;
      input.addEventListener("change", () => act.over(name));
      return html("span", {}, input, html("label", { for: `over-${name}` }, name));
    };
    return section("curve", `Memory over the ${over}`, null, html("div", { class: "segments", role: "radiogroup", "aria-label": "Over" }, choose("context"), choose("batch")), chart((width) => curveChart(sweep, width, { log: true })));
  },
};

const bars = {
  data: ({ bars: sweep }) => (sweep && !sweep.error ? sweep : null),
  make: (sweep) => section("bars", "At other precisions of the weights", "The same workload, all else as asked.", chart((width) => barChart(sweep, width))),
};

const advice = {
  data: ({ report }) => {
    const fits = report.fit ?? [], found = fits.flatMap((fit) => (fit.options.length ? fit.options : fit.changes).map((each) => ({ ...each, for: fits.length > 1 ? deviceName(fit) : "" })));
    return found.length ? { found, fits: fits.every((each) => each.fits) } : null;
  },
  make: ({ found, fits }, act) => {
    const options = found.some((each) => each.settings), title = fits ? "Other ways to run it" : "What makes it fit";
    const lines = found.map((each) => {
      const name = `${each.for ? `${each.for}: ` : ""}${each.text || "as asked"}`, apply = each.option === "" ? null : button("Apply", () => act.apply(each));
      apply?.setAttribute("aria-label", `Apply: ${inert(name, 120)}`);
      const more = options ? [each.settings ? `${tokensText(each.context)} × ${numberText(each.batch)}` : "", each.settings ? rate(each.decode_bound) : ""] : [];
      return html("tr", {}, html("td", { class: "what" }, words(name, 300)), ...[bytesText(each.needed), ...more].map((cell) => html("td", { class: "number" }, cell)), html("td", { class: "number" }, apply));
    });
    return section("advice", title, options ? "Least loss first: bits, context, sequences, this engine, speed." : "The mildest change first.",
      ...table(["", "needed", ...(options ? ["context × batch", "decode at most"] : []), ""], lines, title, ADVICE_SHOWN));
  },
};

/** A table that shows its first rows, and a button for the others. */
function table(heads, lines, caption, shown) {
  const rest = lines.slice(shown), all = `Show all ${numberText(lines.length)}`;
  for (const each of rest) each.hidden = true;
  const more = rest.length ? button(all, () => { for (const each of rest) each.hidden = false; more.remove(); }) : null;
  const head = heads.map((each, at) => html(each ? "th" : "td", { class: at ? "number" : null, scope: each ? "col" : null }, each));
  const made = html("table", {}, html("caption", { class: "hidden" }, caption), html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...lines));
  return [html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, made), more];
}

const devices = {
  data: ({ devices: found }) => (Array.isArray(found) ? found : null),
  make: (found, act) => {
    if (!found.length) return section("devices", "Devices that fit", "None of the known ones, up to 8 of a kind.");
    const columns = [
      ["memory", (fit) => bytesText(fit.capacity * fit.count)], ["left", (fit) => bytesText(fit.headroom)],
      ["context at most", (fit) => (fit.max_context === null ? null : tokensText(fit.max_context))],
      ["decode at most", (fit) => (fit.decode_bound === null ? null : rate(fit.decode_bound))],
    ].filter(([, shown]) => found.some((fit) => shown(fit) !== null));
    const lines = found.map((fit) => {
      const take = button(inert(deviceName(fit), 60), () => act.gpus([fit.count > 1 ? `${fit.count}x${fit.gpu}` : fit.gpu]));
      take.className = "link";
      return html("tr", {}, html("th", { scope: "row" }, take), ...columns.map(([, shown]) => html("td", { class: "number" }, shown(fit) ?? "")));
    });
    return section("devices", "Devices that fit", `${found.length} of the known ones, the least memory first, the fewest of each kind.`,
      ...table(["device", ...columns.map(([name]) => name)], lines, "Devices that fit", DEVICES_SHOWN));
  },
};

const layers = {
  data: ({ layers: found }) => (Array.isArray(found) && found.some((each) => each.layers.length) ? found : null),
  make: (found) => section("layers", "Layer by layer", null, chart((width) => layerStrip(found, width))),
};

const take = {
  data: ({ command, launch, report }) => (command ? { command, launch: launch ?? null, name: report.repo_id } : null),
  make: ({ command, launch }, act) => {
    const code = (id, text) => html("div", { class: "code" }, html("pre", { id, tabindex: 0 }, words(text, 20000)), button("Copy", () => act.copy(text)));
    return section("take", "Take it with you", null, html("h3", {}, "This page as a command"), code("command", command),
      launch?.text ? html("h3", {}, `What launches it (${launch.emit})`) : null, launch?.text ? code("launch", launch.text.trim()) : null,
      launch?.log?.length ? html("p", { class: "quiet" }, words(`Its log should show: ${launch.log.join("; ")}.`)) : null,
      html("div", { class: "buttons" }, ...["JSON", "CSV", "HTML"].map((kind) => button(`Download ${kind}`, () => act.download(kind.toLowerCase())))));
  },
};

function button(title, act) {
  const made = html("button", { type: "button" }, title);
  made.addEventListener("click", act);
  return made;
}

const known = {
  data: ({ report }) => (report.warnings.length ? report.warnings : null),
  make: (warnings) => section("notes", "To be known", null, ...notes(warnings)),
};

const SECTIONS = { head, verdicts, memory, curve, advice, bars, devices, layers, take, known };

/**
 * @param place where the sections stand.
 * @param act { over, apply, gpus, copy, download }: what their controls do; title: an engine's name -> as people write it.
 */
export function results(place, act) {
  const made = {};
  return function show(answer) {
    for (const [name, { data, make }] of Object.entries(SECTIONS)) {
      const now = data(answer), text = JSON.stringify(now);
      if (made[name]?.text === text) continue;
      const old = made[name]?.node, open = old ? [...old.querySelectorAll("details[open]")].map((each) => each.id) : [];
      const focused = old?.contains(document.activeElement) ? document.activeElement.id : null;
      const node = now === null ? html("div", { hidden: "" }) : make(now, act);
      for (const id of open) node.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
      if (old) old.replaceWith(node);
      else place.append(node);
      if (focused) node.querySelector(`#${CSS.escape(focused)}`)?.focus();
      made[name] = { text, node };
    }
  };
}
