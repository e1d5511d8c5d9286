"""Layers without attention: linear attention, Mamba, gated delta nets, short convolutions, and whatever keeps states
alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from inspector.model.layers.layer import Cache, CacheRequest, Layer, LayerSource, StateTensor, states_text
from inspector.model.layers.states import states_of


@dataclass(frozen=True, slots=True)
class LinearAttention(Layer):
    """Linear attention, Mamba, gated delta nets, short convolutions: states whose size no context changes.

    `keys` are the config keys that the states' sizes come from.
    """

    states: tuple[StateTensor, ...] = field()
    keys: tuple[str, ...] = field(default=(), compare=False)

    kind: ClassVar[str] = "linear_attention"
    prefill_measured: ClassVar[bool] = True

    @classmethod
    def read(cls, name: str, source: LayerSource) -> LinearAttention | None:
        found = states_of(source)
        return None if found is None else cls(*found)

    @property
    def values_per_token(self) -> int:
        return 0

    @property
    def config_keys(self) -> tuple[str, ...]:
        return self.keys

    def counters(self, cache: Cache) -> int:
        return 0

    def equation(self, request: CacheRequest) -> str:
        return f"batch {request.batch} x {states_text(self.states)}"
