"""Layers that keep their input instead of keys and values: XLNet's memory, Reformer's chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.full import cached_heads
from inspector.model.layers.layer import Cache, CacheRequest, Layer, LayerSource, size_in_bytes

BUCKET_BYTES = 8


@dataclass(frozen=True, slots=True)
class HiddenStates(Layer):
    """A layer that keeps its input instead of keys and values: `hidden_size` values of each of the last `mem_len`
    tokens, or of all (XLNet). Reformer pads a prompt to whole chunks of `chunk_length`, and its hashing layers add
    `buckets` whole numbers of 8 bytes a token once there is a whole chunk."""

    hidden_size: int
    mem_len: int | None = None
    buckets: int = 0
    chunk_length: int = 1

    kind: ClassVar[str] = "hidden_states"

    @classmethod
    def read(cls, name: str, source: LayerSource) -> HiddenStates | None:
        """XLNet's "memory", or Reformer's "local" and "lsh" (hashing) layers."""
        hidden = source.whole("hidden_size")
        if name == "memory":
            return None if hidden is None else cls(hidden, source.whole("mem_len") or None)
        heads, hashes = cached_heads(source.values, source.facts), source.whole("num_hashes")
        chunk = source.whole("lsh_attn_chunk_length")
        same = chunk == source.whole("local_attn_chunk_length")  # else its padding depends on both
        if not (hidden and heads and hashes and chunk and same):
            return None
        return cls(hidden, buckets=heads * hashes if name == "lsh" else 0, chunk_length=chunk)

    @property
    def values_per_token(self) -> int:
        return self.hidden_size

    @property
    def config_keys(self) -> tuple[str, ...]:
        return ("hidden_size", "mem_len")

    def tokens_held(self, request: CacheRequest) -> int:
        """Every token's row, as far as a report tells; what is really kept: `_remembered`."""
        return request.context

    def _remembered(self, request: CacheRequest) -> int:
        """Tokens whose inputs are kept: the last `mem_len`, a view of the whole prompt or of one row more."""
        if request.cache == "dynamic_after_prefill" and request.context > self.chunk_length:
            return -(-request.context // self.chunk_length) * self.chunk_length
        if self.mem_len is None or request.cache == "dynamic_after_prefill":
            return request.context
        return min(request.context, self.mem_len + int(request.cache == "dynamic"))

    def cache_bytes(self, request: CacheRequest) -> int | None:
        if request.cache == "static":
            return None
        tokens = self._remembered(request)
        buckets = tokens * self.buckets if request.context >= self.chunk_length else 0
        values = size_in_bytes(request.batch * tokens * self.hidden_size, request.element_bits)
        return values + request.batch * buckets * BUCKET_BYTES

    def counters(self, cache: Cache) -> int:
        return 0

    def sequence_text(self, request: CacheRequest) -> str:
        bound = "" if self.mem_len is None else "; at most mem_len"
        return f"{self._remembered(request):,} tokens x hidden_size {self.hidden_size}{bound}"
