// Charts of memory as SVG, for the HTML report and for the page: functions of data alone, no library, no network.
//
// Each takes what the library's JSON holds (sizes in bytes, null for what is not known) and the width in pixels to draw
// in, and returns an element. Colours, fonts and dark mode are style.css's. Names come from repos: they are put into
// text nodes only, by `inert`. A chart's numbers stand in a table beside it: it is an image to a screen reader.

const SVG = "http://www.w3.org/2000/svg";
const GIB = 1024 ** 3;
const UNITS = [[1024 ** 4, "TiB"], [GIB, "GiB"], [1024 ** 2, "MiB"], [1024, "KiB"]];
const NARROW = 520; // pixels below which names stand above what they name

const LABELS = {
  kv_cache: "KV cache", kv_pool: "KV pool", mlp: "MLP", mtp: "multi-token prediction", non_torch: "non-torch",
  pictures_held: "images held", stored: "as stored",
};

// Of a part, wherever it is drawn; what is not here takes the colours that its chart has left.
const COLOURS = {
  weights: 1, kv_cache: 2, kv_pool: 2, activations: 3, overhead: 4, non_torch: 4,
  gradients: 2, optimizer_states: 5, logits: 6, temporaries: 7, graphs: 7,
};

// --- Values as people read them: the same words as inspector/report/units.py, which a test compares. ---

const digits = (value, least = 0, most = least) =>
  value.toLocaleString("en-US", { minimumFractionDigits: least, maximumFractionDigits: most });

/** 1536 -> "1.50 KiB": three digits in the unit that fits; "unknown" for null. */
export function bytesText(size) {
  if (size === null || size === undefined) return "unknown";
  for (const [unit, name] of UNITS) {
    if (Math.abs(size) >= unit) return `${threeDigits(size / unit)} ${name}`;
  }
  return `${size} B`;
}

/** 8030261248 -> "8.03 B"; "unknown" for null. */
export function countText(count) {
  if (count === null || count === undefined) return "unknown";
  for (const [unit, name] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]]) {
    if (count >= unit) return `${threeDigits(count / unit)} ${name}`;
  }
  return String(count);
}

/** Thousands separated; "unknown" for null. */
export const numberText = (value) => (value === null || value === undefined ? "unknown" : digits(value, 0, 20));

/** 4096 -> "4k", 1000 -> "1,000": tokens as the axis and the options say them. */
export const tokensText = (tokens) => (tokens >= 1024 && tokens % 1024 === 0 ? `${digits(tokens / 1024)}k` : digits(tokens));

/** A part's or a kind's name as people read it. */
export const label = (name) => (Object.hasOwn(LABELS, name) ? LABELS[name] : String(name).replaceAll("_", " "));

/** Text from a repo, safe to show: control, bidirectional and other invisible characters as escapes, long text cut. */
export function inert(text, most = 160) {
  const visible = String(text).replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (each) => {
    const point = each.codePointAt(0), code = point.toString(16);
    const [mark, size] = point < 0x100 ? ["x", 2] : point < 0x10000 ? ["u", 4] : ["U", 8];
    return ESCAPES[point] ?? `\\${mark}${code.padStart(size, "0")}`;
  });
  return visible.length > most ? `${visible.slice(0, most - 1)}…` : visible;
}

const ESCAPES = { 9: "\\t", 10: "\\n", 13: "\\r" };

function threeDigits(value) {
  const size = Math.abs(value);
  return size >= 99.95 ? digits(value) : size >= 9.995 ? digits(value, 1) : digits(value, 2);
}

// --- Elements ---

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...children.filter((each) => each !== null).map((each) => (each instanceof Node ? each : inert(each))));
  return element;
}

/** An HTML element; strings among the children become text, never markup. */
export const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** An SVG element, likewise. */
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const rect = (x, y, width, height, kind, title = null) =>
  svg("rect", { x, y, width: Math.max(width, 0), height: Math.max(height, 0), class: kind }, title && svg("title", {}, title));
const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });
const text = (x, y, content, kind = "", anchor = "start") => svg("text", { x, y, class: kind, "text-anchor": anchor }, content);

const picture = (width, height, about, ...children) =>
  svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": inert(about, 400) }, ...children);

/** Draw a chart in a container, and again whenever that gets another width. `make(width)` returns the element. */
export function draw(container, make) {
  let drawn = 0;
  const again = () => {
    const width = Math.floor(container.clientWidth);
    if (!width || width === drawn) return;
    drawn = width;
    container.replaceChildren(make(width));
  };
  again();
  new ResizeObserver(again).observe(container);
  return () => { drawn = 0; again(); };
}

// --- Scales ---

/** Round values from 0 up to `most` in `unit`s, about `count` of them. */
function ticks(most, unit, count) {
  const rough = most / unit / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) * unit;
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, at) => at * step);
}

/** Ticks of an axis of tokens or sequences: powers of two on a logarithmic one, else round multiples of them. */
function countTicks(least, most, count, log) {
  if (log) {
    const first = Math.ceil(Math.log2(Math.max(least, 1)));
    const all = Array.from({ length: Math.floor(Math.log2(most)) - first + 1 }, (_, at) => 2 ** (first + at));
    const every = Math.ceil(all.length / count);
    return all.filter((_, at) => (all.length - 1 - at) % every === 0);
  }
  const step = 2 ** Math.ceil(Math.log2(Math.max(most / count, 1)));
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, at) => at * step);
}

const unitOf = (size) => UNITS.find(([unit]) => size >= unit) ?? [1, "B"];

const largest = (...lists) => lists.flat(3).reduce((most, each) => (each > most ? each : most), 0);

/** Part names -> class of their colour; no two alike. */
export function coloursOf(names) {
  const taken = new Set(names.map((name) => COLOURS[name]));
  const left = [1, 2, 3, 5, 6, 7, 4].filter((colour) => !taken.has(colour));
  const seen = new Set();
  return Object.fromEntries(names.map((name) => {
    let colour = Object.hasOwn(COLOURS, name) ? COLOURS[name] : null;
    if (colour === null || seen.has(colour)) colour = left.length ? left.shift() : 4;
    seen.add(colour);
    return [name, `c${colour}`];
  }));
}

/** Names beside their colours. `values`, if any, are said behind them. */
function legend(entries) {
  return html("ul", { class: "legend" }, ...entries.map(({ name, kind, value = null }) =>
    html("li", {}, html("i", { class: `key ${kind}` }), label(name), value && html("b", {}, value))));
}

/** Labels above vertical lines, moved to further rows where they would touch. [{at, text}] -> how many rows. */
function staggered(labels, width) {
  const ends = [];
  for (const each of labels.sort((one, other) => one.at - other.at)) {
    const size = 7.4 * each.text.length + 12;
    each.from = Math.min(Math.max(each.at - size / 2, 0), Math.max(width - size, 0));
    each.row = ends.findIndex((end) => end <= each.from);
    if (each.row < 0) each.row = ends.push(0) - 1;
    ends[each.row] = each.from + size;
  }
  return ends.length;
}

// --- Charts ---

/** What a device is called beside its line; several GPUs are drawn together, as the bars are of the whole model. */
const deviceName = (device) => (device.count > 1 ? `${device.gpu} together` : device.gpu);

/**
 * A stacked bar for each value of a sweep (a precision, say), against a line for each device.
 * @param sweep `inspector.api.curves.Sweep` as JSON.
 */
export function barChart(sweep, width) {
  const names = Object.keys(sweep.parts), colours = coloursOf(names);
  const at = Math.max(sweep.values.indexOf(sweep.asked), 0);
  const lines = sweep.devices.map((device) => ({ text: inert(deviceName(device), 40), value: (device.usable[at] ?? device.capacity) * device.count }));
  const sums = sweep.values.map((_, row) => names.reduce((sum, name) => sum + (sweep.parts[name][row] ?? 0), 0));
  const narrow = width < NARROW;
  const left = narrow ? 0 : 14 + 7 * largest(sweep.values.map((value) => label(value).length)), right = narrow ? 10 : 82;
  const room = width - left - right, most = largest(sums, lines.map((each) => each.value)) || 1;
  const x = (size) => left + (room * size) / most;
  const marks = lines.map((each) => ({ ...each, at: x(each.value) }));
  const head = 18 * staggered(marks, width) + (marks.length ? 4 : 0);
  const step = narrow ? 46 : 34, bar = narrow ? 18 : 22, height = head + step * sums.length;
  const out = [], totals = [];
  sweep.values.forEach((value, row) => {
    const top = head + step * row + (narrow ? 20 : 6);
    const total = sweep.total[row];
    const kind = value === sweep.asked ? "strong" : "";
    const said = narrow ? top - 6 : top + bar / 2 + 5;
    out.push(text(0, said, label(value), kind));
    totals.push(text(narrow ? width - 16 : width, said, bytesText(total), `number ${kind}`, "end"));
    out.push(rect(left, top, room, bar, "track"));
    let begin = 0;
    for (const name of names) {
      const size = sweep.parts[name][row] ?? 0;
      if (size) out.push(rect(x(begin), top, x(begin + size) - x(begin), bar, `${colours[name]} part`, `${label(value)}: ${label(name)} ${bytesText(size)}`));
      begin += size;
    }
  });
  for (const each of marks) {
    out.push(line(each.at, 18 * each.row + 17, each.at, height, "limit"), text(each.from + 6, 18 * each.row + 13, each.text, "limit-name"));
  }
  out.push(...totals);
  const about = sweep.values.map((value, row) => `${label(value)} ${bytesText(sweep.total[row])}`).join(", ");
  const whose = lines.map((each) => `${each.text} ${bytesText(each.value)}`).join(", ");
  return html("div", { class: "chart" }, legend(names.map((name) => ({ name, kind: colours[name] }))),
    picture(width, height, `Memory: ${about}.${whose ? ` Lines: ${whose}.` : ""}`, ...out));
}

/**
 * Memory over the context or the batch: the parts stacked, a line for each device, and a reading at the pointer, which
 * the arrow keys move, too. Where what a device must hold is not the whole (several GPUs, a serving engine), a curve of
 * what one GPU needs for each, beside the line of what it has.
 * @param sweep `inspector.api.curves.Sweep` as JSON.
 * @param options log: a logarithmic axis of values.  at: the value read at first; that which was asked for.
 */
export function curveChart(sweep, width, { log = false, at = sweep.asked } = {}) {
  const whole = sweep.devices.every((device) => device.count === 1 && device.needed.every((size, row) => size === sweep.total[row]));
  const names = whole ? Object.keys(sweep.parts) : [];
  const colours = coloursOf(Object.keys(sweep.parts));
  const order = [...names.filter((name) => name !== "kv_cache"), ...names.filter((name) => name === "kv_cache")];
  const devices = sweep.devices.map((device, place) => ({ ...device, kind: whole ? "limit" : `c${(place % 7) + 1}` }));
  const values = sweep.values, first = values[0], last = values.at(-1);
  const left = 64, right = 12, top = 22, bottom = 44;
  const height = Math.round(Math.min(Math.max(width * 0.42, 220), 360)), room = width - left - right, rise = height - top - bottom;
  const limits = devices.map((device) => device.usable.map((size) => size ?? device.capacity));
  const stacked = values.map((_, row) => order.reduce((sum, name) => sum + (sweep.parts[name][row] ?? 0), 0));
  const need = whole ? stacked : devices.map((device) => device.needed.map((size) => size ?? 0));
  // Far beyond the largest device nothing is asked any more: the curve leaves the chart at its top.
  const enough = devices.length ? 2.2 * largest(limits, whole ? stacked[values.indexOf(sweep.asked)] : 0) : Infinity;
  const most = Math.min(largest(need, limits), enough) * 1.08 || 1;
  const place = log ? (value) => Math.log(Math.max(value, 1)) : (value) => value;
  const x = (value) => left + (room * (place(value) - place(first))) / (place(last) - place(first) || 1);
  const y = (size) => top + rise - (rise * size) / most;
  const out = [], inside = svg("svg", { x: left, y: top, width: room, height: rise, viewBox: `${left} ${top} ${room} ${rise}`, "aria-hidden": true });
  const [unit, unitName] = unitOf(most);
  for (const tick of ticks(most, unit, rise / 48)) {
    out.push(line(left, y(tick), width - right, y(tick), "grid"), text(left - 8, y(tick) + 4, digits(tick / unit, 0, 3), "tick", "end"));
  }
  out.push(text(left - 8, 12, unitName, "tick", "end"));
  const over = sweep.over === "context" ? "tokens per sequence" : "sequences";
  for (const tick of countTicks(first, last, Math.max(room / 76, 2), log)) {
    if (tick < first && tick !== 0) continue;
    const where = Math.max(x(tick), left);
    out.push(line(where, top + rise, where, top + rise + 4, "axis"), text(where, top + rise + 18, sweep.over === "context" ? tokensText(tick) : digits(tick), "tick", "middle"));
  }
  out.push(text(left + room / 2, height - 6, over, "tick", "middle"));
  const base = values.map(() => 0);
  for (const name of order) {
    const lower = values.map((value, row) => `${x(value)},${y(base[row])}`);
    values.forEach((_, row) => { base[row] += sweep.parts[name][row] ?? 0; });
    const upper = values.map((value, row) => `${x(value)},${y(base[row])}`);
    inside.append(svg("polygon", { points: [...lower, ...upper.reverse()].join(" "), class: `${colours[name]} area` }));
  }
  if (whole) inside.append(svg("polyline", { points: values.map((value, row) => `${x(value)},${y(stacked[row])}`).join(" "), class: "total" }));
  out.push(inside);
  devices.forEach((device, index) => {
    const path = (sizes) => values.map((value, row) => (sizes[row] === null ? null : `${x(value)},${y(sizes[row])}`)).filter(Boolean).join(" ");
    if (!whole) inside.append(svg("polyline", { points: path(device.needed), class: `curve ${device.kind}` }));
    out.push(svg("polyline", { points: path(limits[index]), class: `limit ${whole ? "" : device.kind}` }));
    const label = text(width - right, y(limits[index].at(-1)) - 6, inert(device.gpu, 40), "limit-name", "end");
    out.push(label);
    const fits = device.largest;
    if (fits && fits > first && fits < last) out.push(line(x(fits), y(limits[index].at(-1)) - 4, x(fits), top + rise, "crossing"));
  });
  out.push(line(left, top + rise, width - right, top + rise, "axis"));

  const cursor = svg("g", { class: "cursor" }, line(0, top, 0, top + rise, ""));
  const cover = svg("rect", { x: left, y: top, width: room, height: rise, class: "cover" });
  const chart = picture(width, height, "", ...out, cursor, cover);
  const key = html("div", {}), says = html("p", { class: "reading" });
  let row = Math.max(values.indexOf(at), 0);
  const read = (next) => {
    row = Math.min(Math.max(next, 0), values.length - 1);
    cursor.setAttribute("transform", `translate(${x(values[row])} 0)`);
    const words = `${numberText(values[row])} ${sweep.over === "context" ? "tokens" : `sequence${values[row] > 1 ? "s" : ""}`}`;
    const entries = whole
      ? [...order].reverse().map((name) => ({ name, kind: colours[name], value: bytesText(sweep.parts[name][row]) }))
      : devices.map((device) => ({ name: device.gpu, kind: device.kind, value: `${bytesText(device.needed[row])} of ${bytesText(limits[devices.indexOf(device)][row])}` }));
    key.replaceChildren(legend(entries));
    const verdicts = devices.map((device) => `${device.gpu} ${verdictText(device.fits[row])}`);
    const said = [words, ...(whole ? [`total ${bytesText(sweep.total[row])}`] : []), ...verdicts].map((each) => inert(each, 80)).join(" · ");
    says.textContent = said;
    for (const [name, value] of [["aria-valuenow", values[row]], ["aria-valuetext", said]]) chart.setAttribute(name, value);
  };
  for (const [name, value] of Object.entries({ role: "slider", tabindex: 0, "aria-label": `Memory over ${sweep.over}: read at a value`, "aria-valuemin": first, "aria-valuemax": last })) chart.setAttribute(name, value);
  chart.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    read(move === -Infinity ? 0 : move === Infinity ? values.length - 1 : row + move);
  });
  const follow = (event) => {
    const box = chart.getBoundingClientRect();
    const where = ((event.clientX - box.left) / box.width) * width;
    read(values.reduce((near, value, index) => (Math.abs(x(value) - where) < Math.abs(x(values[near]) - where) ? index : near), 0));
  };
  chart.addEventListener("pointermove", follow);
  chart.addEventListener("pointerdown", follow);
  read(row);
  return html("div", { class: "chart" }, says, key, chart);
}

const verdictText = (fits) => (fits === null || fits === undefined ? "cannot tell" : fits ? "fits" : "does not fit");

/**
 * One bar as long as a device's memory, its parts in it; longer than the device where they are more.
 * @param parts {name: bytes}; unknown and negative ones are left out.
 * @param capacity bytes that a program can have.
 */
export function deviceBar(parts, capacity, width) {
  const known = Object.entries(parts).filter(([name, size]) => size > 0 && name !== "total");
  const colours = coloursOf(known.map(([name]) => name));
  const sum = known.reduce((all, [, size]) => all + size, 0), most = Math.max(capacity, sum) || 1;
  const x = (size) => (width * size) / most;
  const out = [rect(0, 4, x(capacity), 20, "track")];
  let begin = 0;
  for (const [name, size] of known) {
    out.push(rect(x(begin), 4, x(begin + size) - x(begin), 20, `${colours[name]} part`, `${label(name)} ${bytesText(size)}`));
    begin += size;
  }
  const end = Math.min(Math.max(x(capacity), 1), width - 1);
  out.push(line(end, 0, end, 28, sum > capacity ? "limit over" : "limit"));
  const about = `${known.map(([name, size]) => `${label(name)} ${bytesText(size)}`).join(", ")}; of ${bytesText(capacity)}`;
  return html("div", { class: "chart" }, picture(width, 28, about, ...out),
    legend(known.map(([name, size]) => ({ name, kind: colours[name], value: bytesText(size) }))));
}

/**
 * The layers in their order: each one's kind as a colour, its parameters and its cache as bars.
 * @param rows the record's `layers`: {layers: [indices], kind, parameters, kv_bytes}, equal ones together.
 */
export function layerStrip(rows, width) {
  const layers = [];
  for (const row of rows) for (const index of row.layers) layers[index] = row;
  const there = layers.map((row, index) => ({ row, index })).filter(({ row }) => row);
  const kinds = [...new Set(there.map(({ row }) => row.kind ?? "unknown"))];
  const colours = Object.fromEntries(kinds.map((kind, at) => [kind, `c${[1, 2, 3, 5, 6, 7, 4][Math.min(at, 6)]}`]));
  const left = width < NARROW ? 0 : 96, step = (width - left) / Math.max(there.length, 1), gap = step > 5 ? 1.5 : step > 3 ? 0.5 : 0;
  const bars = [["parameters", countText, 56], ["kv_bytes", bytesText, 36]].filter(([key]) => there.some(({ row }) => row[key]));
  const out = [];
  let top = 0;
  const name = (words, y) => {
    if (left) out.push(text(0, y, words, "tick"));
  };
  for (const [key, shown, rise] of bars) {
    const words = key === "parameters" ? "parameters" : "KV cache";
    const most = largest(there.map(({ row }) => row[key])) || 1;
    if (!left) out.push(text(0, top + 12, `${words}, at most ${shown(most)} per layer`, "tick"));
    const head = left ? 4 : 18;
    name(words, top + head + rise / 2 - 2);
    if (left) out.push(text(0, top + head + rise / 2 + 13, `≤ ${shown(most)}`, "tick"));
    there.forEach(({ row }, at) => {
      const size = (rise * (row[key] ?? 0)) / most;
      out.push(rect(left + step * at, top + head + rise - size, step - gap, size, `${colours[row.kind ?? "unknown"]} soft`));
    });
    out.push(line(left, top + head + rise, width, top + head + rise, "axis"));
    top += head + rise + 8;
  }
  name("kind", top + 13);
  there.forEach(({ row, index }, at) => {
    const title = `layer ${index}: ${label(row.kind ?? "unknown")}, ${countText(row.parameters)} parameters, cache ${bytesText(row.kv_bytes)}`;
    out.push(rect(left + step * at, top, step - gap, 18, colours[row.kind ?? "unknown"], title));
  });
  top += 34;
  const every = countTicks(0, Math.max(there.length - 1, 1), Math.max((width - left) / 60, 2), false);
  for (const tick of every) if (tick < there.length) out.push(text(left + step * (tick + 0.5), top, String(there[tick].index), "tick", "middle"));
  const about = kinds.map((kind) => `${there.filter(({ row }) => (row.kind ?? "unknown") === kind).length} of ${label(kind)}`).join(", ");
  return html("div", { class: "chart" }, legend(kinds.map((kind) => ({ name: kind, kind: colours[kind] }))),
    picture(width, top + 8, `${there.length} layers: ${about}`, ...out));
}

/**
 * The phases of a training step in their order, each as high as its peak; that of the step shows what it is made of.
 * @param training the record's `training`.
 * @param limits a line each: [{name, bytes}].
 */
export function phaseTimeline(training, width, limits = []) {
  const phases = Object.entries(training.phases ?? {});
  const names = ["weights", "gradients", "optimizer_states", "activations", "logits", "temporaries"].filter((name) => training[name] > 0);
  const colours = coloursOf(names);
  const left = 56, right = 8, top = 26, bottom = 42, height = 276, rise = height - top - bottom;
  const most = largest(phases.map(([, size]) => size), limits.map((each) => each.bytes)) * 1.06 || 1;
  const y = (size) => top + rise - (rise * size) / most, step = (width - left - right) / Math.max(phases.length, 1);
  const [unit, unitName] = unitOf(most);
  const out = ticks(most, unit, rise / 48).flatMap((tick) => [
    line(left, y(tick), width - right, y(tick), "grid"), text(left - 8, y(tick) + 4, digits(tick / unit, 0, 3), "tick", "end")]);
  out.push(text(left - 8, 12, unitName, "tick", "end"));
  phases.forEach(([name, size], at) => {
    const begin = left + step * at;
    if (name === training.peak_phase) {
      let below = 0;
      for (const part of names) {
        out.push(rect(begin, y(below + training[part]), step, y(below) - y(below + training[part]), `${colours[part]} part`, `${label(part)} ${bytesText(training[part])}`));
        below += training[part];
      }
    } else out.push(rect(begin, y(size), step, y(0) - y(size), "other", `${name} ${bytesText(size)}`));
    const kind = name === training.peak_phase ? "strong" : "tick";
    out.push(text(begin + step / 2, height - 24, name, kind, "middle"), text(begin + step / 2, height - 8, bytesText(size), kind, "middle"));
  });
  for (const each of limits) {
    out.push(line(left, y(each.bytes), width - right, y(each.bytes), "limit"), text(width - right, y(each.bytes) - 6, inert(each.name, 40), "limit-name", "end"));
  }
  out.push(line(left, y(0), width - right, y(0), "axis"));
  const about = phases.map(([name, size]) => `${name} ${bytesText(size)}`).join(", ");
  return html("div", { class: "chart" }, legend(names.map((name) => ({ name, kind: colours[name], value: bytesText(training[name]) }))),
    picture(width, height, `Peak of each phase: ${about}.`, ...out));
}

/**
 * How many values are how large, in steps of a half of a power of ten where they span much, else even steps.
 * @param values numbers; null is left out.
 * @param shown a value as text: `bytesText`, `countText`.
 */
export function histogram(values, width, shown = numberText, about = "") {
  const known = values.filter((value) => typeof value === "number" && value > 0);
  const height = 132, top = 18, bottom = 22, rise = height - top - bottom;
  if (!known.length) return html("p", { class: "quiet" }, "no values");
  const least = known.reduce((one, other) => Math.min(one, other)), most = largest(known);
  const log = most / least > 30;
  const scale = log ? Math.log : (value) => value;
  const count = Math.max(Math.min(Math.floor(width / 28), 16, known.length < 3 ? 1 : 16), 1);
  const size = (scale(most) - scale(least)) / count || 1;
  const bins = Array.from({ length: count }, () => 0);
  for (const value of known) bins[Math.min(Math.floor((scale(value) - scale(least)) / size), count - 1)] += 1;
  const edge = (at) => (log ? Math.exp(scale(least) + at * size) : least + at * size);
  const high = largest(bins), step = width / count;
  const out = bins.flatMap((number, at) => [
    rect(step * at, top + rise - (rise * number) / high, step - 2, (rise * number) / high, "c1", `${number} from ${shown(Math.round(edge(at)))} to ${shown(Math.round(edge(at + 1)))}`),
    number ? text(step * at + step / 2 - 1, top + rise - (rise * number) / high - 4, String(number), "tick", "middle") : null]);
  out.push(line(0, top + rise, width, top + rise, "axis"), text(0, height - 5, shown(least), "tick"), text(width, height - 5, shown(most), "tick", "end"));
  return html("div", { class: "chart" }, picture(width, height, `${about}: ${known.length} values from ${shown(least)} to ${shown(most)}`, ...out));
}
