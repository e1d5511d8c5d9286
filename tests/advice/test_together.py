"""`fit A B --together`: shares that add up, hold what is asked, and are what vLLM takes."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inspector
from inspector.errors import UsageError
from tests.conftest import Run

QWEN, SMALL, EMBEDDER = "Qwen/Qwen3-8B", "Qwen/Qwen2.5-0.5B", "sentence-transformers/all-MiniLM-L6-v2"
TOKEN = "hf_" + "s" * 34


def test_an_embedder_and_two_models_share_a_gpu() -> None:
    found = inspector.together([EMBEDDER, QWEN, SMALL], "RTX 4090", engine="vllm", offline=True)
    assert found.fits
    assert [each.name for each in found.tenants] == [QWEN, SMALL, EMBEDDER]
    assert [each.place for each in found.tenants] == [1, 2, 0]
    assert sum(each.share or 0 for each in found.tenants) <= 0.92 + 1e-9
    assert found.tenants[2].context == 512  # its own maximum
    assert all((each.at_once or 1) >= 1 for each in found.tenants)


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from([QWEN, SMALL, EMBEDDER, "google/gemma-3-4b-it"]), min_size=2, max_size=4),
    st.sampled_from(["RTX 4090", "L40S", "H100", "2xRTX 4090"]),
    st.sampled_from([1024, 4096, 16384]),
    st.integers(0, 12),
    st.integers(1, 3),
)
def test_the_sums_add_up_and_every_share_serves_what_is_asked(
    models: list[str], gpu: str, context: int, beside: int, batch: int
) -> None:
    try:
        found = inspector.together(
            models, gpu, engine="vllm", offline=True, context=context, batch=batch, beside=f"{beside + 1}GiB"
        )
    except UsageError:  # heads that two GPUs do not divide
        return
    assert found.fits is not None
    assert found.needed is not None
    assert found.needed == sum(each.needed or 0 for each in found.tenants)
    assert found.needed + (found.headroom or 0) == found.usable
    assert found.usable + found.beside <= 0.92 * found.capacity + 1
    assert found.fits == ((found.headroom or 0) >= 0)
    for each in found.tenants:
        assert each.share == round(each.share or 0, 2)
        if found.fits:
            assert each.fit.fits
            assert each.at_once is None or each.at_once >= batch
        own = each.serving
        assert own is not None
        assert own.settings["gpu_memory_utilization"] == min(each.share or 0, 1)


@pytest.mark.parametrize("models", [[SMALL, QWEN], [QWEN, EMBEDDER, "google/gemma-3-4b-it"], ["Qwen/Qwen3-4B", SMALL]])
@pytest.mark.parametrize(("gpu", "beside", "batch"), [("H100", None, 1), ("H200", "20GiB", 4), ("A100 40GB", None, 1)])
def test_under_sglang_a_share_is_of_what_those_before_leave(
    models: list[str], gpu: str, beside: str | None, batch: int
) -> None:
    found = inspector.together(models, gpu, engine="sglang", offline=True, beside=beside, batch=batch)
    assert found.needed == sum(each.needed or 0 for each in found.tenants)
    assert found.needed + (found.headroom or 0) == found.usable
    if not found.fits:
        assert gpu == "A100 40GB"
        return
    taken = found.beside
    for each in found.tenants:
        own = each.serving
        assert own is not None
        parts, share = own.per_gpu, each.share or 0
        assert own.settings["mem_fraction_static"] == share == round(share, 3)
        free = found.capacity - taken - (parts["non_torch"] or 0)
        # sglang: free after loading - free before * (1 - share)
        pool = free - (parts["weights"] or 0) - round(free * (1 - share))
        assert parts["kv_pool"] == pool >= batch * (own.request_bytes or 0)
        assert (each.at_once or 0) >= batch
        alone = inspector.inspect(each.name, gpus=gpu, engine="sglang", offline=True).servings[0]
        spare = alone.per_gpu["activations"] or 0
        assert (each.needed or 0) >= (parts["non_torch"] or 0) + (parts["weights"] or 0) + pool + spare
        taken += each.needed or 0
    assert taken <= found.capacity


@pytest.mark.parametrize("quarters", [64, 90, 96, 98, 99, 112, 128, 140])
def test_sglangs_sums_and_verdict_agree_around_the_size_that_just_holds(quarters: int) -> None:
    models = ["Qwen/Qwen3-4B", SMALL, "Qwen/Qwen3-0.6B"][: 2 + quarters % 2]
    found = inspector.together(models, f"{quarters / 4}GiB", engine="sglang", offline=True)
    assert found.fits == ((found.headroom or 0) >= 0)
    assert not found.fits or all(each.share and each.fit.fits for each in found.tenants)


def test_sglangs_servers_are_launched_with_their_shares(run: Run) -> None:
    asked = ("fit", "--offline", SMALL, QWEN, "--gpu", "H100", "--together")
    done = run(*asked, "--emit", "sglang")
    assert done.code == 0, done.err
    first, second = map(shlex.split, done.out.splitlines())
    assert first[first.index("--model-path") + 1] == QWEN
    shares = [float(words[words.index("--mem-fraction-static") + 1]) for words in (first, second)]
    table = run(*asked, "--engine", "sglang", "--json").record
    assert shares == [tenant["share"] for tenant in table["tenants"]]
    assert run(*asked[:-3], "--gpu", "2xH100", "--together", "--engine", "sglang").code == 2


@pytest.mark.parametrize(("engine", "dtype"), [("transformers", "stored"), ("llama.cpp", "Q4_K_M")])
def test_other_engines_take_what_they_need(engine: str, dtype: str) -> None:
    found = inspector.together([QWEN, SMALL], "RTX 4090", engine=engine, dtype=dtype, offline=True)
    alone = [
        inspector.fit(name, "RTX 4090", engine=engine, dtype=dtype, offline=True).needed or 0 for name in (QWEN, SMALL)
    ]
    assert found.needed == sum(alone)
    assert found.fits is True
    assert found.tenants[0].share is None


def test_a_trainer_beside_sleeping_servers_has_what_they_give_back() -> None:
    found = inspector.together([QWEN, SMALL], "RTX 4090", engine="vllm", offline=True)
    kept = sum(each.asleep or 0 for each in found.tenants)
    assert found.free_asleep == found.capacity - kept
    first = found.tenants[0].serving
    assert first is not None
    assert found.tenants[0].asleep == (first.per_gpu["non_torch"] or 0) + (first.per_gpu["graphs"] or 0)


@pytest.mark.parametrize(
    ("models", "options", "code"),
    [
        ([QWEN, SMALL], ["--engine", "vllm"], 0),
        ([QWEN, QWEN], ["--engine", "vllm"], 1),
        ([QWEN, "google/gemma-2-2b"], ["--engine", "vllm", "--beside", "30GiB"], 1),
        ([QWEN, SMALL], ["--engine", "sglang"], 1),
        ([QWEN, SMALL], ["--engine", "sglang", "--mem-fraction-static", "0.5"], 2),
        ([QWEN, SMALL], ["--engine", "vllm", "--gpu-memory-utilization", "0.5"], 2),
        ([QWEN, SMALL], ["--engine", "vllm", "--beside", "much"], 2),
        ([QWEN], [], 2),
    ],
)
def test_the_exit_code_is_of_the_whole(run: Run, models: list[str], options: list[str], code: int) -> None:
    assert run("fit", "--offline", *models, "--gpu", "RTX 4090", "--together", *options).code == code


def test_several_models_without_together_are_a_usage_error(run: Run) -> None:
    done = run("fit", "--offline", QWEN, SMALL, "--gpu", "RTX 4090")
    assert done.code == 2
    assert "--together" in done.err


def test_each_is_launched_with_its_share_on_a_port_of_its_own(run: Run) -> None:
    done = run(
        *("fit", "--offline", QWEN, EMBEDDER, "--gpu", "RTX 4090", "--together", "--emit", "vllm", "--token", TOKEN)
    )
    assert done.code == 0
    first, second = map(shlex.split, done.out.splitlines())
    assert first[:3] == ["vllm", "serve", QWEN]
    assert (first[-1], second[-1]) == ("8000", "8001")
    shares = [float(words[words.index("--gpu-memory-utilization") + 1]) for words in (first, second)]
    assert sum(shares) <= 0.92
    assert TOKEN not in done.out + done.err
    full = run("fit", "--offline", QWEN, QWEN, "--gpu", "RTX 4090", "--together", "--emit", "vllm")
    assert (full.code, full.out) == (1, "")
    assert "short" in full.err
