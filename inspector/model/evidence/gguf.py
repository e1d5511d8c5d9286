"""What llama.cpp keeps of a sequence for each layer of a GGUF file: the file's own hyperparameters decide, and for an
architecture that is not in the table of llama.cpp's, its tensors, too (hub/formats/gguf/kept.py).

Sources: llama.cpp's src/llama-hparams.cpp (n_head_kv, n_embd_r, n_embd_s), llama-kv-cache.cpp and
llama-memory-recurrent.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from inspector.model.evidence.layers import OPEN_WIDTHS, heads_of
from inspector.model.layers.chunked import ChunkedAttention
from inspector.model.layers.compressed_sparse import CompressedAttention
from inspector.model.layers.full import Attention, FullAttention
from inspector.model.layers.hybrid import HybridAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer, StateTensor
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.no_cache import NoCache
from inspector.model.layers.sliding import SlidingAttention
from inspector.model.layers.unknown import UnknownLayer
from inspector.model.model import Architecture

BLOCK = re.compile(r"blk\.(\d+)\.(\w+)")
STATE = re.compile(r"ssm_|time_mix_|shortconv")
ATTENDS = frozenset({"attn_output", "attn_k", "attn_kv_a_mqa"})
"""Tensors of a layer that attends; fused queries, keys and values (attn_qkv) are in gated delta nets, too."""


def weigh_gguf(architecture: Architecture, config: Mapping[str, Any], names: Iterable[str]) -> Architecture:
    """The architecture with the cache that llama.cpp allocates: each layer's own heads, latents, states.

    Args:
        architecture: as its config's type has it.
        config: made of the file's metadata (hub/formats/gguf/config.py), or with that as its `gguf_config`.
        names: of the tensors.
    """
    own = config.get("gguf_config", config)
    if (kept := own.get("gguf_kept")) is not None:
        if any(kept) and not architecture.is_decoder:  # llama.cpp's own class decides
            architecture = replace(architecture, is_decoder=True)
        return _weighed(architecture, _as_kept(architecture, kept, own.get("kv_lora_rank")))
    if not architecture.is_decoder or not architecture.layers or not own.get("gguf_architecture"):
        return architecture
    stored: dict[int, set[str]] = {}
    for name in names:
        if block := BLOCK.match(name):
            stored.setdefault(int(block[1]), set()).add(block[2])
    reader = _Reader(architecture, own)
    same: dict[Layer, Layer] = {}
    layers = tuple(
        same.setdefault(kept, kept)
        for kept in (reader.kept(i, layer, stored.get(i)) for i, layer in enumerate(architecture.layers))
    )
    return _weighed(architecture, layers)


def _weighed(architecture: Architecture, layers: tuple[Layer, ...]) -> Architecture:
    """The architecture with these layers."""
    if layers == architecture.layers:
        return architecture
    heads, head_dim = heads_of(layers, architecture)
    unknown = any(isinstance(layer, UnknownLayer) for layer in layers)
    return replace(
        architecture,
        layers=layers,
        layers_at_least=(),
        num_key_value_heads=heads,
        head_dim=head_dim,
        notes=tuple(note for note in architecture.notes if unknown or not note.startswith(OPEN_WIDTHS)),
    )


def _as_kept(architecture: Architecture, kept: Sequence[Mapping[str, Any]], rank: int | None) -> tuple[Layer, ...]:
    """The layers that keep this; the type's own where they keep as much."""
    same: dict[Layer, Layer] = {}
    found = []
    for index, each in enumerate(kept):
        layer = _layer(each, rank)
        own = architecture.layers[index] if index < len(architecture.layers) else None
        if architecture.exact and isinstance(own, LinearAttention) and isinstance(layer, LinearAttention):
            layer = own if _sizes(own.states) == _sizes(layer.states) else layer
        if own == layer:
            layer = own  # with the widths that no cache has
        found.append(same.setdefault(layer, layer))
    return tuple(found)


def _sizes(states: Iterable[StateTensor]) -> list[int]:
    return sorted(prod(state.shape) for state in states)


def _layer(kept: Mapping[str, Any], rank: int | None) -> Layer:
    """A layer that keeps what `hub/formats/gguf/kept.py` says."""
    states = tuple(StateTensor(tuple(shape), dtype) for shape, dtype in kept.get("states", ()) if prod(shape))
    heads, key, value = kept.get("rows", (0, 0, 0))
    window, index = kept.get("window"), kept.get("index")
    if not heads or not key:
        return LinearAttention(states) if states else NoCache()
    if kept.get("rate"):
        return CompressedAttention(key, window or 0, kept["rate"], index or 0)
    rows: Attention | LatentAttention
    if not value:
        width = min(rank or key, key * heads)
        rows = LatentAttention(width, key * heads - width, window)
    elif window:
        rows = SlidingAttention(heads, key, value, window)
    elif kept.get("chunk"):
        rows = ChunkedAttention(heads, key, value, kept["chunk"])
    else:
        rows = FullAttention(heads, key, value)
    if index:
        return IndexedAttention(rows, index)
    return HybridAttention(rows, states) if states else rows


class _Reader:
    """Reads what a layer keeps, beside the layer that the type gives."""

    def __init__(self, architecture: Architecture, config: Mapping[str, Any]) -> None:
        self.config, self.known = config, architecture.exact
        count = len(architecture.layers)
        listed: Sequence[int] = config.get("gguf_per_layer", {}).get("num_key_value_heads", ())
        self.listed = len(listed) >= count
        heads = config.get("num_key_value_heads", config.get("num_attention_heads"))
        self.heads: Sequence[int | None] = listed if self.listed else (heads,) * count
        states = config.get("gguf_states")
        self.states = tuple(StateTensor(tuple(shape), dtype) for shape, dtype in states) if states else None
        self.full: Sequence[int] | None = config.get("gguf_full_heads")
        self.latent: Sequence[int] | None = config.get("gguf_latent")

    def kept(self, index: int, layer: Layer, stored: set[str] | None) -> Layer:
        """The layer as llama.cpp keeps it.

        Args:
            stored: the first parts of its tensors' names, "attn_k"; None where the file names none of it.
        """
        heads = self.heads[index]
        recurrent = self.states is not None and not (self.listed and heads)
        stateful = recurrent if stored is None else any(map(STATE.match, stored))
        attends = bool(heads) if stored is None else bool(stored & ATTENDS)
        if (heads == 0 and (self.listed or stateful or not attends)) or (stateful and stored and not attends):
            return self._without_rows(layer, stateful)
        if heads is None or isinstance(layer, NoCache):
            return layer
        if isinstance(layer, HybridAttention):
            attention = self._rows(layer.attention, heads)
            return replace(layer, attention=attention) if isinstance(attention, Attention | LatentAttention) else layer
        if isinstance(layer, LinearAttention) and not (self.listed and attends and not stateful):
            return layer
        rows = self._rows(layer, heads)
        if stateful and stored and not self.known and isinstance(rows, FullAttention) and self.states is not None:
            return HybridAttention(rows, self.states)
        return rows

    def _without_rows(self, layer: Layer, stateful: bool) -> Layer:
        if self.known and (isinstance(layer, NoCache) or (isinstance(layer, LinearAttention) and self._agree(layer))):
            return layer
        if not stateful:
            return NoCache()
        return UnknownLayer("state of unknown size", 0) if self.states is None else LinearAttention(self.states)

    def _agree(self, layer: LinearAttention) -> bool:
        """Whether the type's states are as large as the file's, whatever their shapes."""
        return self.states is None or _sizes(layer.states) == _sizes(self.states)

    def _rows(self, layer: Layer, heads: int) -> Layer:
        """Rows of so many heads, or a latent where the file is made for one."""
        if isinstance(layer, LatentAttention):
            return FullAttention(*self.full) if self.full and layer.sliding_window is None else layer
        if isinstance(layer, IndexedAttention):
            return layer
        if isinstance(layer, FullAttention | SlidingAttention | ChunkedAttention):
            if (self.full or self.latent) and isinstance(layer, FullAttention):
                return self._read_rows(layer, heads)
            value = self.config.get("v_head_dim") if "kv_lora_rank" not in self.config else None
            key = None
            if isinstance(layer, FullAttention) and not self.known:
                key = self.config.get("global_head_dim")
                value = key or value
            return replace(
                layer,
                num_key_value_heads=heads,
                head_dim=key or layer.head_dim,
                v_head_dim=value or layer.v_head_dim,
            )
        if isinstance(layer, LinearAttention) or (isinstance(layer, UnknownLayer) and not self.known):
            return self._read_rows(layer, heads)
        return layer

    def _read_rows(self, layer: Layer, heads: int) -> Layer:
        """Rows by the file's keys alone."""
        size, index = self.config.get("head_dim"), self.config.get("index_head_dim")
        if self.full:
            return FullAttention(*self.full)
        if self.latent:
            latent = LatentAttention(*self.latent)
            return IndexedAttention(latent, index) if index else latent
        return FullAttention(heads, size, self.config.get("v_head_dim", size)) if size else layer
