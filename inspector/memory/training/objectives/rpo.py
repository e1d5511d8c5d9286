"""DPO with SFT's loss over the chosen sequences beside it (arXiv 2404.19733): TRL's loss_type [sigmoid, sft]."""

from dataclasses import replace

from inspector.memory.training.objectives.dpo import OBJECTIVE as DPO
from inspector.memory.training.objectives.dpo import ROWS
from inspector.memory.training.objectives.objective import LogitBytes

OBJECTIVE = replace(
    DPO,
    name="rpo",
    title="RPO",
    logits={
        # As DPO's, with the chosen half's completions once more and their cross entropy.
        "bf16": LogitBytes(made=2, kept=4, loss=7, backward=6, scored=2, held=2, rows=2 * ROWS),
        "mixed": LogitBytes(made=6, kept=4, loss=10, backward=16, scored=6, held=4, rows=4 * ROWS),
        "fp32": LogitBytes(made=4, kept=4, loss=10, backward=16, scored=4, held=4, rows=4 * ROWS),
    },
)
