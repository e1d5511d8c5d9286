"""Odds ratio preference optimization (arXiv 2403.07691) as TRL's ORPOTrainer has it: pairs, and no reference model."""

from inspector.memory.training.objectives.objective import PAIRS, LogitBytes, Objective

WITH_NLL = {
    # Logarithms row by row; of the chosen half a contiguous copy and its cross entropy.
    "bf16": LogitBytes(made=2, kept=2, loss=5, backward=6, scored=0, held=0),
    "mixed": LogitBytes(made=6, kept=4, loss=8, backward=18, scored=0, held=0),
    "fp32": LogitBytes(made=4, kept=4, loss=8, backward=18, scored=0, held=0),
}
"""Preferences beside the cross entropy of the chosen sequences."""

OBJECTIVE = Objective(
    "orpo",
    "ORPO",
    "TRL 1.12, experimental/orpo/orpo_trainer.py",
    rows=2,
    logits=WITH_NLL,
    notes=(PAIRS,),
)
