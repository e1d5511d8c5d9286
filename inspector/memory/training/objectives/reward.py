"""Reward models as TRL's RewardTrainer has them: pairs, and a head of one value in the place of the vocabulary's."""

from inspector.memory.training.objectives.objective import PAIRS, Objective

OBJECTIVE = Objective(
    "reward",
    "reward model",
    "TRL 1.12 and 1.16, trainer/reward_trainer.py; transformers' ...ForSequenceClassification",
    rows=2,
    scalar_head=True,
    notes=(PAIRS,),
)
