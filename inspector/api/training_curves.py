"""The memory of a training step over the context or the batch: the data of plots, as `curves` has that of inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from inspector.api.curves import DeviceSweep, Sweep, last_value, spaced, with_value
from inspector.api.inspection import Inspection, device_specs
from inspector.memory.training import training_estimate, training_total

if TYPE_CHECKING:
    from inspector.api.training import TrainingQuestion
    from inspector.memory.training import Weights

PARTS = ("weights", "gradients", "optimizer_states", "activations", "logits", "temporaries")
"""Of a step, in the order in which they are stacked; what lives beside torch's tensors comes last."""


def training_curve(
    inspection: Inspection,
    tensors: Weights,
    asked: TrainingQuestion,
    over: Literal["context", "batch"] = "context",
    *,
    points: int = 17,
    least: int = 1,
    log: bool = False,
) -> Sweep:
    """What the fullest GPU of a run must hold at its peak, all else as asked: `parts` are those at each value's peak.

    A pure function; a point takes a millisecond, and 25 for a model of many unlike layers.

    Args:
        inspection: what `train` answers beside the step; its `fits` tell where the curve crosses a device's line.
        tensors: the model's weights, as `read_weights` has them.
        points: how many values, both ends included; the one asked for is added to them.
        least: the first of them.
        log: spaced evenly in their logarithms; else evenly.
    """
    model, workload = inspection.model, inspection.estimate.workload
    now: int = getattr(workload, over)
    largest = [getattr(fit, f"max_{over}") for fit in inspection.fits]
    last = max(last_value(over, now, largest, model.architecture.longest_context), least + 1)
    values = sorted({*spaced(least, last, points, log=log), now})
    steps = [
        training_estimate(model, with_value(workload, over, value), asked.setup, asked.over, tensors)
        for value in values
    ]
    totals = [training_total(step) for step in steps]
    parts = {name: tuple(part.bytes if (part := step.part(name)) else 0 for step in steps) for name in PARTS}
    parts["overhead"] = tuple(total.overhead.bytes for total in totals)
    needed = tuple(total.total for total in totals)
    devices = tuple(
        DeviceSweep(
            gpu=spec.name,
            count=1,  # every GPU of a run holds its share
            engine="transformers",
            capacity=spec.capacity,
            usable=(spec.capacity,) * len(values),
            needed=needed,
            fits=tuple(None if size is None else size <= spec.capacity for size in needed),
            largest=found,
        )
        for spec, found in zip(device_specs(asked.gpus), largest, strict=True)
    )
    return Sweep(
        over, tuple(values), now, workload.context, workload.batch, workload.dtype, None, parts, needed, devices
    )
