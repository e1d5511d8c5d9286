"""Optimizers of libraries beside torch's, by their sources: what each keeps of a tensor, and makes while it steps.

A line of `BY_SOURCE` is an optimizer. Checked by hand on small shapes (tests/memory/training/test_optimizers.py); their
own classes need a GPU (apex), or are files of a repository.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One optimizer.

    Attributes:
        copies: states as large as the tensor.
        fp32: those are fp32 whatever the tensor is.
        extra: bytes of states of other sizes, by the tensor's shape; None where there are none.
        all_at_once: tensors as large as all parameters that a step makes at once.
        one_by_one: tensors as large as the largest parameter that a step makes.
        precision: "fp32" where the step refuses tensors in bf16.
        formula: the states in words.
        source: repository, commit and file.
    """

    copies: int
    formula: str
    source: str
    fp32: bool = False
    extra: Callable[[Shape], int] | None = None
    all_at_once: int = 0
    one_by_one: int = 0
    precision: str = ""

    def bytes_of(self, shape: Shape, each: int) -> int:
        """Bytes of the states of one tensor whose values take `each` bytes."""
        values = math.prod(shape)
        return self.copies * values * (4 if self.fp32 else each) + (self.extra(shape) if self.extra else 0)


SOAP_LARGEST = 10_000
"""max_precond_dim: sides that are longer have no preconditioner."""

SHAMPOO_BLOCK = 1024
"""max_preconditioner_dim: tensors are cut into blocks of at most so many a side."""


def soap_matrices(shape: Shape) -> int:
    """Bytes of the preconditioner and the eigenbasis of each side, in fp32; vectors have none.

    >>> soap_matrices((20, 10)), soap_matrices((20_000, 10)), soap_matrices((10,))
    (4000, 800, 0)
    """
    return 0 if len(shape) < 2 else sum(2 * 4 * side * side for side in shape if side <= SOAP_LARGEST)


def shampoo_matrices(shape: Shape) -> int:
    """Bytes of each block's factor matrices and their inverse roots, in fp32.

    >>> shampoo_matrices((2048, 10)) == 2 * 2 * 4 * (1024 * 1024 + 10 * 10)
    True
    """
    total, blocks = 0, 1
    for side in shape:
        blocks *= -(-side // SHAMPOO_BLOCK)
    for side in shape:
        whole, rest = divmod(side, SHAMPOO_BLOCK)
        squares = whole * SHAMPOO_BLOCK**2 + rest**2
        total += squares * blocks // (whole + (rest > 0))
    return 2 * 4 * total


BY_SOURCE = {
    "apex-adam": Entry(
        2, "2 states in fp32", "NVIDIA/apex 6424da3, optimizers/fused_adam.py: by its source, not measured", fp32=True
    ),
    "apex-lamb": Entry(
        2,
        "2 states; updates take the place of gradients",
        "NVIDIA/apex 6424da3, optimizers/fused_lamb.py: by its source, not measured",
        precision="fp32",
    ),
    "schedule-free-adamw": Entry(
        2,
        "z and the second moment",
        "facebookresearch/schedule_free 70785b5, adamw_schedulefree.py (foreach): by its source, not measured",
        all_at_once=1,
    ),
    "adam-mini": Entry(
        1,
        "the first moment, and a second for each row",
        "zyushun/Adam-mini 402aadf, adam_mini.py: by its source, not measured",
        extra=lambda shape: 4 * shape[0] if len(shape) > 1 else 4,
        one_by_one=2,
    ),
    "soap": Entry(
        2,
        f"2 states, and for each side of a matrix up to {SOAP_LARGEST:,} two squares in fp32",
        "nikhilvyas/SOAP a1e5535, soap.py: by its source, not measured; without the workspace of its QR",
        extra=soap_matrices,
        one_by_one=5,
        precision="fp32",
    ),
    "shampoo": Entry(
        1,
        f"the filtered gradient, and for each side of a block of {SHAMPOO_BLOCK:,} two squares in fp32",
        "facebookresearch/optimizers f606606, distributed_shampoo (default: no grafting): by its source, not measured",
        extra=shampoo_matrices,
        all_at_once=2,
    ),
}
"""Name -> optimizer."""
