"""Sliding-window attention: rows of the last tokens only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.full import Attention, is_window, row_of
from inspector.model.layers.layer import CacheRequest, LayerSource, window_rows


@dataclass(frozen=True, slots=True)
class SlidingAttention(Attention):
    """Every token sees the last `sliding_window` tokens, itself included."""

    sliding_window: int

    kind: ClassVar[str] = "sliding_attention"
    bound: ClassVar[str] = "; at most sliding_window - 1 tokens"
    sized_from: ClassVar[tuple[str, ...]] = ("sliding_window",)

    @classmethod
    def read(cls, name: str, source: LayerSource) -> SlidingAttention | None:
        row, window = row_of(name, source), source.values.get("sliding_window")
        return cls(*row, window) if row is not None and is_window(window) else None

    @property
    def window(self) -> int:
        return self.sliding_window

    def tokens_held(self, request: CacheRequest) -> int:
        return window_rows(self.sliding_window, request)
