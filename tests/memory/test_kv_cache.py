"""KV cache sizes against values worked out by hand from public configs (bf16, batch 1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.memory.estimate import Workload
from inspector.memory.inference.kv_cache import (
    ALLOCATIONS,
    allocated_bytes,
    cache_bytes,
    kv_bytes_per_token,
    kv_cache,
    kv_cache_allocated,
    layer_cache_bytes,
    tokens_held,
    values_per_token,
)
from inspector.memory.quantization.quantized_cache import quantized_layer_bytes
from inspector.model.architecture import read_architecture
from inspector.model.layers import (
    ChunkedAttention,
    CompressedAttention,
    CrossAttention,
    FullAttention,
    HiddenStates,
    HybridAttention,
    ImageCrossAttention,
    IndexedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    NoCache,
    PrefixedAttention,
    ReferenceSlidingAttention,
    SlidingAttention,
    StateTensor,
    UnknownLayer,
)
from inspector.model.model import Architecture

GIB = 1024**3

ROWS = {"num_key_value_heads": 2, "num_attention_heads": 4, "hidden_size": 64, "head_dim": 16}


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


@pytest.mark.parametrize(
    ("config", "context", "size"),
    [
        # 36 linear layers: a convolution of 8,192 channels x 4 in bf16, 32 matrices of 128 x 128 in float32.
        (
            {"model_type": "qwen3_next", "num_hidden_layers": 48, "num_key_value_heads": 2, "head_dim": 256},
            262_144,
            12 * 262_144 * 2 * 512 * 2 + 36 * (8192 * 4 * 2 + 32 * 128 * 128 * 4),
        ),
        (
            {"model_type": "gemma3_text", "num_hidden_layers": 62, "num_key_value_heads": 16, "head_dim": 128}
            | {"sliding_window": 1024},
            131_072,
            (10 * 131_072 + 52 * 1023) * 16 * 256 * 2,
        ),
        ({"model_type": "gpt_oss", "num_hidden_layers": 24}, 131_072, (12 * 131_072 + 12 * 127) * 8 * 128 * 2),
        ({"model_type": "llama4_text"}, 1_048_576, (12 * 1_048_576 + 36 * 8191) * 8 * 256 * 2),
        ({"model_type": "deepseek_v3"}, 32_768, 61 * 32_768 * 576 * 2),
        (
            {"model_type": "llama", "num_hidden_layers": 80} | {**ROWS, "num_key_value_heads": 8, "head_dim": 128},
            8192,
            5 * GIB // 2,
        ),
    ],
    ids=lambda value: value.get("model_type") if isinstance(value, dict) else None,
)
def test_cache_of_known_configs(config: dict[str, object], context: int, size: int) -> None:
    part = kv_cache(read_architecture(config), Workload(context), "bf16", 16)
    assert part.bytes == size


def test_a_compressed_layer_holds_its_window_its_entries_and_what_waits() -> None:
    heavy = CompressedAttention(512, 128, 128, 0)
    # 300 tokens: the last 127 rows, two entries of 128 tokens, and 44 tokens that wait with their gates.
    assert cache_bytes(heavy, context=300, batch=1, element_bits=16) == 2 * (127 * 512 + 2 * 512 + 44 * 1024)
    sparse = CompressedAttention(512, 128, 4, 128)
    # 75 entries of 512 + 128; none waits; four tokens of the last entry keep half of their four values a piece.
    assert cache_bytes(sparse, context=300, batch=1, element_bits=16) == 2 * (127 * 512 + 75 * 640 + 2 * 4 * 640)
    assert (heavy.kind, sparse.kind) == ("heavily_compressed_attention", "compressed_sparse_attention")
    assert values_per_token(sparse) == 512 + 640 // 4
    assert allocated_bytes(sparse, context=300, batch=1, element_bits=16, cache="static") is None


def test_a_sliding_layer_allocates_the_whole_prompt_until_the_next_step() -> None:
    layer = SlidingAttention(2, 64, 64, sliding_window=128)
    row = 2 * 128 * 2
    sizes = {
        cache: allocated_bytes(layer, context=1000, batch=3, element_bits=16, cache=cache) for cache in ALLOCATIONS
    }
    assert sizes == {
        "dynamic": 3 * 128 * row + 8,
        "dynamic_after_prefill": 3 * 1000 * row + 8,
        "static": 3 * 128 * row + 8,
    }
    assert cache_bytes(layer, context=1000, batch=3, element_bits=16) == 3 * 127 * row


def test_a_window_of_one_token_keeps_everything_as_the_library_does() -> None:
    # DynamicSlidingWindowLayer slices from -1 + 1 = 0 on, which is the whole.
    assert tokens_held(SlidingAttention(1, 8, 8, sliding_window=1), 50) == 50


def test_static_caches_add_a_counter_for_each_of_their_buffers() -> None:
    layers: dict[Layer, int] = {
        FullAttention(1, 8, 8): 10 * 16 * 2 + 8,
        LatentAttention(24, 8): 10 * 32 * 2 + 8,
        IndexedAttention(LatentAttention(24, 8), 16): 10 * 48 * 2 + 16,
        CrossAttention(1, 8, 8, 3): 13 * 16 * 2 + 16,
        CrossAttention(1, 8, 8, 3, sliding_window=4): 7 * 16 * 2 + 16,
        LinearAttention((StateTensor((4, 4), "F32"),)): 64,
        HybridAttention(FullAttention(1, 8, 8), (StateTensor((4, 4), "F32"),)): 10 * 16 * 2 + 8 + 64,
        ReferenceSlidingAttention(1, 8, 8, 4): 10 * 16 * 2 + 8,
        NoCache(): 0,
    }
    for layer, size in layers.items():
        assert allocated_bytes(layer, context=10, batch=1, element_bits=16, cache="static") == size, layer


def test_an_encoder_may_have_heads_of_its_own() -> None:
    layer = CrossAttention(4, 128, 128, None, encoder_row=2 * 16 * 128)
    held = cache_bytes(layer, context=10, batch=1, element_bits=16, encoder_tokens=7)
    assert held == 2 * (10 * 4 * 256 + 7 * 16 * 256)


def test_an_indexer_may_be_wider_than_the_rows_and_keep_positions() -> None:
    layer = IndexedAttention(FullAttention(1, 8, 8), 16, "F32", position_bytes=24)
    assert cache_bytes(layer, context=10, batch=2, element_bits=16) == 2 * 10 * (16 * 2 + 16 * 4 + 24)
    assert kv_bytes_per_token(architecture(layer), 16) == 16 * 2 + 16 * 4 + 24


def test_layers_that_keep_their_input_or_an_image_or_a_prefix() -> None:
    assert cache_bytes(HiddenStates(64, mem_len=5), context=9, batch=2, element_bits=16) == 2 * 5 * 64 * 2
    assert cache_bytes(HiddenStates(64), context=9, batch=2, element_bits=16) == 2 * 9 * 64 * 2
    hashing = HiddenStates(64, buckets=8, chunk_length=4)
    assert cache_bytes(hashing, context=9, batch=2, element_bits=16) == 2 * 9 * (64 * 2 + 8 * 8)
    # Llama 3.2 Vision: 4 tiles of 1,601 tokens, 8 KV heads of 128, whatever the text's length.
    image = ImageCrossAttention(8, 128, 128, 6404)
    assert cache_bytes(image, context=9, batch=1, element_bits=16) == 6404 * 8 * 256 * 2
    assert values_per_token(image) == 0
    assert cache_bytes(PrefixedAttention(2, 8, 8, 32), context=9, batch=1, element_bits=16) == 41 * 2 * 16 * 2


@pytest.mark.parametrize(("kv_dtype", "bits", "size"), [("int4", 4, 57_600), ("int8", 8, 108_800), ("fp8", 8, 102_408)])
def test_a_quantized_cache_has_scales_beside_its_values(kv_dtype: str, bits: int, size: int) -> None:
    # Measured after a prompt of 200 tokens, batch 2, 2 KV heads of 64, bfloat16, with optimum-quanto 0.2.7 and
    # hqq 0.2.8: 51,200 keys in 25,600 B (4 bits), 800 scales and 800 zero points of 2 B; values the same.
    assert quantized_layer_bytes(FullAttention(2, 64, 64), 200, 2, kv_dtype, bits, 16) == size


def test_a_quantized_cache_takes_full_attention_only_and_a_dynamic_one_no_packed_values() -> None:
    workload = Workload(200, 2, kv_dtype="int4")
    shape = architecture(FullAttention(2, 64, 64))
    full = {part.name: part.bytes for part in kv_cache_allocated(shape, workload, "int4", 4, 16)}
    assert full == {"dynamic": None, "dynamic_after_prefill": None, "static": None, "quantized": 57_600}
    mixed = architecture(FullAttention(2, 64, 64), SlidingAttention(2, 64, 64, 8))
    assert kv_cache_allocated(mixed, workload, "int4", 4, 16)[-1].bytes is None
    assert "scales are not in it" in kv_cache(shape, workload, "int4", 4).formula


def test_what_cannot_be_sized_is_allocated_as_null() -> None:
    parts = kv_cache_allocated(architecture(UnknownLayer("hyper")), Workload(16), "bf16", 16, 16)
    assert [part.bytes for part in parts] == [None, None, None]
    assert all(part.bytes is None for part in kv_cache_allocated(architecture(), Workload(16), "bf16", 16, 16))


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
    st.builds(SlidingAttention, st.integers(1, 64), st.integers(1, 256), st.integers(1, 256), st.integers(2, 9000)),
    st.builds(LatentAttention, st.integers(1, 1024), st.integers(0, 128)),
    st.builds(PrefixedAttention, st.integers(1, 8), st.integers(1, 64), st.integers(1, 64), st.integers(0, 64)),
    st.builds(HiddenStates, st.integers(1, 1024), st.one_of(st.none(), st.integers(1, 9000))),
)


@given(_ATTENTION, st.integers(1, 20_000), st.integers(1, 8))
def test_no_cache_allocates_less_than_its_tokens_hold(layer: Layer, context: int, batch: int) -> None:
    held = cache_bytes(layer, context=context, batch=batch, element_bits=16)
    for cache in ALLOCATIONS:
        size = allocated_bytes(layer, context=context, batch=batch, element_bits=16, cache=cache)
        assert held is not None
        assert size is None or size >= held


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
