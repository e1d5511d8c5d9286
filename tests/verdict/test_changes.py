"""What makes a model fit that does not, how fast it can be at most, and every known device at once."""

from __future__ import annotations

import dataclasses

import pytest

import inspector
from inspector.api.loaded import load
from inspector.devices.spec import parse_gpu
from inspector.devices.speed import active_bytes, decode_bound, prefill_bound
from inspector.devices.table import list_devices
from inspector.errors import UsageError
from inspector.memory import Workload, estimate
from inspector.model import Model
from inspector.verdict.all_devices import fits_on_any
from inspector.verdict.changes import offload_that_fits
from inspector.verdict.fit import check_fit
from tests.conftest import Run
from tests.memory.test_ledger import inspection

LLAMA, GPT_OSS, GEMMA = "meta-llama/Meta-Llama-3-8B", "openai/gpt-oss-20b", "google/gemma-3-4b-it"


def model(name: str) -> Model:
    return inspection(name).model


def test_each_change_is_sized_by_the_function_of_the_verdict_and_fits() -> None:
    llama, workload, spec = model(LLAMA), Workload(context=8192, batch=8), parse_gpu("24GiB")
    fit = load(LLAMA, offline=True).fit("24GiB", context=8192, batch=8)
    assert fit.fits is False
    changes = {change.option.partition(" ")[0]: change for change in fit.changes}
    assert list(changes) == ["--context", "--batch", "--dtype", "--gpu", ""]
    for option, changed in (
        ("--context", dataclasses.replace(workload, context=(fit.max_context or 0) // 256 * 256)),
        ("--batch", dataclasses.replace(workload, batch=fit.max_batch or 0)),
        ("--dtype", dataclasses.replace(workload, dtype=changes["--dtype"].option.split()[1])),
    ):
        assert changes[option].needed == estimate(llama, changed).total, option
        assert changes[option].needed <= spec.capacity
    assert changes["--gpu"].option == "--gpu '2x24GiB'"
    assert check_fit(llama, workload, dataclasses.replace(spec, count=2)).fits


def test_what_fits_has_no_changes() -> None:
    assert check_fit(model(LLAMA), Workload(context=4096), parse_gpu("24GiB")).changes == ()


def test_offloaded_layers_come_back_one_at_a_time() -> None:
    # 1,000 B in all; the head (50) and two layers go, and a layer is on the GPU while it runs: 1,000 - 250 + 100
    found = offload_that_fits(1000, 850, (100,) * 8, head=50)
    assert found is not None
    assert (found.needed, found.text.split(" stay")[0]) == (
        850,
        "the weights of the last 2 of 8 layers and the head",
    )
    assert offload_that_fits(1000, 849, (100,) * 8, head=50).needed == 750  # type: ignore[union-attr]
    assert offload_that_fits(1000, 200, (100,) * 8, head=50) is None


def test_the_bound_of_decoding_is_bandwidth_over_the_bytes_of_a_step() -> None:
    llama, spec = model(LLAMA), parse_gpu("RTX 4090")
    workload = Workload(context=8192, batch=2)
    # All but the embedding's 525,336,576 parameters are read, at 2 B, and 2 x 1 GiB of cache; 1,008 GB/s
    read = 2 * (8_030_261_248 - 525_336_576)
    assert active_bytes(llama, "stored") == read
    assert decode_bound(llama, workload, estimate(llama, workload).kv_cache.bytes, spec) == 2 * 1008e9 / (
        read + 2 * 2**30
    )
    assert decode_bound(llama, workload, 2 * 2**30, parse_gpu("24GiB")) is None
    # 165.2 dense TFLOPS, 2 operations a parameter
    assert prefill_bound(llama, spec) == 165.2e12 / read
    assert prefill_bound(llama, parse_gpu("RTX 4060")) is None


def test_a_token_reads_its_own_experts_and_no_tower() -> None:
    gpt_oss = model(GPT_OSS)
    experts = gpt_oss.parameters.bytes_by_component["experts"]
    rest = 2 * (sum(n for name, n in gpt_oss.parameters.by_component.items() if name not in ("experts", "embedding")))
    assert active_bytes(gpt_oss, "stored") == rest + experts * 4 // 32
    gemma = model(GEMMA)
    towers = gemma.parameters.by_component["vision"] + gemma.parameters.by_component["projector"]
    assert active_bytes(gemma, "stored") == 2 * (4_300_079_472 - towers)  # tied: the embedding is the head


def test_a_price_gives_what_a_million_tokens_cost_at_least() -> None:
    plain = inspector.fit(LLAMA, gpu="2xH100", offline=True)
    assert (plain.price, plain.decode_cost, plain.prefill_cost) == (None, None, None)
    fit = inspector.fit(LLAMA, gpu="2xH100", price=3.6, offline=True)
    # 2 GPUs at 3.60 an hour are 0.002 a second; a second makes decode_bound tokens at most.
    assert (fit.price, fit.decode_cost) == (3.6, pytest.approx(2000 / (plain.decode_bound or 0)))
    assert fit.prefill_cost == pytest.approx(2000 / (plain.prefill_bound or 0))
    unknown = inspector.fit(LLAMA, gpu="24GiB", price=1.0, offline=True)
    assert (unknown.price, unknown.decode_cost, unknown.prefill_cost) == (1.0, None, None)
    with pytest.raises(UsageError):
        inspector.fit(LLAMA, gpu="2xH100", price=-1.0, offline=True)


def test_the_price_is_told_in_text_and_json(run: Run) -> None:
    done = run("fit", LLAMA, "--gpu", "g5.xlarge", "--price", "1.006", "--offline")
    assert "lower bound at $1.01 per GPU-hour, per million tokens: decode $" in " ".join(done.out.split())
    record = run("fit", LLAMA, "--gpu", "H100", "--engine", "vllm", "--price", "2", "--offline", "--json").record
    assert record["fit"][0]["price"] == 2.0
    assert record["fit"][0]["decode_cost"] > record["fit"][0]["prefill_cost"] > 0


def test_every_device_that_holds_it_comes_with_its_fewest_gpus_and_the_least_memory_first() -> None:
    llama, workload = model(LLAMA), Workload(context=4096)
    fits = fits_on_any(lambda spec: check_fit(llama, workload, spec))
    assert all(fit.fits for fit in fits)
    sizes = [fit.count * fit.capacity for fit in fits]
    assert sizes == sorted(sizes)
    assert len({fit.gpu for fit in fits}) == len(fits)
    assert all(fit.count == 1 for fit in fits if fit.kind == "metal")
    total = estimate(llama, workload).total or 0
    single = {d.name for d in list_devices() if d.capacity >= total and d.slice_of is None}
    assert {fit.gpu for fit in fits if fit.count == 1} == single


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_the_command_lists_them(run: Run, engine: str) -> None:
    record = run("fit", LLAMA, "--all-gpus", "--engine", engine, "--json", "--offline").record
    assert len(record["fit"]) > 40
    assert {fit["fits"] for fit in record["fit"]} == {True}
    done = run("fit", LLAMA, "--all-gpus", "--engine", engine, "--offline")
    assert done.code == 0
    assert f"{len(record['fit'])} known devices hold it" in done.out


def test_a_model_that_no_device_holds_does_not_fit(run: Run) -> None:
    done = run("fit", "deepseek-ai/DeepSeek-V3", "--all-gpus", "--offline", "--dtype", "fp32", "--context", "160k")
    assert (done.code, done.out.splitlines()[1]) == (1, "0 known devices hold it · 163,840 tokens x 1 sequence")


def test_fit_without_a_device_is_a_usage_error(run: Run) -> None:
    done = run("fit", LLAMA, "--offline")
    assert done.code == 2
    assert "fit needs a device" in done.err
    assert run("fit", LLAMA, "--offline", "--all-gpus", "--gpu", "L4").code == 2
