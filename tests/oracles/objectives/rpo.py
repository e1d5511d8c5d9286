"""TRL's DPOTrainer with two losses: DPO's, and SFT's over the chosen sequences."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.measure.step import Step
from tests.oracles.objectives.dpo import HEAD, loss_of
from tests.oracles.objectives.harness import Case

__all__ = ["HEAD", "cases", "loss_of"]


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    if step.checkpointing == "full":
        yield Case("rpo", step)
