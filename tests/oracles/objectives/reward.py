"""TRL's RewardTrainer: its own `compute_loss`, over a class with a head of one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from transformers import AutoModelForSequenceClassification
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from inspector.measure.step import Step, build
from tests.oracles.objectives.harness import Case, tokens, trainer_of
from tests.oracles.objectives.orpo import measures

__all__ = ["HEAD", "built", "cases", "loss_of", "measures", "takes"]

HEAD: dict[str, Any] = {}


def takes(model_type: str) -> bool:
    """Whether the type has a class for sequence classification."""
    return model_type in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES


def built(model_type: str, config: dict[str, Any], step: Step) -> Any:
    """The class for sequence classification with one label."""
    with mock.patch("inspector.measure.step.AutoModelForCausalLM", AutoModelForSequenceClassification):
        return build(model_type, {**config, "num_labels": 1, "pad_token_id": 0}, step)


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    del reference
    from trl.trainer.reward_trainer import RewardTrainer

    trainer = trainer_of(RewardTrainer, model=model)
    trainer.args.center_rewards_coefficient = None
    inputs = tokens(2 * case.step.batch, case.step.context)
    del inputs["completion_mask"]
    return lambda: trainer.compute_loss(model, dict(inputs))


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    if step.checkpointing == "full":
        yield Case("reward", step)
