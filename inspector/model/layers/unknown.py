"""Layers of a kind that is not known, or whose sizes the config does not give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inspector.model.layers.layer import CacheRequest, Layer


@dataclass(frozen=True, slots=True)
class UnknownLayer(Layer):
    """A layer kind that this version cannot size. Its cache is unknown, never zero."""

    name: str

    kind: ClassVar[str] = "unknown"

    @property
    def title(self) -> str:
        return f"unknown: {self.name}"

    def equation(self, request: CacheRequest) -> str:
        return f"unknown kind '{self.name}'"
