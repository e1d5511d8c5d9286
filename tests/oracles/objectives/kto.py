"""TRL's KTOTrainer: its own `_compute_loss`, with the passes over mismatched completions that estimate the KL term."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch

from inspector.measure.gpu import DEVICE
from inspector.measure.step import Step
from tests.oracles.objectives.harness import Case, tokens, trainer_of

HEAD = {"outputs": ("log_probs", "entropy", "mean_logits")}
ROWS = 1


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    from trl.trainer.kto_trainer import KTOTrainer

    precomputed = case.reference == "precomputed"
    trainer = trainer_of(
        KTOTrainer,
        model=model,
        ref_model=reference,
        precompute_ref_logps=precomputed,
        calculate_KL=True,
        use_liger_kernel=False,
        loss_type="kto",
        beta=0.1,
        desirable_weight=1.0,
        undesirable_weight=1.0,
    )
    batch = case.step.batch
    inputs = tokens(batch, case.step.context)
    inputs |= {f"KL_{name}": value for name, value in tokens(batch, case.step.context).items()}
    inputs["label"] = torch.ones(batch, dtype=torch.bool, device=DEVICE)
    if precomputed:
        inputs |= {name: torch.ones(batch, device=DEVICE) for name in ("ref_logps", "ref_KL_logps")}
    return lambda: trainer._compute_loss(model, inputs, False)


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train; the KL term takes two sequences."""
    several = dataclasses.replace(step, batch=max(2, step.batch))
    if step.checkpointing == "full":
        yield Case("kto", several)
    if step.checkpointing == "full" and step.method == "lora":
        yield Case("kto", several, reference="precomputed")
