"""A log of any engine: every line is shown to each engine's reader, and the one that understood most is believed."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.engines.common.log import LoggedRun
from inspector.engines.llama_cpp.log import LlamaCppLog
from inspector.engines.sglang.log import SglangLog
from inspector.engines.vllm.log import VllmLog
from inspector.logs.lines import UnreadableLog

_TRAFFIC = ("throughput", " HTTP/1.", "#running-req", "print_timing", "update_slots")
"""In the lines that a server writes as it serves: nearly all of a long log, and nothing of its start."""


def read_log(lines: Iterable[str]) -> LoggedRun:
    """The run that the lines tell of.

    Raises:
        UnreadableLog: no line of an engine's that says what it takes.
    """
    readers = (SglangLog(), VllmLog(), LlamaCppLog())
    for line in lines:
        if any(word in line for word in _TRAFFIC):
            continue
        for reader in readers:
            reader.feed(line)
    collections = [reader.finish() for reader in readers]
    runs = [run for run in (collection.result() for collection in collections) if run is not None]
    if not runs:
        raise UnreadableLog(
            "no line of vLLM, SGLang or llama.cpp says here what it takes",
            "The log must begin at the engine's start: 'Model loading took', 'Load weight end' or 'buffer size'.",
        )
    return max(runs, key=lambda run: len(run.printed))
