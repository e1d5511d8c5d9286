"""The batch over a Ray cluster (extra `ray`): the same unit of work, one ID in and one record out, on many machines.

Each worker has a resolver of its own. All of them ask one actor, the budget, before each request, so that together they
keep the Hub's limits of one account. A worker that is lost is replaced, and what it had under way is given to others.
See docs/scaling.md for when this is worth it.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from inspector.api.inspection import device_specs
from inspector.api.settings import Settings, chosen
from inspector.batch.limits import (
    LOOK_AGAIN_SECONDS,
    MARGIN_SECONDS,
    WINDOW_SECONDS,
    HubRateLimiter,
    Key,
    limit_key,
    limited,
)
from inspector.batch.outcome import Record, outcome_of
from inspector.batch.run import AHEAD, JOBS, MAX_JOBS, work_with
from inspector.errors import HubError, UsageError
from inspector.hub import Resolver
from inspector.hub.client.requests import TOO_MANY_REQUESTS, RateLimiter, Report
from inspector.hub.client.settings import Settings as HubSettings
from inspector.hub.repo_id import model_text
from inspector.hub.resolver import MAX_CONNECTIONS
from inspector.record import error_record
from inspector.settings import asking

LIMIT_HEADERS = ("ratelimit", "ratelimit-policy", "retry-after")
ATTEMPTS = 3
"""So often a model is begun whose worker is lost each time, until that is its record: it may be what ends them."""
END = (-1, "")
"""Stands for the end of the list."""
FAILED_STARTS = 3
"""So many workers in a row that do not start end the batch."""


class WorkerLost(HubError):
    """The workers that a model was given to were lost, one after the other. Another run may have more luck."""

    kind = "worker_lost"


class Budget:
    """The actor that all workers ask: what is left of the account's limits. A lost worker's requests are let go."""

    def __init__(self) -> None:
        self._limiter = HubRateLimiter()
        self._entered: dict[int, tuple[int, Any]] = {}
        self._ticket = 0

    def take(self, worker: int, url: str) -> tuple[int, float]:
        """A ticket for a request that may be sent now, or 0 and the seconds to wait."""
        bucket, seconds = self._limiter.enter(url)
        if bucket is None:
            return 0, seconds
        self._ticket += 1
        self._entered[self._ticket] = worker, bucket
        return self._ticket, 0.0

    def give_back(self, ticket: int, url: str, status: int, headers: Mapping[str, str]) -> None:
        """The request was answered, or (status 0) was not."""
        _, bucket = self._entered.pop(ticket, (0, None))
        if bucket is None:
            return
        if status:
            self._limiter.leave(bucket, url, status, headers)
        else:
            self._limiter.give_up(bucket)

    def retries(self, url: str, elapsed: float) -> bool:
        """As `HubRateLimiter.retries`, with the seconds since the request was sent first."""
        return self._limiter.retries(url, time.monotonic() - elapsed)

    def lost(self, worker: int) -> None:
        """What a worker had under way brings no answer any more."""
        for ticket in [ticket for ticket, (owner, _) in self._entered.items() if owner == worker]:
            self.give_back(ticket, "", 0, {})


class SharedRateLimiter(RateLimiter):
    """A worker's rate limiter: asks the budget. Not for a server whose last answer named no limit (a CDN, a private
    Hub)."""

    def __init__(self, budget: Any, worker: int) -> None:
        self._budget = budget
        self._worker = worker
        self._unlimited: set[Key] = set()

    @contextmanager
    def turn(self, url: str, pause: Callable[[float], None]) -> Iterator[Report]:
        """As `HubRateLimiter.turn`."""
        key = limit_key(url)
        ticket = 0 if key in self._unlimited else self._enter(url, pause)
        answered = False

        def report(status: int, headers: Mapping[str, str]) -> None:
            nonlocal answered
            answered = True
            told = {name: headers[name] for name in LIMIT_HEADERS if name in headers}
            if told or status == TOO_MANY_REQUESTS:
                self._unlimited.discard(key)
            else:
                self._unlimited.add(key)
            if ticket:
                self._budget.give_back.remote(ticket, url, status, told)

        try:
            yield report
        finally:
            if not answered and ticket:
                self._budget.give_back.remote(ticket, url, 0, {})

    def retries(self, url: str, started: float) -> bool:
        """As `HubRateLimiter.retries`."""
        return bool(self._wait_for(self._budget.retries.remote(url, time.monotonic() - started)))

    def _wait_for(self, answer: Any) -> Any:
        import ray

        return ray.get(answer)

    def _enter(self, url: str, pause: Callable[[float], None]) -> int:
        started = time.monotonic()
        while True:
            ticket, seconds = self._wait_for(self._budget.take.remote(self._worker, url))
            if ticket:
                return int(ticket)
            if time.monotonic() - started + seconds > WINDOW_SECONDS + 2 * MARGIN_SECONDS:
                raise limited(url, seconds)
            pause(min(seconds, LOOK_AGAIN_SECONDS))


class Worker:
    """The actor that inspects: several models at a time, over one pool of connections."""

    def __init__(
        self, number: int, budget: Any, source: dict[str, Any], revision: str | None, settings: dict[str, Any]
    ) -> None:
        asked = Settings(**settings)
        resolver = Resolver(**source)
        resolver.rate_limiter = SharedRateLimiter(budget, number)
        self._work = work_with(resolver, revision, asked, device_specs(asked.gpus))

    def ready(self) -> int:
        """The process, once it can work."""
        return os.getpid()

    def inspect(self, model: str) -> Record:
        """The unit of work."""
        return self._work(model)


@dataclass(frozen=True, kw_only=True)
class ClusterQuestion(Settings):
    """What `inspect_many_on_ray` is asked."""

    ids: Iterable[str | PathLike[str]] = field(kw_only=False)
    workers: int | None = None
    jobs: int = JOBS
    ordered: bool = False
    revision: str | None = None
    token: str | bool | None = None
    offline: bool | None = None
    endpoint: str | None = None
    timeout: float | None = None


@asking(ClusterQuestion)
def inspect_many_on_ray(question: ClusterQuestion) -> Generator[Record, None, None]:
    """`inspect_many` over a Ray cluster: the same records for the same IDs, however many workers are lost.

    Connects to the cluster that RAY_ADDRESS names, or begins one on this machine, unless the program has done so.
    The package must be installed on all its machines; each keeps answers in its own cache.

    Args:
        ids: as for `inspect_many`.
        workers: processes; None: as many as the cluster has CPUs. Those for which there is no room do no work.
        jobs: models at a time in each.
        ordered: give the records in the order of the IDs.
        revision: as for `inspect_many`; so are token, offline and the settings. A token is handed to the workers.
        endpoint: the Hub's address; None: as HF_ENDPOINT says here, whatever it says there; so is timeout.

    Raises:
        UsageError: at once, for arguments that no model can be inspected with, or where Ray is not installed.
    """
    jobs, workers, token = question.jobs, question.workers, question.token
    if not 1 <= jobs <= MAX_JOBS or (workers is not None and not 1 <= workers <= 10_000):
        raise UsageError("so many workers, or models at a time, cannot be", f"From 1 to {MAX_JOBS} models in each.")
    device_specs(question.gpus)
    hub = HubSettings.of(token=token, offline=question.offline, endpoint=question.endpoint, timeout=question.timeout)
    source = {
        "token": token,
        "offline": hub.offline,
        "endpoint": hub.endpoint,
        "timeout": hub.timeout,
        "max_connections": max(MAX_CONNECTIONS, jobs),
    }
    try:
        import ray  # noqa: F401
    except ImportError:
        raise UsageError("a cluster needs Ray", "Install it: pip install 'ray>=2.40'.") from None
    asked = (source, question.revision, chosen(Settings, question))
    return _records(map(model_text, question.ids), workers, jobs, question.ordered, asked)


def _records(
    ids: Iterable[str], workers: int | None, jobs: int, ordered: bool, arguments: tuple[Any, ...]
) -> Generator[Record, None, None]:
    import ray

    own = not ray.is_initialized()
    if own:
        ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False)
    try:
        count = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        pool = _Pool(count, jobs, arguments)
        try:
            yield from _in_order(pool, ids) if ordered else (record for _, record in pool.run(enumerate(ids)))
        finally:
            pool.close()
    finally:
        if own:
            ray.shutdown()


def _in_order(pool: _Pool, ids: Iterable[str]) -> Iterator[Record]:
    early: dict[int, Record] = {}
    given = 0

    def numbered() -> Iterator[tuple[int, str] | None]:
        for place, model in enumerate(ids):
            while place - given >= AHEAD:
                yield None  # a slow one is waited for
            yield place, model

    for place, record in pool.run(numbered()):
        early[place] = record
        while given in early:
            yield early.pop(given)
            given += 1


class _Pool:
    """The workers, and what each has under way."""

    def __init__(self, count: int, jobs: int, arguments: tuple[Any, ...]) -> None:
        import ray

        self._ray = ray
        self._limit = 2 * jobs
        self._arguments = arguments
        self._budget = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Budget).remote()
        self._class = ray.remote(num_cpus=1, max_concurrency=jobs)(Worker)
        self._actors: dict[int, Any] = {}
        self._ready: set[int] = set()
        self._alone: set[int] = set()
        self._starting: dict[Any, int] = {}
        self._calls: dict[Any, tuple[int, int, str]] = {}
        self._load: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()
        self._failed = 0
        self._number = 0
        for _ in range(count):
            self._start()

    def run(self, ids: Iterable[tuple[int, str] | None]) -> Iterator[tuple[int, Record]]:
        """The record of each ID as it is done, with the ID's place. None in `ids`: nothing more for now.

        What was under way on a lost worker is tried again on a worker that does nothing else meanwhile: one model that
        ends its workers, by the memory it needs say, costs no other its record.
        """
        source = iter(ids)
        again: deque[tuple[int, str]] = deque()
        exhausted = False
        while True:
            while (worker := self._free(idle=bool(again))) is not None:
                if again:
                    self._alone.add(worker)
                    item: tuple[int, str] | None = again.popleft()
                elif exhausted:
                    break
                else:
                    item = next(source, END)
                    exhausted = item is END
                if item is None or item is END:
                    break
                self._give(worker, *item)
            if not self._calls and exhausted and not again:
                return
            (done,), _ = self._ray.wait([*self._starting, *self._calls], num_returns=1)
            if done in self._starting:
                self._started(done)
                continue
            worker, place, model = self._calls.pop(done)
            self._load[worker] -= 1
            self._alone.discard(worker)
            try:
                record: Record = self._ray.get(done)
            except self._ray.exceptions.RayTaskError:
                raise  # a bug of ours, not of the cluster
            except self._ray.exceptions.RayError:
                self._replace(worker)
                self._lost[place] += 1
                if self._lost[place] < ATTEMPTS:
                    again.append((place, model))
                    continue
                error = WorkerLost(f"the workers that {model} was given to were lost", "Try again.")
                record = error_record(model, error)
                record = {"id": model, "outcome": outcome_of(record), **record}
            del self._lost[place]
            yield place, record

    def close(self) -> None:
        """Ends the workers; nothing is waited for."""
        for actor in [*self._actors.values(), self._budget]:
            self._ray.kill(actor)

    def _free(self, *, idle: bool) -> int | None:
        """The worker with the least under way that may have more; `idle`: one that has nothing under way."""
        most = 1 if idle else self._limit
        free = [worker for worker in self._ready - self._alone if self._load[worker] < most]
        return min(free, key=self._load.__getitem__, default=None)

    def _give(self, worker: int, place: int, model: str) -> None:
        call = self._actors[worker].inspect.remote(model)
        self._calls[call] = worker, place, model
        self._load[worker] += 1

    def _start(self) -> None:
        self._number += 1
        number = self._number
        self._actors[number] = self._class.remote(number, self._budget, *self._arguments)
        self._starting[self._actors[number].ready.remote()] = number

    def _started(self, answer: Any) -> None:
        number = self._starting.pop(answer)
        try:
            self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._failed += 1
            if self._failed >= FAILED_STARTS:
                why = " ".join(str(error).split())[-200:]
                raise HubError(
                    f"the cluster's workers do not start: {why}", "Is llm-inspect installed there?"
                ) from None
            self._replace(number)
            return
        self._failed = 0
        self._ready.add(number)

    def _replace(self, worker: int) -> None:
        """Another worker in the place of one that is lost."""
        if worker not in self._actors:
            return  # another of its calls has told already
        self._ready.discard(worker)
        self._alone.discard(worker)
        self._ray.kill(self._actors.pop(worker))
        self._budget.lost.remote(worker)
        self._start()
