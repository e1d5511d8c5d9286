"""How far a batch is: a bar on a terminal, nothing anywhere else."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.batch.limits import HubRateLimiter
    from inspector.batch.outcome import Tally


class Progress(AbstractContextManager["Progress"]):
    """Nothing is shown."""

    def show(self, tally: Tally) -> None:
        """Another model is done."""

    def __exit__(self, *_: object) -> None:
        """Nothing to take away."""


def progress_on_stderr(total: int, before: int, rate_limiter: HubRateLimiter, *, wanted: bool) -> Progress:
    """A bar where standard error is a terminal.

    Args:
        total: models, those done by an earlier run included.
        before: models done by an earlier run.
        rate_limiter: whose waits are shown.
        wanted: whether there may be one: not where the results go to the same screen.
    """
    if not wanted or not sys.stderr.isatty() or os.environ.get("NO_COLOR"):
        return Progress()
    return _bar(total, before, rate_limiter)


def _bar(total: int, before: int, rate_limiter: HubRateLimiter) -> Progress:
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    class Pace(rich.ProgressColumn):
        """Requests, models a second and the time left; while a rate limit holds everything up, that."""

        def render(self, task: rich.Task) -> Text:
            wait = rate_limiter.waiting()
            sent = f"{rate_limiter.requests:,} requests, " if rate_limiter.requests else ""
            if wait > 0 and not task.finished:
                return Text(f"{sent}the Hub's rate limit lifts in {wait:.0f} s")
            if not task.speed:
                return Text(sent.rstrip(", "))
            left = task.time_remaining or 0
            return Text(f"{sent}{task.speed:.1f}/s, {left // 60:.0f}:{left % 60:02.0f} left")

    class Bar(Progress):
        def __init__(self) -> None:
            self._rich = rich.Progress(
                rich.BarColumn(),
                rich.TextColumn("{task.completed:,.0f} of {task.total:,.0f}, {task.fields[failed]:,} failed"),
                Pace(),
                console=Console(stderr=True),
                # The results go to standard output as they are, never by way of the bar's console.
                redirect_stdout=False,
                redirect_stderr=False,
                transient=True,
            )
            self._task = self._rich.add_task("", total=total, completed=before, failed=0)

        def __enter__(self) -> Bar:
            self._rich.start()
            return self

        def show(self, tally: Tally) -> None:
            self._rich.update(self._task, completed=tally.total, failed=tally.failed)

        def __exit__(self, *_: object) -> None:
            self._rich.stop()

    return Bar()
