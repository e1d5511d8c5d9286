"""What a plot draws of a `Sweep`: stacks of memory and the lines of devices, whatever it is drawn with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from inspector.report.units import GIB, inert, label

if TYPE_CHECKING:
    from inspector.api.curves import DeviceSweep, Sweep

ABOVE = 1.5
"""A device's line that is higher than so many times the memory is named and not drawn: it would flatten all."""

HEADROOM = 1.04


class Line(NamedTuple):
    """A device's line.

    Attributes:
        name: the device.
        bytes: what the engine may use of one GPU.
        fits: the verdict at each of the values.
        largest: tokens that fit; None where that is not told.
    """

    name: str
    bytes: int
    fits: tuple[bool | None, ...]
    largest: int | None


class Chart(NamedTuple):
    """One set of axes.

    Attributes:
        title: what is drawn.
        over: "context", "batch" or "dtype".
        values: along the axis, or the bars' names.
        asked: the value that was asked for.
        parts: name -> bytes at each value, in the order in which they are stacked.
        lines: the devices'.
    """

    title: str
    over: str
    values: tuple[int | str, ...]
    asked: int | str
    parts: Mapping[str, tuple[int | None, ...]]
    lines: tuple[Line, ...]

    @property
    def totals(self) -> tuple[int | None, ...]:
        """The height of each stack; None where a part is not known."""
        columns = zip(*self.parts.values(), strict=True) if self.parts else ()
        return tuple(None if None in column else sum(size or 0 for size in column) for column in columns)

    @property
    def top(self) -> int:
        """Bytes that the axis goes up to: all that is known of the memory, and the lines that are near it."""
        highest = max((total for total in self.totals if total is not None), default=0)
        near = [line.bytes for line in self.lines if line.bytes <= ABOVE * highest]
        return math.ceil(max(highest, *near, 1) * HEADROOM)

    @property
    def drawn_lines(self) -> tuple[Line, ...]:
        """The lines below the top."""
        return tuple(line for line in self.lines if line.bytes <= self.top)


def charts_of(sweep: Sweep) -> list[Chart]:
    """The charts of a sweep: one of the model with the line of each single GPU under transformers, and one of each
    device whose account is its own: several GPUs, or a serving engine's."""
    alike = [device for device in sweep.devices if device.parts == sweep.parts]
    others = [device for device in sweep.devices if device.parts != sweep.parts]
    charts = [_chart(sweep, "", sweep.parts, alike)] if alike or not others else []
    for device in others:
        each = f"{device.gpu}, per GPU" if device.count > 1 else device.gpu
        charts.append(_chart(sweep, f"{each}, {device.engine}", device.parts or {"needed": device.needed}, [device]))
    return charts


def _chart(
    sweep: Sweep, whose: str, parts: Mapping[str, tuple[int | None, ...]], devices: Sequence[DeviceSweep]
) -> Chart:
    at = sweep.values.index(sweep.asked)
    over = {"context": "context", "batch": "batch", "dtype": "precision of the weights"}[sweep.over]
    usable = [(device, device.usable[at]) for device in devices]
    lines = tuple(
        Line(inert(device.gpu), size, device.fits, device.largest) for device, size in usable if size is not None
    )
    title = f"Memory by {over}" if sweep.over == "dtype" else f"Memory over the {over}"
    return Chart(
        title + (f": {inert(whose)}" if whose else ""),
        sweep.over,
        sweep.values,
        sweep.asked,
        {label(name): sizes for name, sizes in parts.items()},
        lines,
    )


def beside(sweep: Sweep) -> str:
    """What the sweep is of, beside the values: "1 sequence, KV cache bf16"."""
    words = []
    if sweep.over != "context":
        words.append(f"{sweep.context:,} tokens")
    if sweep.over != "batch":
        words.append(f"{sweep.batch:,} sequence{'' if sweep.batch == 1 else 's'}")
    if sweep.over != "dtype":
        words.append(f"weights {value_name(sweep.dtype)}")
    return ", ".join([*words, *([f"KV cache {sweep.kv_dtype}"] if sweep.kv_dtype else [])])


def value_name(value: int | str) -> str:
    """A value as an axis names it: "32k" tokens, "as stored"."""
    if isinstance(value, str):
        return "as stored" if value == "stored" else value
    if value < 1024:
        return str(value)
    return f"{value / 1024:,.0f}k" if value < 1024**2 or value % 1024**2 else f"{value // 1024**2}m"


def ticks(most: float, about: int, *, binary: bool = False) -> list[float]:
    """Round numbers from 0 to `most`, about so many: 0, 5, 10, ...; of tokens powers of two: 0, 8192, 16384, ..."""
    if most <= 0:
        return [0]
    rough = most / max(about, 1)
    if binary:
        step = float(max(1, 2 ** math.ceil(math.log2(rough))))
    else:
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * each for each in (1, 2, 5, 10) if size * each >= rough * 0.999)
    return [step * at for at in range(int(most / step + 1e-9) + 1)]


def gib_ticks(top: int, about: int) -> list[tuple[int, str]]:
    """Bytes and GiB as text, along the axis of memory."""
    found = ticks(top / GIB, about)
    digits = 0 if all(each == int(each) for each in found) else 2 if found[1] < 0.1 else 1
    return [(int(each * GIB), f"{each:,.{digits}f}") for each in found]
