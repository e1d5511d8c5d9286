"""What `fit --emit` launches and what `check-log` says of its log, held against published runs: the command of each
run's own model, GPU and settings, and a log with its figures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.logs.published import EMITS, Published, published

RUNS, LEFT_OUT = published()

PER_CENT = {
    "weights": 1,
    "kv_tokens_of_pool": 0.5,
    "max_concurrency_of_pool": 0.5,
    "kv_pool": 8,
    "kv_tokens": 8,
    "kv_blocks": 8,
    "max_concurrency": 8,
}
"""How far the parts of a log may be from what is predicted (docs/accuracy.md has more cases, and their medians)."""

WIDER = {"dennislee-vllm-7B-2gpuA10080GB-0.25GRAM-same-node": 11}
"""Of pools: a run with FlashInfer's sampler, which that version takes where it is installed."""


def fits(run: Published) -> bool:
    """Whether the published run served a request of the whole length."""
    measured = run.case["measured"]
    return bool(measured.get("kv_cache_gib", 1) > 0 and measured.get("max_concurrency_x", 1) >= 1)


@pytest.mark.parametrize("published_run", RUNS, ids=[run.id for run in RUNS])
def test_the_emitted_command_with_the_published_figures_checks(
    run: Run, published_run: Published, tmp_path: Path
) -> None:
    emitted = run(*published_run.fit(), "--emit", EMITS[published_run.engine])
    if not fits(published_run):
        assert (emitted.code, emitted.out) == (1, "")
        return
    assert emitted.code == 0, emitted.err
    log = tmp_path / "server.log"
    log.write_text(published_run.log(emitted.out.strip().splitlines()[-1]), encoding="utf-8")
    dtype = ("--dtype", "fp32") if published_run.case["dtype"] == "float32" else ()
    done = run("check-log", log, published_run.model, "--gpu", published_run.gpu, *dtype, "--offline", "--json")
    assert done.code == 0, done.err
    record, compared = done.record, 0
    assert record["engine"] == published_run.engine
    for row in record["parts"]:
        if row["part"] not in PER_CENT or row["difference_percent"] is None or is_made_up(published_run, row["part"]):
            continue
        compared += 1
        pool = row["part"] in ("kv_pool", "kv_tokens", "kv_blocks", "max_concurrency")
        most = WIDER.get(published_run.id, PER_CENT[row["part"]]) if pool else PER_CENT[row["part"]]
        assert abs(row["difference_percent"]) <= most, row
    assert compared >= (1 if published_run.engine == "llama.cpp" else 2)


def is_made_up(run: Published, part: str) -> bool:
    """No case has the weights of a llama.cpp file."""
    return run.engine == "llama.cpp" and part == "weights"


@pytest.mark.parametrize("published_run", [each for each in RUNS if each.engine == "vllm" and fits(each)][::4])
def test_a_log_tells_the_settings_of_the_verdict_that_emitted_its_command(
    run: Run, published_run: Published, tmp_path: Path
) -> None:
    emitted = run(*published_run.fit(), "--emit", "vllm")
    log = tmp_path / "server.log"
    log.write_text(published_run.log(emitted.out), encoding="utf-8")
    dtype = ("--dtype", "fp32") if published_run.case["dtype"] == "float32" else ()
    checked = run(
        "check-log", log, published_run.model, "--gpu", published_run.gpu, *dtype, "--offline", "--json"
    ).record
    serving = run(*published_run.fit(), "--json").record["serving"]
    assert checked["settings"] == serving["settings"]
    weights = next(row for row in checked["parts"] if row["part"] == "weights")
    assert weights["predicted"] == serving["per_gpu"]["weights"]


def test_why_the_others_are_not_replayed() -> None:
    """Every case is replayed, or says why not; docs/serving.md has the numbers."""
    assert Counter(each.engine for each in RUNS) == {"vllm": 25, "llama.cpp": 8, "sglang": 4}
    assert Counter(LEFT_OUT.values()) == {
        "no bundled snapshot": 39,
        "a fork, or weights that the repo does not have": 7,
        "its share of the GPU is not known": 6,
        "its GPU is not known": 2,
        "its figures do not add up at the share that it states": 1,
    }
