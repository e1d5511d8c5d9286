"""Simple preference optimization (arXiv 2405.14734) as TRL's CPOTrainer has it, without a part of SFT's loss."""

from inspector.memory.training.objectives.objective import PAIRS, LogitBytes, Objective

OBJECTIVE = Objective(
    "simpo",
    "SimPO",
    "TRL 1.12, experimental/cpo/cpo_trainer.py (loss_type simpo, cpo_alpha 0)",
    rows=2,
    logits={
        "bf16": LogitBytes(made=2, kept=4, loss=4, backward=4, scored=0, held=0),
        "mixed": LogitBytes(made=6, kept=4, loss=6, backward=16, scored=0, held=0),
        "fp32": LogitBytes(made=4, kept=4, loss=4, backward=16, scored=0, held=0),
    },
    notes=(PAIRS,),
)
