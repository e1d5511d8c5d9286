"""Contrastive preference optimization (arXiv 2401.08417) as TRL's CPOTrainer has it: pairs, and no reference model."""

from inspector.memory.training.objectives.objective import PAIRS, Objective
from inspector.memory.training.objectives.orpo import WITH_NLL

OBJECTIVE = Objective(
    "cpo",
    "CPO",
    "TRL 1.12, experimental/cpo/cpo_trainer.py",
    rows=2,
    logits=WITH_NLL,
    notes=(PAIRS,),
)
