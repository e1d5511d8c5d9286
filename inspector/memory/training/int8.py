"""LLM.int8() as bitsandbytes 0.50 has it (autograd/_functions.py, MatMul8bitLt): what its layers keep.

A layer whose input has a gradient keeps that input as it came (`ctx.tensors = (CAt, subA, A)`), once for all layers
that share it. It is an attribute of the graph's node, not saved for backward, so checkpointing without reentrance does
not let go of it: its hooks see what is saved alone. With reentrance there is no such node yet. Outliers, which depend
on the data, are taken to be none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.fp8 import SHARED
from inspector.memory.training.phases import Block
from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Layer, Piece
from inspector.memory.training.tensors import Weight, Weights

OUTPUT = "o_proj"
"""Its input is what attention gives, which attention keeps, too; under autocast in 16 bits."""


def why_not_int8(setup: TrainingSetup, weights: Weights | None) -> str:
    """Why what the layers keep is not known; "" where it is."""
    if setup.base != "int8":
        return ""
    if weights is None or not weights.exact:
        return "what layers in int8 keep is told by the tensors' names and shapes, which are not known here"
    names = {group.module.rpartition(".")[2] for group in weights.linears("all-linear")}
    if setup.compute == "mixed" and setup.frozen_bytes == 2 and not names <= KNOWN:
        return "what layers in int8 keep under autocast is known for gated decoders"
    return ""


KNOWN = frozenset({OUTPUT, *(name for names in SHARED for name in names)})
"""Layers of gated decoders, whose norms give what they get in 16 bits."""


def in_int8(
    blocks: Sequence[Block], weights: Weights, chosen: Sequence[Weight], setup: TrainingSetup, sizes: Sizes
) -> list[Block]:
    """Blocks on a base in int8: exact for gated decoders, for others a bound, as it is not known which layers share an
    input.

    Args:
        chosen: the linear layers with adapters.
    """
    again = setup.checkpointing != "none"
    kept = _inputs(weights, chosen, setup, sizes, again=again and not setup.reentrant)
    if not (again and setup.reentrant):
        return [replace(block, pinned=kept.get(index, 0)) for index, block in enumerate(blocks)]
    return [replace(block, layer=_at_work(block.layer, kept.get(index, 0))) for index, block in enumerate(blocks)]


def _at_work(layer: Layer, more: int) -> Layer:
    """A block whose layers keep so many bytes more while it is computed again and its backward pass is at work."""
    peaks = tuple({**peak, "1": peak.get("1", 0) + more} for peak in layer.backward.peaks)
    return Layer(layer.forward, Piece(layer.backward.end, peaks), layer.released)


def _inputs(
    weights: Weights, chosen: Sequence[Weight], setup: TrainingSetup, sizes: Sizes, *, again: bool
) -> dict[int, int]:
    """Layer -> bytes of the inputs that its layers in int8 keep beside what the block keeps without them.

    Args:
        again: the block lets go of all else, and is computed again.
    """
    found: dict[int, int] = {}
    kept = {_first(group) for group in chosen} if _shared_with_adapter(setup) else set()
    counted: set[tuple[int, str]] = set()
    for group in weights.linears("all-linear"):
        first, output = _first(group), group.module.rpartition(".")[2] == OUTPUT
        if not again and (output or first in kept):
            continue  # kept anyway
        for index in group.layers if group.component != "experts" else ():
            reached = index > 0 or setup.checkpointing != "none" or first != SHARED[0][0]  # nothing trains before it
            if reached and (index, first) not in counted:
                counted.add((index, first))
                each = 2 if output else setup.frozen_bytes
                found[index] = found.get(index, 0) + sizes.letters["T"] * group.shape[1] * each
    return found


def _first(group: Weight) -> str:
    """The first of the layers that share a layer's input."""
    name = group.module.rpartition(".")[2]
    return next((names[0] for names in SHARED if name in names), group.module)


def _shared_with_adapter(setup: TrainingSetup) -> bool:
    """Whether peft's adapters keep the same input: in 16 bits themselves, or under autocast, where nothing is cast."""
    cast = setup.compute == "mixed" and setup.frozen_bytes == 2
    return (cast or setup.adapter_dtype == "bf16") and not setup.lora_dropout
