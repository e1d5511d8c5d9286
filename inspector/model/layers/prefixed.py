"""Prefixed attention: full attention that also sees learned tokens before the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.full import Attention, cached_heads, head_dim_of
from inspector.model.layers.layer import CacheRequest, LayerSource


@dataclass(frozen=True, slots=True)
class PrefixedAttention(Attention):
    """Full attention over the text and `prefix_tokens` learned tokens before it (CPM-Ant)."""

    prefix_tokens: int

    kind: ClassVar[str] = "prefixed_attention"
    prefill_measured: ClassVar[bool] = False
    bound: ClassVar[str] = "; the learned tokens before the text included"
    sized_from: ClassVar[tuple[str, ...]] = ("prompt_length",)

    @classmethod
    def read(cls, name: str, source: LayerSource) -> PrefixedAttention | None:
        heads, prefix = cached_heads(source.values, source.facts), source.whole("prompt_length")
        width = source.whole("dim_head") or head_dim_of(source.values)
        return None if heads is None or prefix is None or width is None else cls(heads, width, width, prefix)

    def tokens_held(self, request: CacheRequest) -> int:
        return request.context + self.prefix_tokens
