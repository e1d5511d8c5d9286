// How the page asks where it has no server: a web worker, in which Python runs. In the place of the server's transport.js.

const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let count = 0;

/** No server, no key. */
export const takeKey = () => {};
export const onNewKey = () => {};

/** Why there is no answer. */
export class Unanswered extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

worker.addEventListener("message", ({ data: { id, answer, problem } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (problem) reject(new Unanswered("refused", problem));
  else resolve(JSON.parse(answer));
});

worker.addEventListener("error", (event) => {
  event.preventDefault();
  for (const { reject } of waiting.values()) reject(new Unanswered("refused", `Python did not start in this browser: ${event.message ?? "worker.js is missing"}`));
  waiting.clear();
});

function ask(asked, argument, signal) {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    count += 1;
    waiting.set(count, { resolve, reject });
    signal?.addEventListener("abort", () => reject(signal.reason));
    worker.postMessage({ id: count, asked, argument: JSON.stringify(argument ?? null) });
  });
}

/** The controls, devices and models that there are. */
export const form = () => ask("form");

/** What the Hub finds for some words: { models: [{ name, where }], problem }. */
export const search = (words, signal) => ask("search", words, signal);

/** What `inspector.web.answer` says to a request. */
export const answer = (request, signal) => ask("answer", request, signal);

const begun = document.getElementById("waiting");
if (begun) begun.textContent = "Starting Python in this browser …";
