"""How whole layers are laid over several GPUs, by cuts worked out by hand and by trying every cut."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.memory import Part, Workload, estimate
from inspector.model.layers import FullAttention, SlidingAttention
from inspector.verdict.layout import Layout, device_map_layout, split
from tests.verdict.small_model import WORKLOAD, model, size


def test_weights_at_another_precision_are_split_by_parameters() -> None:
    # Stored as 2 B a parameter, asked for at 1: the layers shrink as the rest does.
    stored = model(element_bytes=2)
    sized = replace(size(model(), WORKLOAD), workload=replace(WORKLOAD, dtype="int8"))
    layout = device_map_layout(stored, sized)
    assert layout == Layout((500, 1040, 1040, 1040, 1040, 300), every_gpu=200)


def test_the_articles_cache_is_split_evenly() -> None:
    article = replace(size(model(), WORKLOAD), workload=replace(WORKLOAD, formulas="article"))
    layout = device_map_layout(model(), replace(article, kv_cache=Part("kv_cache", 4003, "", "")))
    assert layout == Layout((500, 2000, 2001, 2001, 2001, 300), every_gpu=200)


def test_tied_weights_lie_with_the_embedding() -> None:
    layout = device_map_layout(model(head=0), size(model(head=0), WORKLOAD))
    assert layout is not None
    assert (layout.blocks[0], layout.blocks[-1]) == (500, 0)


def test_a_model_that_is_all_layers_and_caches_nothing() -> None:
    bare = model(embedding=0, head=0)
    sized = replace(size(bare, WORKLOAD), kv_cache=Part("kv_cache", 0, "no decoder", ""))
    assert device_map_layout(bare, sized) == Layout((0, 1000, 1000, 1000, 1000, 0), every_gpu=200)


def test_no_layout_where_the_caches_do_not_add_up_to_the_estimate() -> None:
    sized = size(model(), WORKLOAD)
    assert device_map_layout(model(), replace(sized, kv_cache=Part("kv_cache", 161, "", ""))) is None
    assert device_map_layout(model(layers=()), replace(sized, kv_cache=Part("kv_cache", None, "", ""))) is None


def least_largest(blocks: tuple[int, ...], count: int) -> int:
    """The same by trying every cut."""
    if count == 1 or not blocks:
        return sum(blocks)
    return min(max(sum(blocks[:cut]), least_largest(blocks[cut:], count - 1)) for cut in range(len(blocks) + 1))


@given(st.lists(st.integers(0, 50), max_size=7).map(tuple), st.integers(1, 5))
def test_a_split_keeps_the_order_and_its_largest_run_is_the_least_possible(blocks: tuple[int, ...], count: int) -> None:
    runs = split(blocks, count)
    assert len(runs) == count
    assert sum(runs, ()) == blocks
    assert max(map(sum, runs)) == least_largest(blocks, count)


@pytest.mark.parametrize("formulas", ["exact", "article"])
@pytest.mark.parametrize("dtype", ["stored", "fp32", "int4"])
def test_the_layout_of_the_real_formulas_adds_up(formulas: str, dtype: str) -> None:
    sliding = SlidingAttention(num_key_value_heads=2, head_dim=64, v_head_dim=64, sliding_window=100)
    full = FullAttention(num_key_value_heads=3, head_dim=64, v_head_dim=64)
    mixed = model(
        (1001, 2003, 3005),
        layers=(sliding, full, sliding),
        vocab_size=10,
        hidden_size=8,
        intermediate_size=16,
    )
    heads = replace(mixed.architecture, num_attention_heads=4)
    mixed = replace(mixed, architecture=heads)
    sized = estimate(mixed, Workload(context=500, dtype=dtype, formulas=formulas))  # type: ignore[arg-type]
    layout = device_map_layout(mixed, sized)
    assert layout is not None
    assert sum(layout.blocks) == (sized.weights.bytes or 0) + (sized.kv_cache.bytes or 0)
