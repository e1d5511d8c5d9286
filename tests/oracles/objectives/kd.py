"""TRL's GKDTrainer (experimental) with beta 0: a Kullback-Leibler divergence alone."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.measure.step import Step
from tests.oracles.objectives.gkd import HEAD, loss_of, measures
from tests.oracles.objectives.harness import Case

__all__ = ["HEAD", "cases", "loss_of", "measures"]


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    if step.checkpointing == "full" or step.method == "lora":
        yield Case("kd", step, reference="copy")
