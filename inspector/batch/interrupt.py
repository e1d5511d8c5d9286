"""Ctrl-C in a batch: it ends between two lines, never within one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


class Interrupts:
    """While entered, Ctrl-C raises KeyboardInterrupt, put off while `held`; a second one ends the process at once."""

    def __init__(self) -> None:
        self._seen = False
        self._held = False
        self._previous: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():  # signals are its alone
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is done within is done to its end; an interrupt that came meanwhile, or was swallowed, follows."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._seen:
            raise KeyboardInterrupt

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self._seen:
            os._exit(INTERRUPTED)
        self._seen = True
        if not self._held:
            raise KeyboardInterrupt
