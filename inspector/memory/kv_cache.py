"""The KV cache, and the fixed states of linear attention: what each kind of layer holds for one sequence.

One sizing function for all: fits, tables and searches call `cache_bytes`.
"""

from __future__ import annotations

import math

from inspector.hub.checkpoint import DTYPE_BITS
from inspector.memory.estimate import Part, Workload
from inspector.memory.precision import size_in_bytes
from inspector.model.layers import (
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


def tokens_held(layer: Layer, context: int, encoder_tokens: int | None = None) -> int:
    """Rows that the cache of a sequence of `context` tokens holds between two decode steps.

    A window of w keeps w - 1 tokens, since the next token brings its own row
    (transformers.cache_utils.DynamicSlidingWindowLayer, which serves chunks, too). Cross attention also keeps the
    encoder's rows: as many as the encoder's fixed length, else `encoder_tokens`, else as many again as the context.
    """
    match layer:
        case SlidingAttention():
            return min(context, layer.sliding_window - 1)
        case ChunkedAttention():
            return min(context, layer.attention_chunk_size - 1)
        case CrossAttention():
            fixed = layer.encoder_tokens if layer.encoder_tokens is not None else encoder_tokens
            return context + (context if fixed is None else fixed)
        case IndexedAttention() | HybridAttention():
            return tokens_held(layer.attention, context)
    return context


def cache_bytes(
    layer: Layer, *, context: int, batch: int, element_bits: int, encoder_tokens: int | None = None
) -> int | None:
    """Bytes that one layer's cache holds for `batch` sequences of `context` tokens; None where that is unknown.

    `encoder_tokens`: the input's length, for encoder-decoders; as long as the context where it is not given.
    """
    per_token = values_per_token(layer)
    if per_token is None:
        return None
    total = size_in_bytes(batch * tokens_held(layer, context, encoder_tokens) * per_token, element_bits)
    if isinstance(layer, LinearAttention | HybridAttention):
        for state in layer.states:
            total += size_in_bytes(batch * math.prod(state.shape), DTYPE_BITS.get(state.dtype, element_bits))
    return total


def layer_cache_bytes(architecture: Architecture, workload: Workload, element_bits: int) -> tuple[int | None, ...]:
    """`cache_bytes` of every layer, in order."""
    return tuple(
        cache_bytes(layer, context=workload.context, batch=workload.batch, element_bits=element_bits)
        for layer in architecture.layers
    )


def kv_bytes_per_token(architecture: Architecture, element_bits: int) -> int | None:
    """Bytes that one token of one sequence takes in all layers together, as long as no window is full."""
    values = [values_per_token(layer) for layer in architecture.layers]
    if any(value is None for value in values):
        return None
    return size_in_bytes(sum(value or 0 for value in values), element_bits)


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
    total = None if unknown else sum(part.bytes or 0 for part in parts)
    return Part(
        "kv_cache",
        total,
        f"unknown: no size is known for {', '.join(unknown)}" if unknown else f"the layers' caches, {kv_dtype}",
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
    tokens = f"batch {workload.batch} x {tokens_held(layer, workload.context):,} tokens"
    states = f" + batch {workload.batch} x {_states_text(layer.states)}" if isinstance(layer, HybridAttention) else ""
    return f"{tokens} x ({_row_text(layer)}) x {size}{states}"


def _row_text(layer: Layer) -> str:
    """What one token's row is made of, and what bounds the number of rows."""
    match layer:
        case IndexedAttention():
            return f"{_row_text(layer.attention)} + index_head_dim {layer.index_head_dim}"
        case HybridAttention():
            return _row_text(layer.attention)
        case LatentAttention():
            return f"kv_lora_rank {layer.kv_lora_rank} + qk_rope_head_dim {layer.qk_rope_head_dim}"
        case Attention():
            window = {
                SlidingAttention: "; at most sliding_window - 1 tokens",
                ChunkedAttention: "; at most attention_chunk_size - 1 tokens",
                CrossAttention: "; the encoder's tokens included",
            }.get(type(layer), "")
            return f"{layer.num_key_value_heads} KV heads x (key {layer.head_dim} + value {layer.v_head_dim}){window}"
    return layer.kind


def _states_text(states: tuple[StateTensor, ...]) -> str:
    return "states of " + " + ".join(f"{'x'.join(map(str, state.shape))} {state.dtype}" for state in states)
