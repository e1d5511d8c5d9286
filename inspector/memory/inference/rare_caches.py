"""The caches of kinds that few model types have. Only `kv_cache` calls these."""

from __future__ import annotations

from inspector.memory.inference.kv_cache import Cache, window_rows
from inspector.memory.precision import size_in_bytes
from inspector.model.layers.kinds import Layer
from inspector.model.layers.rare import CompressedAttention, HiddenStates, ImageCrossAttention, PrefixedAttention

INTEGER_BYTES = 8


def prefix_tokens(layer: Layer) -> int:
    """Learned tokens that are cached before the text's."""
    return layer.prefix_tokens if isinstance(layer, PrefixedAttention) else 0


def rare_values_per_token(layer: Layer) -> int | None:
    """As `kv_cache.values_per_token`. Compressed attention: a row in the window and, rounded up, a token's share of
    the next entry."""
    match layer:
        case CompressedAttention():
            return layer.head_dim + -(-layer.entry_width // layer.compress_rate)
        case HiddenStates():
            return layer.hidden_size
        case ImageCrossAttention():
            return 0
    return None


def rare_bytes(layer: Layer, context: int, batch: int, element_bits: int, cache: Cache) -> int | None:
    """As `kv_cache.cache_bytes`, for any way to weigh."""
    match layer:
        case CompressedAttention():
            values = compressed_values(layer, context, cache)
            return None if values is None else size_in_bytes(batch * values, element_bits)
        case HiddenStates():
            if cache == "static":
                return None
            tokens = _remembered(layer, context, cache)
            buckets = tokens * layer.buckets if context >= layer.chunk_length else 0
            return size_in_bytes(batch * tokens * layer.hidden_size, element_bits) + batch * buckets * INTEGER_BYTES
        case ImageCrossAttention():
            width = layer.num_key_value_heads * (layer.head_dim + layer.v_head_dim)
            tokens = layer.image_tokens
            if cache == "static":  # as long as the text's layers, and too short for a larger image
                if tokens > context:
                    return None
                tokens = context
            return size_in_bytes(batch * tokens * width, element_bits)
    return None


def compressed_values(layer: CompressedAttention, context: int, cache: Cache) -> int | None:
    """Values of one sequence (transformers.models.deepseek_v4: DeepseekV4HCACache, DeepseekV4CSACache).

    The window's rows, which serve as keys and as values; context // compress_rate entries; the tokens that no entry
    covers yet, each with its gate. These are a view of what the last step brought: after the prompt all of it is still
    allocated, after a step the tokens that waited before and the new one. There is no static class.

    Worked example: head_dim 512, window 128, rate 128, 300 tokens: 127 * 512 + 2 * 512 + 44 * 1,024 = 111,104.
    """
    if cache == "static":
        return None
    finished, waiting = divmod(context, layer.compress_rate)
    if cache == "dynamic_after_prefill":
        waiting = context
    elif cache == "dynamic":
        waiting = (context - 1) % layer.compress_rate + 1
    values = window_rows(layer.sliding_window, context, cache) * layer.head_dim
    values += finished * layer.entry_width + waiting * layer.waiting_width
    return values + (layer.overlap_width if finished else 0)


def rare_equation(layer: Layer, context: int) -> str:
    """What one sequence keeps, in numbers."""
    match layer:
        case CompressedAttention():
            finished, waiting = divmod(context, layer.compress_rate)
            rows = window_rows(layer.sliding_window, context, "held")
            index = f" + index_head_dim {layer.index_head_dim}" if layer.index_head_dim else ""
            text = f"({rows:,} tokens x head_dim {layer.head_dim}; at most sliding_window - 1"
            text += f" + {finished:,} entries of {layer.compress_rate} tokens x (head_dim {layer.head_dim}{index})"
            overlap = f" + {layer.overlap_width:,} of the last entry" if finished and layer.overlap_width else ""
            return f"{text} + {waiting:,} waiting tokens x {layer.waiting_width:,}{overlap})"
        case HiddenStates():
            bound = "" if layer.mem_len is None else "; at most mem_len"
            return f"{_remembered(layer, context, 'held'):,} tokens x hidden_size {layer.hidden_size}{bound}"
        case ImageCrossAttention():
            width = f"key {layer.head_dim} + value {layer.v_head_dim}"
            return f"{layer.image_tokens:,} tokens of one image x {layer.num_key_value_heads} KV heads x ({width})"
    return layer.kind


def _remembered(layer: HiddenStates, context: int, cache: Cache) -> int:
    """Tokens whose inputs a layer keeps: the last `mem_len`, a view of the whole prompt or of one row more."""
    if cache == "dynamic_after_prefill" and context > layer.chunk_length:
        return -(-context // layer.chunk_length) * layer.chunk_length
    if layer.mem_len is None or cache == "dynamic_after_prefill":
        return context
    return min(context, layer.mem_len + int(cache == "dynamic"))
