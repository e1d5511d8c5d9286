"""Logits a chunk at a time: the head's stretch of the table under a fused linear cross entropy."""

from __future__ import annotations

from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.sizes import MissingSize, Sizes
from inspector.memory.training.table import Piece, Sum

SOURCE = "Liger Kernel, ops/fused_linear_cross_entropy.py: by its source, not measured"


def chunk_tokens(tokens: int, hidden: int, vocabulary: int) -> int:
    """Tokens of one chunk: so many that a chunk's logits are about as large as the hidden states of all tokens.

    The next power of two of tokens / ceil(vocabulary / hidden), as Liger's fused_linear_cross_entropy_forward has it.

    >>> chunk_tokens(8192, 4096, 128256)
    256
    """
    share = -(-tokens // -(-vocabulary // hidden))
    return int(min(tokens, 1 << (share - 1).bit_length()))


def chunked_head(head: Piece, sizes: Sizes, setup: TrainingSetup, *, trains: bool) -> Piece:
    """The head's stretch when no more than a chunk's logits live.

    The gradients of hidden states and head are made in the forward pass, and wait for the backward one: beside a
    chunk's logits, in place of which their gradient is written, live T * h values and, where the head trains, V * h
    values and one product of that size.
    """
    if "V" not in sizes.letters or "h" not in sizes.letters:
        raise MissingSize("vocab_size")
    size = 2 if setup.compute == "bf16" else 4
    tokens = sizes.letters["T"]
    chunk = chunk_tokens(tokens, sizes.letters["h"], sizes.letters["V"])
    more: dict[str, float] = {"TV": (4 if setup.compute == "fp32" else 2) * chunk / tokens, "Th": size}
    more["Vh"] = (2 * size if trains else 0) + (2 if setup.compute == "mixed" else 0)

    def without_logits(moment: Sum) -> dict[str, float]:
        kept = {name: factor for name, factor in moment.items() if name not in ("TV", "bV", "Vh")}
        return {name: kept.get(name, 0) + more.get(name, 0) for name in {**kept, **more}}

    return Piece(head.end, tuple(without_logits(peak) for peak in head.peaks))
