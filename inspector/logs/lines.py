"""A log file as lines: any encoding, any length, without colours; nothing is held but the line at hand."""

from __future__ import annotations

import codecs
import io
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from inspector.errors import FileMissing, InspectError

MAX_LINE = 128 * 1024
"""Characters of a line that are looked at: the longest ones, a printed configuration, have about 20,000."""

_ESCAPE = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class UnreadableLog(InspectError):
    """The file is no start-up log of an engine that is known."""

    kind = "unreadable_log"


def open_log(name: str) -> AbstractContextManager[BinaryIO]:
    """The bytes of a file, or of standard input for "-".

    Raises:
        FileMissing: there is no such file.
        UnreadableLog: it can't be read.
    """
    if name == "-" and sys.stdin is None:
        raise UnreadableLog("standard input is closed", "Give the log's path.")
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    path = Path(name)
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise FileMissing(f"no file {name[:200]!r}", "Give the log's path, or - for standard input.") from None
    except (OSError, ValueError) as error:
        raise UnreadableLog(f"{name[:200]!r} can't be read: {getattr(error, 'strerror', None) or error}") from None


def clean_lines(raw: BinaryIO) -> Iterator[str]:
    """The lines of a log, each cut to `MAX_LINE` characters, colours and line ends off.

    UTF-16 is told by its mark (what PowerShell's `>` writes), or by the zero bytes between plain letters; everything
    else is read as UTF-8, and what is not shows as replacement characters. A progress bar's returns end lines, too.
    """
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[type-var]
    text = io.TextIOWrapper(buffered, encoding=_encoding(buffered.peek(64)[:64]), errors="replace", newline=None)
    try:
        while line := text.readline(MAX_LINE):
            whole = line.endswith("\n")
            yield _ESCAPE.sub("", line) if "\x1b" in line else line
            while not whole and line:
                line = text.readline(MAX_LINE)
                whole = line.endswith("\n")
    finally:
        text.detach()


def _encoding(start: bytes) -> str:
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if len(start) >= 8 and start[1::2].count(0) > len(start) // 3:
        return "utf-16-le"
    return "utf-8"
