"""Requests in parallel on daemon threads: the thread that waits can leave at any time, for a deadline or for Ctrl-C.

`concurrent.futures.ThreadPoolExecutor` joins its threads when the program ends, so that one hung server would hold
the program; these threads die with it.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from typing import Any, Generic, TypeVar

from inspector.errors import HubUnreachable, InspectError

T = TypeVar("T")

HAS_THREADS = sys.platform != "emscripten"
"""Python within a browser has none: there, what a worker would do is done at once."""
GRACE_SECONDS = 0.25
"""How much longer the waiting thread waits than a worker should need: the worker's own error says more."""


class Task(Generic[T]):
    """Something that a worker does.

    Attributes:
        give_up_at: the time (`time.monotonic`) at which nobody waits for it any more; the worker moves it as it goes.
        cancelled: set when nobody wants the result; the worker looks at it between two reads and while it sleeps.
        finished_at: when it was done, 0.0 before.
        running: a thread is busy with it.
        abandoned: nobody waits for that thread any more, and it ends after this.
    """

    def __init__(self, job: Callable[[Task[T]], T]) -> None:
        self.give_up_at = float("inf")
        self.cancelled = threading.Event()
        self.finished_at = 0.0
        self.running = False
        self.abandoned = False
        self.future: Future[T] = Future()
        self._job = job

    def run(self) -> None:
        """Does it, on a worker thread; whatever goes wrong is kept for the thread that waits."""
        try:
            result = self._job(self)
        except BaseException as error:  # handed on, not swallowed
            self.fail(error)
            return
        self.finished_at = time.monotonic()
        try:
            self.future.set_result(result)
        except InvalidStateError:  # given up meanwhile
            return

    def fail(self, error: BaseException) -> None:
        """Ends it with an error, unless it has ended."""
        self.finished_at = time.monotonic()
        try:
            self.future.set_exception(error)
        except InvalidStateError:
            return

    @property
    def error(self) -> InspectError | None:
        """Why it failed, once it is done. Anything that is no error of ours is raised: it is a bug."""
        error = self.future.exception()
        if error is None or isinstance(error, InspectError):
            return error
        raise error

    @property
    def result(self) -> T:
        """What it brought, once it is done; raises what went wrong."""
        return self.future.result()


class Workers:
    """Up to `limit` daemon threads, started as they are needed. Safe to share between threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[Task[Any] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads = 0

    def start(self, job: Callable[[Task[T]], T]) -> Task[T]:
        """Has a worker do it as soon as one is free."""
        task = Task(job)
        if not HAS_THREADS:
            task.run()
            return task
        self._jobs.put(task)
        self._add_thread()
        return task

    def close(self) -> None:
        """Lets idle threads end; busy ones end after what they do."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)
            self._threads = 0

    def as_done(self, tasks: Iterable[Task[Any]], timeout: float) -> Iterator[Task[Any]]:
        """Each task once it is done or given up.

        Args:
            timeout: the seconds to name in the error of those that are given up.
        """
        pending = {task.future: task for task in tasks}
        while pending:
            deadline = min(task.give_up_at for task in pending.values()) + GRACE_SECONDS
            # An task in the queue has no deadline yet: look again now and then.
            seconds = min(max(deadline - time.monotonic(), 0.0), timeout)
            done, _ = wait(pending, timeout=seconds, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future)
            if not done:
                self._give_up(pending.values(), timeout)

    def let_go(self, task: Task[Any]) -> None:
        """Nobody wants it any more. Its thread may be stuck, so another may take that thread's place."""
        task.cancelled.set()
        with self._lock:
            if not task.running or task.abandoned:
                return
            task.abandoned = True
            self._threads -= 1
        if not self._jobs.empty():
            self._add_thread()

    def _give_up(self, tasks: Iterable[Task[Any]], timeout: float) -> None:
        now = time.monotonic()
        for task in tasks:
            if now >= task.give_up_at + GRACE_SECONDS:
                task.fail(timed_out(timeout))
                self.let_go(task)

    def _add_thread(self) -> None:
        if self._idle.acquire(blocking=False):
            return
        with self._lock:
            if self._threads >= self._limit:
                return
            self._threads += 1
        threading.Thread(target=self._work, name="llm-inspect", daemon=True).start()

    def _work(self) -> None:
        while True:
            task = self._jobs.get()
            if task is None:
                return
            with self._lock:
                task.running = not task.cancelled.is_set()
            if task.running:
                task.run()
            with self._lock:
                task.running = False
                if task.abandoned:
                    return
            self._idle.release()


def timed_out(seconds: float) -> HubUnreachable:
    """The error of a server that takes too long."""
    return HubUnreachable(
        f"no complete answer from the Hub within {seconds:g} seconds",
        "Try again, or wait longer with HF_HUB_DOWNLOAD_TIMEOUT (seconds).",
    )
