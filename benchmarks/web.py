"""Times the page of `llm-inspect web` in this machine's Chromium: first paint, first answer, a slider's move, bytes.

    .venv/browser/bin/python -m benchmarks.web          (make test-browser sets that environment up)

Of each the median and the slowest of several runs. The page's times are from the browser's own clock: from the
beginning of navigation, and from a slider's event to the numbers in the document. The answers' are CPU time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from inspector.web import answer
from inspector.web.models import Models
from tests.browser.chromium import NONE, chromium
from tests.web.serving import serving

LLAMA = "meta-llama/Meta-Llama-3-8B"
LINKS: dict[str, dict[str, str]] = {
    "transformers": {"gpu": "RTX 4090"},
    "transformers, where it does not fit": {"gpu": "RTX 3060"},
    "vLLM": {"gpu": "RTX 4090", "engine": "vllm"},
    "vLLM, where it does not fit": {"gpu": "RTX 3060", "engine": "vllm"},
    "a training step": {"gpu": "RTX 4090", "task": "training", "method": "qlora"},
}
STARTS = 5
MOVES = 20
FIRST_ANSWER = "#results[aria-busy=false] #sections section"
MOVE = """async (value) => {
  const range = document.getElementById("range-context");
  const said = () => document.getElementById("command").textContent, before = said();
  const seen = new Promise((resolve) => {
    const watch = new MutationObserver(() => said() !== before && resolve(watch.disconnect()));
    watch.observe(document.getElementById("sections"), { childList: true });
  });
  const begin = performance.now();
  range.value = value;
  range.dispatchEvent(new Event("input"));
  await seen;
  return performance.now() - begin;
}"""
LOADED = """() => ({
  paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
  now: performance.now(),
  bytes: [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .filter((each) => !each.name.includes("/api/")).reduce((sum, each) => sum + each.transferSize, 0),
})"""


def main() -> None:
    """Print a table for docs/web.md."""
    from playwright.sync_api import sync_playwright

    executable = chromium()
    if executable is None:
        raise SystemExit(NONE)
    print("| what | median | slowest |\n|---|---|---|")
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as home:
        browser = driver.chromium.launch(executable_path=executable)
        rows: dict[str, list[float]] = {"the address is printed, from the command's start": []}
        rows |= {"first paint, from navigation": [], "first numbers, from navigation": []}
        loaded: dict[str, Any] = {}
        for _ in range(STARTS):
            begin = time.perf_counter()
            with serving(Path(home), "--offline") as served:
                found = [1000 * (time.perf_counter() - begin)]
                page = browser.new_context().new_page()
                page.goto(served.address)
                page.wait_for_selector(FIRST_ANSWER)
                loaded = page.evaluate(LOADED)
                found += [loaded["paint"], loaded["now"]]
                page.close()
            for name, value in zip(rows, found, strict=True):
                rows[name].append(value)
        for name, times in rows.items():
            print(line(name, times))
        with serving(Path(home), "--offline") as served:
            for name, link in LINKS.items():
                page = browser.new_context().new_page()
                page.goto(f"{served.address}&{urlencode({'model': LLAMA, **link})}")
                page.wait_for_selector(FIRST_ANSWER)
                page.wait_for_selector("#devices table", timeout=60_000)
                print(
                    line(f"a move of the context slider, {name}", [page.evaluate(MOVE, at) for at in range(2, MOVES)])
                )
                page.close()
        browser.close()
    for name, link in LINKS.items():
        print(line(f"... of which the answer, CPU time, {name}", answers(link)))
    print(f"\nThe page is {loaded['bytes'] / 1024:.0f} kB, all files together.")


def answers(link: dict[str, str]) -> list[float]:
    """CPU milliseconds of the answers to a slider's moves."""
    models, settings = Models(), {name: value for name, value in link.items() if name not in ("task", "gpu")}
    task = link.get("task", "inference")

    def ask(context: int) -> None:
        asked = {**settings, "gpus": [link["gpu"]], "context": context}
        found = answer({"model": LLAMA, "task": task, "settings": asked, "want": ["report", "command"]}, models)
        assert "report" in found, found

    ask(4096)
    return [cpu(lambda context=context: ask(context)) for context in range(1024, 1024 + 256 * MOVES, 256)]


def cpu(work: Callable[[], object]) -> float:
    """Milliseconds of this process's CPU time."""
    begin = time.process_time()
    work()
    return 1000 * (time.process_time() - begin)


def line(name: str, times: list[float]) -> str:
    """A row of the table."""
    return f"| {name} | {statistics.median(times):.0f} ms | {max(times):.0f} ms |"


if __name__ == "__main__":
    main()
