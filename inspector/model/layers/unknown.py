"""Layers of a kind that is not known, or whose sizes the config does not give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.layer import CacheRequest, Layer


@dataclass(frozen=True, slots=True)
class UnknownLayer(Layer):
    """A layer kind that this version cannot size. Its cache is unknown, never zero.

    `row` is the values that a token adds where these alone are known: 0 of a state whose size is not.
    """

    name: str
    row: int | None = None

    kind: ClassVar[str] = "unknown"

    @property
    def title(self) -> str:
        return f"unknown: {self.name}"

    @property
    def values_per_token(self) -> int | None:
        return self.row

    def values_held(self, request: CacheRequest) -> None:
        del request

    def equation(self, request: CacheRequest) -> str:
        return f"unknown kind '{self.name}'"
