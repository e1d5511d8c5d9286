"""What engines of ranks share: their degrees, a device as a rank sees it, and the search for changes that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from inspector.devices.spec import GpuSpec
from inspector.devices.speed import decode_bound, prefill_bound
from inspector.engines.common.served import Gpu
from inspector.engines.common.unequal import alike_gpus
from inspector.engines.serving import CannotTell, Serving
from inspector.errors import UsageError
from inspector.memory import Workload, estimated_cache
from inspector.model import Model
from inspector.verdict.changes import Change

NO_FACTS = "config.json does not tell the layers, the hidden size or the vocabulary"
NO_WEIGHTS = "the tensors' names do not tell what a rank would hold"

SPLIT_BY_COUNT = ("tensor_parallel", "expert_parallel")
"""Degrees that follow the number of devices where that changes."""

DEGREES = (*SPLIT_BY_COUNT, "pipeline_parallel", "data_parallel")

RankPlan = Callable[[Workload, GpuSpec, tuple[str, ...]], Serving]
"""(workload, devices, degrees that are not as the user gave them) -> the account, bounds and changes left out."""

Options = TypeVar("Options")


def without(options: Options, names: Iterable[str]) -> Options:
    """The options with some at their default, None; those that the engine does not have are left out."""
    chosen: Any = options
    found: Options = replace(chosen, **{name: None for name in names if hasattr(options, name)})
    return found


def plan_over_ranks(
    model: Model, workload: Workload, spec: GpuSpec, plan: RankPlan, tensor_parallel: int, *, suggest: bool
) -> Serving:
    """An account with the bounds of its speed, and where it does not fit (and `suggest`) the changes that make it fit.

    Raises:
        UsageError: what the engine refuses.
        CannotTell: there is no account.
    """
    now = plan(workload, spec, ())
    changes = _changes(workload, spec, plan) if now.fits is False and suggest else ()
    return replace(
        now,
        decode_bound=decode_bound(model, workload, estimated_cache(model, workload).bytes, spec, tensor_parallel),
        prefill_bound=prefill_bound(model, spec, tensor_parallel),
        changes=changes,
    ).explained_by(now.explanation)


def _changes(workload: Workload, spec: GpuSpec, plan: RankPlan) -> tuple[Change, ...]:
    """Of unequal devices the alike ones that hold it without the others."""
    found = []
    for alone in alike_gpus(spec):
        size = _needed_where_it_fits(plan, workload, alone, DEGREES)
        if size is not None:
            found.append(
                Change(f"--gpu '{alone.label.replace(' x ', 'x')}'", f"{alone.label} without the others", size)
            )
    return tuple(found)


def _needed_where_it_fits(plan: RankPlan, workload: Workload, spec: GpuSpec, forgotten: tuple[str, ...]) -> int | None:
    try:
        serving = plan(workload, spec, forgotten)
    except (UsageError, CannotTell):
        return None
    return serving.needs()[0] if serving.fits else None


def degrees(
    spec: GpuSpec, tensor: int | None, pipeline: int | None, experts: int | None, data: int | None = None
) -> tuple[int, int]:
    """(tensor parallel, pipeline parallel): by default all devices split each layer.

    Raises:
        UsageError: they are not the devices of --gpu, or experts that are dealt out to some of the ranks.
    """
    pipeline, data = pipeline or 1, data or 1
    tensor = tensor or max(1, spec.count // (pipeline * data))
    if tensor * pipeline * data != spec.count:
        replicas = f" x data parallel {data}" if data > 1 else ""
        raise UsageError(
            f"tensor parallel {tensor} x pipeline parallel {pipeline}{replicas} is not the {spec.count} GPUs of --gpu",
            "Name as many as take part."
            if spec.mixed
            else f"Name as many as take part: --gpu '{tensor * pipeline * data}x{spec.name}'.",
        )
    if experts not in (None, 1, tensor * data):
        raise UsageError(
            f"expert parallel {experts} is neither 1 nor tensor x data parallel, {tensor * data}",
            "Experts are dealt out to all ranks of both, or not at all.",
        )
    return tensor, pipeline


def rank_device(spec: GpuSpec) -> Gpu:
    """A device as a rank sees it."""
    reported = spec.device.memory_mib * 1024**2 if spec.device and spec.device.basis == "measured" else None
    system = (spec.device.system_mib or 0) * 1024**2 if spec.device else 0
    return Gpu(spec.capacity, spec.name, spec.compute_capability, reported, system)


def length_note(context: int, longest: int, title: str, override: str) -> tuple[str, ...]:
    """That a server refuses requests longer than the model's own maximum, unless a variable is set."""
    if context <= longest:
        return ()
    return (f"{title} refuses {context:,} tokens a request, above the model's {longest:,}, unless {override}=1 is set",)


def unified_note(spec: GpuSpec) -> tuple[str, ...]:
    """What a reader should know of devices that share their memory with the CPU.

    sglang/srt/utils/common.py: get_available_gpu_memory and vllm/utils/mem_utils.py: MemorySnapshot take what the
    system has available (`is_integrated`), where free memory does not count what the system can take back.
    """
    device = spec.device
    if device is None or not device.unified:
        return ()
    if device.system_mib is None:
        return (f"{device.name} shares its memory with the CPU: what the system itself holds is not counted",)
    free = (device.capacity / 1024**2 - device.system_mib) / 1024
    return (f"{device.name} shares its memory with the CPU: {free:.1f} GiB of it are taken to be available",)
