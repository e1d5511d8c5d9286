"""What a person sees while a command waits: a line with what is waited for, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

SHOWN_AFTER_SECONDS = 0.5


class Waiting:
    """A line on standard error after half a second, gone when the answer is there.

    Args:
        models: what is read.
        offline: no server is asked; None where HF_HUB_OFFLINE tells.
    """

    def __init__(self, models: Sequence[str], offline: bool | None = None) -> None:
        self._models = models
        self._offline = offline
        self._line: Any = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Waiting:
        self._timer = threading.Timer(SHOWN_AFTER_SECONDS, self._show)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        if self._line is not None:
            self._line.stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        from inspector.hub.client.settings import Settings
        from inspector.hub.client.urls import host
        from inspector.report.units import inert

        class Shown(Console):
            def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002
                """It stays as it is: Ctrl-C ends the program at once, and nobody would show it again."""
                return False

        names = inert(self._models[0]) if len(self._models) == 1 else f"{len(self._models):,} models"
        settings = Settings.of(offline=self._offline)
        asking = "" if settings.offline else f", asking {host(settings.endpoint)}"
        line = Progress(
            SpinnerColumn(),
            TextColumn(f"reading {names}{asking}", markup=False),
            TimeElapsedColumn(),
            console=Shown(stderr=True),
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        line.add_task("", total=None)
        line.start()
        self._line = line
