"""Whether a training step fits a GPU, up to which batch and context, and what would make it fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from inspector.devices.spec import GpuSpec, spec_of
from inspector.devices.table import list_devices
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.memory.training import (
    Sharding,
    TrainingEstimate,
    TrainingSetup,
    Weights,
    training_estimate,
    training_total,
)
from inspector.model import Model
from inspector.verdict.changes import Change
from inspector.verdict.fit import Fit, check_fit, memoized

GPUS = (2, 4, 8, 16, 32, 64, 128, 256)
"""Numbers of GPUs that the search for enough of them tries."""


def check_training(
    model: Model,
    workload: Workload,
    setup: TrainingSetup,
    sharding: Sharding,
    tensors: Weights,
    spec: GpuSpec,
    *,
    searches: bool = True,
    known: TrainingEstimate | None = None,
) -> Fit:
    """The verdict on the fullest GPU of a run, and the changes that make it fit where it does not.

    Args:
        searches: look for the longest context, the most sequences and the changes; else they are None.
        known: the step's estimate, where it was worked out already.

    Raises:
        UsageError: several GPUs are named, and fewer than the run takes.
    """

    def sized(changed: Workload, how: TrainingSetup, gpus: Sharding) -> int | None:
        return training_total(training_estimate(model, changed, how, gpus, tensors)).total

    if setup != (setup := setup.on_gpu(spec.capacity)):
        known = None
    known = known or training_estimate(model, workload, setup, sharding, tensors)
    fit = check_fit(
        model,
        workload,
        # Every GPU of a run holds its share, worked out already: the verdict is that of one GPU.
        dataclasses.replace(spec, count=1, mixed=()),
        estimate=memoized(
            lambda model, changed: training_total(
                known if changed == workload else training_estimate(model, changed, setup, sharding, tensors)
            )
        ),
        inference=False,
        suggest=False,
        searches=searches,
    )
    notes = fit.notes
    if sharding.cards > spec.count > 1:
        raise UsageError(
            f"the run takes {sharding.cards} GPUs, and --gpu names {spec.count}",
            f"Name one of them, or all {sharding.cards}: --gpu '{sharding.cards}x{spec.name}'.",
        )
    if spec.mixed:
        notes += (f"the smallest of {spec.name} decides: every GPU of a run holds the same share",)
    if spec.count > 1 and sharding.cards == 1:
        notes += (
            f"one GPU of the {spec.count}: each would hold the whole; --gpus {spec.count} proposes how to spread it",
        )
    if over := over_reserved(known, fit):
        notes += (over,)
    changes: tuple[Change, ...] = ()
    if fit.fits is False and searches:
        changes = tuple(_changes(workload, setup, sharding, spec, fit, sized))
    return dataclasses.replace(fit, count=max(1, sharding.cards), min_count=None, changes=changes, notes=notes)


def over_reserved(training: TrainingEstimate, fit: Fit) -> str:
    """What to say where a step's tensors fit, and what torch's allocator holds for them does not; "" else.

    A range over other steps decides nothing.
    """
    if not fit.fits or training.reserved is None or training.reserved_range is not None:
        return ""
    if training.peak is None or fit.needed is None or fit.usable is None:
        return ""
    held = training.reserved + fit.needed - training.peak
    if held <= fit.usable:
        return ""
    return (
        f"its tensors fit, but torch's allocator would hold about {held / 2**30:.2f} of {fit.usable / 2**30:.2f} GiB:"
        " it frees what it caches and tries again, which is slow, and may run out of memory"
    )


def trains_on(
    model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding, tensors: Weights
) -> tuple[Fit, ...]:
    """The known devices whose memory one GPU's share of the run fits, the least memory first. Slices (MIG) are left
    out, and so is what would make it fit."""
    share = memoized(
        lambda model, workload: training_total(training_estimate(model, workload, setup, sharding, tensors))
    )

    def on(spec: GpuSpec) -> Any:
        own = setup.on_gpu(spec.capacity)
        if own is setup:
            return share
        return lambda model, workload: training_total(training_estimate(model, workload, own, sharding, tensors))

    fits = (
        check_fit(
            model, workload, spec_of(each), estimate=on(spec_of(each)), inference=False, suggest=False, searches=False
        )
        for each in list_devices()
        if each.slice_of is None
    )
    found = [dataclasses.replace(fit, count=max(1, sharding.cards)) for fit in fits if fit.fits]
    return tuple(sorted(found, key=lambda fit: fit.capacity))


def _changes(
    workload: Workload, setup: TrainingSetup, sharding: Sharding, spec: GpuSpec, fit: Fit, sized: Any
) -> Iterator[Change]:
    """The single changes that suffice, the mildest first; where there is none, pairs of them."""

    def tried(option: str, text: str, batch: Workload, how: TrainingSetup | None, gpus: Sharding) -> Change | None:
        size = None if how is None else sized(batch, how, gpus)
        return Change(option, text, size) if size is not None and size <= spec.capacity else None

    found = False
    for option, text, values in _setups(setup):
        change = tried(option, text, workload, _changed(setup, values), sharding)
        if change:
            found = True
            yield change
    for number, name in ((fit.max_context, "context"), (fit.max_batch, "batch")):
        if number:
            if name == "context":
                smaller, words = dataclasses.replace(workload, context=number), f"{number:,} tokens per sequence"
            else:
                smaller, words = dataclasses.replace(workload, batch=number), f"{number:,} sequences at once"
            change = tried(f"--{name} {number}", words, smaller, setup, sharding)
            if change:
                found = True
                yield change
    spread = _spread(workload, setup, sharding, sized, spec.capacity)
    if spread:
        found = True
        yield spread
    if found:
        return
    checkpointed = _changed(setup, {"checkpointing": "full"})
    for option, text, values in _setups(setup):
        if checkpointed is None or "checkpointing" in values:
            continue
        change = tried(
            f"--checkpointing full {option}",
            f"checkpointing and {text}",
            workload,
            _changed(checkpointed, values),
            sharding,
        )
        if change:
            yield change
    if checkpointed is not None:
        spread = _spread(workload, checkpointed, sharding, sized, spec.capacity)
        if spread:
            yield Change(f"--checkpointing full {spread.option}", f"checkpointing and {spread.text}", spread.needed)


def _setups(setup: TrainingSetup) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Options, what they are, and the settings that they change."""
    if setup.optimizer == "adamw" and setup.variant == "foreach":
        yield "--optimizer-impl fused", "the fused optimizer, which makes no temporaries", {"optimizer_impl": "fused"}
    if setup.logits == "all":
        yield "--logits chunked", "a fused cross entropy, a chunk of the logits at a time", {"logits": "chunked"}
    if setup.checkpointing == "none":
        yield "--checkpointing selective", "gradient checkpointing of every other block", {"checkpointing": "selective"}
        yield "--checkpointing full", "gradient checkpointing", {"checkpointing": "full"}
    if setup.optimizer == "adamw":
        yield "--optimizer adamw-8bit", "8-bit optimizer states", {"optimizer": "adamw-8bit"}
        yield "--optimizer paged-adamw-8bit", "paged 8-bit optimizer states", {"optimizer": "paged-adamw-8bit"}
    if setup.method == "full":
        yield "--method lora", "adapters on a frozen base", {"method": "lora"}
    if setup.method in ("full", "lora"):
        yield "--method qlora", "adapters on a base in 4 bits", {"method": "qlora"}


def _changed(setup: TrainingSetup, values: dict[str, Any]) -> TrainingSetup | None:
    try:
        return dataclasses.replace(setup, **values)
    except UsageError:
        return None


def _spread(workload: Workload, setup: TrainingSetup, sharding: Sharding, sized: Any, capacity: int) -> Change | None:
    """The least number of GPUs, a power of two, over which FSDP makes it fit."""
    if sharding.ddp > 1 or sharding.zero or sharding.fsdp > 1:
        return None
    for gpus in GPUS:
        size = sized(workload, setup, dataclasses.replace(sharding, zero=None, fsdp=gpus))
        if size is not None and size <= capacity:
            option = f"--fsdp {gpus}"
            return Change(option, f"weights, gradients and states sharded over {gpus} GPUs (FSDP, or ZeRO-3)", size)
    return None
