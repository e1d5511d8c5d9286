"""Hybrid layers: attention and fixed states side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from inspector.model.layers.full import Attention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Cache, CacheRequest, Layer, LayerSource, StateTensor
from inspector.model.layers.registry import read_rows
from inspector.model.layers.states import states_of


@dataclass(frozen=True, slots=True)
class HybridAttention(Layer):
    """A layer that keeps both: rows as `attention`, and fixed `states` (Falcon-H1, Zamba2); `keys` are the config keys
    that the states' sizes come from."""

    attention: Attention | LatentAttention
    states: tuple[StateTensor, ...] = field()
    keys: tuple[str, ...] = field(default=(), compare=False)

    kind: ClassVar[str] = "hybrid"
    prefill_measured: ClassVar[bool] = True

    @classmethod
    def read(cls, name: str, source: LayerSource) -> HybridAttention | None:
        values = source.values
        if name == "hybrid_sliding" and isinstance(values.get("swa_head_dim"), int):  # Inkling: heads of their own
            own = {"head_dim": values["swa_head_dim"], "num_key_value_heads": values.get("swa_num_key_value_heads")}
            source = source._replace(values={**values, **own})
        found = states_of(source)
        rows = read_rows("sliding_attention" if name == "hybrid_sliding" else "full_attention", source)
        if found is None or not isinstance(rows, Attention | LatentAttention):
            return None
        return cls(rows, *found)

    @property
    def rows(self) -> Attention | LatentAttention:
        return self.attention

    @property
    def values_per_token(self) -> int:
        return self.attention.values_per_token

    @property
    def config_keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.attention.config_keys, *self.keys)))

    def tokens_held(self, request: CacheRequest) -> int:
        return self.attention.tokens_held(request)

    def counters(self, cache: Cache) -> int:
        return self.attention.counters(cache)

    @property
    def row_text(self) -> str:
        return self.attention.row_text
