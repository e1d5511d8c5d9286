"""REINFORCE leave-one-out (arXiv 2402.14740) as TRL's RLOOTrainer has it: GRPO's passes, with a reference model."""

from inspector.memory.training.objectives.grpo import LOGITS, NOTES
from inspector.memory.training.objectives.objective import Objective

OBJECTIVE = Objective(
    "rloo",
    "RLOO",
    "TRL, trainer/rloo_trainer.py: of 1.12 with whole logits, of 1.16 with a fused head",
    references=("copy", "adapters-off", "none"),
    logits=LOGITS,
    fused="TRL 1.15 or newer",
    generates=True,
    scores_itself=True,
    notes=NOTES,
)
