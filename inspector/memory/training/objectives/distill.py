"""On-policy distillation as TRL's DistillationTrainer has it: a divergence over tiles of both models' logits.

The teacher's hidden states are made while the student's activations are kept; then both heads multiply tiles of 4,096
tokens and 32,768 values into two buffers in fp32 (kernels/chunked_divergence.py), so that no logits are ever whole.
"""

from inspector.memory.training.objectives.gkd import TEACHER
from inspector.memory.training.objectives.objective import Objective

OBJECTIVE = Objective(
    "distill",
    "Distillation",
    "TRL 1.16, trainer/distillation_trainer.py and kernels/chunked_divergence.py (0 < beta < 1)",
    references=("copy",),
    fused="TRL 1.16, kernels/chunked_divergence.py",
    tile_bytes=8,
    shares_vocabulary=True,
    notes=(TEACHER[0], "completions that the student makes take a batch's KV cache, and are not counted"),
)
