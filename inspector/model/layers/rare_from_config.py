"""Layers of model types with a cache of their own making, and of kinds that single types have.

Imported where a config names one of them: the kinds that most models have are in kinds.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from inspector.model.config.text import TextConfig
from inspector.model.layers.kinds import IndexedAttention, Layer, LinearAttention, UnknownLayer
from inspector.model.layers.rare import (
    CompressedAttention,
    HiddenStates,
    ImageCrossAttention,
    PrefixedAttention,
    ReferenceSlidingAttention,
)
from inspector.model.layers.states import states_of

Values = Mapping[str, Any]

VISION_DEFAULTS = {"image_size": 448, "patch_size": 14, "max_num_tiles": 4}
"""Of transformers' MllamaVisionConfig."""


def own_layers(text: TextConfig, count: int) -> tuple[Layer, ...]:
    """The layers of a type in `kinds.OWN_CACHE_TYPES`."""
    from inspector.model.layers.from_config import cached_heads, head_dim_of

    values, name = text.values, str(text.text_type)
    unknown = UnknownLayer(f"{name}'s own cache")
    if name in ("rwkv", "xlstm"):
        found = states_of(values, name)
        return (unknown if found is None else LinearAttention(*found),) * count
    hidden = _whole(values, "hidden_size")
    heads, width = cached_heads(values, name), head_dim_of(values)
    if name == "cpmant" and heads is not None and (prefix := _whole(values, "prompt_length")) is not None:
        width = _whole(values, "dim_head") or width
        return (unknown if width is None else PrefixedAttention(heads, width, width, prefix),) * count
    if name == "xlnet" and hidden is not None:
        return (HiddenStates(hidden, _whole(values, "mem_len") or None),) * count
    kinds, hashes = values.get("attn_layers"), _whole(values, "num_hashes")
    chunk = _whole(values, "lsh_attn_chunk_length")
    same = chunk == _whole(values, "local_attn_chunk_length")  # else its padding depends on both
    if name == "reformer" and hidden and heads and hashes and chunk and same and isinstance(kinds, list):
        block: dict[str, Layer] = {
            "local": HiddenStates(hidden, chunk_length=chunk),
            "lsh": HiddenStates(hidden, buckets=heads * hashes, chunk_length=chunk),
        }
        return tuple(block.get(str(kind), unknown) for kind in kinds)
    return (unknown,) * count


def rare_layer(kind: str, values: Values, heads: int | None, width: int | None) -> Layer | None:
    """A layer of a kind that single types have, or None where it is not known or cannot be sized."""
    window = _whole(values, "sliding_window")
    if heads is None or width is None or not window:
        return None
    if kind == "reference_sliding_attention":
        return ReferenceSlidingAttention(heads, width, width, window)
    if kind in ("compressed_sparse_attention", "heavily_compressed_attention"):
        rates = values.get("compress_rates")
        rate = _whole(rates, kind) if isinstance(rates, Mapping) else None
        index = _whole(values, "index_head_dim") if kind == "compressed_sparse_attention" else 0
        return CompressedAttention(width, window, rate, index) if rate and index is not None else None
    return None


def with_single_layers(layers: tuple[Layer, ...], text: TextConfig, image_tokens: int | None) -> tuple[Layer, ...]:
    """The layers, those that hold more than others of their kind replaced."""
    changed = list(layers)
    if image_tokens is not None:
        from inspector.model.layers.from_config import cached_heads, head_dim_of

        heads, width = cached_heads(text.values, text.text_type), head_dim_of(text.values)
        for index in text.get("cross_attention_layers") or []:
            if isinstance(index, int) and 0 <= index < len(changed) and heads is not None and width is not None:
                changed[index] = ImageCrossAttention(heads, width, width, image_tokens)
    if text.text_type == "qwen4_exp_text":
        _add_ngrams(changed, text)
        for index, layer in enumerate(changed):
            if isinstance(layer, IndexedAttention):  # the first keeps the tokens' three positions, for all layers
                changed[index] = dataclasses.replace(layer, position_bytes=24)
                break
    return tuple(changed)


def _add_ngrams(layers: list[Layer], text: TextConfig) -> None:
    """Qwen4-Exp: layers of `ple_layer_ids`, counted from 1, keep the inputs of a dilated convolution over all residual
    streams, and the last `ngram_size - 1` token ids."""
    from inspector.model.layers.kinds import StateTensor

    keys = ("hc_count", "hidden_size", "ple_conv_kernel_size", "ngram_size")
    sizes = [_whole(text.values, key) for key in keys]
    for number in text.get("ple_layer_ids") or []:
        index = number - 1 if isinstance(number, int) else -1
        if not 0 <= index < len(layers):
            continue
        layer = layers[index]
        known = [size for size in sizes if size is not None]
        if not isinstance(layer, LinearAttention) or len(known) < len(sizes):
            layers[index] = UnknownLayer("n-gram embedding")
            continue
        streams, hidden, kernel, ngram = known
        states = (
            StateTensor((streams * hidden, max(kernel - 1, 0) * ngram), "compute"),
            StateTensor((max(ngram - 1, 0),), "I64"),
        )
        layers[index] = LinearAttention((*layer.states, *states), (*layer.keys, *keys))


def image_tokens_of(text: TextConfig, config: Mapping[str, Any]) -> int | None:
    """Tokens that one image gives the cross-attention layers: every tile's patches and its class token, for as many
    tiles as the image processor pads to (MllamaVisionModel; Llama 3.2: 4 x 1,601). None without a vision part."""
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping) or not isinstance(text.get("cross_attention_layers"), list):
        return None
    sizes = [_whole({**VISION_DEFAULTS, **vision}, key) for key in VISION_DEFAULTS]
    known = [size for size in sizes if size]
    if len(known) < len(sizes):
        return None
    image, patch, tiles = known
    return tiles * ((image // patch) ** 2 + 1)


def _whole(values: Values, key: str) -> int | None:
    """A whole number that a size can have, or None."""
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**40 else None
