"""What must hold for every case: an end within seconds, our own errors only, output that is inert, finite numbers."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NoReturn

SECONDS = 10.0
"""Of CPU for one case. They take milliseconds."""
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("show",),
    ("show", "--explain"),
    ("show", "--json", "--layers"),
    ("show", "--json", "--explain", "--context", "128k", "--batch", "3", "--kv-dtype", "fp8"),
    ("show", "--format", "markdown", "--gpu", "RTX 4090"),
    ("show", "--format", "csv"),
    ("fit", "--gpu", "RTX 4090", "--json"),
    ("fit", "--gpu", "2xH100", "--engine", "vllm", "--tp", "2"),
    ("fit", "--gpu", "H100", "--engine", "sglang", "--json"),
    ("fit", "--gpu", "24GiB", "--engine", "llama.cpp", "--json"),
    ("fit", "--gpu", "24GiB", "--engine", "mlx", "--json", "--explain"),
    ("fit", "--all-gpus"),
    ("show", "--formulas", "article", "--json"),
    ("show", "--dtype", "int4", "--layers"),
)
CODES = (0, 1, 2, 3, 4)
"""Without a network, 5 would be a lie."""


class TooLong(BaseException):
    """A case that did not end. No `except Exception` may swallow it."""


@dataclass(frozen=True)
class Target:
    """Something that reads what strangers wrote.

    Attributes:
        seeds: real or hand-made cases, each as bytes.
        mutate: a case made of a seed.
        check: raises whatever it raises, if something does not hold; InspectErrors are handled within.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    mutate: Callable[[Random, bytes], bytes]
    check: Callable[[bytes], object]


@contextlib.contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    """Interrupts what takes longer, in CPU time, so that a busy machine finds nothing that is not there."""

    def too_long(*_: object) -> NoReturn:
        raise TooLong(f"more than {seconds:g} seconds of CPU")

    before = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def run_command(*arguments: str, codes: Sequence[int] = CODES, stdin: bytes = b"") -> tuple[int, str]:
    """The command in this process, offline. Its exit code and standard output.

    An exception that is not the tool's own comes through, as do the assertions: about the exit code, that nothing on
    either stream can steer a terminal, and that JSON is strict JSON.
    """
    from inspector.cli.main import run

    out, err = Stream(), Stream()
    saved = dict(os.environ)
    os.environ |= {"LLM_INSPECT_DEBUG": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    import sys

    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(arguments))
    finally:
        sys.stdin = before
        os.environ.clear()
        os.environ.update(saved)
    printed, said = out.text(), err.text()
    assert code in codes, (code, said)
    assert code == 0 or printed or said, code
    assert_inert(printed)
    assert_inert(said)
    assert "Traceback" not in said
    if "--json" in arguments and printed:
        assert_sizes(json.loads(printed, parse_constant=_no_constant))
    return code, printed


class Stream(io.TextIOWrapper):
    """Standard output, kept: UTF-8 and strict, as a terminal's is."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="\n")

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined,no-any-return]


def assert_inert(text: str) -> None:
    """No control, bidirectional or other invisible character but the line's end."""
    odd = {c for c in set(text) if not c.isascii() and unicodedata.category(c)[0] in "CZ" and c != "\u00a0"}
    odd |= {c for c in set(text) if c.isascii() and not c.isprintable() and c not in "\n\t"}
    assert not odd, sorted(map(ascii, odd))


def assert_sizes(record: Any) -> None:
    """Bytes and counts are finite and not below 0; what is not known is null."""
    if not isinstance(record, dict):
        return
    for part in ("parameters", "memory", "training", "checkpoint", "model"):
        todo = [record.get(part)]
        while todo:
            value = todo.pop()
            assert not isinstance(value, (int, float)) or 0 <= value < float("inf"), (part, record[part])
            todo += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _no_constant(text: str) -> NoReturn:
    raise AssertionError(f"{text} is no JSON")


def command_for(data: bytes) -> tuple[str, ...]:
    """One of `COMMANDS`, the same each time for the same case."""
    import zlib

    return COMMANDS[zlib.crc32(data) % len(COMMANDS)]


def plain(value: Any) -> bytes:
    """A JSON document as bytes."""
    return json.dumps(value).encode()
