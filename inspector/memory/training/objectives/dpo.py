"""Direct preference optimization (arXiv 2305.18290) as TRL's DPOTrainer has it, and its kin with a reference model.

Chosen and rejected sequences go through the model in one batch; then the reference scores the same batch while the
policy's logits and activations are kept. All of the trainer's losses (IPO, hinge, ...) are functions of sums over
tokens, and take the same.
"""

from inspector.memory.training.objectives.objective import PAIRS, LogitBytes, Objective

ROWS = 3 * 128
"""Rows of logits that entropy_from_logits makes at a time: three copies of 128."""

OBJECTIVE = Objective(
    "dpo",
    "DPO",
    "TRL, trainer/dpo_trainer.py: of 1.12 with whole logits, of 1.16 with a fused head",
    rows=2,
    references=("copy", "adapters-off", "precomputed"),
    logits={
        # Logits, and their logarithms row by row; for the loss's log both models' logits and a contiguous copy.
        "bf16": LogitBytes(made=2, kept=4, loss=6, backward=4, scored=2, held=2, rows=2 * ROWS),
        # In fp32 sums of exponentials are kept; their backward pass makes three whole copies beside the logits.
        "mixed": LogitBytes(made=6, kept=4, loss=8, backward=16, scored=6, held=4, rows=4 * ROWS),
        "fp32": LogitBytes(made=4, kept=4, loss=8, backward=16, scored=4, held=4, rows=4 * ROWS),
    },
    fused="TRL 1.14 or newer",
    notes=(PAIRS,),
)
