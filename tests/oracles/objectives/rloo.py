"""TRL's RLOOTrainer: the passes that score a batch of completions, then its own `_compute_loss`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from inspector.measure.step import Step
from tests.oracles.objectives.grpo import HEAD, completed, settings
from tests.oracles.objectives.harness import Case, trainer_of

__all__ = ["HEAD", "cases", "loss_of"]


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    from trl.trainer.rloo_trainer import RLOOTrainer

    trainer = trainer_of(RLOOTrainer, model=model, ref_model=reference, **settings(case))
    inputs, scored = completed(case)

    def computed() -> Any:
        with torch.no_grad():
            logps = trainer._get_per_token_logps_and_entropies(model, *scored)[0]
            if case.copies:
                trainer._get_per_token_logps_and_entropies(reference, *scored)
        return trainer._compute_loss(model, inputs | {"old_logps": logps.sum(1)})

    return computed


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    if step.checkpointing == "full":
        yield Case("rloo", step, completion_tokens=step.context // 2)
