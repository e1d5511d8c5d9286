// How the page asks: the one module that knows there is a server.

const KEY = "llm-inspect-key";
const PATIENCE = 30000; // milliseconds
const AGAIN = 1000;

let key = null;
try { key = localStorage.getItem(KEY); } catch { /* a browser that keeps nothing */ }

/** The key of this run stands in the address that was printed; it is taken out of it, so that no shared link has it. */
export function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has("key")) return;
  key = given.get("key");
  try { localStorage.setItem(KEY, key); } catch { /* as above */ }
  given.delete("key");
  history.replaceState(null, "", `${location.pathname}${given.size ? `#${given}` : ""}`);
}

/** Call `act` when another tab of this page was opened with the key of a new run. */
export function onNewKey(act) {
  addEventListener("storage", (event) => {
    if (event.key === KEY && event.newValue) {
      key = event.newValue;
      act();
    }
  });
}

/** Why there is no answer: nobody listens ("lost"), the key is another run's ("key"), or what the server said ("refused"). */
export class Unanswered extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

async function ask(path, init = {}, signal = null) {
  const patience = AbortSignal.timeout(PATIENCE);
  let reply;
  try {
    reply = await fetch(`api/${path}`, {
      ...init, headers: { "X-Llm-Inspect-Key": key ?? "" }, signal: signal ? AbortSignal.any([signal, patience]) : patience,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unanswered("lost", "The server does not answer.");
  }
  if (reply.status === 503) {
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
    return ask(path, init, signal);
  }
  const body = await reply.json().catch(() => ({ problem: `the server said ${reply.status}` }));
  if (reply.status === 401) throw new Unanswered("key", body.problem);
  if (!reply.ok) throw new Unanswered("refused", body.problem);
  return body;
}

/** The controls, devices and models that there are. */
export const form = () => ask("form");

/** What the Hub finds for some words: { models: [{ name, where }], problem }. */
export const search = (words, signal) => ask(`search?${new URLSearchParams({ words })}`, {}, signal);

/** What `inspector.web.answer` says to a request. */
export const answer = (request, signal) => ask("answer", { method: "POST", body: JSON.stringify(request) }, signal);
