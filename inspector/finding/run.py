"""What runs on a device: each model of a list with the best way to run it there, ranked.

A model is read once, and asked for the option that gives up least (inspector.advice); those that hold the context that
was asked for are kept. Many are read at a time, by the batch's threads and under its rate limits.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inspector.advice.longest import fewest_bits
from inspector.advice.loss import COARSE_WEIGHTS
from inspector.api.inspection import device_specs, resolver_of
from inspector.errors import InspectError, UsageError
from inspector.finding.look import DOES_NOT_FIT, Found, Outcome, look_at, renamed, same_as
from inspector.finding.settings import FindQuestion
from inspector.hub import Resolver
from inspector.hub.checkpoint import ListedModel, with_weights
from inspector.settings import asking

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec

FAILED = "could not be read"


@dataclass(frozen=True)
class Finding:
    """What runs on a device, and what was left out.

    Attributes:
        gpu: the device, as a verdict names it.
        models: those that run on it, ranked.
        left_out: why others were left out -> how many.
        errors: models that could not be read, and why.
        where: what was asked: the Hub's lists, or this machine's caches and the bundled snapshots.
        notes: what the reader should know.
    """

    gpu: str
    models: tuple[Found, ...]
    left_out: Mapping[str, int]
    errors: tuple[tuple[str, InspectError], ...]
    where: str
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Found]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)


@asking(FindQuestion)
def find(question: FindQuestion) -> Finding:
    """What runs on a device: models of the Hub's lists, or offline of this machine's caches and the bundled snapshots.

    Args:
        gpu: the device: a name, a size, a count, or "auto" for this machine's.
        context, batch, engine: what each has to hold; see `inspector.finding.settings`.
        author, search, filters, pipeline_tag, license, sort, limit: which models; by default text generation, by
            trending and downloads.
        bundled: the bundled snapshots alone.
        token, offline, resolver: as for `inspect`.

    Raises:
        InspectError: no such device, or the Hub's lists cannot be had; of single models nothing is raised.
    """
    (spec, *more) = device_specs([question.gpu])
    if more:
        raise UsageError("this machine has devices of several drivers", "Name one of them: `llm-inspect gpus`.")
    access = replace(question, offline=True) if question.bundled else question
    with resolver_of(access, max_connections=64) as resolver:
        return _find(question, resolver, spec)


def _find(question: FindQuestion, resolver: Resolver, spec: GpuSpec) -> Finding:
    from inspector.finding.candidates import candidates

    listed, where, notes = candidates(question, resolver)
    left_out: Counter[str] = Counter()
    found, errors = [], []
    for outcome in _each(listed, question, resolver, spec):
        if isinstance(outcome, Found):
            found.append(outcome)
        elif isinstance(outcome, str):
            left_out[outcome] += 1
        else:
            errors.append(outcome)
            left_out[FAILED] += 1
    places = {each.name: place for place, each in enumerate(listed)}
    ranked = sorted(found, key=lambda each: (*_key(each, question.rank), places[each.repo_id]))
    models = tuple(replace(each, rank=place) for place, each in enumerate(ranked, 1))
    return Finding(spec.label, models, dict(left_out), tuple(errors), where, (*spec.notes, *notes))


def _key(found: Found, rank: str) -> tuple[Any, ...]:
    """Its place, as `settings.CRITERIA` says."""
    option = found.option
    coarse = min(option.weight_bits, option.cache_bits) < COARSE_WEIGHTS
    speed = -(option.decode_bound or 0)
    if rank == "list":
        return ()
    if rank == "speed":
        return (coarse, speed, -found.parameters)
    return (coarse, -found.parameters, -min(16, int(option.weight_bits)), speed)


@contextmanager
def without_collection() -> Iterator[None]:
    """With few searches for cycles, a fifth of the time of reading many models, of which hardly any are made."""
    before = gc.get_threshold()
    gc.set_threshold(2_000_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _each(
    listed: Iterable[ListedModel], question: FindQuestion, resolver: Resolver, spec: GpuSpec
) -> Iterable[Outcome]:
    """Every model's outcome. Offline there is nothing to wait for, and so one after the other."""
    known: dict[object, Outcome] = {}
    most = 8 * sum(spec.capacities) / fewest_bits(None if question.engine is None else (question.engine,))

    def one(model: ListedModel) -> Outcome:
        try:
            if model.at_least is not None and model.at_least > most:
                return DOES_NOT_FIT
            if model.same_as in known:
                return renamed(known[model.same_as], model, question, None)
            checkpoint = with_weights(resolver.resolve(model.name))
            same = same_as(checkpoint)
            if same in known:
                return renamed(known[same], model, question, checkpoint)
            outcome = look_at(checkpoint, model, question, spec)
        except InspectError as error:
            return model.name, error
        except Exception as error:  # a bug that one repo brings up must not cost the others their answers
            if os.environ.get("LLM_INSPECT_DEBUG"):
                raise
            return model.name, InspectError(f"a bug in llm-inspect: {type(error).__name__}: {error}")
        known.update((key, outcome) for key in (same, model.same_as) if key is not None)
        return outcome

    with without_collection():
        if resolver.is_offline:
            yield from map(one, listed)
        else:
            yield from _at_once(one, listed, question.jobs, resolver)


def _at_once(
    one: Callable[[ListedModel], Outcome], listed: Iterable[ListedModel], jobs: int, resolver: Resolver
) -> Iterator[Outcome]:
    """Many at a time, under the Hub's rate limits."""
    from inspector.batch.limits import HubRateLimiter
    from inspector.batch.run import run_all

    if resolver.rate_limiter is None:
        resolver.rate_limiter = HubRateLimiter()
    return run_all(listed, one, jobs)
