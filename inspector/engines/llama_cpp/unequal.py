"""Unequal GPUs under llama.cpp: layers by each GPU's free memory, or by the --tensor-split that leaves most room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inspector.devices.spec import GpuSpec
from inspector.engines.llama_cpp.buffers import DeviceMemory, GgufFacts, LlamaCppPlan, plan
from inspector.engines.llama_cpp.cache import LlamaCppSettings
from inspector.verdict.fit import GpuShare
from inspector.verdict.layout import split_unequal


class Placed(NamedTuple):
    """A plan over these GPUs: its shares, what it takes, and whether it fits (None where that is not known).

    Attributes:
        shares: what --tensor-split would say; free bytes where `given` is False.
        given: the shares must be given, for llama.cpp's own do not fit.
        tightest: the number of the GPU with least left.
    """

    plan: LlamaCppPlan
    shares: tuple[int, ...]
    given: bool
    fits: bool | None
    tightest: int

    @property
    def device(self) -> DeviceMemory:
        """The tightest GPU's memory."""
        return self.plan.cards[self.tightest]


def place(facts: GgufFacts, settings: LlamaCppSettings, spec: GpuSpec, outside: int) -> Placed:
    """llama.cpp's own split by free memory where that fits, else the best --tensor-split of all.

    src/llama-model.cpp: load_tensors. Builds since about December 2025 look for such a split by themselves where their
    own does not fit (--fit, common/fit.cpp), and keep 1 GiB of each GPU free.
    """
    free = tuple(max(1, min(gpu.capacity, gpu.free or gpu.capacity) - outside) for gpu in spec.cards)
    if settings.tensor_split is not None:
        return _placed(facts, settings, spec, outside, settings.tensor_split, given=True)
    default = _placed(facts, settings, spec, outside, free, given=False)
    if default.fits is not False or any(each.device is not None for each in settings.overrides):
        return default
    for shares in _splits(facts, settings, spec, outside):
        best = _placed(facts, settings, spec, outside, shares, given=True)
        if best.fits:
            return best
    return default


def _splits(facts: GgufFacts, settings: LlamaCppSettings, spec: GpuSpec, outside: int) -> Iterator[tuple[int, ...]]:
    """Layers a GPU, the output as one: the split that leaves the tightest GPU most room, if it can be told."""
    count = plan(facts, settings, 1).n_gpu_layers
    single = plan(facts, settings, (1,) * count) if count else None  # a GPU a layer tells what each takes
    if single is None or any(device.kv_cache is None for device in single.cards):
        return
    compute = max(device.compute for device in plan(facts, settings, _first_and_last(count, spec.count)).cards)
    blocks = [device.weights + (device.kv_cache or 0) for device in single.cards]
    rooms = [capacity - outside - compute for capacity in spec.capacities]
    yield tuple(len(run) for run in split_unequal(blocks, rooms))


def _first_and_last(count: int, gpus: int) -> tuple[int, ...]:
    """Any split that uses several GPUs, for the buffers that it takes."""
    return (max(1, count - gpus + 1), *(1,) * (gpus - 1))


def _placed(
    facts: GgufFacts, settings: LlamaCppSettings, spec: GpuSpec, outside: int, shares: tuple[int, ...], *, given: bool
) -> Placed:
    result = plan(facts, settings, shares)
    left = [
        None if device.total is None else capacity - device.total - (outside if device.total else 0)
        for device, capacity in zip(result.cards, spec.capacities, strict=True)
    ]
    used = [gpu for gpu, device in enumerate(result.cards) if device.weights or device.layers] or [0]
    known = [(room, gpu) for gpu in used if (room := left[gpu]) is not None]
    fits = all(room >= 0 for room, _ in known) if len(known) == len(used) else None
    return Placed(result, shares, given, fits, min(known)[1] if known else used[0])


def shares_of(placed: Placed, spec: GpuSpec, outside: int) -> tuple[GpuShare, ...]:
    """Each GPU's part of a plan."""
    found = []
    for number, (gpu, device) in enumerate(zip(spec.cards, placed.plan.cards, strict=True)):
        total = device.total if device.total in (None, 0) else device.total + outside
        left = None if total is None else gpu.capacity - total
        found.append(GpuShare(gpu.name, gpu.capacity, total, left, number == placed.tightest))
    return tuple(found)


def split_note(placed: Placed, asked: tuple[int, ...] | None = None) -> str:
    """What divides the layers, in a sentence. `asked`: the --tensor-split that the user gave."""
    if placed.given and asked is None:
        split = ",".join(map(str, placed.shares))
        return (
            f"it takes --tensor-split {split}: the split by free memory overfills a GPU; builds since December 2025"
            " look for one themselves (--fit), and keep 1 GiB of each GPU free"
        )
    counts = " + ".join(str(device.layers) for device in placed.plan.cards)
    if asked is not None:
        return f"layers by --tensor-split: {counts}"
    return f"layers by free memory, llama.cpp's default (--split-mode layer): {counts}"
