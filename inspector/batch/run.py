"""One ID in, one record out, many at a time: the batch as a library, for loops and for event loops."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Generic, TypeVar

from inspector.api.inspection import checkpoint_of, device_specs, inspect_checkpoint
from inspector.api.settings import Access, Settings
from inspector.batch.limits import HubRateLimiter
from inspector.batch.outcome import INTERNAL_ERROR, Record, outcome_of
from inspector.errors import InspectError, UsageError
from inspector.hub import Resolver
from inspector.hub.client.workers import Task, Workers
from inspector.hub.repo_id import model_text
from inspector.hub.resolver import MAX_CONNECTIONS
from inspector.record import SCHEMA, error_record, inspection_record
from inspector.settings import asking

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec

JOBS = 16
"""Models at a time."""
MAX_JOBS = 256
AHEAD = 1024
"""In order, this many models are begun before a slow one is done: about 5 MB of records that wait for it."""

Work = Callable[[str], Record]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class ManyQuestion(Access, Settings):
    """What `inspect_many` is asked."""

    ids: Iterable[str | PathLike[str]] = field(kw_only=False)
    jobs: int = JOBS
    ordered: bool = False
    revision: str | None = None


@asking(ManyQuestion)
def inspect_many(question: ManyQuestion) -> Generator[Record, None, None]:
    """Inspect many models at a time: a record for each, as it is done.

    A record is the JSON object of `--json` (sizes in bytes) with the keys `id`, as it was given, and `outcome`: "ok";
    with `gpus` "fits", "does_not_fit" or "cannot_tell"; of a model that could not be read the error's kind, and then it
    is the error object. Nothing that goes wrong with one model is raised. Stop at any time: closing the iterator waits
    for nothing. The Hub's rate limits are waited for, up to five minutes a request.

    Args:
        ids: as `inspect` takes them; drawn as they are needed, so a list of millions may be a generator. What stands
            there twice is answered twice.
        resolver: to use; it keeps the rate limiter that it gets here, unless it has one.
        jobs: models at a time; each has a few requests under way, at most `MAX_CONNECTIONS` together.
        ordered: give the records in the order of the IDs, not in that of completion.
        revision: of all IDs that name none.
        token: as for `inspect`; so are offline and the settings.

    Raises:
        UsageError: at once, for arguments that no model can be inspected with.
    """
    return _records(map(model_text, question.ids), *_prepare(question), question.jobs, question.ordered)


@asking(ManyQuestion)
def ainspect_many(question: ManyQuestion) -> AsyncGenerator[Record, None]:
    """`inspect_many` for callers that run an event loop: the same arguments, the same records, `async for`."""
    return _arecords(map(model_text, question.ids), *_prepare(question), question.jobs, question.ordered)


def _prepare(question: ManyQuestion) -> tuple[Work, Resolver, bool]:
    """The work for one ID, the resolver it uses, and whether that is ours to close."""
    jobs = question.jobs
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"{jobs} models at a time cannot be", f"From 1 to {MAX_JOBS}.")
    specs = device_specs(question.gpus)
    own = question.resolver is None
    source = question.resolver or Resolver(
        token=question.token, offline=question.offline, max_connections=max(MAX_CONNECTIONS, jobs)
    )
    if source.rate_limiter is None:
        source.rate_limiter = HubRateLimiter()

    return work_with(source, question.revision, question, specs), source, own


def work_with(source: Resolver, revision: str | None, asked: Settings, specs: tuple[GpuSpec, ...]) -> Work:
    """The unit of work: one ID in, one record out, whatever goes wrong."""

    def work(model: str) -> Record:
        return inspection_record(inspect_checkpoint(checkpoint_of(source, model, revision, asked), asked, specs))

    return guarded(work)


def guarded(work: Work) -> Work:
    """The same work, of which nothing is raised: a record is the error's then."""

    def safe(model: str) -> Record:
        try:
            record = work(model)
        except InspectError as error:
            record = error_record(model, error)
        except Exception as error:  # a bug that one repo brings up must not cost the others their answers
            if os.environ.get("LLM_INSPECT_DEBUG"):
                raise
            record = _bug_record(model, error)
        return {"id": model, "outcome": outcome_of(record), **record}

    return safe


def run_all(
    items: Iterable[Item], work: Callable[[Item], Result], jobs: int, *, ordered: bool = True
) -> Generator[Result, None, None]:
    """What a work of one's own makes of each item, many at a time, in the order of the items or (`ordered` False) as
    they are done."""
    done: queue.SimpleQueue[tuple[int, Result] | BaseException] = queue.SimpleQueue()
    feed = _Feed(items, work, jobs, ordered, done.put)
    try:
        feed.fill()
        while feed.under_way:
            yield from feed.arrived(done.get())
    finally:
        feed.stop()


def _bug_record(model: str, error: Exception) -> Record:
    message = f"a bug in llm-inspect: {type(error).__name__}: {error}"
    found = {"kind": INTERNAL_ERROR, "message": message, "exit_code": InspectError.exit_code}
    return {"schema": SCHEMA, "repo_id": model, "error": found}


def _records(
    ids: Iterable[str], work: Work, resolver: Resolver, own: bool, jobs: int, ordered: bool
) -> Generator[Record, None, None]:
    try:
        yield from run_all(ids, work, jobs, ordered=ordered)
    finally:
        if own:
            _close(resolver)


async def _arecords(
    ids: Iterable[str], work: Work, resolver: Resolver, own: bool, jobs: int, ordered: bool
) -> AsyncGenerator[Record, None]:
    done: asyncio.Queue[tuple[int, Record] | BaseException] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def deliver(item: tuple[int, Record] | BaseException) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.put_nowait, item)

    feed = _Feed(ids, work, jobs, ordered, deliver)
    try:
        feed.fill()
        while feed.under_way:
            for record in feed.arrived(await done.get()):
                yield record
    finally:
        feed.stop()
        if own:
            _close(resolver)


def _close(resolver: Resolver) -> None:
    if isinstance(resolver.rate_limiter, HubRateLimiter):
        resolver.rate_limiter.close()
    resolver.close()


class _Feed(Generic[Item, Result]):
    """Hands items to daemon threads, a few more than there are threads, so that none is idle while a result is written.

    Args:
        deliver: is called on a thread with the place of each item in the list, and its result.
    """

    def __init__(
        self,
        items: Iterable[Item],
        work: Callable[[Item], Result],
        jobs: int,
        ordered: bool,
        deliver: Callable[[tuple[int, Result] | BaseException], None],
    ) -> None:
        self.under_way = 0
        self._items = iter(items)
        self._work = work
        self._limit = 2 * jobs
        self._ordered = ordered
        self._deliver = deliver
        self._workers = Workers(jobs)
        self._stopped = threading.Event()
        self._begun = 0
        self._given = 0
        self._early: dict[int, Result] = {}

    def fill(self) -> None:
        """Begins as many as may be under way."""
        while self.under_way < self._limit and not (self._ordered and self._begun - self._given >= AHEAD):
            try:
                item = next(self._items)
            except StopIteration:
                return
            self._start(self._begun, item)
            self._begun += 1
            self.under_way += 1

    def arrived(self, came: tuple[int, Result] | BaseException) -> list[Result]:
        """Takes in what came; the results to give out now."""
        self.under_way -= 1
        if isinstance(came, BaseException):
            raise came
        place, result = came
        if not self._ordered:
            self._given += 1
            self.fill()
            return [result]
        self._early[place] = result
        results = []
        while self._given in self._early:
            results.append(self._early.pop(self._given))
            self._given += 1
        self.fill()
        return results

    def stop(self) -> None:
        """Begins nothing more, and waits for nothing."""
        self._stopped.set()
        self._workers.close()

    def _start(self, place: int, item: Item) -> None:
        def job(_task: Task[None]) -> None:
            if self._stopped.is_set():
                return
            try:
                came: tuple[int, Result] | BaseException = place, self._work(item)
            except BaseException as error:  # handed on, not swallowed: else the batch would wait for it for ever
                came = error
            if not self._stopped.is_set():
                self._deliver(came)

        self._workers.start(job)
