"""TRL's CPOTrainer (experimental) with CPO's own loss: its `get_batch_loss_metrics`, without a reference model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

from inspector.measure.step import Step
from tests.oracles.objectives.harness import Case, trainer_of
from tests.oracles.objectives.orpo import HEAD, measures, pairs

__all__ = ["HEAD", "cases", "loss_of", "measures"]


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    del reference
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.cpo import CPOTrainer

    simpo = case.objective == "simpo"
    trainer = trainer_of(
        CPOTrainer,
        model=model,
        beta=0.1,
        is_encoder_decoder=False,
        padding_value=0,
        pad_token_id=0,
        label_smoothing=0.0,
        loss_type="simpo" if simpo else "sigmoid",
        simpo_gamma=0.5,
        alpha=0.0,
        cpo_alpha=0.0 if simpo else 1.0,
    )
    return lambda: trainer.get_batch_loss_metrics(model, pairs(case), "train")[0]


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    if step.checkpointing == "full":
        yield Case("cpo", step)
