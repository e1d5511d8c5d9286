"""SGLang's pool by its own rule, against its logs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engines.common.cache_specs import CacheSettings
from inspector.engines.common.served import Gpu, ServedModel, Weights
from inspector.engines.sglang.budget import SglangSettings, States, divided, plan, pool_bytes, pool_tokens
from inspector.engines.sglang.fraction import Batches, FractionFacts, default_fraction, in_use, serving_defaults
from inspector.engines.sglang.plan import release_of
from inspector.errors import UsageError
from inspector.model.layers import (
    ChunkedAttention,
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


def test_states_take_nine_parts_of_nineteen_in_whole_slots_of_which_one_is_spare() -> None:
    # 16 x 4 B a slot: 900 of 1900 hold 14 slots, 13 of them for requests; 1900 - 14 x 64 = 1004 leave 3 rows of 256
    layers = (FullAttention(1, 64, 64), LinearAttention((StateTensor((4, 4), "F32"),)))
    found = divided(layers, CacheSettings(1, block_size=1), 1900)
    assert found is not None
    assert (found.slots, found.tokens, found.state_bytes) == (13, 3, 64)


def test_chunks_weigh_eight_tenths_too() -> None:
    layers = (FullAttention(1, 64, 64), ChunkedAttention(1, 64, 64, 128))
    assert pool_tokens(layers, CacheSettings(1, block_size=1), 256 * 1800) == 1000


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
def test_defaults_follow_the_gpu(gib: int, ranks: int, defaults: tuple[int, int]) -> None:
    assert serving_defaults(gib * 1024, ranks) == defaults


H200 = 143_771
"""MiB, as the driver has it."""

IMAGES = FractionFacts(multimodal=True)


@pytest.mark.parametrize(
    ("facts", "fraction"),
    [
        # what SGLang 0.5.23's own arguments come to (tests/oracles/sglang): 512 + 12,288 + 128 + 512 MiB, and
        # 58 lengths of a prefill of 8 MiB each; latents 1,536 MiB; no prefill of images
        (FractionFacts(), 0.903),
        (FractionFacts(latent=True), 0.896),
        (IMAGES, 0.907),
        (replace(IMAGES, vision=(24, 3584)), 0.68932),
        (replace(IMAGES, captured=True, vision=(24, 768)), 0.903 * 0.95 * 1.04375),
    ],
)
def test_the_default_fraction_by_kind_of_model(facts: FractionFacts, fraction: float) -> None:
    assert default_fraction(H200, Batches(), facts) == pytest.approx(fraction, abs=1e-5)


@pytest.mark.parametrize(
    ("release", "memory", "ranks", "facts", "fraction"),
    [
        # as start-up logs print it: L4 under 0.4.3, H100 under 0.5.2; MI355X under 0.5.8 with an encoder of 27 x 1,152
        ("0.4.3", 23_034, 4, FractionFacts(), 0.85),
        ("0.5.2", 81_559, 8, FractionFacts(), 0.831),
        ("0.5.8", 294_896, 8, FractionFacts(latent=True, multimodal=True, vision=(27, 1152)), 0.826),
        ("0.4.6", H200, 1, FractionFacts(), 0.8718),
        ("0.4.9", 24_564, 1, IMAGES, 0.9 * 0.879),
        ("0.5.12", H200, 1, FractionFacts(), 0.903),
        ("0.5.9", H200, 1, FractionFacts(), 0.907),
    ],
)
def test_the_default_fraction_by_release(
    release: str, memory: int, ranks: int, facts: FractionFacts, fraction: float
) -> None:
    found = default_fraction(memory, Batches(release_of(release), tp_size=ranks), facts)
    assert found == pytest.approx(fraction, abs=1e-3)


def test_at_least_ten_gib_are_left_on_large_gpus() -> None:
    small = Batches(chunked_prefill_size=2048, cuda_graph_max_bs=8)
    assert default_fraction(100 * 1024, small) == 0.9


def test_what_is_in_use_before_loading() -> None:
    h100, l4 = Gpu(81_089 * 1024**2, "H100", (9, 0)), Gpu(22_563 * 1024**2, "L4", (8, 9))
    before = {(1, h100): 78.7, (8, h100): 77.0, (4, l4): 21.6}  # GiB, of logs within 0.5
    for (ranks, gpu), free in before.items():
        assert (gpu.memory - in_use(gpu, ranks)) / GIB == pytest.approx(free, abs=0.5)
    shared = replace(h100, system_memory=9 * GIB)
    assert in_use(shared, 1) - in_use(h100, 1) == 9 * GIB


MODEL = ServedModel(QWEN3_14B, 5120, 151_936, 2, Weights(10**9, 10**9, 26 * 10**9))


def test_a_plan_counts_weights_pool_and_slack_to_the_whole_gpu() -> None:
    gpu = Gpu(40 * GIB)
    found = plan(MODEL, gpu, SglangSettings(32_768, 0.8))
    assert found is not None
    assert found.weights + found.kv_pool + found.slack + found.reserved == pytest.approx(gpu.memory, abs=2)
    assert found.fits is (found.kv_tokens is not None and found.kv_tokens >= 32_768)
    none = plan(replace(MODEL, weights=None), gpu, SglangSettings(32_768))
    assert none is None
    tight = plan(MODEL, Gpu(24 * GIB), SglangSettings(32_768, 0.8))
    assert tight is not None
    assert tight.fits is False


@pytest.mark.parametrize(
    "wrong", [{"mem_fraction_static": 1.0}, {"context_length": 0}, {"kv_cache_dtype": "int3"}, {"tp_size": 3}]
)
def test_settings_that_sglang_refuses_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        plan(MODEL, Gpu(80 * GIB), replace(SglangSettings(4096), **wrong))  # type: ignore[arg-type]


@given(st.floats(0.1, 0.99), st.floats(0.1, 0.99))
def test_a_larger_fraction_never_gives_a_smaller_pool(one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, second = (plan(MODEL, Gpu(80 * GIB), SglangSettings(4096, fraction)) for fraction in (low, high))
    assert first is not None
    assert second is not None
    assert first.kv_pool <= second.kv_pool


def test_states_and_those_of_drafted_tokens_are_one_budget() -> None:
    # Of 19,000 bytes nine parts of nineteen: 9,000, less a spare slot and its 4 drafted states of 100: 8,500. A slot
    # and its share of them, 4 of 5 slots, takes 180: 47. 9 requests (47 / 5) and one spare have 4 states each.
    states = States(spare=1, each=5, drafted=4, running=48)
    assert states.split(19_000, 100) == (47, 19_000 - 10 * 4 * 100 - 48 * 100)
    # Before 0.5.13 those of all requests come off first: 19,000 - 10 * 400 = 15,000, of which 7,105 are 71 slots.
    older = States(spare=0, each=3, drafted=4, running=10, jointly=False)
    assert older.split(19_000, 100) == (71, 15_000 - 7_100)
    assert States(slots=40).split(19_000, 100) == (40, 19_000 - 4_100)


def test_replicas_of_attention_hold_it_whole_and_a_pool_each() -> None:
    one = plan(MODEL, Gpu(80 * GIB, "H100"), SglangSettings(4096, 0.85, tp_size=4))
    two = plan(MODEL, Gpu(80 * GIB, "H100"), SglangSettings(4096, 0.85, tp_size=4, dp_size=4))
    assert one is not None
    assert two is not None
    assert two.weight_shares["divided"] == one.weight_shares["divided"]  # of MODEL's, none is known to be attention
    assert two.weight_shares["embedding"] > 3.9 * one.weight_shares["embedding"]
    # 8 KV heads over one rank, not four: a token is four times as wide in each of four pools.
    assert two.kv_tokens == pytest.approx(two.kv_pool // (40 * 2 * 8 * 128 * 2), abs=1)
    assert two.requests == pytest.approx(4 * two.kv_tokens / 4096, rel=0.01)


def test_graphs_and_replicas_lower_the_default_share() -> None:
    memory = 143_771
    usual = default_fraction(memory, Batches(tp_size=8))
    # 512 sequences x 8 replicas x 4.5 MiB
    assert default_fraction(memory, Batches(tp_size=8, attention_replicas=8)) == pytest.approx(
        usual - 512 * 8 * 4.5 / memory, abs=0.001
    )
    assert default_fraction(memory, Batches(graphs=False)) > default_fraction(memory, Batches())
    assert default_fraction(memory, Batches(max_running_requests=16)) > default_fraction(memory, Batches())
