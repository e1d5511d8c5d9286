"""The KV cache, and the fixed states of linear attention: what each kind of layer holds for one sequence.

One sizing function for all: fits, tables and searches call `cache_bytes`, which is what the tokens hold in steady
state; `allocated_bytes` sizes the same specs as transformers' cache classes allocate them.
"""

from __future__ import annotations

import math
from typing import Literal

from inspector.hub.dtypes import DTYPE_BITS
from inspector.memory.estimate import Part, Workload
from inspector.memory.precision import size_in_bytes
from inspector.model.layers.kinds import (
    Attention,
    ChunkedAttention,
    CrossAttention,
    HybridAttention,
    IndexedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    NoCache,
    SlidingAttention,
    StateTensor,
    UnknownLayer,
)
from inspector.model.model import Architecture

Cache = Literal["held", "dynamic", "dynamic_after_prefill", "static"]
"""How a cache is weighed: "held" is what the tokens take; the others what transformers' classes have allocated:
DynamicCache between two decode steps, DynamicCache after the prompt, StaticCache."""

ALLOCATIONS: tuple[Cache, ...] = ("dynamic", "dynamic_after_prefill", "static")

COUNTER_BYTES = 8
"""A whole number that a cache layer keeps as a tensor: its length (StaticLayer), or its window's width
(DynamicSlidingWindowLayer)."""


def values_per_token(layer: Layer) -> int | None:
    """Values that one token adds to this layer's cache, until a window is full; None where that is unknown.

    Attention keeps a key and a value row for each key/value head (Ainslie et al., 2023, arXiv 2305.13245); latent
    attention one compressed row and one rotary key for all heads (DeepSeek-V2, arXiv 2405.04434, section 2.1).
    """
    match layer:
        case Attention():
            return layer.num_key_value_heads * (layer.head_dim + layer.v_head_dim)
        case LatentAttention():
            return layer.kv_lora_rank + layer.qk_rope_head_dim
        case IndexedAttention():
            rows = values_per_token(layer.attention)
            return None if rows is None else rows + layer.index_head_dim
        case HybridAttention():
            return values_per_token(layer.attention)
        case NoCache() | LinearAttention():
            return 0
        case UnknownLayer():
            return None
    from inspector.memory.inference.rare_caches import rare_values_per_token

    return rare_values_per_token(layer)


def tokens_held(layer: Layer, context: int, encoder_tokens: int | None = None) -> int:
    """Rows that the cache of a sequence of `context` tokens holds between two decode steps.

    Cross attention also keeps the encoder's rows: as many as the encoder's fixed length, else `encoder_tokens`, else
    as many again as the context.
    """
    return _rows(layer, context, encoder_tokens, "held")


def _rows(layer: Layer, context: int, encoder_tokens: int | None, cache: Cache) -> int:
    match layer:
        case SlidingAttention():
            return window_rows(layer.sliding_window, context, cache)
        case ChunkedAttention():
            return window_rows(layer.attention_chunk_size, context, cache)
        case CrossAttention():
            own = context if layer.sliding_window is None else window_rows(layer.sliding_window, context, cache)
            return own + _encoder_rows(layer, context, encoder_tokens)
        case LatentAttention() if layer.sliding_window is not None:
            return window_rows(layer.sliding_window, context, cache)
        case IndexedAttention() | HybridAttention():
            return _rows(layer.attention, context, encoder_tokens, cache)
        case Attention() if layer.kind == "prefixed_attention":
            from inspector.memory.inference.rare_caches import prefix_tokens

            return context + prefix_tokens(layer)
    return context


def _encoder_rows(layer: CrossAttention, context: int, encoder_tokens: int | None) -> int:
    fixed = layer.encoder_tokens if layer.encoder_tokens is not None else encoder_tokens
    return context if fixed is None else fixed


def window_rows(window: int, context: int, cache: Cache) -> int:
    """Rows that a window's cache holds, or has allocated.

    A window of w keeps w - 1 tokens, since the next token brings its own row
    (transformers.cache_utils.DynamicSlidingWindowLayer, which serves chunks, too): they are a view of the whole prompt
    after it, and of w rows after a step. StaticSlidingWindowLayer has w rows. A window of 1 keeps everything: its
    slice from -0 on is the whole.
    """
    if cache == "dynamic_after_prefill" or (window == 1 and cache != "static"):
        return context
    return min(context, window - 1 if cache == "held" else window)


def cache_bytes(
    layer: Layer, *, context: int, batch: int, element_bits: int, encoder_tokens: int | None = None
) -> int | None:
    """Bytes that one layer's cache holds for `batch` sequences of `context` tokens; None where that is unknown.

    `encoder_tokens`: the input's length, for encoder-decoders; as long as the context where it is not given.
    """
    return _bytes(layer, context, batch, element_bits, encoder_tokens, "held")


def allocated_bytes(
    layer: Layer, *, context: int, batch: int, element_bits: int, cache: Cache, encoder_tokens: int | None = None
) -> int | None:
    """Bytes that transformers' cache class has allocated for one layer; None where unknown, or where there is no such
    class for this kind.

    Args:
        context: tokens a sequence; those of the prompt after a prompt, and `max_cache_len` of a StaticCache.
        cache: which class, and when. StaticCache allocates all rows at once.
    """
    total = _bytes(layer, context, batch, element_bits, encoder_tokens, cache)
    return None if total is None else total + COUNTER_BYTES * _counters(layer, cache)


def _bytes(
    layer: Layer, context: int, batch: int, element_bits: int, encoder_tokens: int | None, cache: Cache
) -> int | None:
    match layer:
        case Attention() | LatentAttention() | IndexedAttention() | HybridAttention() | LinearAttention():
            rows, width = _rows(layer, context, encoder_tokens, cache), values_per_token(layer) or 0
            values = rows * width
            if isinstance(layer, CrossAttention) and layer.encoder_row is not None:
                values += _encoder_rows(layer, context, encoder_tokens) * (layer.encoder_row - width)
            total = size_in_bytes(batch * values, element_bits)
        case NoCache():
            return 0
        case UnknownLayer():
            return None
        case _:
            from inspector.memory.inference.rare_caches import rare_bytes

            return rare_bytes(layer, context, batch, element_bits, cache)
    if isinstance(layer, IndexedAttention):
        total += batch * rows * _wider_index_bits(layer, element_bits) // 8
        if layer.position_bytes:  # after the prompt all sequences and dimensions share one row of positions
            total += rows * (COUNTER_BYTES if cache == "dynamic_after_prefill" else batch * layer.position_bytes)
    if isinstance(layer, LinearAttention | HybridAttention):
        for state in layer.states:
            size = math.prod(state.shape) + (state.spare if cache in ("dynamic", "static") else 0)
            total += size_in_bytes(batch * size, DTYPE_BITS.get(state.dtype, element_bits))
    return total


def _wider_index_bits(layer: IndexedAttention, element_bits: int) -> int:
    """Bits a token that the indexer's keys take beyond those of the run's precision."""
    return layer.index_head_dim * (DTYPE_BITS.get(layer.index_dtype, element_bits) - element_bits)


def _counters(layer: Layer, cache: Cache) -> int:
    """Counters of one cache layer, one for all sequences."""
    if isinstance(layer, HybridAttention):
        return _counters(layer.attention, cache)
    if cache != "static":
        windowed = isinstance(layer, CrossAttention | LatentAttention) and layer.sliding_window is not None
        return int(windowed or isinstance(layer, SlidingAttention | ChunkedAttention) or layer.kind in _RARE_WINDOWS)
    if isinstance(layer, CrossAttention | IndexedAttention):
        return 2
    return int(isinstance(layer, Attention | LatentAttention) or layer.kind == "image_cross_attention")


_RARE_WINDOWS = frozenset(
    {"compressed_sparse_attention", "heavily_compressed_attention", "reference_sliding_attention"}
)


def layer_cache_bytes(architecture: Architecture, workload: Workload, element_bits: int) -> tuple[int | None, ...]:
    """`cache_bytes` of every layer, in order."""
    sizes = {
        number: cache_bytes(layer, context=workload.context, batch=workload.batch, element_bits=element_bits)
        for number, layer in {id(layer): layer for layer in architecture.layers}.items()  # equal ones are mostly one
    }
    return tuple(sizes[id(layer)] for layer in architecture.layers)


def kv_cache_allocated(
    architecture: Architecture, workload: Workload, kv_dtype: str, element_bits: int, compute_bits: int
) -> tuple[Part, ...]:
    """What transformers' caches allocate for the whole model: a part named after each of `ALLOCATIONS`, and one for
    QuantizedCache. None where a layer's is unknown, and where that class does not keep values of this precision.

    Args:
        element_bits: bits of one cached value.
        compute_bits: bits of the precision that the model computes in, which a quantized cache's scales have.
    """
    groups: dict[Layer, int] = {}
    for layer in architecture.layers:
        groups[layer] = groups.get(layer, 0) + 1
    known = bool(groups) or not architecture.is_decoder
    parts: list[Part] = []
    for cache, (name, when) in _ALLOCATION_TEXTS.items():
        total: int | None = 0 if known and kv_dtype not in QUANTIZED else None
        for layer, count in groups.items():
            one = allocated_bytes(
                layer, context=workload.context, batch=workload.batch, element_bits=element_bits, cache=cache
            )
            total = None if one is None or total is None else total + count * one
        formula = f"{name} {when}" if total is not None else f"not known, or no {name} of this kind in {kv_dtype}"
        parts.append(Part(cache, total, formula, f"transformers.cache_utils.{name}"))
    if kv_dtype in QUANTIZED:
        from inspector.memory.quantization.quantized_cache import quantized_cache

        parts.append(quantized_cache(groups, workload, kv_dtype, element_bits, compute_bits))
    return tuple(parts)


QUANTIZED = ("int8", "int4", "fp8")
"""Precisions of a cache that only transformers' QuantizedCache keeps."""

_ALLOCATION_TEXTS: dict[Cache, tuple[str, str]] = {
    "dynamic": ("DynamicCache", "between two decode steps: a window's view of one row more, and its counter"),
    "dynamic_after_prefill": ("DynamicCache", "after a prompt of that length: a window is a view of all its rows"),
    "static": ("StaticCache", "whose max_cache_len is the context: all rows at once, and a counter a layer"),
}


def kv_bytes_per_token(architecture: Architecture, element_bits: int) -> int | None:
    """Bytes that one token of one sequence takes in all layers together, as long as no window is full."""
    bits = 0
    for layer in architecture.layers:
        values = values_per_token(layer)
        if values is None:
            return None
        bits += values * element_bits
        if isinstance(layer, IndexedAttention):
            bits += _wider_index_bits(layer, element_bits) + 8 * layer.position_bytes
    return size_in_bytes(bits, 1)


def kv_cache(architecture: Architecture, workload: Workload, kv_dtype: str, element_bits: int) -> Part:
    """The whole model's cache as transformers' DynamicCache holds it between two decode steps, one part a run of
    equal layers."""
    source = "transformers.cache_utils.DynamicCache"
    if not architecture.is_decoder:
        return Part("kv_cache", 0, "no decoder: nothing is cached", source)
    if not architecture.layers:
        return Part("kv_cache", None, "unknown: config.json does not tell the layers", source)
    groups: dict[Layer, int] = {}
    for layer in architecture.layers:
        groups[layer] = groups.get(layer, 0) + 1
    parts: list[Part] = []
    for layer, count in groups.items():
        one = cache_bytes(layer, context=workload.context, batch=workload.batch, element_bits=element_bits)
        formula = f"{count} layers x {_equation(layer, workload, element_bits)}"
        parts.append(Part(layer.kind, None if one is None else count * one, formula, source))
    unknown = [part.name for part in parts if part.bytes is None]
    scales = "; the values alone: a QuantizedCache's scales are not in it" if kv_dtype in ("int8", "int4") else ""
    total = None if unknown else sum(part.bytes or 0 for part in parts)
    return Part(
        "kv_cache",
        total,
        f"unknown: no size is known for {', '.join(unknown)}" if unknown else f"the layers' caches, {kv_dtype}{scales}",
        source,
        tuple(parts),
    )


def _equation(layer: Layer, workload: Workload, element_bits: int) -> str:
    """One layer's equation with its numbers in it."""
    if isinstance(layer, UnknownLayer):
        return f"unknown kind '{layer.name}'"
    if isinstance(layer, NoCache):
        return "nothing cached"
    if isinstance(layer, LinearAttention):
        return f"batch {workload.batch} x {_states_text(layer.states)}"
    size = f"{element_bits // 8} B" if element_bits >= 8 else f"{element_bits} bits"
    if not isinstance(layer, Attention | LatentAttention | IndexedAttention | HybridAttention):
        from inspector.memory.inference.rare_caches import rare_equation

        return f"batch {workload.batch} x {rare_equation(layer, workload.context)} x {size}"
    tokens = f"batch {workload.batch} x {tokens_held(layer, workload.context):,} tokens"
    states = f" + batch {workload.batch} x {_states_text(layer.states)}" if isinstance(layer, HybridAttention) else ""
    return f"{tokens} x ({_row_text(layer)}) x {size}{states}"


def _row_text(layer: Layer) -> str:
    """What one token's row is made of, and what bounds the number of rows."""
    match layer:
        case IndexedAttention():
            positions = f" + {layer.position_bytes} B of positions" if layer.position_bytes else ""
            return f"{_row_text(layer.attention)} + index_head_dim {layer.index_head_dim}{positions}"
        case HybridAttention():
            return _row_text(layer.attention)
        case LatentAttention():
            return f"kv_lora_rank {layer.kv_lora_rank} + qk_rope_head_dim {layer.qk_rope_head_dim}"
        case Attention():
            window = {
                "sliding_attention": "; at most sliding_window - 1 tokens",
                "chunked_attention": "; at most attention_chunk_size - 1 tokens",
                "cross_attention": "; the encoder's tokens included",
                "prefixed_attention": "; the learned tokens before the text included",
                "reference_sliding_attention": "; the window bounds the answer's tokens only",
            }.get(layer.kind, "")
            return f"{layer.num_key_value_heads} KV heads x (key {layer.head_dim} + value {layer.v_head_dim}){window}"
    return layer.kind


def _states_text(states: tuple[StateTensor, ...]) -> str:
    return "states of " + " + ".join(f"{'x'.join(map(str, state.shape))} {state.dtype}" for state in states)
