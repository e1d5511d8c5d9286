"""llama.cpp's cache, against its log and by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engines.llama_cpp.cache import CACHE_TYPES, LlamaCppSettings, cache_bytes, row_bytes
from inspector.errors import UsageError
from inspector.model.layers import (
    ChunkedAttention,
    FullAttention,
    HybridAttention,
    IndexedAttention,
    LatentAttention,
    LinearAttention,
    NoCache,
    ReferenceSlidingAttention,
    SlidingAttention,
    StateTensor,
    UnknownLayer,
)

MIB = 1024**2


def test_deepseek_r1_latents_in_q8_0_as_the_log_has_them() -> None:
    settings = LlamaCppSettings(32_768, cache_type_k="q8_0", cache_type_v="q8_0")
    assert round((cache_bytes([LatentAttention(512, 64)] * 61, settings) or 0) / MIB, 2) == 1166.62


def test_a_row_is_whole_blocks() -> None:
    assert [row_bytes(1024, kind) for kind in ("f16", "q8_0", "q4_0", "q5_1")] == [2048, 1088, 576, 768]
    with pytest.raises(UsageError, match="32 values"):
        row_bytes(80, "q8_0")
    with pytest.raises(UsageError, match="unknown cache type"):
        row_bytes(64, "q3_k")


def test_llama_3_8b_at_8192_takes_a_gib() -> None:
    assert cache_bytes([FullAttention(8, 128, 128)] * 32, LlamaCppSettings(8192)) == 1024 * MIB


def test_a_window_keeps_itself_and_a_batch_padded_to_256() -> None:
    layer = SlidingAttention(1, 64, 64, 1000)
    # 1000 + 512 -> 1536 cells of 256 B; two sequences 2000 + 512 -> 2560; no more than the context
    assert cache_bytes([layer], LlamaCppSettings(32_768)) == 1536 * 256
    assert cache_bytes([layer], LlamaCppSettings(32_768, n_parallel=2)) == 2560 * 256
    assert cache_bytes([layer], LlamaCppSettings(512)) == 512 * 256
    assert cache_bytes([layer], LlamaCppSettings(32_768, swa_full=True)) == 32_768 * 256
    assert cache_bytes([ChunkedAttention(1, 64, 64, 1000)], LlamaCppSettings(32_768)) == 1536 * 256


def test_states_are_float32_for_each_sequence() -> None:
    states = (StateTensor((8, 4), "compute"), StateTensor((2, 8, 8), "F32"))
    settings = LlamaCppSettings(256, n_parallel=3)
    assert cache_bytes([LinearAttention(states)], settings) == 3 * 4 * (8 * 3 + 128)
    both = HybridAttention(FullAttention(1, 64, 64), states)
    assert cache_bytes([both], settings) == 256 * 256 + 3 * 4 * (8 * 3 + 128)
    assert cache_bytes([NoCache()], settings) == 0


def test_kinds_it_has_no_rule_for_make_the_whole_unknown() -> None:
    assert cache_bytes([ReferenceSlidingAttention(8, 64, 64, 100)], LlamaCppSettings(256)) is None
    assert cache_bytes([UnknownLayer("hyper")], LlamaCppSettings(256)) is None


def test_an_indexers_keys_have_a_cache_of_their_own() -> None:
    """src/llama-kv-cache-dsa.cpp: one head of the indexer's width, keys alone, in as many cells."""
    assert (
        cache_bytes([IndexedAttention(LatentAttention(512, 64), 128)], LlamaCppSettings(256)) == 256 * (576 + 128) * 2
    )


def test_settings_below_one_are_refused() -> None:
    with pytest.raises(UsageError):
        cache_bytes([NoCache()], LlamaCppSettings(0))


@given(st.integers(1, 100_000), st.integers(0, 100_000), st.sampled_from(sorted(CACHE_TYPES)))
def test_more_context_never_takes_less(context: int, more: int, kind: str) -> None:
    layers = [FullAttention(8, 128, 128), SlidingAttention(8, 128, 128, 4096)]
    less, same = (
        cache_bytes(layers, LlamaCppSettings(n_ctx, cache_type_k=kind)) for n_ctx in (context, context + more)
    )
    assert less is not None
    assert same is not None
    assert less <= same
