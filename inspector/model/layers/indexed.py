"""Sparse attention that picks its tokens by an indexer, which has keys of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inspector.hub.dtypes import DTYPE_BITS
from inspector.model.layers.full import Attention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Cache, CacheRequest, Layer, LayerSource
from inspector.model.layers.registry import read_rows

SHARED_POSITION_BYTES = 8
"""After the prompt all sequences and dimensions share one row of positions."""


@dataclass(frozen=True, slots=True)
class IndexedAttention(Layer):
    """Sparse attention that picks its tokens by an indexer (DeepSeek-V3.2): rows as `attention`, and an indexer key of
    `index_head_dim` a token.

    The indexer's keys have the run's own precision ("compute") or a safetensors dtype, `index_dtype`.
    `position_bytes` are kept of each token's position (Qwen4-Exp).
    """

    attention: Attention | LatentAttention
    index_head_dim: int
    index_dtype: str = "compute"
    position_bytes: int = 0

    kind: ClassVar[str] = "indexed_attention"

    @classmethod
    def read(cls, name: str, source: LayerSource) -> IndexedAttention | None:
        """Facts of a type: `index_row`, (a, b) where a row is a keys and b values wide (GLM-5-Next: a key, its gate and
        a mask), and `index_dtype`, where keys are rotated in a precision of their own and stay so."""
        rows = read_rows("full_attention", source)
        width = source.values.get("index_head_dim") or source.values.get("indexer_head_dim")
        if not isinstance(rows, Attention | LatentAttention) or not isinstance(width, int):
            return None
        keys, more = source.facts.get("index_row", (1, 0))
        return cls(rows, keys * width + more, source.facts.get("index_dtype", "compute"))

    @property
    def rows(self) -> Attention | LatentAttention:
        return self.attention

    @property
    def values_per_token(self) -> int:
        return self.attention.values_per_token + self.index_head_dim

    @property
    def config_keys(self) -> tuple[str, ...]:
        return (*self.attention.config_keys, "index_head_dim")

    def _wider_bits(self, element_bits: int) -> int:
        """Bits a token that the indexer's keys take beyond those of the run's precision."""
        return self.index_head_dim * (DTYPE_BITS.get(self.index_dtype, element_bits) - element_bits)

    def bits_per_token(self, element_bits: int) -> int:
        return self.values_per_token * element_bits + self._wider_bits(element_bits) + 8 * self.position_bytes

    def tokens_held(self, request: CacheRequest) -> int:
        return self.attention.tokens_held(request)

    def cache_bytes(self, request: CacheRequest) -> int | None:
        total = Layer.cache_bytes(self, request)
        if total is None:
            return None
        rows = self.tokens_held(request)
        total += request.batch * rows * self._wider_bits(request.element_bits) // 8
        if not self.position_bytes:
            return total
        shared = request.cache == "dynamic_after_prefill"
        return total + rows * (SHARED_POSITION_BYTES if shared else request.batch * self.position_bytes)

    def counters(self, cache: Cache) -> int:
        return 2 if cache == "static" else 0

    @property
    def row_text(self) -> str:
        positions = f" + {self.position_bytes} B of positions" if self.position_bytes else ""
        return f"{self.attention.row_text} + index_head_dim {self.index_head_dim}{positions}"


def add_positions(layers: list[Layer], values: Mapping[str, Any]) -> None:
    """Qwen4-Exp: the first such layer keeps the tokens' three positions, for all layers."""
    del values
    for index, layer in enumerate(layers):
        if isinstance(layer, IndexedAttention):
            layers[index] = replace(layer, position_bytes=24)
            return
