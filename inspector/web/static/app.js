// The page: a state, what is asked for it, and what is shown of the answer.

import { controls } from "./controls.js";
import { modelBox } from "./modelbox.js";
import { results } from "./results.js";
import { changed, changesOf, fromFragment, initial, requestOf, toFragment } from "./state.js";
import { answer, form as askForm, onNewKey, search, takeKey, Unanswered } from "./transport.js";

const AT_ONCE = ["report", "command"];
const SOON = ["curve", "bars", "layers", "launch"]; // once the state has stood still for a moment
const LATER = ["devices"]; // ... for longer: over all devices
const FIRST_DEVICE = "RTX 4090"; // of a page that no link says anything of
const PAUSE = { soon: 80, later: 350, again: 1000, link: 150 }; // milliseconds
const BANNERS = {
  lost: "The server does not answer. Start it again with llm-inspect web: this page goes on by itself.",
  key: "llm-inspect web was started anew: open the address that it printed. This page goes on by itself then.",
};

const at = (id) => document.getElementById(id);
let form = null, state = null, shown = {}, asking = false, wanted = 0;
const timers = {}, busy = {};

const act = {
  set: (name, value) => become(changed(state, name, value)),
  task: (task) => become({ ...state, task }),
  gpus: (gpus) => become({ ...state, gpus }),
  article: (article) => become({ ...state, article }),
  over: (over) => become({ ...state, over }),
  apply: (each) => become(applied(each)),
  title: (name) => form.engines.find((each) => each.name === name)?.title ?? name,
  copy: (text) => copy(text),
  download: (kind) => download(kind),
};

const showControls = controls(at("controls"), act);
const showResults = results(at("sections"), act);
const box = modelBox(at("model"), at("models"), { search, chosen: (model) => become({ ...initial(model), task: state.task, gpus: state.gpus, article: state.article, values: state.values }) });

/** An option of the advice, or a single change, as the state that asks for it. */
function applied(each) {
  const serving = Object.entries(each.settings?.serving ?? {}).map(([name, value]) => [`serving.${name}`, value === true ? "1" : value]);
  const found = each.settings
    ? [["engine", each.settings.engine], ["dtype", each.settings.dtype], ["kv_dtype", each.settings.kv_dtype], ["context", each.settings.context], ["batch", each.settings.batch], ["gpus", each.settings.gpus?.[0] ?? null], ...serving]
    : changesOf(form, state, each.option);
  return found.reduce((now, [name, value]) => {
    if (name === "gpus") return value ? { ...now, gpus: [value] } : now;
    return value === undefined ? now : changed(now, name, value);
  }, state);
}

/** Go to a state: its link, its controls, its answer. */
function become(next) {
  state = next;
  clearTimeout(timers.link);
  timers.link = setTimeout(() => history.replaceState(null, "", toFragment(state)), PAUSE.link); // browsers allow a few a second
  render();
  refresh();
}

function render() {
  box.show(state.model);
  if (form) showControls(form, state, factsOf(shown.report));
}

/** Of a report, what controls show: what is asked for by default, and how far sliders go. */
function factsOf(report) {
  if (!report) return null;
  const { inference } = report.memory, about = report.training ?? inference;
  return {
    longest: report.model.max_position_embeddings, context: about.context, batch: about.batch, serving: [report.serving ?? []].flat()[0]?.settings,
    kv_dtype: inference.kv_dtype, sees: inference.image_tokens !== null,
  };
}

/** Ask for what is to be seen: the newest state only; while an answer is on its way, the next one waits for it. */
async function refresh() {
  wanted += 1;
  for (const name of ["soon", "later"]) clearTimeout(timers[name]);
  if (asking || !form) return;
  asking = true;
  try {
    for (let done = 0; done !== wanted;) {
      done = wanted;
      at("results").setAttribute("aria-busy", "true");
      take(await answer(requestOf(form, state, [...AT_ONCE, ...(state.article && state.values.formulas !== "article" ? ["article"] : [])])));
    }
    back();
    if (!shown.error) for (const kind of ["soon", "later"]) timers[kind] = setTimeout(() => more(kind), PAUSE[kind]);
  } catch (error) {
    lost(error);
  } finally {
    asking = false;
  }
}

/** The report, or why there is none. */
function take(found) {
  const error = found.error ?? null, problem = at("problem");
  problem.hidden = !error;
  problem.textContent = error ? error.message : "";
  at("results").classList.toggle("stale", Boolean(error));
  if (!error) {
    const about = (report) => report && `${report.repo_id} ${Boolean(report.training)}`;
    const kept = about(shown.report) === about(found.report) ? shown : {};
    shown = { ...kept, article: null, ...found, error: null, state };
    at("waiting")?.remove();
    showResults(shown);
    document.title = `${found.report.repo_id} · llm-inspect`;
  } else shown = { ...shown, error };
  if (shown.report && !error) showControls(form, state, factsOf(shown.report));
  at("results").setAttribute("aria-busy", "false");
}

/** Ask for what takes longer, one request of a kind at a time: a server is not to be kept at work for states that are gone. */
async function more(kind) {
  if (busy[kind]) {
    busy[kind] = "again";
    return;
  }
  busy[kind] = "once";
  const mark = wanted;
  try {
    const found = await answer(requestOf(form, state, kind === "soon" ? SOON : LATER));
    if (mark === wanted && !found.error) {
      shown = { ...shown, ...found, state };
      showResults(shown);
    }
  } catch (error) {
    lost(error);
  } finally {
    const again = busy[kind] === "again";
    busy[kind] = null;
    if (again) more(kind);
  }
}

/** Nobody answers: say so, and try again until somebody does. */
function lost(error) {
  if (!(error instanceof Unanswered)) throw error;
  at("results").setAttribute("aria-busy", "false");
  at("banner").hidden = false;
  at("banner").textContent = BANNERS[error.kind] ?? error.message;
  clearTimeout(timers.again);
  if (error.kind === "lost") timers.again = setTimeout(start, PAUSE.again);
}

function back() {
  at("banner").hidden = true;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    at("said").textContent = "Copied.";
  } catch {
    at("said").textContent = "This browser does not let the page copy.";
  }
  at("said").classList.add("shown");
  setTimeout(() => { at("said").textContent = ""; at("said").classList.remove("shown"); }, 1600);
}

async function download(kind) {
  const found = await answer(requestOf(form, state, [kind === "json" ? "report" : kind])).catch(lost);
  if (!found || found.error) return;
  const text = kind === "json" ? `${JSON.stringify(found.report, null, 2)}\n` : found[kind];
  if (typeof text !== "string") return;
  const type = { json: "application/json", csv: "text/csv", html: "text/html" }[kind];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `${shown.report.repo_id.replaceAll(/[^\w.-]+/g, "-").slice(0, 80)}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function start() {
  try {
    form = await askForm();
    box.known(form.models);
    state ??= location.hash.length > 1 ? fromFragment(location.hash, form.first) : { ...initial(form.first), gpus: [FIRST_DEVICE] };
    back();
    render();
    refresh();
  } catch (error) {
    lost(error);
  }
}

takeKey();
onNewKey(start);
addEventListener("hashchange", (event) => {
  const { hash } = new URL(event.newURL); // location's may be an older state's, written since
  if (!form || hash === toFragment(state)) return;
  takeKey();
  become(fromFragment(hash, form.first));
});
at("copy-link").addEventListener("click", () => copy(`${location.origin}${location.pathname}${toFragment(state)}`));
at("controls").addEventListener("submit", (event) => event.preventDefault());
start();
