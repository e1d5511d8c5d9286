"""The heads that engines' own classes cache, where transformers' class caches others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inspector.model.layers.full import Attention, FullAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.sliding import SlidingAttention
from inspector.model.model import Architecture


def configured_heads(shape: Architecture) -> tuple[Layer, ...]:
    """The layers with the key/value heads that config.json names, where transformers' class repeats them for each
    query head before it caches them. Worked example: Falcon-40B: 8 heads a layer, not 128.

    vllm/model_executor/models/falcon.py and llama.cpp's n_head_kv repeat nothing.
    """
    named, heads = shape.num_key_value_heads, shape.num_attention_heads
    rows = [layer for layer in shape.layers if isinstance(layer, Attention)]
    if not named or not heads or named >= heads or heads % named or len(rows) < len(shape.layers):
        return shape.layers
    if any(layer.num_key_value_heads != heads for layer in rows):
        return shape.layers
    return tuple(replace(layer, num_key_value_heads=named) for layer in rows)


def expanded_latents(layers: Sequence[Layer], heads: int | None, *, padded_values: bool) -> tuple[Layer, ...]:
    """The layers with each latent as the keys and values that are made of it, which some classes cache.

    Args:
        heads: attention heads.
        padded_values: values are as wide as keys, as one kernel for both asks for.
    """
    return tuple(
        _expanded(layer, heads, padded_values) if isinstance(layer, LatentAttention) and heads else layer
        for layer in layers
    )


def _expanded(layer: LatentAttention, heads: int, padded_values: bool) -> Layer:
    nope, value = layer.qk_nope_head_dim, layer.v_head_dim
    if nope is None or value is None or layer.sliding_window is not None:
        return layer
    key = nope + layer.qk_rope_head_dim
    return FullAttention(heads, key, key if padded_values else value)


def later_rounds(layers: tuple[Layer, ...], shape: Architecture) -> tuple[Layer, ...]:
    """The layers of a model that runs them again, with the window that the later rounds have beside the first one's
    rows (vllm/model_executor/models/iquest_loopcoder.py, mlx_lm/models/iquestloopcoder.py)."""
    rounds, window = (shape.written.get(key) for key in ("loop_num", "loop_window_size"))
    if not isinstance(rounds, int) or not isinstance(window, int) or rounds < 1 or len(layers) % rounds:
        return layers
    once = len(layers) // rounds
    return (*layers[:once], *(windowed(layer, window) for layer in layers[once:]))


def windowed(layer: Layer, window: int) -> Layer:
    """A layer of full attention with a window; another kind as it is."""
    if type(layer) is not FullAttention:
        return layer
    return SlidingAttention(layer.num_key_value_heads, layer.head_dim, layer.v_head_dim, window)


def rows_of_heads(shape: Architecture) -> FullAttention | None:
    """A layer with rows of the config's heads, for an engine that caches whether or not transformers' class does; None
    where the config does not say them."""
    heads, hidden = shape.num_attention_heads, shape.hidden_size
    if not heads or not hidden:
        return None
    width = shape.head_dim or hidden // heads
    return FullAttention(shape.num_key_value_heads or heads, width, width)
