"""Multi-head latent attention: one compressed row a token, shared by all heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from inspector.model.layers.full import is_window
from inspector.model.layers.layer import Cache, CacheRequest, Layer, LayerSource, window_rows


@dataclass(frozen=True, slots=True)
class LatentAttention(Layer):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): one compressed row a token, shared by all heads.

    `sliding_window` bounds the rows of some layers (dots.note). The last three are the widths that a head's key (its
    part without positions) and value are made at from the row, and of the latent that queries are made from: no cache
    holds them, servers' weights do.
    """

    kv_lora_rank: int
    qk_rope_head_dim: int
    sliding_window: int | None = None
    qk_nope_head_dim: int | None = field(default=None, compare=False)
    v_head_dim: int | None = field(default=None, compare=False)
    q_lora_rank: int | None = field(default=None, compare=False)

    kind: ClassVar[str] = "latent_attention"
    prefill_measured: ClassVar[bool] = True

    @classmethod
    def read(cls, name: str, source: LayerSource) -> LatentAttention | None:
        values = source.values
        window = values.get("sliding_window") if name == "sliding_attention" else None
        if name == "sliding_attention" and not is_window(window):
            return None
        rank, rope = values.get("kv_lora_rank"), values.get("qk_rope_head_dim")
        if not isinstance(rank, int) or not isinstance(rope, int):
            return None
        widths = (values.get(key) for key in ("qk_nope_head_dim", "v_head_dim", "q_lora_rank"))
        nope, value, query = (width if isinstance(width, int) else None for width in widths)
        return cls(rank, rope, window, nope, value, query)

    @property
    def rows(self) -> LatentAttention:
        return self

    @property
    def window(self) -> int | None:
        return self.sliding_window

    @property
    def values_per_token(self) -> int:
        """One compressed row and one rotary key for all heads (DeepSeek-V2, section 2.1)."""
        return self.kv_lora_rank + self.qk_rope_head_dim

    @property
    def config_keys(self) -> tuple[str, ...]:
        keys = ("kv_lora_rank", "qk_rope_head_dim")
        return keys if self.sliding_window is None else (*keys, "sliding_window")

    @property
    def widths(self) -> Mapping[str, int]:
        keys = ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "q_lora_rank")
        found = {key: getattr(self, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    @property
    def rotary_width(self) -> int:
        return self.qk_rope_head_dim

    @property
    def output_width(self) -> int | None:
        return self.v_head_dim

    def projections(self, heads: int, ranks: int) -> Mapping[str, tuple[int, ...]]:
        if not self.qk_nope_head_dim or not self.v_head_dim:
            return {}
        return {
            "q_b_proj": (heads * (self.qk_nope_head_dim + self.qk_rope_head_dim),),
            "kv_b_proj": (heads * (self.qk_nope_head_dim + self.v_head_dim),),
        }

    def prefill_width(self, heads: int) -> int:
        """The latent r is expanded to all heads: queries 2 a (n + r), keys a (n + r), their source a (n + v), output
        a v and the rotated part a r, with n = v = 2 r as in DeepSeek-V2 and V3, Kimi-K2 and MiniCPM3."""
        return 16 * heads * self.qk_rope_head_dim

    def decode_width(self, heads: int) -> int:
        """Keys and values of all heads again: a (n + r) + a (n + v), n = v = 2 r."""
        return 7 * heads * self.qk_rope_head_dim

    def tokens_held(self, request: CacheRequest) -> int:
        return request.context if self.sliding_window is None else window_rows(self.sliding_window, request)

    def counters(self, cache: Cache) -> int:
        return int(cache == "static" or self.sliding_window is not None)

    @property
    def row_text(self) -> str:
        return f"kv_lora_rank {self.kv_lora_rank} + qk_rope_head_dim {self.qk_rope_head_dim}"
