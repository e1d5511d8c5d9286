"""llama.cpp's accounting: the KV cache for the whole context is allocated at start, in ggml's block types.

src/llama-kv-cache.cpp and src/llama-kv-cache-iswa.cpp. What lies on which GPU, and the compute buffers:
buffers.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from inspector.engines.common.cache_specs import has_known_states, kept_values
from inspector.engines.common.layer_rules import LayerRules, UnsupportedLayer, name_of
from inspector.engines.common.loaded_weights import round_up
from inspector.engines.llama_cpp.placement import Override
from inspector.errors import UsageError, known_hint
from inspector.model.layers.chunked import ChunkedAttention
from inspector.model.layers.compressed_sparse import CompressedAttention
from inspector.model.layers.cross import CrossAttention
from inspector.model.layers.full import Attention, FullAttention
from inspector.model.layers.hybrid import HybridAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.no_cache import NoCache
from inspector.model.layers.sliding import SlidingAttention

CACHE_TYPES: dict[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q5_1": (32, 24),
    "q5_0": (32, 22),
    "q4_1": (32, 20),
    "q4_0": (32, 18),
    "iq4_nl": (32, 18),
}
"""ggml's types for the cache: values a block, bytes a block (ggml/src/ggml-common.h)."""

CELL_MULTIPLE = 256
"""Cells of a cache are padded to a multiple of this (llama_context: n_ctx; llama_kv_cache_iswa: the windows')."""


@dataclass(frozen=True, slots=True)
class LlamaCppSettings:
    """llama.cpp's own names.

    Attributes:
        n_ctx: cells of the cache, for all sequences together.
        n_ubatch: tokens of one physical batch.
        n_parallel: sequences at once.
        kv_unified: they share one cache, as a server does that was not told how many; else each has its own, of
            n_ctx / n_parallel cells (`--parallel N`).
        swa_full: windows get full-size caches, too.
        flash_attn: the scores are never whole in memory. Its default "auto" is on wherever the backend can.
        n_gpu_layers: layers on the GPUs, the last ones; the output counts as one more layer, and as the first to go
            there. None for all.
        kv_offload: the caches are on the GPUs (not --no-kv-offload).
        overrides: tensors that lie elsewhere than their layer (placement.py).
        tensor_split: shares of the GPUs, in whole numbers (--tensor-split); None for by their free memory.
        build: of a release ("b9525" is 9525); None for the newest that was measured.
    """

    n_ctx: int
    n_ubatch: int = 512
    n_parallel: int = 1
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    kv_unified: bool = True
    swa_full: bool = False
    flash_attn: bool = True
    n_gpu_layers: int | None = None
    build: int | None = None
    kv_offload: bool = True
    overrides: tuple[Override, ...] = ()
    tensor_split: tuple[int, ...] | None = None

    def shown(self, n_gpu_layers: int | str) -> dict[str, Any]:
        """As accounts and comparisons show them, with the layers that lie on devices after all."""
        return {
            "n_ctx": self.n_ctx,
            "n_parallel": self.n_parallel,
            "n_ubatch": self.n_ubatch,
            "n_gpu_layers": n_gpu_layers,
            "cache_type_k": self.cache_type_k,
            "cache_type_v": self.cache_type_v,
            "flash_attn": self.flash_attn,
        }


def row_bytes(width: int, cache_type: str) -> int:
    """Bytes of one row of `width` values: whole blocks (ggml_row_size). q8_0: 34 bytes for 32 values.

    Raises:
        UsageError: an unknown type, or a width that is no multiple of its block.
    """
    if cache_type not in CACHE_TYPES:
        raise UsageError(f"unknown cache type '{cache_type}'", known_hint(cache_type, CACHE_TYPES))
    values, size = CACHE_TYPES[cache_type]
    if width % values:
        raise UsageError(f"rows of {width} values can't be kept as {cache_type}", f"Its blocks hold {values} values.")
    return width // values * size


def cells_of(layer: Layer, settings: LlamaCppSettings) -> int:
    """Cells of one layer's cache: n_ctx; for a window min(n_ctx, window * sequences + n_ubatch), padded to 256.

    Sequences with caches of their own each have that of one. Measured with build 11549: a window of 1,024 takes 1,536
    cells a sequence.
    """
    if not settings.kv_unified and settings.n_parallel > 1:
        return settings.n_parallel * cells_of(layer, one_sequence(settings))
    cells = round_up(settings.n_ctx, CELL_MULTIPLE)
    if layer.window is None or settings.swa_full:
        return cells
    return round_up(min(cells, layer.window * settings.n_parallel + settings.n_ubatch), CELL_MULTIPLE)


def one_sequence(settings: LlamaCppSettings) -> LlamaCppSettings:
    """The settings of one sequence's own cache; of a shared one, that of them all."""
    if settings.kv_unified:
        return replace(settings, n_parallel=1)
    return replace(settings, n_ctx=-(-settings.n_ctx // settings.n_parallel), n_parallel=1)


layer_cache_bytes: LayerRules[[LlamaCppSettings], int] = LayerRules("cache rule")
"""Bytes of one layer's cache. States are float32, one set a sequence."""


@layer_cache_bytes.of(Attention, FullAttention, SlidingAttention, ChunkedAttention, CrossAttention)
def _(layer: Attention, settings: LlamaCppSettings) -> int:
    """cells * (row of keys + row of values)."""
    keys = row_bytes(layer.num_key_value_heads * layer.head_dim, settings.cache_type_k)
    values = row_bytes(layer.num_key_value_heads * layer.v_head_dim, settings.cache_type_v)
    return cells_of(layer, settings) * (keys + values)


@layer_cache_bytes.of(LatentAttention)
def _(layer: LatentAttention, settings: LlamaCppSettings) -> int:
    """cells * row of the latent and its rotated part, kept as keys alone: values are a view of it."""
    return cells_of(layer, settings) * row_bytes(layer.kv_lora_rank + layer.qk_rope_head_dim, settings.cache_type_k)


@layer_cache_bytes.of(IndexedAttention)
def _(layer: IndexedAttention, settings: LlamaCppSettings) -> int:
    """The rows, and a row of the indexer's keys in a cache of its own, as long (llama_kv_cache_dsa, llama_kv_cache_msa,
    llama_memory_hybrid_idx)."""
    keys = row_bytes(layer.index_head_dim, settings.cache_type_k)
    return layer_cache_bytes(layer.attention, settings) + cells_of(layer.attention, settings) * keys


@layer_cache_bytes.of(CompressedAttention)
def _(layer: CompressedAttention, settings: LlamaCppSettings) -> int:
    """A window's rows, entries of `compress_rate` tokens, and float32 states of the tokens that no entry has yet:
    twice, with scores; with an indexer also twice as many and as wide, as entries overlap. Keys alone, and each
    sequence has caches of its own (src/llama-kv-cache-dsv4.cpp: llama_kv_cache_dsv4, llama_dsv4_comp_state)."""
    one = one_sequence(settings)
    full = round_up(one.n_ctx, CELL_MULTIPLE)
    window = full if one.swa_full else min(full, layer.sliding_window + one.n_ubatch)
    key = row_bytes(layer.head_dim, settings.cache_type_k)
    entry = key + (row_bytes(layer.index_head_dim, settings.cache_type_k) if layer.index_head_dim else 0)
    entries = round_up(-(-full // layer.compress_rate), CELL_MULTIPLE)
    overlap = 2 if layer.index_head_dim else 1
    waiting = 2 * 4 * (overlap * layer.entry_width) * (overlap * layer.compress_rate)
    return settings.n_parallel * (round_up(window, CELL_MULTIPLE) * key + entries * entry + waiting)


@layer_cache_bytes.of(LinearAttention)
def _(layer: LinearAttention, settings: LlamaCppSettings) -> int:
    return _state_bytes(layer, settings)


@layer_cache_bytes.of(HybridAttention)
def _(layer: HybridAttention, settings: LlamaCppSettings) -> int:
    states = _state_bytes(layer, settings)
    return layer_cache_bytes(layer.attention, settings) + states


@layer_cache_bytes.of(NoCache)
def _(layer: NoCache, settings: LlamaCppSettings) -> int:
    del layer, settings
    return 0


def cache_bytes(layers: Sequence[Layer], settings: LlamaCppSettings) -> int | None:
    """Bytes of the whole cache, as "KV self size" or the sum of its "KV buffer size" lines; None where not known.

    Raises:
        UsageError: settings that llama.cpp refuses.
    """
    if min(settings.n_ctx, settings.n_ubatch, settings.n_parallel) < 1:
        raise UsageError("n_ctx, n_ubatch and n_parallel must be at least 1")
    sizes = [layer_cache_bytes.known(layer, settings) for layer in layers]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _state_bytes(layer: LinearAttention | HybridAttention, settings: LlamaCppSettings) -> int:
    """4 bytes a value; a convolution over k inputs keeps k - 1 (llama-memory-recurrent.cpp: n_embd_r, n_embd_s)."""
    if not has_known_states(layer):
        raise UnsupportedLayer(f"no cache rule for {name_of(layer)}")
    return 4 * sum(map(kept_values, layer.states)) * settings.n_parallel
