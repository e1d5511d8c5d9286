"""When a model does not fit: what makes it fit, as `inspector.advice` finds it, with what the fullest GPU then holds.

Every figure comes from the sizing function that gave the verdict; a change that does not suffice is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CRITERION = "Ranked by: 4 bits or more, these GPUs alone, context, sequences, bits, this engine, speed."
"""How options are ranked, each before the next; docs/choosing.md says it at length."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what to type for it ("" where no option says it), what it is, and bytes on the fullest GPU then."""

    option: str
    text: str
    needed: int


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run a model on some devices, which fits: what to ask for, what it takes, what it gives up.

    Attributes:
        engine: whose account it is.
        settings: what `inspector.fit` is asked for it beside the model, as its keywords; what is left out is as asked.
        command: the command line that says the same; "" where nobody put it there.
        text: what it gives up, in words; "" for nothing.
        gpu: one device's name.
        count: devices.
        dtype: the weights' precision or recipe.
        weight_bits / cache_bits: bits of a quantized weight and of a cached value, scales included.
        context: tokens per sequence.
        batch: sequences at once.
        layers_on_gpu: where the rest of the layers is left to the CPU; None where none is.
        needed: bytes on the fullest device.
        usable: bytes that the engine may use of it.
        headroom: usable - needed.
        decode_bound: tokens a second at most, of all sequences together; None where not known, and with layers on the
            CPU.
        best: of the options of its engine that keep as much of the workload none keeps more bits.
    """

    engine: str
    settings: Mapping[str, Any]
    text: str
    gpu: str
    count: int
    dtype: str
    weight_bits: float
    cache_bits: float
    context: int
    batch: int
    layers_on_gpu: int | None
    needed: int
    usable: int
    headroom: int
    decode_bound: float | None = None
    best: bool = True
    command: str = ""


def offload_that_fits(total: int, capacity: int, layers: Sequence[int], head: int) -> Change | None:
    """The fewest last layers whose weights, with the head's, stay on the CPU, as `device_map="auto"` puts them there.

    total - offloaded + the largest one offloaded, which is copied to the GPU when its turn comes; caches stay on it.
    None where even all layers are too few.

    >>> offload_that_fits(1000, 850, (100,) * 8, head=50).text
    'the weights of the last 2 of 8 layers and the head stay on the CPU, which is slow'
    """
    gone, largest = head, head
    for count in range(1, len(layers) + 1):
        gone += layers[-count]
        largest = max(largest, layers[-count])
        if total - gone + largest <= capacity:
            text = (
                f"the weights of the last {count} of {len(layers)} layers and the head stay on the CPU, which is slow"
            )
            return Change("", text, total - gone + largest)
    return None
