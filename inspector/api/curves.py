"""Memory over a range of one setting: the data of plots, of the HTML report and of the page. Nothing is read for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from inspector.api.inspection import TABLE_PRECISIONS, device_specs
from inspector.api.settings import DEFAULT_ENGINE, Settings
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.engines.engine import Sized
    from inspector.memory import Estimate, Workload
    from inspector.model import Model
    from inspector.verdict.fit import Fit

Value = int | str
Sizing = Callable[["Workload", "GpuSpec"], "Sized"]

MAX_POINTS = 1000
LEAST_CONTEXT = 32 * 1024
"""Tokens that a curve without a device goes up to where the model names no maximum."""
LEAST_BATCH = 32
BEYOND = 1.5
"""A curve goes on for so much more than the most that fits the largest device."""


@dataclass(frozen=True, slots=True)
class DeviceSweep:
    """One device under one engine, for each value of a `Sweep`. Sizes in bytes of the fullest GPU.

    Attributes:
        gpu: as reports name it: "RTX 4090", "4 x H100 SXM".
        count: GPUs.
        engine: whose accounting it is.
        capacity: what a program can have of one GPU; of unequal ones the least.
        usable: what the engine may use of that at each value: the line to draw; None where that is not known.
        needed: what it must hold at each value; None where that is not known.
        fits: the verdict at each value; None where it cannot be told.
        largest: `Fit.max_context`, or `Fit.max_batch`: what still fits, up to the model's maximum; 0 where not even one
            does; None where it cannot be told, and for precisions. vLLM and SGLang need no more for more sequences, as
            these wait for room in the pool: there it is how many it serves at once.
        parts: what `needed` is the sum of -> bytes at each value, in the order in which they are stacked; under
            transformers those of the sweep on one GPU, and empty on several.
    """

    gpu: str
    count: int
    engine: str
    capacity: int
    usable: tuple[int | None, ...]
    needed: tuple[int | None, ...]
    fits: tuple[bool | None, ...]
    largest: int | None = None
    parts: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sweep:
    """The memory of one model over the values of one setting; all tuples are as long as `values`. Sizes in bytes.

    `dataclasses.asdict` makes JSON of it.

    Attributes:
        over: the setting: "context" (tokens), "batch" (sequences) or "dtype" (precisions of the weights).
        values: of it, in order.
        asked: the value that the settings have; it is one of `values`.
        context, batch, dtype: the settings as they were asked for, defaults filled in.
        kv_dtype: precision of the KV cache; None where no layer has one.
        parts: weights, kv_cache, activations, overhead -> bytes at each value on one device under transformers, in the
            order in which they are stacked; None where not known.
        total: their sum; None where one of them is not known.
        devices: one entry a device that was asked for, in order: its line, and what it must hold under the engine.
    """

    over: Literal["context", "batch", "dtype"]
    values: tuple[Value, ...]
    asked: Value
    context: int
    batch: int
    dtype: str
    kv_dtype: str | None
    parts: Mapping[str, tuple[int | None, ...]]
    total: tuple[int | None, ...]
    devices: tuple[DeviceSweep, ...] = ()


def curve(
    model: Model,
    settings: Settings,
    over: Literal["context", "batch"] = "context",
    *,
    points: int = 33,
    least: int = 1,
    most: int | None = None,
    log: bool = False,
) -> Sweep:
    """Memory over the context or over the batch, all else as in the settings.

    A pure function of a millisecond or less a point and device (mlx: up to 5): fit for a slider.

    Args:
        model: `inspection.model`, or `inspector.load(...).model`.
        settings: as of `inspect`, with its `gpus` and `engine`.
        points: how many values, 2 to 1,000, both ends included; the one asked for is added to them.
        least: the first of them.
        most: the last; None for the model's maximum, or, with devices, half as much again as the most that fits one.
        log: spaced evenly in their logarithms, for an axis of that kind; else evenly.

    Raises:
        UsageError: an unknown `over`, other numbers of points, or devices that the engine does not run on.
    """
    from inspector.memory import estimate

    if over not in ("context", "batch"):
        raise UsageError(f"a curve is over the context or the batch, not over '{over}'")
    if not 2 <= points <= MAX_POINTS:
        raise UsageError(f"a curve has 2 to {MAX_POINTS:,} points, not {points}")
    workload = settings.workload(model)
    specs, sized = device_specs(settings.gpus), sizing(model, settings)
    asked: int = getattr(workload, over)
    largest = [getattr(fit, f"max_{over}") for fit in _verdicts(model, workload, settings, specs)]
    last = max(most or last_value(over, asked, largest, model.architecture.longest_context), least + 1)
    values = sorted({*spaced(least, last, points, log=log), asked})
    estimates: dict[Value, Estimate] = {value: estimate(model, with_value(workload, over, value)) for value in values}
    sweep = _swept(workload, over, estimates, specs, sized, settings)
    devices = tuple(
        dataclasses.replace(device, largest=found) for device, found in zip(sweep.devices, largest, strict=True)
    )
    return dataclasses.replace(sweep, devices=devices)


def bars(model: Model, settings: Settings, precisions: Iterable[str] = TABLE_PRECISIONS) -> Sweep:
    """Memory at each precision of the weights, all else as in the settings: `over` is "dtype", `values` their names.

    The precision that is asked for stands first, then "stored", then the others; those with the same numbers as an
    earlier one are left out. A precision that an engine cannot load has no verdict there.

    Args:
        model, settings: as of `curve`.
        precisions: names that `--dtype` takes.

    Raises:
        UsageError: an unknown precision, or devices that the engine does not run on.
    """
    from inspector.memory import estimate

    workload = settings.workload(model)
    named = dict.fromkeys((workload.dtype, "stored", *precisions))
    found: dict[tuple[int | None, ...], tuple[str, Estimate]] = {}
    for name in named:
        checked = workload.dtype if name == workload.dtype else dataclasses.replace(settings, dtype=name).dtype
        each = estimate(model, dataclasses.replace(workload, dtype=checked))
        found.setdefault(tuple(part.bytes for part in each.parts), (checked, each))
    return _swept(
        workload, "dtype", dict(found.values()), device_specs(settings.gpus), sizing(model, settings), settings
    )


def sizing(model: Model, settings: Settings) -> Sizing:
    """(workload, devices) -> whether it fits, what it needs and what is usable, under the settings' engine."""
    from inspector.engines.registry import engine_named

    engine = engine_named(settings.engine)
    options, sizer = engine.options(**settings.serving), engine.sizer(model)

    def sized(workload: Workload, spec: GpuSpec) -> Sized:
        engine.check_kind(spec)
        return sizer(workload, spec, options)

    return sized


def _swept(
    workload: Workload,
    over: Literal["context", "batch", "dtype"],
    estimates: Mapping[Value, Estimate],
    specs: Sequence[GpuSpec],
    sized: Sizing,
    settings: Settings,
) -> Sweep:
    engine, asked = settings.engine, getattr(workload, over)
    workloads = [with_value(workload, over, value) for value in estimates]
    parts = _columns([{part.name: part.bytes for part in each.parts} for each in estimates.values()])
    devices = []
    for spec in specs:
        answers = [sized(each, spec) for each in workloads]
        own = parts if engine == DEFAULT_ENGINE and spec.count == 1 else _columns([each.parts for each in answers])
        verdicts: Any = {name: tuple(getattr(each, name) for each in answers) for name in ("usable", "needed", "fits")}
        devices.append(DeviceSweep(spec.label, spec.count, engine, spec.capacity, **verdicts, parts=own))
    return Sweep(
        over,
        tuple(estimates),
        asked,
        workload.context,
        workload.batch,
        workload.dtype,
        estimates[asked].kv_dtype,
        parts,
        tuple(each.total for each in estimates.values()),
        tuple(devices),
    )


def _columns(rows: Sequence[Mapping[str, int | None]]) -> dict[str, tuple[int | None, ...]]:
    """Each part's bytes at each value; a part that a value does not have is none of it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: tuple(row.get(name, 0 if row else None) for row in rows) for name in names}


def with_value(workload: Workload, over: str, value: Value) -> Workload:
    changed: dict[str, object] = {over: value}
    return dataclasses.replace(workload, **changed)  # type: ignore[arg-type]


def _verdicts(model: Model, workload: Workload, settings: Settings, specs: Sequence[GpuSpec]) -> list[Fit]:
    from inspector.engines.registry import engine_named

    engine = engine_named(settings.engine)
    answer = engine.planner(model, workload, engine.options(**settings.serving))
    return [answer(spec, False).fit for spec in specs]


def last_value(over: str, asked: int, largest: Sequence[int | None], longest: int | None) -> int:
    """Where a curve ends by itself: what is asked for is on it, and so is where it leaves the largest device."""
    fitting = int(max((each for each in largest if each), default=0) * BEYOND)
    if over == "batch":
        return max(fitting, LEAST_BATCH, asked)
    return max(asked, min(max(fitting, LEAST_CONTEXT) if fitting else longest or LEAST_CONTEXT, longest or 2**40))


def spaced(least: int, most: int, points: int, *, log: bool) -> list[int]:
    steps = points - 1
    if log:
        return [round(least * (most / least) ** (at / steps)) for at in range(points)]
    return [least + (most - least) * at // steps for at in range(points)]
