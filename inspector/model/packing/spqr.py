"""SpQR."""

from __future__ import annotations

from typing import ClassVar

from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, beside, every
from inspector.model.parameters.names import Group


def spqr(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """dense_weights: a word of 64 bits for each tile row of 16 weights of 3 bits, with their scale and zero point.

    Source: spqr_quant.QuantizedLinear. Tiles at the edges are padded: exact for multiples of 16.
    """
    del parts, scheme
    return 16 * stored.numel if stored.dtype == "I64" else None


class Spqr(Packing):
    """Dense weights of 3 bits, and the outliers in a sparse matrix beside them."""

    marks = ("dense_weights",)
    tensors: ClassVar[Rules] = {"dense_weights": spqr, **every(beside, "row_offsets col_vals in_perm")}
