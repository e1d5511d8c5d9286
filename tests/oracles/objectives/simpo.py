"""TRL's CPOTrainer (experimental) with SimPO's loss, and no part of the loss of supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.measure.step import Step
from tests.oracles.objectives.cpo import HEAD, loss_of, measures
from tests.oracles.objectives.harness import Case

__all__ = ["HEAD", "cases", "loss_of", "measures"]


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    if step.checkpointing == "full":
        yield Case("simpo", step)
