// The web worker: starts Python, and answers what transport.js asks, one question after the other.

import { loadPyodide } from "./pyodide/pyodide.mjs";

const CAN_WAIT = "Suspending" in WebAssembly; // for fetch; Python asks the Hub by a synchronous XMLHttpRequest where it can't
const plain = self.fetch;
const ENDPOINT = "HUB"; // its address: web_static.py writes it

/** The interpreter is kept packed, as many a host of files packs nothing: a third of the bytes. */
self.fetch = async (url, init) => {
  if (!String(url).endsWith("pyodide.asm.wasm")) return plain(url, init);
  const packed = await plain(`${url}.packed`, init);
  if (!packed.ok) return packed;
  return new Response(packed.body.pipeThrough(new DecompressionStream("gzip")), { headers: { "content-type": "application/wasm" } });
};

async function start() {
  const packages = plain("packages.zip").then((reply) => {
    if (!reply.ok) throw new Error(`packages.zip: ${reply.status}`);
    return reply.arrayBuffer();
  });
  const python = await loadPyodide({ checkAPIVersion: false });
  const home = python.runPython("import site; site.getsitepackages()[0]");
  python.unpackArchive(await packages, "zip", { extractDir: home });
  return python.pyimport("inspector.web.worker").page(ENDPOINT);
}

/** Of an error of Python's, what is wrong: the rest is where. */
const lastLine = (error) => String(error.message).trim().split("\n").at(-1);

let last = start();

self.addEventListener("message", ({ data: { id, asked, argument } }) => {
  // One after the other: while Python waits for the Hub it could be called again, in the middle of that answer.
  last = last.then(async (page) => {
    try {
      self.postMessage({ id, answer: await (CAN_WAIT ? page.callPromising(asked, argument) : page(asked, argument)) });
    } catch (error) {
      self.postMessage({ id, problem: lastLine(error) });
    }
    return page;
  });
  last.catch((error) => self.postMessage({ id, problem: `Python did not start in this browser: ${lastLine(error)}` }));
});
