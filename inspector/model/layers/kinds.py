"""The mechanisms' classes under one name, until the engines' files import each from its own."""

from __future__ import annotations

from inspector.model.layers.chunked import ChunkedAttention
from inspector.model.layers.cross import CrossAttention
from inspector.model.layers.full import Attention, FullAttention
from inspector.model.layers.hybrid import HybridAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer, StateTensor
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.no_cache import NoCache
from inspector.model.layers.sliding import SlidingAttention
from inspector.model.layers.unknown import UnknownLayer

__all__ = [
    "Attention",
    "ChunkedAttention",
    "CrossAttention",
    "FullAttention",
    "HybridAttention",
    "IndexedAttention",
    "LatentAttention",
    "Layer",
    "LinearAttention",
    "NoCache",
    "SlidingAttention",
    "StateTensor",
    "UnknownLayer",
    "rows_of",
]


def rows_of(layer: Layer) -> Attention | LatentAttention | None:
    """The part of a layer that caches a row a token; None where it has none."""
    return layer.rows if isinstance(layer.rows, Attention | LatentAttention) else None
