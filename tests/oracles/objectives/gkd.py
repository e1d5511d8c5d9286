"""TRL's GKDTrainer (experimental): its own `compute_loss`, a teacher's logits beside the student's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

from inspector.measure.step import Step
from tests.oracles.objectives.harness import Case, tokens, trainer_of
from tests.oracles.objectives.orpo import measures

__all__ = ["HEAD", "TEACHERS", "cases", "loss_of", "measures"]

HEAD: dict[str, Any] = {}

TEACHERS = {"qwen3-0.6b": "qwen3-30b-a3b"}
"""Models of the grid -> a larger one with the same vocabulary."""


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.gkd import GKDTrainer

    beta = 0.0 if case.objective == "kd" else 0.5
    attributes = {"use_liger_gkd_loss": False, "temperature": 0.9, "beta": beta}
    trainer = trainer_of(GKDTrainer, model=model, teacher_model=reference, **attributes)
    inputs = tokens(case.step.batch, case.step.context)
    inputs["labels"] = inputs["input_ids"]
    inputs["prompts"] = inputs["input_ids"][:, :1]
    return lambda: trainer.compute_loss(model, inputs)


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    if step.checkpointing == "full" or step.method == "lora":
        yield Case("gkd", step, reference="copy")
    if step.method == "full" and step.precision == "bf16":
        yield Case("gkd", step, reference="copy", fp32_outputs=True)
