"""Unequal devices under engines whose ranks all take the same share: the smallest device of a stage decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inspector.devices.spec import GpuSpec
from inspector.verdict.fit import GpuShare


def stage_gpus(tensor: int, pipeline: int, data: int = 1) -> tuple[tuple[int, ...], ...]:
    """The numbers of the GPUs of each pipeline stage: ranks are counted replica by replica, stage by stage.

    vllm/distributed/parallel_state.py: initialize_model_parallel (data, pipeline, tensor; tensor varies fastest).
    """
    return tuple(
        tuple((replica * pipeline + stage) * tensor + rank for replica in range(data) for rank in range(tensor))
        for stage in range(pipeline)
    )


def stage_memory(spec: GpuSpec, stages: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Bytes of each stage's smallest GPU."""
    return tuple(min(spec.capacities[number] for number in stage) for stage in stages)


def smallest(spec: GpuSpec) -> GpuSpec:
    """The smallest GPU."""
    return min(spec.cards, key=lambda gpu: gpu.capacity)


def alike_gpus(spec: GpuSpec) -> tuple[GpuSpec, ...]:
    """The equal GPUs among unequal ones, each kind by itself; none where all are alike."""
    return tuple(replace(gpu, count=spec.mixed.count(gpu)) for gpu in dict.fromkeys(spec.mixed))


def served_shares(
    spec: GpuSpec,
    stages: Sequence[Sequence[int]],
    taken: Sequence[int],
    share: float,
    request: int | None,
    beside: int = 0,
) -> tuple[GpuShare, ...]:
    """Each GPU's part: `taken` bytes of its stage and one request's cache, of the engine's share of its own memory;
    `beside` is needed outside that share."""
    found: dict[int, tuple[int, int | None]] = {}
    for stage, fixed in zip(stages, taken, strict=True):
        for number in stage:
            left = None if request is None else int(spec.capacities[number] * share) - fixed - request
            found[number] = (fixed + (request or 0) + beside, left)
    least = min((left for _, left in found.values() if left is not None), default=None)
    return tuple(
        GpuShare(gpu.name, gpu.capacity, found[number][0], left, left is not None and left == least)
        for number, gpu in enumerate(spec.cards)
        for left in (found[number][1],)
    )


def same_share_note(title: str) -> str:
    """What a reader should know of unequal devices, with the engine's title."""
    return f"{title} gives every rank the same share: the smallest GPU decides, and what others have more stays idle"
