"""Generalized knowledge distillation (arXiv 2306.13649) as TRL's GKDTrainer has it: a teacher's logits, too.

The teacher scores the batch while the student's logits and activations are kept; the loss is over all of both models'
logits, those of prompts among them. With beta between 0 and 1 it is the generalized Jensen-Shannon divergence.
"""

from inspector.memory.training.objectives.objective import LogitBytes, Objective

TEACHER = (
    "the teacher is --reference-model; where that is left out, a copy of the model itself",
    "completions that the student or the teacher makes (lmbda, seq_kd) take a batch's KV cache, less than the loss",
)
"""Notes of distillation."""

OBJECTIVE = Objective(
    "gkd",
    "GKD",
    "TRL 1.12, experimental/gkd/gkd_trainer.py (0 < beta < 1)",
    references=("copy",),
    logits={
        # Of both models: logits, the same by temperature, logarithms; their mixture's, and three divergences.
        "bf16": LogitBytes(made=2, kept=2, loss=32, backward=24, scored=2, held=2),
        "mixed": LogitBytes(made=6, kept=4, loss=64, backward=48, scored=6, held=4),
        "fp32": LogitBytes(made=4, kept=4, loss=64, backward=48, scored=4, held=4),
    },
    shares_vocabulary=True,
    notes=TEACHER,
)
