"""Kahneman-Tversky optimization (arXiv 2402.01306) as TRL's KTOTrainer has it: sequences that are good or bad.

Policy and reference also score mismatched completions, as long as the others, for the KL term: passes without
gradients, each as large as the reference's pass over the batch itself.
"""

from inspector.memory.training.objectives.objective import LogitBytes, Objective

OBJECTIVE = Objective(
    "kto",
    "KTO",
    "TRL, trainer/kto_trainer.py: of 1.12 with whole logits, of 1.16 with a fused head",
    references=("copy", "adapters-off", "precomputed"),
    logits={
        # As DPO's, with good and bad sequences' logits chosen apart, and once more of their completions.
        "bf16": LogitBytes(made=2, kept=4, loss=7, backward=4, scored=2, held=2),
        "mixed": LogitBytes(made=6, kept=4, loss=10, backward=16, scored=6, held=4),
        "fp32": LogitBytes(made=4, kept=4, loss=10, backward=16, scored=4, held=4),
    },
    fused="TRL 1.14 or newer",
    notes=("half of a batch's sequences are taken to be good ones, half bad ones",),
)
