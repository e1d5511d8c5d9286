"""What a block keeps for the backward pass under torch.compile, block by block, in bf16.

torch's partitioner keeps what matrix products need and computes the rest again: no fp32 copies of norms, no outputs of
activations. Measured with torch 2.13 and transformers 5.23: `python -m tests.oracles.training_compiled` makes the
figures (with --write, the file), and a test compares them. Letters as in inspector.memory.training.table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Layer, Sum
from inspector.tables import table_text


@lru_cache(maxsize=1)
def kept_by_type() -> Mapping[str, Sum]:
    """Model type -> bytes of products of sizes (inspector/data/compiled.json)."""
    found: Mapping[str, Sum] = json.loads(table_text("compiled.json"))["kept"]
    return found


def spared_by_compiling(layer: Layer, model_type: str | None, sizes: Sizes) -> int:
    """Bytes that an eager block keeps and a compiled one does not; 0 for types that were not measured: a bound."""
    kept = kept_by_type().get(model_type or "")
    if kept is None:
        return 0
    # Adapters in bf16 keep their rank's values beside, as they do in eager blocks.
    kept = {**kept, "Tr": layer.forward.end.get("Tr", 0)}
    return max(0, sizes.bytes_of(layer.forward.end) - sizes.bytes_of(kept))
