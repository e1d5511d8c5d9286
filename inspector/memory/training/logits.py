"""Logits a chunk at a time: the head's stretch of the table under two losses that never see all of them in fp32."""

from __future__ import annotations

import math

from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.sizes import MissingSize, Sizes
from inspector.memory.training.table import Piece, Sum

CHUNKS = 8
"""Chunks of torchtune's CEWithChunkedOutputLoss (num_output_chunks)."""

LOGITS = ("TV", "bV")


def chunk_tokens(tokens: int, hidden: int, vocabulary: int) -> int:
    """Tokens of one chunk: so many that a chunk's logits are about as large as the hidden states of all tokens.

    The next power of two of tokens / ceil(vocabulary / hidden), as Liger's fused_linear_cross_entropy_forward has it.

    >>> chunk_tokens(8192, 4096, 128256)
    256
    """
    share = -(-tokens // -(-vocabulary // hidden))
    return int(min(tokens, 1 << (share - 1).bit_length()))


def sized_chunk(tokens: int, vocabulary: int, gib: float) -> int:
    """Tokens of one chunk where so many GiB of fp32 logits are its most: all of them, or a multiple of four chunks
    (unsloth_zoo/fused_losses/cross_entropy_loss.py: get_chunk_size).

    >>> sized_chunk(4096, 128256, 4)
    4096
    >>> sized_chunk(16384, 128256, 4)
    4096
    """
    chunks = 4 * tokens * vocabulary / (gib * 2**30)
    return tokens if chunks <= 1 else -(-tokens // (4 * math.ceil(chunks / 4)))


def chunked_head(head: Piece, sizes: Sizes, setup: TrainingSetup, *, trains: bool) -> Piece:
    """The head's stretch under the setup's way to make logits.

    Args:
        trains: the head's weight gets a gradient.
    """
    if not (sizes.letters.get("V") and sizes.letters.get("h")):
        raise MissingSize("vocab_size")
    if setup.logits in ("chunked-loss", "compiled-loss"):
        return _compiled_loss(head, setup, CHUNKS if setup.logits == "chunked-loss" else 1, trains=trains)
    return _fused_linear(head, sizes, setup, trains=trains)


LOSS_PARALLEL = 16
"""Bytes a logit of torch's loss_parallel (torch/distributed/tensor/parallel/loss.py,
_nll_loss_and_log_softmax_backward): fp32 logarithms, a gradient, their exponents and the sum of both."""

WHOLE_LOSS = 12
"""Bytes a logit of the loss over whole logits: fp32 logarithms and two gradients."""


def loss_parallel(head: Piece) -> Piece:
    """The head's stretch where the loss is over logits that stay divided."""
    return Piece(
        head.end,
        tuple({**peak, "TV": LOSS_PARALLEL} if peak.get("TV", 0) >= WHOLE_LOSS else peak for peak in head.peaks),
    )


def summed_in_place(embedding: Piece, size: int) -> Piece:
    """A tied embedding's stretch where the head's gradient is a tensor of its own: of chunks, or cast.

    The engine then adds the embedding's gradient to it in place (torch/csrc/autograd/input_buffer.cpp); what one linear
    layer gives is a view, and their sum is a third tensor, as the table has it where nothing is cast. Measured of TRL's
    fused heads.

    Args:
        size: bytes of a value of the gradient.
    """
    return Piece(
        embedding.end,
        tuple({**peak, "Vh": min(size, peak["Vh"])} if "Vh" in peak else peak for peak in embedding.peaks),
    )


def _fused_linear(head: Piece, sizes: Sizes, setup: TrainingSetup, *, trains: bool) -> Piece:
    """No more than a chunk's logits live (Liger, Unsloth).

    The gradients of hidden states and head are made in the forward pass, and wait for the backward one: beside a
    chunk's logits, in place of which their gradient is written, live T * h values and, where the head trains, V * h
    values. A head in fp32 has under autocast a copy in bf16, and where it trains one product of a chunk; without
    autocast a product in fp32. Measured of Liger 0.8.5 (its own code under fake tensors, which adds to a gradient in
    bf16 in place; 0.6.1 to 0.8.2 made two tensors of that size, one in fp32). Unsloth's chunks run under torch.compile,
    whose kernels write the gradient in the place of 16-bit logits, too (torch 2.13, inductor's code on the CPU).
    """
    tokens = sizes.letters["T"]
    if setup.logits_chunk is None:
        chunk = chunk_tokens(tokens, sizes.letters["h"], sizes.letters["V"])
    else:
        chunk = sized_chunk(tokens, sizes.letters["V"], setup.logits_chunk)
    single = setup.compute == "fp32" or (setup.compute == "mixed" and (trains or setup.frozen_bytes == 4))
    size = 4 if single else 2
    copies = {"bf16": 0, "fp32": size if trains else 0, "mixed": size if trains else size - 2}[setup.compute]
    more: dict[str, float] = {"TV": (4 if setup.compute == "fp32" else 2) * chunk / tokens, "Th": size}
    more["Vh"] = (size if trains else 0) + copies
    most = max((peak.get("TV", 0) for peak in head.peaks), default=0)
    peaks: list[Sum] = []
    for peak in head.peaks:
        if not any(name in peak for name in LOGITS):
            peaks.append(peak)
        elif peak.get("TV", 0) > most / 2:  # of the loss; what is smaller is the product that gives its gradient
            peaks.append(_plus(_without(peak, *LOGITS, "Vh"), more))
    return Piece(head.end, tuple(peaks))


def _compiled_loss(head: Piece, setup: TrainingSetup, chunks: int, *, trains: bool) -> Piece:
    """All logits in the model's precision, each chunk a product of its own (torchtune's chunked_output).

    A compiled loss keeps a chunk's logits and statistics of its rows, no fp32 copy. Autograd walks what was made last
    first: the gradients of all chunks' logits, each in place of its logits, and only then the products of the head,
    whose second one adds its gradient of the weight to the first's. Measured under fake tensors with a loss that keeps
    what the compiled one does (tests/measure/test_training_settings.py).
    """
    size = 4 if setup.compute == "fp32" else 2
    first: dict[str, float] = {"TV": size * (1 + 1 / chunks)}
    second: dict[str, float] = {"TV": size, "Th": size}
    if trains:
        second["Vh"] = size * min(2, chunks)
    peaks: list[Sum] = []
    for peak in head.peaks:
        if not any(name in peak for name in LOGITS):
            peaks.append(peak)
            continue
        rest = _without(peak, *LOGITS, "Vh")
        peaks += [_plus(rest, first), _plus(rest, second)]
    return Piece(head.end, tuple(peaks))


def _without(moment: Sum, *names: str) -> dict[str, float]:
    return {name: factor for name, factor in moment.items() if name not in names}


def _plus(moment: Sum, more: Sum) -> dict[str, float]:
    return {name: moment.get(name, 0) + more.get(name, 0) for name in {**moment, **more}}
