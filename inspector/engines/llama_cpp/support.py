"""Which classes llama.cpp's converter takes, under which architecture, and what llama.cpp's graph of that caches.

A GGUF file's layers are llama.cpp's own already (hub/formats/gguf/kept.py); a safetensors model's are transformers'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from inspector.engines.common.kept_heads import configured_heads, expanded_latents, rows_of_heads
from inspector.hub.formats.gguf.config import gguf_table
from inspector.hub.formats.gguf.kept import llama_cpp_table
from inspector.model.config.light import table
from inspector.model.layers.chunked import ChunkedAttention
from inspector.model.layers.full import Attention, FullAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.no_cache import NoCache
from inspector.model.layers.sliding import SlidingAttention
from inspector.model.model import Architecture


def architecture_of(shape: Architecture) -> str | None:
    """llama.cpp's architecture for the class that the config names; None where the converter has no such class."""
    found = gguf_table()["converted"].get(shape.architecture or "")
    return str(found) if found else None


def refusal(shape: Architecture) -> str | None:
    """Why there is no GGUF file of the model; None where nothing known stands against one.

    A class of several parts that the converter does not name is let pass: its language part's own class decides.
    """
    name = shape.architecture
    if name is None or architecture_of(shape) is not None or "text" in table().get(shape.model_type or "", {}):
        return None
    return f"llama.cpp has no {name}: its converter ({gguf_table()['converter']}) does not take it"


def kept_layers(shape: Architecture) -> tuple[Layer, ...]:
    """The layers with what llama.cpp's own graph caches: the heads of `n_head_kv`, full heads where it makes keys and
    values of a latent first, windows and indexers where its architecture has them."""
    layers: tuple[Layer, ...] = configured_heads(shape)
    rule = llama_cpp_table()["architectures"].get(architecture_of(shape))
    if rule is None:
        return layers
    if rule.get("memory") == "none":
        return tuple(NoCache() for _ in layers)
    if not shape.is_decoder:  # llama.cpp allocates a cache for every architecture that it does not except
        rows = rows_of_heads(shape)
        layers = (rows,) * len(layers) if rows else layers
    if not rule.get("latent"):
        layers = expanded_latents(layers, shape.num_attention_heads, padded_values=False)
    change = _windowed(rule, len(layers))
    return tuple(_indexed(rule, change(layer)) for layer in layers)


def _windowed(rule: Mapping[str, Any], count: int) -> Callable[[Layer], Layer]:
    """A change of a layer's window: gone where the architecture has none, of its own size where it asks for none."""
    windows = rule.get("window")
    if windows is not None and count not in windows.get("layers", (count,)):
        windows = None

    def change(layer: Layer) -> Layer:
        if isinstance(layer, SlidingAttention):
            if windows is None:
                return FullAttention(layer.num_key_value_heads, layer.head_dim, layer.v_head_dim)
            return replace(layer, sliding_window=windows.get("fixed", layer.sliding_window))
        if isinstance(layer, ChunkedAttention) and windows is not None and rule.get("chunked"):
            return replace(layer, attention_chunk_size=windows.get("fixed", layer.attention_chunk_size))
        return layer

    return change


def _indexed(rule: Mapping[str, Any], layer: Layer) -> Layer:
    """The layer with the row that llama.cpp's indexer caches."""
    if not isinstance(layer, IndexedAttention):
        return layer
    rows, kind = layer.attention, rule.get("index")
    if kind is None:
        return rows
    if kind == "with_values" and isinstance(rows, Attention):
        return replace(layer, index_head_dim=layer.index_head_dim + rows.v_head_dim)
    return layer
