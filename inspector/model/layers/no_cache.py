"""Layers that keep nothing between steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.layer import Cache, CacheRequest, Layer, LayerSource


@dataclass(frozen=True, slots=True)
class NoCache(Layer):
    """A layer that keeps nothing between steps: an encoder's, a pure MLP's, or one that reuses another's cache."""

    kind: ClassVar[str] = "no_cache"
    prefill_measured: ClassVar[bool] = True

    @classmethod
    def read(cls, name: str, source: LayerSource) -> NoCache:
        return cls()

    @property
    def values_per_token(self) -> int:
        return 0

    def counters(self, cache: Cache) -> int:
        return 0

    def equation(self, request: CacheRequest) -> str:
        return "nothing cached"
