"""GPUs that are not alike: what `--gpu` says, what each engine puts on which, by hand and by the engines' rules."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.devices.detect import LocalDevice
from inspector.devices.spec import GpuSpec, machine_specs, mixed_spec, parse_gpu
from inspector.engines.common.unequal import stage_gpus
from inspector.engines.llama_cpp.buffers import gpus_of
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.model import Model
from inspector.verdict.fit import Fit, check_fit
from inspector.verdict.layout import Layout, balanced, split_unequal
from tests.conftest import Run
from tests.engines.planning import plan_serving
from tests.memory.test_ledger import inspection
from tests.verdict.small_model import WORKLOAD, model, size

GIB = 1024**3


def gpus(*capacities: int) -> GpuSpec:
    return mixed_spec([GpuSpec(name=f"{capacity}B", count=1, capacity=capacity) for capacity in capacities])


def fit(*capacities: int, workload: Workload = WORKLOAD) -> Fit:
    return check_fit(model(), workload, gpus(*capacities), estimate=size)


@pytest.mark.parametrize(
    ("text", "name", "capacities"),
    [
        ("24GiB + 12GiB", "24GiB + 12GiB", (24 * GIB, 12 * GIB)),
        ("2x24GiB+12GiB", "2x24GiB + 12GiB", (24 * GIB, 24 * GIB, 12 * GIB)),
        ("24GiB + 24GiB", "24GiB", (24 * GIB, 24 * GIB)),
    ],
)
def test_sizes_that_are_added_up(text: str, name: str, capacities: tuple[int, ...]) -> None:
    spec = parse_gpu(text)
    assert (spec.name, spec.count, spec.capacities) == (name, len(capacities), capacities)
    assert spec.capacity == min(capacities)
    assert bool(spec.mixed) is (len(set(capacities)) > 1)


def test_names_and_counts_that_are_added_up() -> None:
    spec = parse_gpu("2xRTX 4090 + RTX 3060 12GB")
    assert (spec.name, spec.label, spec.kind) == ("2xRTX 4090 + RTX 3060", "2xRTX 4090 + RTX 3060", "cuda")
    assert spec.capacities[:2] == (parse_gpu("RTX 4090").capacity,) * 2
    assert spec.capacities[2] == spec.capacity == parse_gpu("RTX 3060 12GB").capacity


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("RTX 4090 + RTX 309O", "unknown GPU 'RTX 309O'", "RTX 3090"),
        ("RTX 4090 + ", "names no GPU beside a +", "RTX 4090 + RTX 3090"),
        ("+", "names no GPU beside a +", ""),
        ("H100 + MI300X", "no program uses cuda and rocm devices as one", "--gpu of its own"),
        ("1024xH100 + H200", "1025 GPUs", "1 to 1024"),
    ],
)
def test_additions_that_mean_nothing_say_what_to_do(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gpu(text)
    assert message in caught.value.message
    assert hint in caught.value.hint or hint in caught.value.message


def test_this_machines_gpus_are_one_mixture_where_they_differ_or_one_is_in_use() -> None:
    big, small = LocalDevice("A", "cuda", 0, 24 * GIB, 24 * GIB, 20 * GIB), LocalDevice("B", "cuda", 1, 9, 8, 7)
    (spec,) = machine_specs([big, small])
    assert (spec.name, spec.capacities, spec.free) == ("A + B", (24 * GIB, 8), 7)
    other = replace(big, index=1)
    assert machine_specs([big, other])[0].mixed == ()
    (busy,) = machine_specs([big, replace(other, free=18 * GIB)])
    assert [gpu.free for gpu in busy.mixed] == [20 * GIB, 18 * GIB]
    assert [spec.kind for spec in machine_specs([big, replace(small, kind="rocm")])] == ["cuda", "rocm"]


def test_whole_layers_go_where_the_tightest_gpu_has_most_left() -> None:
    # In a row 500, four times 1,040, 300; 200 on every GPU that is used. On 4,000 and 1,800: with 500 + 3 x 1,040 the
    # first holds 3,820 and the second 1,540, which leaves 180 and 260. With a layer less, the second lacks 780.
    result = fit(4000, 1800)
    assert (result.fits, result.per_card) == (True, (3820, 1540))
    assert (result.needed, result.capacity, result.headroom) == (3820, 4000, 180)
    assert [(gpu.gpu, gpu.headroom, gpu.tightest) for gpu in result.cards] == [
        ("4000B", 180, True),
        ("1800B", 260, False),
    ]
    short = fit(3800, 1500)
    assert (short.fits, short.headroom) == (False, -40)  # the second: 1,040 + 300 + 200
    assert short.max_context is not None
    assert short.max_context < 10


def test_a_gpu_too_small_for_a_layer_is_left_out() -> None:
    result = fit(9000, 1000)
    assert result.per_card[0] >= 5000
    alone = fit(9000, 100)
    assert (alone.per_card, alone.fits) == ((5160, 0), True)


def test_transformers_own_balance_is_told_where_it_would_spill() -> None:
    # auto grants the first (500 + 4,000 + 300) / 2 + 1.25 x 1,000 = 3,650 and keeps 1,000 of it: 500 and 2 layers. The
    # second takes one more, and has no room for the last layer and the head.
    assert balanced((500, 1000, 1000, 1000, 1000, 300), (4000, 1800)) == (3, 1)
    assert balanced((500, 1000, 1000, 1000, 1000, 300), (4000, 2300)) == (3, 3)
    assert any("would leave 1 of 4 layers to the CPU" in note for note in fit(4000, 1800).notes)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=7), st.lists(st.integers(1, 120), min_size=1, max_size=4))
def test_the_split_over_unequal_rooms_keeps_the_order_and_leaves_the_most(blocks: list[int], rooms: list[int]) -> None:
    def best(blocks: list[int], rooms: list[int]) -> int | None:
        """The most that the tightest used room can have left, by trying every cut."""
        if not rooms:
            return 10**9 if not blocks else None
        found = []
        for cut in range(len(blocks) + 1):
            rest = best(blocks[cut:], rooms[1:])
            if rest is not None:
                found.append(min(rest, rooms[0] - sum(blocks[:cut])) if cut else rest)
        return max(found, default=None)

    runs = split_unequal(blocks, rooms)
    assert sum(runs, ()) == tuple(blocks)
    left = min(room - sum(run) for run, room in zip(runs, rooms, strict=True) if run)
    assert left == best(blocks, rooms)


@given(st.lists(st.integers(0, 50), max_size=7).map(tuple), st.integers(1, 5), st.integers(0, 400))
def test_equal_rooms_are_split_as_equal_gpus_are(blocks: tuple[int, ...], count: int, capacity: int) -> None:
    layout = Layout(blocks, every_gpu=7)
    assert max(layout.per_mixed_gpu((capacity,) * count)) == max(layout.per_card(count))


@given(st.lists(st.integers(1, 6000), min_size=1, max_size=4), st.integers(0, 3000), st.integers(0, 3))
def test_a_bigger_or_a_further_gpu_never_makes_it_worse(capacities: list[int], more: int, which: int) -> None:
    here = fit(*capacities)
    bigger = list(capacities)
    bigger[which % len(bigger)] += more
    for better in (fit(*bigger), fit(*capacities, more + 1)):
        assert not here.fits or better.fits
        assert (here.max_context or 0) <= (better.max_context or 0)


@cache
def served(text: str, engine: str, *, name: str = "meta-llama/Llama-3.1-8B", **degrees: int) -> Fit:
    found: Model = inspection(name).model
    return plan_serving(found, Workload(4096), parse_gpu(text), engine, **degrees).verdict


def test_vllm_gives_each_rank_the_smallest_gpus_share() -> None:
    mixed, pair = served("24GiB + 16GiB", "vllm"), served("2x16GiB", "vllm")
    assert (mixed.max_context, mixed.max_batch, mixed.headroom) == (pair.max_context, pair.max_batch, pair.headroom)
    large, small = mixed.cards
    assert (small.tightest, large.tightest) == (True, False)
    assert large.headroom is not None
    assert small.headroom is not None
    # Both ranks hold as much; of 8 GiB more vLLM would take 92 %.
    assert large.headroom - small.headroom == pytest.approx(0.92 * 8 * GIB, abs=2)


def test_pipeline_stages_lie_on_the_gpus_in_order() -> None:
    assert stage_gpus(2, 2) == ((0, 1), (2, 3))
    assert stage_gpus(1, 2, 2) == ((0, 2), (1, 3))
    # Llama 3.1 8B in two even stages: of 24 + 16 GiB and of 16 + 24 the 16 decide.
    first, second = (served(text, "vllm", pipeline_parallel=2) for text in ("24GiB + 16GiB", "16GiB + 24GiB"))
    assert [gpu.tightest for gpu in first.cards] == [False, True]
    assert [gpu.tightest for gpu in second.cards] == [True, False]
    assert any("VLLM_PP_LAYER_PARTITION" in note for note in first.notes)


def test_a_model_too_large_for_the_smaller_gpu_is_offered_the_larger_alone() -> None:
    small = served("RTX 4090 + 8GiB", "vllm")
    assert small.fits is False
    assert "--gpu 'RTX 4090'" in [change.option for change in small.changes]


def test_sglang_refuses_gpus_that_differ_by_more_than_a_tenth() -> None:
    with pytest.raises(UsageError, match="unbalanced") as caught:
        served("24GiB + 16GiB", "sglang")
    assert "SGLANG_ENABLE_TP_MEMORY_INBALANCE_CHECK" in caught.value.hint
    near = served("24GiB + 22GiB", "sglang")
    assert [gpu.tightest for gpu in near.cards] == [False, True]


def test_llama_cpp_places_layers_by_free_memory() -> None:
    # 33 layers, the output being one. Of 24 and 12 shares, the first has those with index / 33 < 2/3: 0 to 21.
    assert [len(layers) for layers in gpus_of(32, 33, (24, 12))] == [22, 11]
    assert [len(layers) for layers in gpus_of(32, 33, (1, 0, 1))] == [17, 0, 16]
    result = served("24GiB + 12GiB", "llama.cpp")
    assert result.fits is True
    assert any("layers by free memory" in note for note in result.notes)
    first, second = (gpu.needed for gpu in result.cards)
    assert first is not None
    assert second is not None
    assert first > second


def test_llama_cpp_is_given_a_tensor_split_where_its_own_overfills_a_gpu() -> None:
    # 15.1 GiB of weights over 14 + 4 GiB: by free memory the second gets more than it has room for beside its buffers.
    found = [served(f"{large}GiB + {small}GiB", "llama.cpp") for large in range(12, 18) for small in range(2, 6)]
    given_ = [result for result in found if any("--tensor-split" in note for note in result.notes)]
    assert given_
    assert all(result.fits for result in given_)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 24), st.integers(2, 24), st.integers(0, 8))
def test_llama_cpp_and_vllm_are_never_worse_off_with_a_bigger_second_gpu(first: int, second: int, more: int) -> None:
    for engine in ("llama.cpp", "vllm"):
        small, large = (served(f"{first}GiB + {size}GiB", engine) for size in (second, second + more))
        assert not small.fits or large.fits
        assert (small.max_context or 0) <= (large.max_context or 0)


def test_training_takes_the_smallest_gpu(run_process: Run) -> None:
    done = run_process("train", "openai-community/gpt2", "--gpu", "24GiB + 1GiB", "--offline", "--json")
    (verdict,) = done.record["fit"]
    assert verdict["capacity"] == GIB
    assert any("smallest of 24GiB + 1GiB decides" in note for note in verdict["notes"])


def test_the_json_lists_the_gpus(run: Run) -> None:
    done = run("fit", "meta-llama/Llama-3.1-8B", "--gpu", "24GiB + 12GiB", "--offline", "--json")
    (verdict,) = done.record["fit"]
    assert verdict["gpu"] == "24GiB + 12GiB"
    assert [gpu["gpu"] for gpu in verdict["cards"]] == ["24GiB", "12GiB"]
    assert sum(gpu["tightest"] for gpu in verdict["cards"]) == 1
    text = run("fit", "meta-llama/Llama-3.1-8B", "--gpu", "24GiB + 12GiB", "--engine", "vllm", "--offline", "--explain")
    assert "12GiB: " in text.out
    assert ", the tightest" in text.out
