"""Group relative policy optimization (arXiv 2402.03300) as TRL's GRPOTrainer has it.

A step generates an optimizer step's completions, scores them without gradients (reference and policy, a micro-batch at
a time), and then trains micro-batches of `--batch` sequences, prompt and completion in `--context` tokens. Only the
completions' logits are made.
"""

from inspector.memory.training.objectives.objective import LogitBytes, Objective

ROWS = 3 * 128
"""Rows of logits that entropy_from_logits makes at a time: three copies of 128."""

LOGITS = {
    # Logits, the same divided by the temperature, and their logarithms row by row; a lone row's gradient twice.
    "bf16": LogitBytes(made=2, kept=2, loss=6, backward=4, scored=4, held=0, rows=2 * ROWS, alone=2),
    "mixed": LogitBytes(made=6, kept=4, loss=8, backward=16, scored=8, held=0, rows=4 * ROWS),
    "fp32": LogitBytes(made=4, kept=4, loss=8, backward=16, scored=8, held=0, rows=4 * ROWS),
}

NOTES = (
    "--batch is sequences per forward pass (per_device_train_batch_size), each a prompt and a completion of --context"
    " tokens together",
)

OBJECTIVE = Objective(
    "grpo",
    "GRPO",
    "TRL, trainer/grpo_trainer.py: of 1.12 with whole logits, of 1.16 with a fused head",
    references=("none", "copy", "adapters-off"),
    logits=LOGITS,
    fused="TRL 1.14 or newer",
    generates=True,
    notes=NOTES,
)
