"""Verdicts, by a small model whose sizes are worked out by hand, and by Llama 3 8B."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import inspector
from inspector.advice.search import best_options
from inspector.devices.spec import GpuSpec, parse_gpu
from inspector.memory import Estimate, Part, Workload, estimate
from inspector.model import Model
from inspector.model.layers import UnknownLayer
from inspector.verdict.fit import Fit, check_fit, min_count
from tests.verdict.small_model import LAYER, WORKLOAD, llama_3_8b, model, size


def size_without_cache(model: Model, workload: Workload) -> Estimate:
    return replace(size(model, workload), kv_cache=Part("kv_cache", None, "unknown", ""))


def gpus(capacity: int, count: int = 1) -> GpuSpec:
    return GpuSpec(name=f"{capacity}B", count=count, capacity=capacity)


def fit(capacity: int, count: int = 1, small: Model | None = None, workload: Workload = WORKLOAD) -> Fit:
    return check_fit(small or model(), workload, gpus(capacity, count), estimate=size)


def test_one_gpu_needs_the_whole_estimate() -> None:
    # 4,800 weights + 4 layers x 10 tokens x 4 B + 10 x 10 B + 100 = 5,160
    exact = fit(5160)
    assert (exact.needed, exact.fits, exact.headroom, exact.per_card) == (5160, True, 0, (5160,))
    short = fit(5159)
    assert (short.needed, short.fits, short.headroom) == (5160, False, -1)


def test_the_longest_context_and_the_largest_batch() -> None:
    # A token takes 26 B beside 4,900: 521 B hold 20 of them, or 2 sequences of 10.
    result = fit(5421)
    assert (result.max_context, result.max_batch) == (20, 2)
    assert fit(5420).max_context == 20
    assert fit(5419).max_context == 19


def test_not_even_one_token_fits() -> None:
    assert fit(4925).max_context == 0
    assert fit(4926).max_context == 1
    assert fit(4925).max_batch == 0


def test_the_longest_context_ends_at_the_models_own_maximum() -> None:
    assert fit(10**9).max_context == 4096
    # 2**24 tokens x 26 B + 4,900 is less than 10**9, so it ends at 2**24.
    assert fit(10**9, small=model(maximum=None)).max_context == 2**24
    assert fit(10**12).max_batch == 2**20


def test_two_gpus_take_whole_layers() -> None:
    # In a row: 500, four times 1,000 + 40, 300. The best cut leaves 500 + 1,040 + 1,040 on the first GPU and
    # 1,040 + 1,040 + 300 on the second; each adds 100 B of activations and 100 B of overhead.
    result = fit(2780, 2)
    assert (result.per_card, result.needed, result.fits) == ((2780, 2580), 2780, True)
    assert fit(2779, 2).fits is False
    # Pooled memory would say yes: 2 x 2,779 is more than the 5,160 that one GPU needs.


def test_three_gpus_and_more_gpus_than_blocks() -> None:
    assert fit(2280, 3).per_card == (1740, 2280, 1540)
    assert fit(9999, 9).per_card == (700, 1240, 1240, 1240, 1240, 500, 0, 0, 0)


def test_the_longest_context_on_two_gpus_is_bound_by_the_fuller_one() -> None:
    # The first GPU holds 500 + 2 x 1,000 + 100, and 2 x 4 + 10 B a token: 2,960 leave 360 for 20 tokens.
    assert fit(2960, 2).max_context == 20
    assert fit(2959, 2).max_context == 19


def test_the_least_number_of_gpus() -> None:
    assert [fit(capacity).min_count for capacity in (5160, 5159, 2780, 2779, 1240)] == [1, 2, 2, 3, 6]
    # A layer cannot be divided, so no number of GPUs of 1,239 B will do.
    assert fit(1239).min_count is None
    assert min_count(model(), WORKLOAD, gpus(2780, 7), estimate=size) == 2


def test_unknown_layers_are_decided_only_where_the_split_does_not_matter() -> None:
    nameless = model(by_layer=())
    # One GPU holds it all; all GPUs together do not hold it (4,960 + 2 x 200 = 5,360); in between nobody knows.
    assert (fit(5160, 2, nameless).fits, fit(5160, 2, nameless).per_card) == (True, (5160, 0))
    assert fit(2679, 2, nameless).fits is False
    between = fit(2680, 2, nameless)
    assert (between.fits, between.needed, between.headroom, between.per_card) == (None, None, None, ())
    assert any("cannot tell" in note for note in between.notes)
    assert (between.max_context, between.max_batch, between.min_count) == (None, None, None)
    assert fit(5160, 2, nameless).min_count == 1


def test_an_unknown_part_leaves_the_verdict_open_unless_the_known_ones_are_too_much() -> None:
    open_ = check_fit(model(), WORKLOAD, gpus(9999), estimate=size_without_cache)
    assert (open_.fits, open_.needed, open_.headroom, open_.max_context, open_.min_count) == (None,) * 5
    assert "not known: kv_cache" in open_.notes
    # 4,800 of weights, 100 of overhead and 10 a token do not fit; how much is missing is not known.
    full = check_fit(model(), WORKLOAD, gpus(4909), estimate=size_without_cache)
    assert (full.fits, full.needed, full.max_context) == (False, None, 0)


def test_notes_tell_of_nominal_memory_and_of_memory_in_use() -> None:
    nominal = check_fit(model(), WORKLOAD, parse_gpu("MI350X"), estimate=size)
    assert any("nominal" in note for note in nominal.notes)
    busy = check_fit(model(), WORKLOAD, replace(gpus(6000), free=5159), estimate=size)
    assert busy.fits is True
    assert any("free" in note for note in busy.notes)
    assert check_fit(model(), WORKLOAD, replace(gpus(6000), free=5160), estimate=size).notes == ()


@given(st.integers(0, 8000), st.integers(0, 3000), st.integers(1, 9))
def test_more_memory_never_turns_yes_to_no(capacity: int, more: int, count: int) -> None:
    small, large = fit(capacity, count), fit(capacity + more, count)
    assert not small.fits or large.fits
    assert (small.max_context or 0) <= (large.max_context or 0)
    assert (small.max_batch or 0) <= (large.max_batch or 0)


@given(st.integers(1, 4096), st.integers(1, 64), st.integers(1, 9))
def test_more_context_or_batch_never_takes_less_and_more_gpus_never_more(context: int, batch: int, count: int) -> None:
    def needed(context: int, batch: int, count: int) -> int:
        result = fit(10**9, count, workload=Workload(context=context, batch=batch)).needed
        assert result is not None
        return result

    here = needed(context, batch, count)
    assert here <= needed(context + 1, batch, count)
    assert here <= needed(context, batch + 1, count)
    assert here >= needed(context, batch, count + 1)


@given(st.integers(0, 9000), st.integers(1, 9))
def test_the_searches_end_exactly_where_it_stops_fitting(capacity: int, count: int) -> None:
    result = fit(capacity, count)
    longest = result.max_context
    assert longest is not None
    if longest:
        assert fit(capacity, count, workload=Workload(longest)).fits
    if longest < 4096:
        assert not fit(capacity, count, workload=Workload(longest + 1)).fits


def test_llama_3_8b_by_the_real_formulas() -> None:
    workload = Workload(context=4096)
    assert check_fit(llama_3_8b(), workload, parse_gpu("RTX 4090")).fits is True
    assert check_fit(llama_3_8b(), workload, parse_gpu("T4")).fits is False
    two = check_fit(llama_3_8b(), workload, parse_gpu("2xT4"))
    sized = estimate(llama_3_8b(), workload)
    assert sized.activations.bytes is not None
    assert sized.overhead.bytes is not None
    # 16 layers of 436,224,000 B, each with a cache of 4,096 tokens x 8 heads x 256 x 2 B; 1,050,673,152 B of
    # embedding on the first GPU (with the last norm's 8,192 B), as much of head on the second.
    layers = 16 * (436_224_000 + 16_777_216)
    every_gpu = sized.activations.bytes + sized.overhead.bytes
    assert two.per_card == (layers + 1_050_681_344 + every_gpu, layers + 1_050_673_152 + every_gpu)
    assert (two.fits, two.min_count) == (True, 2)
    assert check_fit(llama_3_8b(), workload, parse_gpu("RTX 4090")).max_context == 8192


def test_a_layer_of_unknown_kind_leaves_the_verdict_open() -> None:
    strange = model(
        layers=(LAYER, LAYER, LAYER, UnknownLayer("strange")), vocab_size=8, hidden_size=8, intermediate_size=8
    )
    assert check_fit(strange, WORKLOAD, parse_gpu("24GiB")).fits is None
    assert check_fit(strange, WORKLOAD, parse_gpu("2x24GiB")).fits is None


def test_a_gguf_type_under_transformers_says_that_it_is_unpacked() -> None:
    found = inspector.inspect("Qwen/Qwen3-8B", gpus="RTX 4090", dtype="Q4_K_M", offline=True).fits[0]
    assert found.notes[-1] == (
        "counted as the GGUF file is; transformers unpacks nearly all such files as it loads them, to 15.26 GiB in 16"
        " bits: --engine llama.cpp runs them as they are"
    )
    for other in ({"dtype": "Q4_K_M", "engine": "llama.cpp"}, {"dtype": "nf4"}):
        plain = inspector.inspect("Qwen/Qwen3-8B", gpus="RTX 4090", offline=True, **other).fits[0]  # type: ignore[arg-type]
        assert not any("GGUF file is" in note for note in plain.notes)


@pytest.mark.parametrize(
    ("gpu", "alone"),
    [("RTX 4090", False), ("RTX 4090 Laptop", True), ("M3 Max 64GB", True), ("GB10", False), ("cpu 64GiB", True)],
)
def test_a_second_one_is_offered_of_what_does_not_stand_alone(gpu: str, alone: bool) -> None:
    spec = parse_gpu(gpu)
    assert spec.alone is alone
    large = inspector.inspect("Qwen/Qwen2.5-72B", offline=True).model
    options = best_options(large, spec, workload=Workload(4096), engines=("transformers",))
    assert any(option.count > 1 for option in options) is not alone
