"""Several models side by side on one device: each one's share, the order of their starts, and what is left.

An engine that fills a share of the device (`Engine.share_option`) is given for each model the least share, in whole
hundredths, that holds its requests; what is left over is dealt out so that all models serve as many requests at once.
Where the share is of what is free as the model starts (`share_is_of_free`), the models before it are taken off first,
with what they may need beside their shares. Any other engine takes what it needs, and the needs are added.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from inspector.devices.spec import GpuSpec
from inspector.engines.engine import Answer, Engine
from inspector.engines.serving import Serving
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.model import Model
from inspector.verdict.fit import Fit, largest_that_fits

MAX_AT_ONCE = 4096
"""Requests at once that the search for a share tries."""

HUNDRED = 100
THOUSAND = 1000


class Side(NamedTuple):
    """One of the models: its name, and what is asked of it."""

    name: str
    model: Model
    workload: Workload


@dataclass(frozen=True)
class Tenant:
    """One of several models on a device.

    Attributes:
        name: of the model.
        place: among the models as they were named, from 0.
        order: when it starts, from 1: each once the one before it serves.
        share: of the device, where the engine fills one; None otherwise.
        needed: bytes that it takes of each GPU: all of its share, of an engine that fills one.
        context / at_once: tokens of a request, and requests of so many tokens that it serves at once.
        asleep: bytes that it keeps while it sleeps; None where its engine has no sleep, or it is not known.
        fit / serving: its verdict with that share, and the engine's account.
    """

    name: str
    place: int
    order: int
    share: float | None
    needed: int | None
    context: int
    at_once: float | None
    asleep: int | None
    fit: Fit
    serving: Serving | None


@dataclass(frozen=True)
class Together:
    """Whether models fit a device side by side. Sizes in bytes of each GPU.

    Attributes:
        beside: taken by something else.
        usable: what they may use together, that taken off; needed + headroom.
        fits: None where it cannot be told.
        tenants: in the order of their starts.
        free_asleep: what is free of a GPU while all sleep: for a trainer, say; None where that is not known.
    """

    engine: str
    gpu: str
    count: int
    capacity: int
    beside: int
    usable: int
    needed: int | None
    headroom: int | None
    fits: bool | None
    tenants: tuple[Tenant, ...]
    notes: tuple[str, ...] = ()
    free_asleep: int | None = None


class _Need(NamedTuple):
    """Bytes of an account: what is fixed, and what each request adds; None where there is no account."""

    fixed: int
    request: int


Planner = Callable[[Side, Any], Answer]
"""(a model, the engine's options) -> its verdict on the whole device."""


def together(engine: Engine, sides: Sequence[Side], spec: GpuSpec, options: Any, beside: int = 0) -> Together:
    """All of them on the same device, or on the same devices, each over all of these.

    Args:
        options: the engine's, for each of them.
        beside: bytes of each GPU that something else takes.

    Raises:
        UsageError: unequal devices, a share that is given, or an engine whose share is not accounted for.
    """
    if spec.mixed:
        raise UsageError("models side by side are counted on like GPUs", "Name one kind: --gpu 'RTX 4090'.")
    if engine.share_option is not None and getattr(options, engine.share_option) is not None:
        raise UsageError(f"--{engine.share_option.replace('_', '-')} is worked out for each model", "Leave it out.")
    if engine.share_is_of_free:
        return _by_share_of_free(engine, sides, spec, options, beside)

    def plan(side: Side, chosen: Any) -> Answer:
        return engine.planner(side.model, side.workload, chosen)(spec, False)

    shared = _by_share if engine.share_option else _by_need
    return shared(engine, sides, spec, options, beside, plan)


def _by_need(
    engine: Engine, sides: Sequence[Side], spec: GpuSpec, options: Any, beside: int, plan: Planner
) -> Together:
    """Each takes what it needs: the sum of the needs."""
    answers = [plan(side, options) for side in sides]
    usable = min(each.fit.capacity if each.fit.usable is None else each.fit.usable for each in answers) - beside
    return _summed(engine, spec, beside, usable, _as_needed(engine, sides, answers), ())


def _as_needed(engine: Engine, sides: Sequence[Side], answers: Sequence[Answer]) -> list[Tenant]:
    """Each with what its verdict on the whole device says that it needs."""
    pairs = zip(sides, answers, strict=True)
    return [_tenant(engine, side, answer, None, answer.fit.needed) for side, answer in pairs]


def _by_share(
    engine: Engine, sides: Sequence[Side], spec: GpuSpec, options: Any, beside: int, plan: Planner
) -> Together:
    """Each fills its share of the device; all shares together are no more than the engine takes alone by default.

    A share is a whole number of hundredths, rounded up: what it holds is never less than what is needed.
    """
    name = str(engine.share_option)
    answers = [plan(side, options) for side in sides]
    needs = [_need(answer) for answer in answers]
    whole = max((each.fit.usable or 0 for each in answers), default=0)
    parts = math.floor(HUNDRED * (whole - beside + 1) / spec.capacity)  # the engine rounds its own share down by a byte
    notes = _one_after_another(engine)
    known = [need for need in needs if need is not None]
    if len(known) < len(needs):
        return _summed(engine, spec, beside, whole - beside, _as_needed(engine, sides, answers), notes)
    batches = [side.workload.batch for side in sides]

    def shares(many: int) -> list[int]:
        wanted = [max(batch, many) for batch in batches]
        sizes = [need.fixed + at_once * need.request for need, at_once in zip(known, wanted, strict=True)]
        return [max(1, math.ceil(HUNDRED * size / spec.capacity)) for size in sizes]

    chosen = shares(1)
    if sum(chosen) <= parts:
        most = largest_that_fits(lambda many: (sum(shares(many)) <= parts, None), MAX_AT_ONCE)
        chosen = shares(most or 1)
        largest = max(range(len(sides)), key=lambda at: known[at].request)
        chosen[largest] += parts - sum(chosen) if known[largest].request else 0
    tenants = []
    for side, part in zip(sides, chosen, strict=True):
        share = part / HUNDRED
        answer = plan(side, replace(options, **{name: min(share, 1.0)}))
        tenants.append(_tenant(engine, side, answer, share, part * spec.capacity // HUNDRED))
    return _summed(engine, spec, beside, (parts * spec.capacity) // HUNDRED, tenants, notes)


def _one_after_another(engine: Engine) -> tuple[str, ...]:
    return (
        f"started one after the other, each once the one before serves: {engine.title} takes what others allocate"
        " meanwhile for its own",
    )


class _Dealt(NamedTuple):
    """What one model gets: its share of what is free as it starts, bytes of all that it may take, and its account."""

    share: float
    needed: int
    answer: Answer


def _by_share_of_free(engine: Engine, sides: Sequence[Side], spec: GpuSpec, options: Any, beside: int) -> Together:
    """Each fills its share of what is free as it starts; beside the share it may take what the engine's own default
    leaves free of the whole device, for activations and graphs.

    A share is a whole number of thousandths, rounded up. It has to hold the requests where those before have taken all
    that they may; and where they have taken none of what is beside their shares yet, it is of more, which is counted.

    Raises:
        UsageError: several devices.
    """
    if spec.count > 1:
        raise UsageError(f"models side by side under {engine.title} are counted on one GPU", "Name one --gpu.")
    answers = [engine.planner(side.model, side.workload, options)(spec, False) for side in sides]
    parts = [{} if each.serving is None else each.serving.per_gpu for each in answers]
    usable, notes = spec.capacity - beside, _one_after_another(engine)
    if any(each.serving is None or each.serving.fits is None for each in answers):
        return _summed(engine, spec, beside, usable, _as_needed(engine, sides, answers), notes)
    slack, context = ([own.get(name) or 0 for own in parts] for name in ("activations", "non_torch"))
    order = sorted(range(len(sides)), key=lambda at: -(parts[at].get("weights") or 0))

    def deal(many: int) -> dict[int, _Dealt] | None:
        """What each gets with so many requests at once; None where one has no room for any share."""
        found: dict[int, _Dealt] = {}
        taken = spare = 0
        for at in order:
            room = replace(spec, capacity=usable - taken)
            if room.capacity <= context[at]:
                return None
            dealt = _least_share(engine, sides[at], room, options, max(many, sides[at].workload.batch))
            if dealt is None:
                return None
            share, answer = dealt
            needed = context[at] + math.ceil(share * (room.capacity - context[at] + spare)) + slack[at]
            found[at] = _Dealt(share, needed, answer)
            taken, spare = taken + needed, spare + slack[at]
        return found

    def holds(many: int) -> bool:
        found = deal(many)
        return found is not None and sum(each.needed for each in found.values()) <= usable

    dealt = deal(largest_that_fits(lambda many: (holds(many), None), MAX_AT_ONCE) or 1)
    if dealt is None:
        result = _summed(engine, spec, beside, usable, _as_needed(engine, sides, answers), notes)
        return replace(result, fits=False if result.fits is False else None)
    tenants = [
        _tenant(engine, side, dealt[at].answer, dealt[at].share, dealt[at].needed) for at, side in enumerate(sides)
    ]
    return _summed(engine, spec, beside, usable, tenants, notes, order)


def _least_share(engine: Engine, side: Side, room: GpuSpec, options: Any, many: int) -> tuple[float, Answer] | None:
    """The least share of what is free that holds so many requests, and the verdict with it; None where none does."""
    name = str(engine.share_option)

    def answer(thousandths: int) -> Answer:
        chosen = replace(options, **{name: thousandths / THOUSAND})
        return engine.planner(side.model, side.workload, chosen)(room, False)

    def holds(thousandths: int) -> bool:
        serving = answer(thousandths).serving
        return serving is not None and serving.fits is True and (serving.max_concurrency or 0) >= many

    least = bisect_left(range(1, THOUSAND), True, key=holds) + 1
    return None if least == THOUSAND else (least / THOUSAND, answer(least))


def _need(answer: Answer) -> _Need | None:
    """What an account takes whatever its share, and a request of its pool."""
    serving = answer.serving
    if serving is None or serving.fits is None:
        return None
    needed, request = serving.needs()[0], serving.request_bytes
    return None if needed is None or request is None else _Need(needed - request, request)


def _tenant(engine: Engine, side: Side, answer: Answer, share: float | None, needed: int | None) -> Tenant:
    serving = answer.serving
    many = float(side.workload.batch) if share is None or serving is None else serving.max_concurrency
    asleep = None if serving is None else engine.asleep(serving)
    return Tenant(side.name, 0, 0, share, needed, side.workload.context, many, asleep, answer.fit, serving)


def _summed(
    engine: Engine,
    spec: GpuSpec,
    beside: int,
    usable: int,
    tenants: Sequence[Tenant],
    notes: tuple[str, ...],
    order: Sequence[int] | None = None,
) -> Together:
    """The sum; whether each has what it needs and all have room.

    Args:
        order: of the starts; None for the most needy first.
    """
    named = [replace(each, place=place) for place, each in enumerate(tenants)]
    needy = sorted(named, key=lambda each: -(each.needed or 0))
    ordered = needy if order is None else [named[at] for at in order]
    placed = tuple(replace(each, order=order) for order, each in enumerate(ordered, 1))
    sizes = [each.needed for each in placed]
    needed = None if None in sizes else sum(size or 0 for size in sizes)
    fits = None
    if needed is not None and not any(each.fit.fits is None for each in placed):
        fits = needed <= usable and all(each.fit.fits for each in placed)
    left = None if needed is None else usable - needed
    own = tuple(f"{each.name}: {note}" for each in placed for note in each.fit.notes)
    kept = [each.asleep for each in placed]
    free = None if None in kept else spec.capacity - beside - sum(size or 0 for size in kept)
    return Together(
        engine.name,
        spec.name,
        spec.count,
        spec.capacity,
        beside,
        usable,
        needed,
        left,
        fits,
        placed,
        tuple(dict.fromkeys((*notes, *own))),
        free,
    )
