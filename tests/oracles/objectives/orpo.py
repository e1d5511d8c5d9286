"""TRL's ORPOTrainer (experimental): its own `get_batch_loss_metrics`, without a reference model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

from inspector.measure.step import Step
from tests.oracles.objectives.harness import FUSED, Case, tokens, trainer_of

HEAD: dict[str, Any] = {}


def measures() -> bool:
    """Its losses are over whole logits in every TRL: they are measured with the newest."""
    return not FUSED


def pairs(case: Case) -> dict[str, Any]:
    """Chosen and rejected sequences, apart, with their labels."""
    found = {}
    for which in ("chosen", "rejected"):
        made = tokens(case.step.batch, case.step.context)
        found |= {f"{which}_{name}": made[name] for name in ("input_ids", "attention_mask")}
        found[f"{which}_labels"] = made["input_ids"]
    return found


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    del reference
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.orpo import ORPOTrainer

    trainer = trainer_of(ORPOTrainer, model=model, beta=0.1, is_encoder_decoder=False, padding_value=0, pad_token_id=0)
    return lambda: trainer.get_batch_loss_metrics(model, pairs(case), "train")[0]


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    if step.checkpointing == "full":
        yield Case("orpo", step)
