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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Layer, Piece, Profile, Sum

PHASES = ("generation", "scoring", "forward", "reference", "loss", "backward", "optimizer")


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


@dataclass(frozen=True, slots=True)
class Block:
    """One block as it is trained.

    Attributes:
        layer: its table entry.
        spared: bytes that the entry keeps for the backward pass and this block does not: linear layers without adapter.
        gradients: bytes of its gradients where they are not what the entry leaves behind.
        reached: the gradient gets here; blocks below everything that trains keep nothing.
        recomputed: it keeps its input alone, and is computed again in the backward pass.
        pinned: bytes that it keeps in any case, outside of what checkpointing lets go of.
    """

    layer: Layer
    spared: int = 0
    gradients: int | None = None
    reached: bool = True
    recomputed: bool = False
    pinned: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """A moment of a forward pass without gradients, of this model or of another.

    Attributes:
        phase: one of `PHASES`.
        kept: what the policy's head keeps meanwhile, in the table's terms; None where the pass comes before its own.
        logits / rest: bytes of the pass: of its logits, and of all else.
    """

    phase: str
    kept: Sum | None
    logits: int
    rest: int


@dataclass(frozen=True, slots=True)
class Passes:
    """How the passes go beside what the table says.

    Attributes:
        old_gradients: bytes of gradients left by earlier microbatches; new ones are added to them in place.
        tied: bytes of a tied head's new gradient, which autograd keeps beside old ones until the embedding's is there.
        let_go: gradients go as soon as they are there, but for so many bytes of a tied head's, which wait for those of
            the embedding; None where they stay.
        kept_copies: microbatches in flight, each with all that it keeps (pipelines); under interleaved schedules those
            of a part of the blocks count as a part.
        offloaded: what blocks keep goes to the CPU, two blocks' worth apart (one computed, one on its way).
        head_gradients: bytes of the head's gradients where they are not what the entry leaves behind.
        scored: passes without gradients, before the step's own or between it and the loss.
    """

    old_gradients: int | None = None
    tied: int = 0
    let_go: int | None = None
    kept_copies: float = 1
    offloaded: bool = False
    head_gradients: int | None = None
    scored: Sequence[Scored] = ()


def moments(
    profile: Profile, blocks: Sequence[Block], embedding: Piece, sizes: Sizes, passes: Passes | None = None
) -> list[Moment]:
    """The largest moment of each stretch of the forward and the backward pass, in order.

    Args:
        blocks: first block first.
        embedding: the stretch of the embedding's gradient.
    """
    passes = passes or Passes()
    layers = [block.layer for block in blocks]
    released = [sizes.bytes_of(layer.released) for layer in layers]
    sizes = Sizes(sizes.letters | {"@": sum(released)}, sizes.sequence)
    measured = _measurer(sizes)
    found: list[Moment] = []
    old, waiting = passes.old_gradients, passes.let_go

    def note(phase: str, piece: _Measured, kept: int, gradients: int, less: int = 0) -> None:
        live = gradients if old is None else old + min(passes.tied, gradients)
        if waiting is not None:
            live = min(waiting, gradients)
        freed = min(0, live)  # the head's passes let go of more than its gradients take
        found.append(Moment(phase, live - freed, kept, piece.logits, piece.peak - piece.logits - less + freed))

    def keeps(block: Block, gone: int = 0) -> int:
        return _keeps(block, sizes, gone)

    start, head = measured(profile.start), measured(profile.head)
    note("forward", start, 0, 0)
    kept = own = start.end
    for block in blocks:
        note("forward", measured(block.layer.forward), kept, 0)
        kept += keeps(block)
    earlier = int((passes.kept_copies - 1) * (kept - own - sum(released)))
    if passes.offloaded:
        earlier -= _all_but_two([keeps(block) for block in blocks])
        found[1:] = [Moment(m.phase, m.gradients, min(m.kept, kept + earlier), m.logits, m.rest) for m in found[1:]]
    kept += earlier
    for each in passes.scored:
        if each.kept is None:
            found.append(Moment(each.phase, 0, 0, each.logits, each.rest))
            continue
        under = _measure(Piece({}, (each.kept,)), sizes)
        moment = _Measured(0, under.peak + each.logits + each.rest, under.logits + each.logits)
        note(each.phase, moment, kept, 0)
    note("loss", head, kept, 0)
    kept -= sum(released)
    gradients = head.end if passes.head_gradients is None else passes.head_gradients
    for block, gone in zip(reversed(blocks), reversed(released), strict=True):
        if not block.reached:
            break
        backward = measured(block.layer.backward)
        note("backward", backward, kept, gradients, block.spared if block.recomputed else 0)
        left = measured(block.layer.forward).end - gone + backward.end
        kept -= 0 if passes.offloaded else keeps(block, gone)
        gradients += left if block.gradients is None else block.gradients
    else:
        note("backward", measured(embedding), kept, gradients)
    return found


def _keeps(block: Block, sizes: Sizes, gone: int = 0) -> int:
    """What a block keeps; what it lets go of when autocast is left, `gone`, goes in both cases."""
    if not block.reached:
        return max(0, sizes.bytes_of(block.layer.released) - gone)
    whole = sizes.bytes_of(block.layer.forward.end) - gone + block.pinned
    return whole if block.recomputed else whole - block.spared


def kept_by_pass(profile: Profile, blocks: Sequence[Block], sizes: Sizes) -> int:
    """What one whole forward pass keeps for its backward pass once autocast is left."""
    released = [sizes.bytes_of(block.layer.released) for block in blocks]
    kept = sum(_keeps(block, sizes, gone) for block, gone in zip(blocks, released, strict=True))
    return sizes.bytes_of(profile.start.end) + kept


def _all_but_two(sizes: Sequence[int]) -> int:
    return sum(sorted(sizes)[:-2]) if len(sizes) > 2 else 0


def _measurer(sizes: Sizes) -> Callable[[Piece], _Measured]:
    """`_measure`, once a piece: blocks share theirs."""
    known: dict[int, _Measured] = {}

    def measured(piece: Piece) -> _Measured:
        if id(piece) not in known:
            known[id(piece)] = _measure(piece, sizes)
        return known[id(piece)]

    return measured


def _measure(piece: Piece, sizes: Sizes) -> _Measured:
    totals = [sizes.bytes_of(peak) for peak in piece.peaks]
    largest = max(range(len(totals)), key=totals.__getitem__)
    logits = sizes.bytes_of(piece.peaks[largest], only=("TV", "bV"))
    return _Measured(sizes.bytes_of(piece.end), totals[largest], logits)
