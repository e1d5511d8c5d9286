"""The objectives of a training step: one line each.

To add one is to write its file here and its line in `OBJECTIVES`. Each is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module

from inspector.memory.training.objectives.objective import Objective

OBJECTIVES = {
    "sft": "sft",
    "dpo": "dpo",
    "rpo": "rpo",
    "orpo": "orpo",
    "cpo": "cpo",
    "simpo": "simpo",
    "kto": "kto",
    "kto-fp32": "kto_fp32",
    "reward": "reward",
    "reward-lm": "reward_lm",
    "grpo": "grpo",
    "rloo": "rloo",
    "ppo": "ppo",
    "gkd": "gkd",
    "kd": "kd",
    "distill": "distill",
    "embedding": "embedding",
}
"""The option's value -> module in this folder, which has an `OBJECTIVE`."""


def objective_of(name: str) -> Objective:
    """The objective of that name."""
    found: Objective = import_module(f"inspector.memory.training.objectives.{OBJECTIVES[name]}").OBJECTIVE
    return found
