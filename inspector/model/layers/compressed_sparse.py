"""Compressed attention: a window's rows, and one entry for every few tokens of the whole text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inspector.hub.dtypes import DTYPE_BITS
from inspector.model.layers.full import cached_heads, head_dim_of
from inspector.model.layers.layer import Cache, CacheRequest, Layer, LayerSource, whole, window_rows


@dataclass(frozen=True, slots=True)
class CompressedAttention(Layer):
    """Compressed attention (DeepSeek-V4): the last `sliding_window` tokens' rows, which are key and value at once, and
    one entry for every `compress_rate` tokens of the whole text.

    Heavily compressed attention has no indexer (`index_head_dim` 0). Compressed sparse attention picks entries by an
    indexer with entries of its own; its entries overlap, so that a token gives two values where an entry has one.
    The gates that the last entry keeps for the next one have the run's own precision ("compute") or a safetensors
    dtype, `gate_dtype`.
    """

    head_dim: int
    sliding_window: int
    compress_rate: int
    index_head_dim: int
    gate_dtype: str = "compute"

    @property
    def kind(self) -> str:  # type: ignore[override]  # by its fields, where other mechanisms have one
        return "compressed_sparse_attention" if self.index_head_dim else "heavily_compressed_attention"

    @classmethod
    def read(cls, name: str, source: LayerSource) -> CompressedAttention | None:
        """Fact of a type: `gate_dtype`, where gates are added to a bias that is always of that precision."""
        heads, width = cached_heads(source.values, source.facts), head_dim_of(source.values)
        window, rates = source.whole("sliding_window"), source.values.get("compress_rates")
        rate = whole(rates, name) if isinstance(rates, Mapping) else None
        index = source.whole("index_head_dim") if name == "compressed_sparse_attention" else 0
        if heads is None or width is None or not window or not rate or index is None:
            return None
        return cls(width, window, rate, index, source.facts.get("gate_dtype", "compute"))

    @property
    def entry_width(self) -> int:
        """Values of one compressed entry, the indexer's included."""
        return self.head_dim + self.index_head_dim

    @property
    def waiting_width(self) -> int:
        """Values of one token that no entry covers yet: what will be compressed, and its gate."""
        return (4 if self.index_head_dim else 2) * self.entry_width

    @property
    def overlap_width(self) -> int:
        """Values that the last finished entry's tokens keep for the next one, gates included."""
        return 2 * self.compress_rate * self.entry_width if self.index_head_dim else 0

    @property
    def values_per_token(self) -> int:
        """A row in the window and, rounded up, a token's share of the next entry."""
        return self.head_dim + -(-self.entry_width // self.compress_rate)

    @property
    def config_keys(self) -> tuple[str, ...]:
        keys = ("head_dim", "sliding_window", "compress_rates")
        return (*keys, "index_head_dim") if self.index_head_dim else keys

    def values_held(self, request: CacheRequest) -> int | None:
        """Values of one sequence (transformers.models.deepseek_v4: DeepseekV4HCACache, DeepseekV4CSACache).

        The window's rows, which serve as keys and as values; context // compress_rate entries; the tokens that no entry
        covers yet, each with its gate. These are a view of what the last step brought: after the prompt all of it is
        still allocated, after a step the tokens that waited before and the new one. There is no static class.

        Worked example: head_dim 512, window 128, rate 128, 300 tokens: 127 * 512 + 2 * 512 + 44 * 1,024 = 111,104.
        """
        if request.cache == "static":
            return None
        finished, waiting = divmod(request.context, self.compress_rate)
        if request.cache == "dynamic_after_prefill":
            waiting = request.context
        elif request.cache == "dynamic":
            waiting = (request.context - 1) % self.compress_rate + 1
        values = window_rows(self.sliding_window, request) * self.head_dim
        values += finished * self.entry_width + waiting * self.waiting_width
        return values + (self.overlap_width if finished else 0)

    def cache_bytes(self, request: CacheRequest) -> int | None:
        total = Layer.cache_bytes(self, request)
        if total is None or request.context < self.compress_rate:
            return total
        wider = DTYPE_BITS.get(self.gate_dtype, request.element_bits) - request.element_bits
        return total + request.batch * self.overlap_width // 2 * wider // 8

    def counters(self, cache: Cache) -> int:
        return int(cache != "static")

    def sequence_text(self, request: CacheRequest) -> str:
        finished, waiting = divmod(request.context, self.compress_rate)
        rows = window_rows(self.sliding_window, request)
        index = f" + index_head_dim {self.index_head_dim}" if self.index_head_dim else ""
        text = f"({rows:,} tokens x head_dim {self.head_dim}; at most sliding_window - 1"
        text += f" + {finished:,} entries of {self.compress_rate} tokens x (head_dim {self.head_dim}{index})"
        overlap = f" + {self.overlap_width:,} of the last entry" if finished and self.overlap_width else ""
        return f"{text} + {waiting:,} waiting tokens x {self.waiting_width:,}{overlap})"
