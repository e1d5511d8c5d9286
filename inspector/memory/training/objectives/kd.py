"""Knowledge distillation by a Kullback-Leibler divergence of logits: TRL's GKDTrainer with beta 0 or 1."""

from inspector.memory.training.objectives.gkd import TEACHER
from inspector.memory.training.objectives.objective import LogitBytes, Objective

OBJECTIVE = Objective(
    "kd",
    "distillation",
    "TRL 1.12, experimental/gkd/gkd_trainer.py (beta 0 or 1)",
    references=("copy",),
    logits={
        "bf16": LogitBytes(made=2, kept=2, loss=16, backward=8, scored=2, held=2),
        "mixed": LogitBytes(made=6, kept=4, loss=32, backward=16, scored=6, held=4),
        "fp32": LogitBytes(made=4, kept=4, loss=32, backward=16, scored=4, held=4),
    },
    shares_vocabulary=True,
    notes=TEACHER,
)
