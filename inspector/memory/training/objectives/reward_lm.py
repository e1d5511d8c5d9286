"""Reward models as LLaMA-Factory's stage rm has them: a head of one value beside the vocabulary's.

TRL's AutoModelForCausalLMWithValueHead makes all logits in every pass, and casts them to fp32; the loss reads none.
"""

from inspector.memory.training.objectives.objective import PAIRS, Objective

OBJECTIVE = Objective(
    "reward-lm",
    "reward model beside the vocabulary's head",
    "LLaMA-Factory ff6d4d1, train/rm/trainer.py, over TRL 0.24's AutoModelForCausalLMWithValueHead",
    rows=2,
    scalar_head=True,
    logits_made={"bf16": 6, "mixed": 6, "fp32": 4},
    notes=(PAIRS, "where all parameters train, the vocabulary's head, which gets no gradient, is counted with states"),
    logits_text="logits in 16 bits and in fp32, which nobody reads",
)
