"""Low-rank adapters (LoRA, arXiv 2106.09685): how many parameters they have.

An adapter of rank r on a linear layer of n inputs and m outputs has r * (n + m) parameters. Which layers get one is
peft's choice for `target_modules="all-linear"`: the linear layers of the blocks and a mixture's stacked experts, not
the head. The table has it from peft itself: what a block leaves behind after both its passes are the gradients of its
adapters, in fp32.
"""

from __future__ import annotations

from collections.abc import Iterable

from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Layer

GRADIENT_BYTES = 4

ADAPTERS = (
    *("hr", "fr", "qr", "kr", "dr", "mr", "Er", "Ehr", "Emr", "Efr", "r"),
    *("wr", "ur", "cr", "pr", "anr", "avr"),
)
"""Products of sizes that adapters have."""

MAGNITUDES = ("h", "f", "q", "k", "d", "m", "E", "hm")
"""Those that DoRA's magnitudes have."""


def adapter_parameters(layers: Iterable[Layer], sizes: Sizes, *, dora: bool = False, each: int = GRADIENT_BYTES) -> int:
    """Trainable parameters of the adapters of all blocks, `each` bytes of gradient a parameter."""
    total, products = 0, ADAPTERS + (MAGNITUDES if dora else ())
    for layer in layers:
        for sign, left in ((1, layer.forward.end), (1, layer.backward.end), (-1, layer.released)):
            total += sign * sizes.bytes_of(left, only=products)
    return total // each
