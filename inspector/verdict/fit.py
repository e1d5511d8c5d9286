"""From estimates to a verdict: does it fit these GPUs, with what headroom, and up to which context and batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from inspector.devices.spec import GpuSpec
from inspector.devices.speed import decode_bound, prefill_bound, token_cost
from inspector.devices.table import Kind
from inspector.memory import Estimate, Workload, estimate
from inspector.model import Model
from inspector.verdict.changes import Change, Option, offload_that_fits
from inspector.verdict.layout import Layout, automatic_notes, device_map_layout, layer_weights

if TYPE_CHECKING:
    from inspector.devices.forecast import Forecast

MAX_CONTEXT = 2**24
"""Tokens that the search for the longest context tries where the model names no maximum of its own."""

MAX_BATCH = 2**20

MAX_GPUS = 64
"""GPUs that the search for the least number of them tries."""

Estimator = Callable[[Model, Workload], Estimate]
Room = tuple["bool | None", "int | None"]
"""Whether it fits (None: cannot be told), and the bytes that are left, negative where some are missing: a guide for a
search, None for none."""


class GpuShare(NamedTuple):
    """One of unequal GPUs: its name, what a program can have of it, and what it must hold."""

    gpu: str
    capacity: int
    needed: int | None
    headroom: int | None
    tightest: bool


@dataclass(frozen=True, slots=True, repr=False)
class Fit:
    """Whether a model under one workload fits so many GPUs: `bool(fit)`. All sizes in bytes.

    Attributes:
        gpu: one GPU's name; of unequal GPUs all names.
        count: GPUs.
        capacity: what a program can have of one GPU; of unequal ones, of the tightest.
        needed: what the fullest GPU must hold, or the tightest of unequal ones; None where that is not known.
        fits: None where it cannot be told.
        headroom: usable - needed; negative where that much is missing.
        max_context: tokens per sequence that still fit at this batch, up to the model's own maximum (2**24 where it
            names none); 0 where not even one does, None where it cannot be told.
        max_batch: sequences that still fit at this context, up to 2**20; 0 and None likewise.
        min_count: the least number of such GPUs that fits, up to 64; None where none does or it cannot be told.
        per_card: what each GPU holds, in the order of the layers; empty where that is not known.
        cards: unequal GPUs one by one, in their order; empty where they are alike.
        kind: what drives the GPUs ("cuda", "rocm", ...); None for a bare size.
        decode_bound: tokens per second, of all sequences together, that the bandwidth allows; None where not known.
        prefill_bound: prompt tokens per second that the arithmetic allows; likewise.
        changes: where it does not fit, the single changes that make it fit.
        options: where it does not fit (or all were asked for), what does, least loss first; empty where nothing does.
        notes: what the reader of the verdict should know.
        usable: what the engine may use of `capacity` (vLLM's gpu_memory_utilization of it): needed + headroom, always.
        price: US dollars per GPU-hour, as asked; None where none was given.
        decode_cost: US dollars per million generated tokens, at least: at `decode_bound`; None where that is not known.
        prefill_cost: US dollars per million prompt tokens, at least; likewise.
        decode_forecast: what published measurements reach of `decode_bound`; None where too few are alike.
        prefill_forecast: of `prefill_bound`; likewise.
    """

    gpu: str
    count: int
    capacity: int
    needed: int | None
    fits: bool | None
    headroom: int | None
    max_context: int | None
    max_batch: int | None
    min_count: int | None
    per_card: tuple[int, ...] = ()
    cards: tuple[GpuShare, ...] = ()
    kind: Kind | None = None
    decode_bound: float | None = None
    prefill_bound: float | None = None
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    usable: int | None = None
    price: float | None = None
    decode_cost: float | None = None
    prefill_cost: float | None = None
    options: tuple[Option, ...] = ()
    decode_forecast: Forecast | None = None
    prefill_forecast: Forecast | None = None

    def priced(self, price: float | None) -> Fit:
        """With what a million tokens cost at least, where a GPU costs so many US dollars per hour."""
        if price is None:
            return self
        decode, prefill = (token_cost(price, self.count, bound) for bound in (self.decode_bound, self.prefill_bound))
        return dataclasses.replace(self, price=price, decode_cost=decode, prefill_cost=prefill)

    def __bool__(self) -> bool:
        """The verdict.

        Raises:
            ValueError: it cannot be told.
        """
        if self.fits is None:
            why = next((note for note in self.notes if "cannot tell" in note), "cannot tell")
            raise ValueError(f"whether it fits {self.gpu} is not known ({why}): look at .fits, which is None")
        return self.fits

    def __repr__(self) -> str:
        words = {True: "fits", False: "does not fit", None: "cannot tell"}[self.fits]
        device = f"{self.count} x {self.gpu}" if self.count > 1 and not self.cards else self.gpu
        sizes = (
            ""
            if self.needed is None
            else f", needs {self.needed / 2**30:.2f} of {(self.usable or self.capacity) / 2**30:.2f} GiB"
        )
        return f"<Fit {device}: {words}{sizes}>"


def check_fit(
    model: Model,
    workload: Workload,
    spec: GpuSpec,
    *,
    estimate: Estimator = estimate,
    inference: bool = True,
    suggest: bool = True,
    searches: bool = True,
) -> Fit:
    """The verdict for `spec`; every figure and both searches come from the one sizing function `estimate`.

    On several GPUs whole layers are split over them, as `device_map="auto"` of transformers does: memory is never
    pooled, and the fullest GPU decides.

    Args:
        inference: what is sized is inference, whose speed has a bound and whose precisions may change.
        suggest: look for a change that no option states, where it does not fit: layers on the CPU.
        searches: look for the longest context, the most sequences and the least count; else they are None.
    """

    def room(context: int, batch: int) -> Room:
        sized = estimate(model, dataclasses.replace(workload, context=context, batch=batch))
        # Of several GPUs a guide: the share of each if memory were pooled.
        total = None if sized.total is None else sized.total // spec.count
        left = None if total is None or not inference else spec.capacity - total
        return _fits(model, sized, spec.capacities)[0], left

    sized = estimate(model, workload)
    fits, per_card = _verdict(model, sized, spec.capacities)
    if fits is False:
        fits = between(fits, _fits_at_least(model, sized, spec.capacities))
    gpus = gpu_shares(spec, per_card) if spec.mixed else ()
    needed, capacity = tightest_of(spec.capacities, per_card)
    max_context = max_batch = min_count = None
    if searches:
        longest = model.architecture.longest_context or MAX_CONTEXT
        max_context = largest_that_fits(lambda context: room(context, workload.batch), longest)
        max_batch = largest_that_fits(lambda batch: room(workload.context, batch), MAX_BATCH)
        min_count = None if spec.mixed else _least_count(model, sized, spec.capacity)
    offloaded = _offload(model, sized, spec) if fits is False and suggest and inference else None
    return Fit(
        gpu=spec.name,
        count=spec.count,
        capacity=capacity,
        needed=needed,
        fits=fits,
        headroom=None if needed is None else capacity - needed,
        max_context=max_context,
        max_batch=max_batch,
        min_count=min_count,
        per_card=per_card,
        cards=gpus,
        kind=spec.kind,
        decode_bound=decode_bound(model, workload, sized.kv_cache.bytes, spec) if inference else None,
        prefill_bound=prefill_bound(model, spec) if inference else None,
        changes=() if offloaded is None else (offloaded,),
        notes=_notes(model, spec, sized, needed, fits),
        usable=None if needed is None else capacity,
    )


def between(most: bool | None, least: bool | None) -> bool | None:
    """The verdict where the KV cache is known between two bounds, by those of both: it fits if the most of it does, it
    does not if the least does not, and else it cannot be told."""
    return False if most is False and least is False else most or None


def bounds_note(low: int, high: int, fits: bool | None, cache: str = "the KV cache") -> str:
    """What a reader of such a verdict should know. The bounds of the cache in bytes."""
    sizes = f"{cache} takes {low:,} to {high:,} bytes, as what the layers keep is not all known"
    if fits is None:
        return f"cannot tell: it fits by the least that the KV cache may take, and not by the most: {sizes}"
    return f"{sizes}; the figures are by the most"


def _fits_at_least(model: Model, sized: Estimate, capacities: tuple[int, ...]) -> bool | None:
    """Whether it fits by the least that the layers may keep; what does not fit by the most does not where that is
    known exactly."""
    cache, facts = sized.kv_cache, model.architecture
    if not facts.layers_at_least or cache.low is None or cache.low == cache.bytes:
        return False
    lean = dataclasses.replace(facts, layers=facts.layers_at_least, layers_at_least=())
    least = dataclasses.replace(sized, kv_cache=dataclasses.replace(cache, bytes=cache.low, parts=()))
    return _verdict(dataclasses.replace(model, architecture=lean), least, capacities)[0]


def tightest_of(capacities: tuple[int, ...], per_card: tuple[int, ...]) -> tuple[int | None, int]:
    """What the GPU with least left must hold, and what it has; of equal GPUs that is the fullest."""
    if not per_card:
        return None, min(capacities)
    pairs = list(zip(per_card, capacities, strict=True))
    used = [pair for pair in pairs if pair[0]] or pairs
    return min(used, key=lambda pair: (pair[1] - pair[0], -pair[0]))


def gpu_shares(spec: GpuSpec, per_card: tuple[int, ...]) -> tuple[GpuShare, ...]:
    """Unequal GPUs one by one; what they hold is unknown where `per_card` is empty."""
    needed: list[int | None] = list(per_card) or [None] * spec.count
    left = [None if size is None else gpu.capacity - size for gpu, size in zip(spec.cards, needed, strict=True)]
    used = [room for room, size in zip(left, needed, strict=True) if room is not None and size]
    least = min(used, default=None)
    return tuple(
        GpuShare(gpu.name, gpu.capacity, size, room, bool(size) and room == least)
        for gpu, size, room in zip(spec.cards, needed, left, strict=True)
    )


def memoized(estimate: Estimator = estimate) -> Estimator:
    """The same sizing function for one model, which works out each workload once: searches over many GPUs repeat
    them."""
    known: dict[Workload, Estimate] = {}

    def sized(model: Model, workload: Workload) -> Estimate:
        if workload not in known:
            known[workload] = estimate(model, workload)
        return known[workload]

    return sized


def min_count(model: Model, workload: Workload, spec: GpuSpec, *, estimate: Estimator = estimate) -> int | None:
    """The least number of such GPUs that fits, up to 64 (`spec.count` does not matter); None where none does, or
    where it cannot be told."""
    return _least_count(model, estimate(model, workload), spec.capacity)


def _verdict(model: Model, sized: Estimate, gpus: tuple[int, ...]) -> tuple[bool | None, tuple[int, ...]]:
    """Whether an estimate fits GPUs of so many bytes each, and what each holds (empty where that is not known)."""
    fits, layout = _fits(model, sized, gpus)
    total, largest = sized.total, gpus.index(max(gpus))
    if layout is not None:
        return fits, layout.per_card(len(gpus)) if len(set(gpus)) == 1 else layout.per_mixed_gpu(gpus)
    if total is not None and (len(gpus) == 1 or fits):
        return fits, tuple(total if gpu == largest else 0 for gpu in range(len(gpus)))
    return fits, ()


def _fits(model: Model, sized: Estimate, gpus: tuple[int, ...]) -> tuple[bool | None, Layout | None]:
    """Whether an estimate fits GPUs of so many bytes each, and how it lies on several, where that is known."""
    total = sized.total
    if total is not None and len(gpus) == 1:
        return total <= gpus[0], None
    layout = None if total is None else device_map_layout(model, sized)
    if layout is not None:
        return layout.fits(gpus), layout
    if total is not None and total <= max(gpus):
        return True, None
    # The parts that are known may be too much already.
    return (False if _least_bytes(sized, gpus) > sum(gpus) else None), None


def _offload(model: Model, sized: Estimate, spec: GpuSpec) -> Change | None:
    """Layers on the CPU, for one GPU with a memory of its own."""
    layers, total = layer_weights(model, sized), sized.total
    if spec.count > 1 or spec.unified or layers is None or total is None or not sized.weights.bytes:
        return None
    head = sized.weights.bytes * model.parameters.by_component.get("head", 0) // model.parameters.total
    return offload_that_fits(total, spec.capacity, layers, head)


def _least_bytes(sized: Estimate, gpus: tuple[int, ...]) -> int:
    """Bytes that the known parts take on these GPUs together, however they are split; a GPU too small for what every
    GPU holds is left out, and takes its own size."""
    once = (sized.weights.bytes or 0) + (sized.kv_cache.bytes or 0)
    every_gpu = (sized.activations.bytes or 0) + (sized.overhead.bytes or 0)
    return once + sum(every_gpu if len(set(gpus)) == 1 else min(every_gpu, gpu) for gpu in gpus)


def _least_count(model: Model, sized: Estimate, capacity: int) -> int | None:
    if _verdict(model, sized, (capacity,))[0]:
        return 1
    layout = device_map_layout(model, sized)
    count = layout.least_count(capacity) if layout else None
    return count if count is not None and count <= MAX_GPUS else None


def largest_that_fits(room: Callable[[int], Room], limit: int) -> int | None:
    """The largest number up to `limit` that still fits. Fitting is monotone: what does not fit never fits with more.

    A binary search whose next guess is where the bytes that are left would be none, if they went down in a line; every
    third guess is the middle, so that no shape of it makes the search long.

    >>> largest_that_fits(lambda number: (number <= 1000, 1000 - number), 2**20)
    1000
    """
    first, left = room(1)
    if not first:
        return None if first is None else 0
    low, high = 1, limit + 1  # `low` fits; `high` does not, or is above the limit
    missing: int | None = None
    guesses = 0
    while high - low > 1:
        guesses += 1
        middle = (low + high) // 2
        if guesses == 1 and left is not None:
            middle = limit
        elif guesses % 3 and left is not None and missing is not None and left >= 0 > missing:
            middle = min(max(low + (high - low) * left // (left - missing), low + 1), high - 1)
        fits, more = room(middle)
        if fits:
            low, left = middle, more
        else:
            high, missing = middle, more
    return low


def _notes(model: Model, spec: GpuSpec, sized: Estimate, needed: int | None, fits: bool | None) -> tuple[str, ...]:
    notes = list(spec.notes)
    for gpu in dict.fromkeys(spec.mixed or (spec,)):
        if gpu.device is not None and gpu.device.basis == "nominal" and gpu.device.visible_mib is None:
            notes.append(f"{gpu.name}: nominal memory; what its driver reports is not confirmed")
    unknown = [part.name for part in sized.parts if part.bytes is None]
    if unknown:
        notes.append(f"not known: {', '.join(unknown)}")
    low, high = sized.kv_cache.low, sized.kv_cache.bytes
    bounded = fits is None and needed is not None and low is not None
    if needed is not None and low is not None and high is not None and low < high:
        notes.append(bounds_note(low, high, fits))
    if spec.count > 1 and fits is None and not unknown and not bounded:
        notes.append("cannot tell: the tensors' names do not say what each layer holds")
    if spec.mixed and needed is not None:
        notes.append("whole layers are split over the GPUs (device_map) so that the tightest has most left")
        notes.extend(automatic_notes(model, sized, spec.capacities))
    elif spec.count > 1 and needed is not None:
        notes.append("whole layers are split over the GPUs (device_map); the fullest GPU decides")
    if fits and needed is not None and spec.free is not None and needed > spec.free:
        notes.append(f"it fits the GPU, but not what is free on it now ({spec.free / 1024**3:.2f} GiB)")
    return tuple(notes)
