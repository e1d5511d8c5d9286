"""The peak of a step as the largest moment of its phases: forward, loss, backward, optimizer. Never their sum.

A step fills memory block by block and empties it again. With A_i what block i keeps for the backward pass, and G_i its
gradients, the moments of block i lie above the steady state (weights and optimizer states) by

    forward   A_start + sum(A_j, j < i) + moment
    loss      A_start + sum(A_j) + moment
    backward  A_start + sum(A_j, j <= i) + G_head + sum(G_j, j > i) + moment

where the moments come from the table of inspector.memory.training.table. Checked against torch's own steps under fake
tensors: docs/training-accuracy.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Layer, Piece, Profile

PHASES = ("forward", "loss", "backward", "optimizer")


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of the step, in bytes above weights and optimizer states.

    Attributes:
        phase: one of `PHASES`.
        gradients: of the parameters whose backward pass is done.
        kept: what earlier blocks keep for the backward pass.
        logits: logits, their fp32 copies and their gradients.
        rest: what the block at work holds besides; negative where it has let go of more of its own.
    """

    phase: str
    gradients: int
    kept: int
    logits: int
    rest: int

    @property
    def total(self) -> int:
        return self.gradients + self.kept + self.logits + self.rest


@dataclass(frozen=True, slots=True)
class _Measured:
    """A `Piece` with the sizes put in."""

    end: int
    peak: int
    logits: int
    """Of the peak."""


def moments(profile: Profile, layers: Sequence[Layer], embedding: Piece, sizes: Sizes) -> list[Moment]:
    """The largest moment of each stretch of the forward and the backward pass, in order.

    Args:
        layers: the blocks' table entries, first block first.
        embedding: the stretch of the embedding's gradient.
    """
    cache: dict[int, _Measured] = {}
    released = [sizes.bytes_of(layer.released) for layer in layers]
    sizes = Sizes(sizes.letters | {"@": sum(released)})

    def measured(piece: Piece) -> _Measured:
        if id(piece) not in cache:
            cache[id(piece)] = _measure(piece, sizes)
        return cache[id(piece)]

    found: list[Moment] = []

    def note(phase: str, piece: _Measured, kept: int, gradients: int) -> None:
        found.append(Moment(phase, gradients, kept, piece.logits, piece.peak - piece.logits))

    start, head = measured(profile.start), measured(profile.head)
    note("forward", start, 0, 0)
    kept = start.end
    for layer in layers:
        note("forward", measured(layer.forward), kept, 0)
        kept += measured(layer.forward).end
    note("loss", head, kept, 0)
    kept -= sum(released)
    gradients = head.end
    for layer, gone in zip(reversed(layers), reversed(released), strict=True):
        own, backward = measured(layer.forward).end - gone, measured(layer.backward)
        note("backward", backward, kept, gradients)
        kept -= own
        gradients += own + backward.end
    note("backward", measured(embedding), kept, gradients)
    return found


def _measure(piece: Piece, sizes: Sizes) -> _Measured:
    totals = [sizes.bytes_of(peak) for peak in piece.peaks]
    largest = max(range(len(totals)), key=totals.__getitem__)
    logits = sizes.bytes_of(piece.peaks[largest], only=("TV", "bV"))
    return _Measured(sizes.bytes_of(piece.end), totals[largest], logits)
