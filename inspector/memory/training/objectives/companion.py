"""A model of its own beside the one that trains: a teacher, a reference model, a reward model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.memory.training.tensors import Weights
    from inspector.model.model import Model


@dataclass(frozen=True, slots=True)
class Companion:
    """A model that was read.

    Attributes:
        setting: the setting that names it: "reference_repo".
        name: as that setting has it.
        model / tensors: it, and its parameters' shapes.
    """

    setting: str
    name: str
    model: Model
    tensors: Weights

    def __repr__(self) -> str:
        return f"<Companion {self.setting} {self.name}>"
