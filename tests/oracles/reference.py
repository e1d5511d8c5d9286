"""What a layer's spec means in bytes, in the fewest lines: a check on memory/'s own sizing function. No torch here."""

from __future__ import annotations

import math

from inspector.hub.checkpoint import DTYPE_BITS
from inspector.model.layers import (
    Attention,
    ChunkedAttention,
    CrossAttention,
    HybridAttention,
    IndexedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    SlidingAttention,
    UnknownLayer,
)


def reference_cache_bytes(
    layer: Layer, *, context: int, batch: int, element_bits: int, encoder_tokens: int = 0
) -> int | None:
    """Bytes that a layer holds for `batch` sequences of `context` tokens; None where the spec cannot tell.

    Args:
        context: tokens of the sequence, the last one's rows included.
        encoder_tokens: the encoder's length where the spec has none of its own.
    """
    values, states = 0, 0
    attention = layer.attention if isinstance(layer, (IndexedAttention, HybridAttention)) else layer
    if isinstance(attention, LatentAttention):
        values = context * (attention.kv_lora_rank + attention.qk_rope_head_dim)
    elif isinstance(attention, Attention):
        held = context
        if isinstance(attention, SlidingAttention):
            held = min(context, attention.sliding_window - 1)
        elif isinstance(attention, ChunkedAttention):
            held = min(context, attention.attention_chunk_size - 1)
        elif isinstance(attention, CrossAttention):
            held += attention.encoder_tokens or encoder_tokens
        values = held * attention.num_key_value_heads * (attention.head_dim + attention.v_head_dim)
    elif isinstance(attention, UnknownLayer):
        return None
    if isinstance(layer, IndexedAttention):
        values += context * layer.index_head_dim
    if isinstance(layer, (LinearAttention, HybridAttention)):
        for state in layer.states:
            states += math.prod(state.shape) * (element_bits if state.dtype == "compute" else DTYPE_BITS[state.dtype])
    return batch * (values * element_bits + states) // 8
