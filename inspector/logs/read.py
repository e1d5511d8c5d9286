"""A log of any engine: every line is shown to each engine's reader, and the one that understood most is believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inspector.engines.common.log import LoggedRun
from inspector.engines.registry import engines
from inspector.logs.lines import UnreadableLog

_TRAFFIC = ("throughput", " HTTP/1.", "#running-req", "print_timing", "update_slots")
"""In the lines that a server writes as it serves: nearly all of a long log, and nothing of its start."""


def read_log(lines: Iterable[str]) -> LoggedRun:
    """The run that the lines tell of.

    Raises:
        UnreadableLog: no line of an engine's that says what it takes.
    """
    known = {each: reader for each in engines() if (reader := each.log_reader()) is not None}
    readers = tuple(known.values())
    for line in lines:
        if any(word in line for word in _TRAFFIC):
            continue
        for reader in readers:
            reader.feed(line)
    collections = [reader.finish() for reader in readers]
    runs = [run for run in (collection.result() for collection in collections) if run is not None]
    if not runs:
        titles, signs = ([getattr(each, name) for each in known] for name in ("title", "log_line"))
        raise UnreadableLog(
            f"no line of {_either(titles)} says here what it takes",
            f"The log must begin at the engine's start: {_either([repr(sign) for sign in signs])}.",
        )
    return max(runs, key=lambda run: len(run.printed))


def _either(words: Sequence[str]) -> str:
    """ "a, b or c"."""
    return f"{', '.join(words[:-1])} or {words[-1]}"
