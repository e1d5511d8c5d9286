"""TRL's DPOTrainer: its own `_compute_loss`, with a reference copy, the base under adapters, or precomputed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from inspector.measure.gpu import DEVICE
from inspector.measure.step import Step
from tests.oracles.objectives.harness import Case, tokens, trainer_of

HEAD = {"outputs": ("log_probs", "entropy", "mean_logits", "is_top1")}


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    from trl.trainer.dpo_trainer import DPOTrainer

    precomputed = case.reference == "precomputed"
    trainer = trainer_of(
        DPOTrainer,
        model=model,
        ref_model=reference,
        precompute_ref_logps=precomputed,
        beta=0.1,
        loss_types=["sigmoid", "sft"] if case.objective == "rpo" else ["sigmoid"],
        loss_weights=[1.0, 1.0] if case.objective == "rpo" else [1.0],
        label_smoothing=0.0,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        use_weighting=False,
    )
    inputs = tokens(2 * case.step.batch, case.step.context)
    if precomputed:
        inputs |= {f"ref_{which}_logps": torch.ones(case.step.batch, device=DEVICE) for which in ("chosen", "rejected")}
    return lambda: trainer._compute_loss(model, inputs, False)


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    yield Case("dpo", step)
    if step.checkpointing == "full":
        yield Case("dpo", step, reference="precomputed")
    if step.method == "full" and step.precision == "bf16":
        yield Case("dpo", step, fp32_outputs=True)
    if step.method == "lora" and step.precision == "bf16":
        yield Case("dpo", step, reference="copy")
