"""Reference sliding attention: a window over the answer's tokens only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.full import Attention, cached_heads, head_dim_of
from inspector.model.layers.layer import Cache, LayerSource


@dataclass(frozen=True, slots=True)
class ReferenceSlidingAttention(Attention):
    """The prompt's tokens stay; only those of the answer fall out of the window of `sliding_window` (Unlimited-OCR)."""

    sliding_window: int

    kind: ClassVar[str] = "reference_sliding_attention"
    prefill_measured: ClassVar[bool] = False
    bound: ClassVar[str] = "; the window bounds the answer's tokens only"
    sized_from: ClassVar[tuple[str, ...]] = ("sliding_window",)

    @classmethod
    def read(cls, name: str, source: LayerSource) -> ReferenceSlidingAttention | None:
        heads, width = cached_heads(source.values, source.facts), head_dim_of(source.values)
        window = source.whole("sliding_window")
        return None if heads is None or width is None or not window else cls(heads, width, width, window)

    def counters(self, cache: Cache) -> int:
        return 1
