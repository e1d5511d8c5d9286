"""KTO as LLaMA-Factory's trainer has it (stage kto): TRL's passes, over logits that are cast to fp32 whole.

Good and bad sequences' logits are chosen apart and stay for its log, beside fp32 logarithms of all of them.
"""

from dataclasses import replace

from inspector.memory.training.objectives.kto import OBJECTIVE as KTO
from inspector.memory.training.objectives.objective import LogitBytes

OBJECTIVE = replace(
    KTO,
    name="kto-fp32",
    source="LLaMA-Factory ff6d4d1, train/kto/trainer.py and trainer_utils.py (get_batch_logps)",
    logits={
        "bf16": LogitBytes(made=6, kept=12, loss=16, backward=12, scored=6, held=4),
        "mixed": LogitBytes(made=6, kept=12, loss=16, backward=12, scored=6, held=4),
        "fp32": LogitBytes(made=4, kept=12, loss=16, backward=12, scored=4, held=4),
    },
    fused="",
)
