"""KV cache sizes against values worked out by hand from public configs (bf16, batch 1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.memory.estimate import Workload
from inspector.memory.kv_cache import cache_bytes, kv_cache, layer_cache_bytes, tokens_held, values_per_token
from inspector.model.layers import (
    ChunkedAttention,
    FullAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    NoCache,
    SlidingAttention,
    StateTensor,
    UnknownLayer,
)
from inspector.model.model import Architecture

GIB = 1024**3


def architecture(*layers: Layer, is_decoder: bool = True) -> Architecture:
    return Architecture(
        model_type="test",
        architecture=None,
        num_hidden_layers=len(layers),
        hidden_size=None,
        num_attention_heads=None,
        num_key_value_heads=None,
        head_dim=None,
        intermediate_size=None,
        vocab_size=None,
        max_position_embeddings=None,
        tie_word_embeddings=None,
        dtype="bfloat16",
        sliding_window=None,
        experts=None,
        quantization=None,
        layers=layers,
        is_decoder=is_decoder,
    )


@pytest.mark.parametrize(
    ("layers", "context", "gib"),
    [
        ([FullAttention(8, 128, 128)] * 32, 8_192, 1.00),  # Llama-3-8B
        ([FullAttention(8, 128, 128)] * 80, 8_192, 2.50),  # Llama-3-70B
        ([FullAttention(8, 128, 128)] * 28, 32_768, 3.50),  # Qwen3-0.6B: head_dim 128, not 1024 / 16
        ([LatentAttention(512, 64)] * 61, 32_768, 2.14),  # DeepSeek-V3: the latent, not 128 heads
        (
            [FullAttention(16, 128, 128)] * 10 + [SlidingAttention(16, 128, 128, 1024)] * 52,
            131_072,
            10.41,
        ),  # Gemma-3-27B
        ([FullAttention(8, 64, 64)] * 12 + [SlidingAttention(8, 64, 64, 128)] * 12, 131_072, 3.00),  # gpt-oss-20b
        (
            [FullAttention(8, 128, 128)] * 12 + [ChunkedAttention(8, 128, 128, 8192)] * 36,
            1_048_576,
            49.1,
        ),  # Llama-4-Scout
    ],
)
def test_cache_of_known_models(layers: list[Layer], context: int, gib: float) -> None:
    part = kv_cache(architecture(*layers), Workload(context), "bf16", 16)
    assert part.bytes is not None
    assert round(part.bytes / GIB, 1 if gib == 49.1 else 2) == gib
    assert part.bytes == sum(sub.bytes or 0 for sub in part.parts)


def test_a_window_keeps_one_token_less_than_its_width_between_steps() -> None:
    layer = SlidingAttention(1, 64, 64, sliding_window=128)
    assert [tokens_held(layer, context) for context in (1, 127, 128, 5000)] == [1, 127, 127, 127]


def test_states_of_linear_attention_do_not_grow_and_keep_their_own_dtype() -> None:
    layer = LinearAttention((StateTensor((32, 128, 128), "F32"), StateTensor((8192, 3), "compute")))
    expected = 2 * (32 * 128 * 128 * 4 + 8192 * 3 * 2)
    for context in (1, 100_000):
        assert cache_bytes(layer, context=context, batch=2, element_bits=16) == expected
    assert values_per_token(layer) == 0


def test_keys_and_values_may_differ_in_width() -> None:
    assert cache_bytes(FullAttention(2, 192, 128), context=10, batch=1, element_bits=8) == 10 * 2 * (192 + 128)


def test_four_bit_caches_round_up_to_whole_bytes() -> None:
    assert cache_bytes(FullAttention(1, 1, 2), context=1, batch=1, element_bits=4) == 2


def test_an_unknown_layer_makes_the_whole_cache_unknown_and_is_named() -> None:
    part = kv_cache(architecture(FullAttention(1, 8, 8), UnknownLayer("hyper")), Workload(16), "bf16", 16)
    assert part.bytes is None
    assert "unknown" in part.formula
    assert any("hyper" in sub.formula for sub in part.parts)


def test_an_encoder_caches_nothing() -> None:
    assert kv_cache(architecture(NoCache(), NoCache(), is_decoder=False), Workload(512), "fp32", 32).bytes == 0


def test_no_layers_known_is_unknown_not_zero() -> None:
    assert kv_cache(architecture(), Workload(512), "fp32", 32).bytes is None


_ATTENTION = st.one_of(
    st.builds(FullAttention, st.integers(1, 64), st.integers(1, 256), st.integers(1, 256)),
    st.builds(SlidingAttention, st.integers(1, 64), st.integers(1, 256), st.integers(1, 256), st.integers(1, 9000)),
    st.builds(LatentAttention, st.integers(1, 1024), st.integers(0, 128)),
)


@given(
    st.lists(_ATTENTION, min_size=1, max_size=6),
    st.integers(1, 200_000),
    st.integers(1, 64),
    st.integers(0, 5000),
    st.integers(0, 8),
)
def test_more_context_or_batch_never_takes_less(
    layers: list[Layer], context: int, batch: int, more_context: int, more_batch: int
) -> None:
    shape = architecture(*layers)
    less = layer_cache_bytes(shape, Workload(context, batch), 16)
    more = layer_cache_bytes(shape, Workload(context + more_context, batch + more_batch), 16)
    assert all(a is not None and b is not None and a <= b for a, b in zip(less, more, strict=True))
