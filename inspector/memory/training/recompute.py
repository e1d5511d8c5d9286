"""Blocks of which a part is computed again in the backward pass: every k-th one, or the scores of attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inspector.memory.training.table import Layer, Piece, Sum

SCORES = ("bass",)
"""What grows with the square of the sequence: scores, probabilities and their dropout's mask."""


def recomputed_blocks(count: int, checkpointing: str, every: int) -> tuple[bool, ...]:
    """Which blocks are computed again, first block first.

    torchtitan counts from 1 (distributed/activation_checkpoint.py, the option `selective` with a number).

    >>> recomputed_blocks(5, "selective", 2)
    (False, True, False, True, False)
    """
    if checkpointing == "selective":
        return tuple((index + 1) % every == 0 for index in range(count))
    return (checkpointing in ("full", "selective-op"),) * count


SAVED_PRODUCTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a gated decoder's block in the order they run. torchtitan's selective checkpointing keeps what
the first, third, ... give (distributed/activation_checkpoint.py): of these q, v, gate and down."""


def with_saved_ops(layer: Layer, *, compiled: bool, scattered: bool) -> Layer:
    """A recomputed block that also keeps what some of its operations give.

    Kept: every second matrix product, what attention gives and its log-sum-exp in fp32; under sequence parallelism what
    is scattered after attention and MLP, too. The last product is kept by eager blocks alone: nothing in the backward
    pass asks for it, and torch's partitioner keeps what is asked for.

    Args:
        layer: the block's entry with full checkpointing, in bf16.
        scattered: sequence parallel.
    """
    more = {"Tq": 4.0, "Tk": 2.0, "Tf": 2.0, "Ta": 4.0}
    if scattered:
        more["Th"] = 4.0 if not compiled else 2.0
    if not compiled:
        name = "Gh" if scattered else "Th"  # before it is scattered
        more[name] = more.get(name, 0) + 2.0

    def plus(moment: Sum, sign: int) -> dict[str, float]:
        return {name: moment.get(name, 0) + sign * more.get(name, 0) for name in {**moment, **more}}

    forward = Piece(plus(layer.forward.end, 1), tuple(plus(peak, 1) for peak in layer.forward.peaks))
    backward = Piece(plus(layer.backward.end, -1), tuple(plus(peak, -1) for peak in layer.backward.peaks))
    return Layer(forward, backward, layer.released)


def without_scores(layer: Layer) -> Layer:
    """A block whose core attention is computed again: eager attention's entry without what scores keep.

    While attention is at work, in either pass, its scores are there as they are without recomputation; in between they
    are not. Tables count a block's backward pass from what the block keeps, so moments with scores of their own lie
    higher above that.
    """
    kept = {name: factor for name, factor in layer.forward.end.items() if name in SCORES}

    def after(moment: Sum) -> dict[str, float]:
        """Of the forward pass: once attention is done its scores are gone."""
        done = all(moment.get(name, 0) <= factor for name, factor in kept.items())
        return {name: factor for name, factor in moment.items() if not (done and name in kept)}

    def above(moment: Sum) -> dict[str, float]:
        """Of the backward pass: where the entry says nothing of scores, attention is not at work yet."""
        return {name: factor + kept.get(name, 0) for name, factor in moment.items()}

    forward = Piece(after(layer.forward.end), tuple(after(peak) for peak in layer.forward.peaks))
    backward = Piece(above(layer.backward.end), tuple(above(peak) for peak in layer.backward.peaks))
    return Layer(forward, backward, layer.released)


def scoreless(layer: Layer) -> Layer:
    """Eager attention's entry for a kernel that makes no scores: without them in every moment, and with the fp32
    log-sum-exp that such a kernel keeps. What eager attention copies of keys and values stays: a bound."""

    def without(moment: Sum) -> dict[str, float]:
        return {name: factor for name, factor in moment.items() if name not in SCORES}

    def kept(piece: Piece, sign: int) -> Piece:
        end = {**without(piece.end), "Ta": piece.end.get("Ta", 0) + 4.0 * sign}
        return Piece(end, tuple(map(without, piece.peaks)))

    return Layer(kept(layer.forward, 1), kept(layer.backward, -1), layer.released)


def each(layers: Sequence[Layer], change: Callable[[Layer], Layer]) -> list[Layer]:
    """Every block's entry changed; blocks of one entry still have one."""
    changed = {id(layer): change(layer) for layer in {id(layer): layer for layer in layers}.values()}
    return [changed[id(layer)] for layer in layers]


def mentions(layer: Layer, letter: str) -> bool:
    """Whether a block's entry counts in a size: "f" of a plain MLP, which a mixture of experts may not have."""
    return any(letter in name for piece in (layer.forward, layer.backward) for name in piece.end)


def mixed_layers(whole: Sequence[Layer], again: Sequence[Layer], recomputed: Sequence[bool]) -> list[Layer]:
    """Each block's entry: of blocks that are computed again, and of those that are not."""
    return [second if chosen else first for first, second, chosen in zip(whole, again, recomputed, strict=True)]
