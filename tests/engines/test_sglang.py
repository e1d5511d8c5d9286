"""SGLang's pool by its own rule, against its logs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engines.common.cache_specs import CacheSettings
from inspector.engines.common.served import Card, ServedModel, Weights
from inspector.engines.sglang.budget import (
    SglangSettings,
    default_mem_fraction,
    plan,
    pool_bytes,
    pool_tokens,
    serving_defaults,
)
from inspector.errors import UsageError
from inspector.model.layers import (
    FullAttention,
    LinearAttention,
    NoCache,
    SlidingAttention,
    StateTensor,
)

GIB = 1024**3
QWEN3_14B = (FullAttention(8, 128, 128),) * 40


def test_qwen3_14b_on_four_ranks_as_its_log_has_it() -> None:
    # 0.5: 16.0 GiB left of 23.08 after loading, fraction 0.8: pool 11.38 GiB, 298,447 tokens
    pool = pool_bytes(int(23.08 * GIB), int(16.0 * GIB), 0.8)
    assert round(pool / GIB, 2) == 11.38
    tokens = pool_tokens(QWEN3_14B, CacheSettings(1, block_size=1, tensor_parallel=4), pool)
    assert tokens == pytest.approx(298_447, rel=1e-3)


def test_windows_have_eight_tenths_of_the_slots() -> None:
    layers = (FullAttention(1, 64, 64), SlidingAttention(1, 64, 64, 128))
    assert pool_tokens(layers, CacheSettings(1, block_size=1), 256 * 1800) == 1000
    assert pool_tokens(layers[1:], CacheSettings(1, block_size=1), 256 * 1000) == 1000


def test_states_take_nine_parts_of_nineteen() -> None:
    layers = (FullAttention(1, 64, 64), LinearAttention((StateTensor((4, 4), "F32"),)))
    assert pool_tokens(layers, CacheSettings(1, block_size=1), 256 * 1900) == 1000


def test_whole_pages_only_and_nothing_where_nothing_is_cached() -> None:
    assert pool_tokens((FullAttention(1, 64, 64),), CacheSettings(1, block_size=64), 256 * 100) == 64
    assert pool_tokens((NoCache(),), CacheSettings(1), GIB) is None


@pytest.mark.parametrize(
    ("gib", "ranks", "defaults"),
    [
        (15, 1, (2048, 8)),
        (24, 1, (4096, 48)),
        (48, 4, (4096, 160)),
        (79, 1, (8192, 256)),
        (141, 8, (8192, 512)),
        (178, 1, (16_384, 512)),
    ],
)
def test_defaults_follow_the_card(gib: int, ranks: int, defaults: tuple[int, int]) -> None:
    assert serving_defaults(Card(gib * GIB), ranks) == defaults


def test_the_default_fraction_reserves_at_least_ten_gib_on_large_cards() -> None:
    # 512 + 1.5 x 8192 + 128 + 2 x 256 = 13,440 MiB of 81,088; on 24 GiB 512 + 6144 + 128 + 96 = 6,880 of 24,576
    assert default_mem_fraction(Card(81_088 * 1024**2), SglangSettings(4096)) == 0.834
    assert default_mem_fraction(Card(24 * GIB), SglangSettings(4096)) == 0.72
    small = SglangSettings(4096, chunked_prefill_size=2048, cuda_graph_max_bs=8)
    assert default_mem_fraction(Card(100 * GIB), small) == 0.9


MODEL = ServedModel(QWEN3_14B, 5120, 151_936, 2, Weights(10**9, 10**9, 26 * 10**9))


def test_a_plan_counts_weights_pool_and_slack_to_the_whole_card() -> None:
    card = Card(40 * GIB)
    found = plan(MODEL, card, SglangSettings(32_768, 0.8))
    assert found is not None
    assert found.weights + found.kv_pool + found.slack == pytest.approx(card.memory, abs=2)
    assert found.fits is (found.kv_tokens is not None and found.kv_tokens >= 32_768)
    none = plan(replace(MODEL, weights=None), card, SglangSettings(32_768))
    assert none is None
    tight = plan(MODEL, Card(24 * GIB), SglangSettings(32_768, 0.8))
    assert tight is not None
    assert tight.fits is False


@pytest.mark.parametrize(
    "wrong", [{"mem_fraction_static": 1.0}, {"context_length": 0}, {"kv_cache_dtype": "int3"}, {"tp_size": 3}]
)
def test_settings_that_sglang_refuses_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        plan(MODEL, Card(80 * GIB), replace(SglangSettings(4096), **wrong))  # type: ignore[arg-type]


@given(st.floats(0.1, 0.99), st.floats(0.1, 0.99))
def test_a_larger_fraction_never_gives_a_smaller_pool(one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, second = (plan(MODEL, Card(80 * GIB), SglangSettings(4096, fraction)) for fraction in (low, high))
    assert first is not None
    assert second is not None
    assert first.kv_pool <= second.kv_pool
