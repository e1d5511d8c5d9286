"""Full attention: a key and a value row a token for each key/value head. The root of all kinds that keep such rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeGuard

from inspector.model.layers.layer import Cache, Layer, LayerSource

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attention(Layer):
    """Root of the kinds that cache a key and a value row a token.

    `num_key_value_heads` is the number of heads that are really cached: 1 for multi-query attention,
    `num_attention_heads` for plain multi-head attention.
    """

    num_key_value_heads: int
    head_dim: int
    v_head_dim: int

    kind: ClassVar[str] = "full_attention"
    prefill_measured: ClassVar[bool] = True
    bound: ClassVar[str] = ""
    """What bounds the number of rows, in words."""
    sized_from: ClassVar[tuple[str, ...]] = ()
    """Config keys beside those of the heads."""

    @property
    def rows(self) -> Attention:
        return self

    @property
    def key_value_heads(self) -> int:
        return self.num_key_value_heads

    @property
    def values_per_token(self) -> int:
        """A key and a value row for each key/value head (Ainslie et al., 2023, arXiv 2305.13245)."""
        return self.num_key_value_heads * (self.head_dim + self.v_head_dim)

    @property
    def rotary_width(self) -> int:
        return self.head_dim

    @property
    def output_width(self) -> int:
        return self.v_head_dim or self.head_dim

    def projections(self, heads: int, ranks: int) -> Mapping[str, tuple[int, ...]]:
        cached = max(1, self.num_key_value_heads // ranks)
        return {"qkv_proj": (heads * self.head_dim, cached * self.head_dim, cached * self.v_head_dim)}

    @property
    def config_keys(self) -> tuple[str, ...]:
        keys = ("num_attention_heads", "num_key_value_heads", "head_dim", *self.sized_from)
        return (*keys, "v_head_dim") if self.head_dim != self.v_head_dim else keys

    def counters(self, cache: Cache) -> int:
        return int(cache == "static" or self.window is not None)

    @property
    def row_text(self) -> str:
        heads = f"{self.num_key_value_heads} KV heads"
        return f"{heads} x (key {self.head_dim} + value {self.v_head_dim}){self.bound}"


@dataclass(frozen=True, slots=True)
class FullAttention(Attention):
    """Every token sees, and the cache keeps, all earlier ones."""

    kind: ClassVar[str] = "full_attention"

    @classmethod
    def read(cls, name: str, source: LayerSource) -> FullAttention | None:
        row = row_of(name, source)
        return None if row is None else cls(*row)

    @property
    def quantized_widths(self) -> tuple[int, int]:
        return self.num_key_value_heads * self.head_dim, self.num_key_value_heads * self.v_head_dim


def row_of(name: str, source: LayerSource) -> tuple[int, int, int] | None:
    """Cached heads, and the widths of a key and of a value; None where they are not known.

    Facts of a type: `v_head_dim`, its values have the width that the key of that name gives; `sliding_heads`, its
    sliding layers have that many times the heads (MiMo-V2-Flash has both).
    """
    heads, width = cached_heads(source.values, source.facts), head_dim_of(source.values)
    if heads is None or width is None:
        return None
    v_width = width
    if source.facts.get("v_head_dim"):
        v_width = source.values.get("v_head_dim") or width
    if name == "sliding_attention":
        heads *= source.facts.get("sliding_heads", 1)
    return heads, width, v_width


def cached_heads(values: Values, facts: Mapping[str, Any]) -> int | None:
    """Key/value heads that the cache really holds.

    Facts of a type: `one_head_if`, the flag under which it has one (multi-query attention of Falcon and GPT-BigCode);
    `all_heads_if`, the flag under which it repeats its grouped heads before it caches them (Falcon's new architecture).
    """
    if values.get(facts.get("all_heads_if", "")):
        heads = values.get("num_attention_heads")
    elif values.get(facts.get("one_head_if", "")):
        heads = 1
    else:
        heads = values.get("num_key_value_heads") or values.get("num_kv_heads") or values.get("num_attention_heads")
    return heads if isinstance(heads, int) else None


def head_dim_of(values: Values) -> int | None:
    """The head dimension the config names, else hidden size over attention heads."""
    for key in ("head_dim", "d_kv"):
        if isinstance(values.get(key), int):
            return int(values[key])
    hidden, heads = values.get("hidden_size"), values.get("num_attention_heads")
    if isinstance(hidden, int) and isinstance(heads, int) and heads > 0:
        return hidden // heads
    return None


def is_window(window: Any) -> TypeGuard[int]:
    """0 tokens is no window: whoever writes that means something else."""
    return isinstance(window, int) and window != 0
