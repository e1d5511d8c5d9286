"""Proximal policy optimization (arXiv 1909.08593) as TRL's PPOTrainer has it: four models, two of which train.

An update generates completions of `--batch` x `--grad-accum` sequences, whose scores (fp32) stay until the next update;
the reference, the value model and the reward model score them without gradients; then each micro-batch goes through
the value model and the policy. The optimizer steps while the last micro-batch's logits are there.
"""

from inspector.memory.training.objectives.objective import LogitBytes, Objective

SOURCE = "TRL 1.12, experimental/ppo/ppo_trainer.py"

CRITIC = Objective("ppo", "PPO's value model", SOURCE, scalar_head=True)

OBJECTIVE = Objective(
    "ppo",
    "PPO",
    SOURCE,
    references=("copy", "adapters-off"),
    # Of completions: their log-probabilities, and the gradient of what is divided by the temperature in place.
    logits={
        "bf16": LogitBytes(made=0, kept=0, loss=2, backward=4, scored=4, held=0),
        "mixed": LogitBytes(made=0, kept=0, loss=0, backward=8, scored=0, held=0),
        "fp32": LogitBytes(made=0, kept=0, loss=0, backward=8, scored=8, held=0),
    },
    prompts={
        "bf16": LogitBytes(made=2, kept=2, loss=2, backward=6, scored=2, held=0),
        "mixed": LogitBytes(made=6, kept=4, loss=6, backward=12, scored=6, held=0),
        "fp32": LogitBytes(made=4, kept=4, loss=4, backward=12, scored=4, held=0),
    },
    generates=True,
    critic=CRITIC,
    notes=(
        "--batch is sequences of a micro-batch; --grad-accum of them are generated at once, and 64 (or --mini-batch)"
        " scored at a time",
        "value model and reward model are --reward-model, else as the policy is; TRL turns on no checkpointing of the"
        " value model",
        "generation: from source, not measured",
    ),
)
