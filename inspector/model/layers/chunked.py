"""Chunked attention: rows of the tokens of one chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.full import Attention, is_window, row_of
from inspector.model.layers.layer import CacheRequest, LayerSource, window_rows


@dataclass(frozen=True, slots=True)
class ChunkedAttention(Attention):
    """A token sees the tokens of its own chunk (Llama 4)."""

    attention_chunk_size: int

    kind: ClassVar[str] = "chunked_attention"
    bound: ClassVar[str] = "; at most attention_chunk_size - 1 tokens"
    sized_from: ClassVar[tuple[str, ...]] = ("attention_chunk_size",)

    @classmethod
    def read(cls, name: str, source: LayerSource) -> ChunkedAttention | None:
        row, chunk = row_of(name, source), source.values.get("attention_chunk_size")
        return cls(*row, chunk) if row is not None and is_window(chunk) else None

    @property
    def window(self) -> int:
        return self.attention_chunk_size

    def tokens_held(self, request: CacheRequest) -> int:
        return window_rows(self.attention_chunk_size, request)
