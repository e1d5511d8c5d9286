"""The formats that answers are written in: a line each in `FORMATS`, a writer each, imported when it is asked for.

To add one: a class with a method `line`, and its line in `FORMATS`. show, fit, train and batch offer it then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from inspector.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.record import Record

MAX_COLUMNS = 200


class Format(NamedTuple):
    """Where a format's writer is, and what it is offered for.

    Attributes:
        home: the module and the class, "module:Class".
        prints: it can print a command's answer on standard output.
        lines: it can write a batch, whose records come one at a time.
        suffixes: of output files, by which it is known.
    """

    home: str
    prints: bool = True
    lines: bool = False
    suffixes: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "text": Format("inspector.report.writers:TextWriter", suffixes=(".txt",)),
    "json": Format("inspector.report.json_text:JsonWriter", suffixes=(".json",)),
    "jsonl": Format("inspector.report.json_text:JsonLinesWriter", lines=True, suffixes=(".jsonl", ".ndjson")),
    "csv": Format("inspector.report.tables:CsvWriter", lines=True, suffixes=(".csv",)),
    "markdown": Format("inspector.report.tables:MarkdownWriter", lines=True, suffixes=(".md", ".markdown")),
    "html": Format("inspector.report.html.writer:HtmlWriter", lines=True, suffixes=(".html", ".htm")),
    "parquet": Format("inspector.report.parquet:ParquetWriter", prints=False, lines=True, suffixes=(".parquet",)),
}


class Answer(NamedTuple):
    """What a command has found, for each of the writers.

    Attributes:
        names: the models, as the user named them; empty for an answer that is about none.
        records: makes the JSON objects, one a name, when a writer asks for them.
        text: prints the report for a person.
        array: JSON is an array, as several models were asked for.
        drawn: makes what a page shows of each (inspector/api/drawn.py), for a writer that draws; None where that is the
            record alone.
    """

    names: Sequence[str]
    records: Callable[[], Sequence[Record]]
    text: Callable[[], None]
    array: bool = False
    drawn: Callable[[], Sequence[Record]] | None = None


class Writer:
    """One format. Most are a method `line` alone.

    Args:
        columns: of a batch: keys of the record joined by dots (`parameters.total`, `fit.0.fits`), after `id` and
            `outcome`. None: the writer's own choice.
        devices: of a batch: the names of those that were asked for.

    Attributes:
        head: what stands above the first record, whole lines.
        whole_file: the format cannot be added to: a batch keeps lines beside the file, and has it made at the end.

    Raises:
        UsageError: an empty column, or more than 200.
    """

    head = ""
    whole_file = False

    def __init__(self, columns: Sequence[str] | None = None, devices: Sequence[str] = ()) -> None:
        if columns is not None and (len(columns) > MAX_COLUMNS or not all(columns)):
            raise UsageError("--columns is a list such as repo_id,parameters.total", "Keys are joined by dots.")
        self.columns = columns
        self.devices = devices

    def line(self, record: Record) -> str:
        """A record as one line, its end included."""
        raise NotImplementedError

    def read(self, line: str) -> tuple[str, str]:
        """The ID and the outcome of a line that `line` made: what a resumed batch has to know.

        Raises:
            ValueError: it is none.
            UsageError: lines of this format do not tell.
        """
        del line
        raise UsageError("a batch in this format cannot be resumed", "Move the file away, and begin anew.")

    def print(self, answer: Answer) -> None:
        """A command's whole answer, on standard output."""
        sys.stdout.write(self.head + "".join(map(self.line, answer.records())))

    def make_file(self, lines: Path, path: Path) -> None:
        """Of a `whole_file` format: the file of a batch's lines, in the place of an older one, in one step.

        Raises:
            OSError: the disk is full, say.
        """
        raise NotImplementedError

    def lines_of(self, path: Path) -> Iterator[str]:
        """Of a `whole_file` format: the lines that a file was made of.

        Raises:
            UsageError: it is no such file.
        """
        raise NotImplementedError


class TextWriter(Writer):
    """The report for a person, which the command prints itself: see report/text.py."""

    def print(self, answer: Answer) -> None:
        answer.text()


def make_writer(format: str, columns: Sequence[str] | None = None, devices: Sequence[str] = ()) -> Writer:
    """The writer of one of `FORMATS`; arguments and errors are those of `Writer`."""
    from importlib import import_module

    module, _, name = FORMATS[format].home.partition(":")
    writer: Writer = getattr(import_module(module), name)(columns, devices)
    return writer


def format_of(path: Path, *, batch: bool = True) -> str | None:
    """The format of a batch's file, or of an answer's, by its name; None where that tells none."""
    suffix = path.suffix.lower()
    offered = (
        name for name, each in FORMATS.items() if (each.lines if batch else each.prints) and suffix in each.suffixes
    )
    return next(offered, None)
