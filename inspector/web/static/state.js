// What the page shows, as its link says it, and as it is asked for: functions of data alone.
//
// A state is { model, task, gpus, values, over, article }. `values` holds what is not at its default, as text, by the
// name of the setting; an engine's own settings are "serving.NAME", those of sharding "sharding.NAME".

const OVERS = ["context", "batch"];
const OWN = ["model", "task", "gpu", "over", "article", "key"];
const BETWEEN = /;|,(?=\s*[\w.]+=)/; // changes of a config, whose values may have commas
const MOST = 100; // settings that a link may have

/** The state that a page begins with. */
export const initial = (model) => ({ model, task: "inference", gpus: [], values: {}, over: "context", article: false });

/** Whether a model is a pasted config, and no name. */
export const isConfig = (model) => {
  try { return model.trimStart().startsWith("{") && Boolean(JSON.parse(model)); } catch { return false; }
};

/** A link's fragment ("#model=gpt2&gpu=RTX+4090&context=8192") -> a state; what is not there is as at first. */
export function fromFragment(fragment, first) {
  const given = new URLSearchParams(fragment.replace(/^#/, "")), state = initial(given.get("model") || first);
  if (given.get("task") === "training") state.task = "training";
  if (OVERS.includes(given.get("over"))) state.over = given.get("over");
  state.article = given.get("article") === "1";
  state.gpus = given.getAll("gpu").filter(Boolean).slice(0, 16);
  for (const [name, value] of [...given].slice(0, MOST)) if (!OWN.includes(name) && value !== "") state.values[name] = value;
  return state;
}

/** A state -> the fragment of a link to it. */
export function toFragment(state) {
  const given = new URLSearchParams({ model: state.model });
  if (state.task !== "inference") given.set("task", state.task);
  for (const gpu of state.gpus) given.append("gpu", gpu);
  for (const [name, value] of Object.entries(state.values)) given.set(name, value);
  if (state.over !== "context") given.set("over", state.over);
  if (state.article) given.set("article", "1");
  return `#${given}`;
}

/** Training by the article's formulas, which know neither methods nor devices. */
export const byArticle = (state) => state.task === "training" && state.values.formulas === "article";

/** The controls of a state's task and engine, by the names that `values` has: what `form` says of each. */
export function controlsOf(form, state) {
  const found = {};
  const add = (controls, prefix = "") => {
    for (const each of controls) found[prefix + each.name] = each;
  };
  if (byArticle(state)) {
    add(form.inference.filter((each) => ["context", "batch", "dtype", "formulas"].includes(each.name)));
    add(form.training.filter((each) => each.name === "optimizer"));
    add(form.article);
  } else if (state.task === "training") {
    add(form.inference.filter((each) => ["context", "batch", "formulas"].includes(each.name)));
    add(form.design);
    add(form.training.filter((each) => isOfObjective(form, state, each.name)));
    add(form.sharding, "sharding.");
  } else {
    add(form.inference.filter((each) => !["gpus", "all_gpus"].includes(each.name)));
    add(engineOf(form, state).serving, "serving.");
  }
  return found;
}

/** Whether a setting of training means something for a state's objective, if it is of objectives alone. */
function isOfObjective(form, state, name) {
  const own = form.objectives[state.values.objective ?? "sft"] ?? [];
  return own.includes(name) || !Object.values(form.objectives).flat().includes(name);
}

/** The engine that a state asks for, as `form` has it. */
export const engineOf = (form, state) => form.engines.find((each) => each.name === state.values.engine) ?? form.engines[0];

/** A state -> what the page asks of `inspector.web.answer`. Settings of another task or engine are left out. */
export function requestOf(form, state, want) {
  const controls = controlsOf(form, state), settings = {};
  for (const [name, text] of Object.entries(state.values)) {
    if (!Object.hasOwn(controls, name)) continue;
    const [own, nested] = name.split(".").reverse();
    const place = nested ? (settings[nested] ??= {}) : settings;
    place[own] = valueOf(controls[name], text);
  }
  if (state.gpus.length && !byArticle(state)) settings.gpus = state.gpus;
  return { model: isConfig(state.model) ? JSON.parse(state.model) : state.model, task: state.task, settings, over: state.over, want };
}

/** A value's text as JSON: a number where the setting is one and the text is, too; else the text, for the library to refuse. */
export function valueOf(control, text) {
  if (control.kind === "flag") return text === "1";
  if (control.kind === "list") return text.split(control.values.length ? "," : BETWEEN).map((each) => each.trim()).filter(Boolean);
  const number = Number(text);
  const plain = ["whole", "number", "tokens"].includes(control.kind) && text.trim() !== "" && Number.isFinite(number);
  return plain ? number : text;
}

/** A state with one value changed; "" or null is the default. An engine's settings go with it. */
export function changed(state, name, value) {
  const values = { ...state.values };
  if (value === "" || value === null) delete values[name];
  else values[name] = String(value);
  if (name === "engine") for (const each of Object.keys(values)) if (each.startsWith("serving.")) delete values[each];
  return { ...state, values };
}

/** What a line of advice says, as changes of values: "--checkpointing full --gpu '2xA100'" -> [[name, value], ...]. */
export function changesOf(form, state, words) {
  const controls = Object.entries(controlsOf(form, state)), found = [];
  for (const [, option, quoted, plain] of words.matchAll(/(--[a-z0-9-]+)(?: (?:'([^']*)'|(?!--)(\S+)))?/g)) {
    const value = quoted ?? plain ?? "1";
    if (option === "--gpu") found.push(["gpus", value]);
    else {
      const named = controls.find(([, each]) => each.option === option);
      if (!named) return [];
      found.push([named[0], value]);
    }
  }
  return found;
}

/** Steps of a slider: powers of two from `least` up to `most`, and `between` steps between two of them; `most` itself. */
export function steps(least, most, between) {
  const found = [];
  for (let power = least; power < most; power *= 2) {
    for (let at = 0; at < between; at++) {
      const value = Math.round(power + (power * at) / between);
      if (value < most && value !== found.at(-1)) found.push(value);
    }
  }
  return [...found, most];
}

/** The step that is nearest to a value, by its place. */
export const nearest = (found, value) =>
  found.reduce((best, each, at) => (Math.abs(Math.log(each / value)) < Math.abs(Math.log(found[best] / value)) ? at : best), 0);
