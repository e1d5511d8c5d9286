"""What a block keeps for the backward pass under torch.compile, block by block, in bf16.

torch's partitioner keeps what matrix products need and computes the rest again: no fp32 copies of norms, no outputs of
activations. Measured with torch 2.13 and transformers 5.23: `python -m tests.oracles.training_compiled` makes the
figures, and a test compares them. Letters as in inspector.memory.training.table.
"""

from __future__ import annotations

from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Layer, Sum

_LLAMA: Sum = {"Th": 8, "Tf": 6, "Tq": 4, "Tk": 4, "Ta": 4, "T": 8}

KEPT: dict[str, Sum] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "gemma", "smollm3"), _LLAMA),
    "qwen3": {"Th": 8, "Tf": 6, "Tq": 6, "Tk": 6, "Ta": 8, "T": 12},
    "olmo2": {"Th": 8, "Tf": 6, "Tq": 6, "Tk": 6, "Ta": 4, "T": 16},
}
"""Model type -> bytes of products of sizes."""


def spared_by_compiling(layer: Layer, model_type: str | None, sizes: Sizes) -> int:
    """Bytes that an eager block keeps and a compiled one does not; 0 for types that were not measured: a bound."""
    kept = KEPT.get(model_type or "")
    if kept is None:
        return 0
    # Adapters in bf16 keep their rank's values beside, as they do in eager blocks.
    kept = {**kept, "Tr": layer.forward.end.get("Tr", 0)}
    return max(0, sizes.bytes_of(layer.forward.end) - sizes.bytes_of(kept))
