"""What the commands print, in which format, on which stream, and the exit code that they come to."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from inspector.errors import HubUnreachable, InspectError, OutputFailed, RepoNotFound, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from inspector.api.inspection import Inspection
    from inspector.report.writers import Answer

_SPACES = re.compile(" +(?=\n)")

EXIT_NO = 1
"""It does not fit, or is not equal."""
EXIT_CANNOT_TELL = 4


SAID = "inspector.cli.output.said"


def said() -> int:
    """How much is said beside the result: 0, -1 with -q, 1 with -v."""
    context = click.get_current_context(silent=True)
    return 0 if context is None else int(context.find_root().meta.get(SAID, 0))


def say(text: str) -> None:
    """A note or an error on standard error; on a terminal no word is broken."""
    if sys.stderr.isatty():
        from shutil import get_terminal_size
        from textwrap import fill

        width = max(get_terminal_size().columns, 20)
        text = "\n".join(
            fill(line, width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)
            for line in text.split("\n")
        )
    click.echo(text, err=True)


json_option = click.option("--json", "output", flag_value="json", default="text", help="Print JSON.")


class _Trimmed:
    """A stream whose lines have no spaces at their ends: rich fills tables up to their width."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_SPACES.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Output:
    """Results on standard output or in a file, in one of report/'s formats; notes and errors on standard error.

    Args:
        path: of the file; None for standard output.

    Attributes:
        exit_code: the highest so far of what was printed.
    """

    def __init__(self, format: str = "text", path: Path | None = None) -> None:
        self.format = format
        self._path = path
        self.exit_code = 0

    @cached_property
    def console(self) -> Console:
        """Standard output for a person: its width (80 columns in a pipe), no markup, no colour where none is wanted."""
        from rich.console import Console

        class OneExitCode(Console):
            def on_broken_pipe(self) -> None:
                """rich would leave with code 1, which means "does not fit" here; the command line knows better."""
                raise BrokenPipeError

        file = None if sys.stdout.isatty() else cast("TextIO", _Trimmed(sys.stdout))
        return OneExitCode(file=file, markup=False, highlight=False, emoji=False, soft_wrap=False)

    @cached_property
    def errors(self) -> Console:
        """Standard error, likewise."""
        from rich.console import Console

        return Console(stderr=True, markup=False, highlight=False, emoji=False)

    def prepare(self) -> None:
        """Import what will print. Good to call while something else is waited for."""
        if self.format == "text":
            import inspector.report.text  # noqa: F401

    def write(self, answer: Answer) -> None:
        """The command's answer.

        Raises:
            OutputFailed: the file cannot be written.
        """
        from inspector.report.writers import make_writer

        writer = make_writer(self.format)
        if self._path is None:
            writer.print(answer)
            return
        from io import StringIO

        with redirect_stdout(StringIO()) as text:
            writer.print(answer)
        write_file(self._path, text.getvalue())

    def waiting(self, *models: str) -> AbstractContextManager[object]:
        """To be entered while these are read: what a person at a terminal sees of it, not with -q."""
        plain = os.environ.get("TERM") == "dumb" or os.environ.get("NO_COLOR")
        if said() < 0 or not sys.stderr.isatty() or plain:
            return nullcontext()
        from inspector.cli.waiting import Waiting

        context = click.get_current_context(silent=True)
        return Waiting(models, (context and context.params.get("offline")) or None)

    def note(self, text: str, about: str | None = None) -> None:
        """What the reader of the results should know, about one of several models or files; not with -q."""
        from inspector.report.units import inert

        if said() < 0:
            return

        say(f"Note: {inert(about) + ': ' if about else ''}{inert(text)}")

    def details(self, inspection: Inspection) -> None:
        """With -v: where the answer is from, what it cost, and which rule told each number."""
        if said() < 1:
            return
        from inspector.report.units import bytes_text, inert

        checkpoint = inspection.checkpoint
        network = checkpoint.network
        kept = ", kept from an earlier run" if network.cached else ""
        lines = [
            f"source: {checkpoint.source}, {checkpoint.format}, commit {checkpoint.revision or 'not known'}",
            f"network: {network.requests:,} requests, {bytes_text(network.bytes)}{kept}",
        ]
        for row in inspection.layer_table():
            told = (f"{key} = {value} ({where})" for key, (value, where) in row.config.items())
            lines += [f"{row.name} {row.kind or ''}: {'; '.join(told)}"] if row.config else []
        for line in lines:
            say(f"Detail: {inert(line)}")

    def notes(self, texts: Iterable[str], about: str | None = None) -> None:
        """Each of them once."""
        for text in dict.fromkeys(texts):
            self.note(text, about)

    def error(self, error: InspectError, model: str | None = None, *, about: str | None = None) -> None:
        """What is wrong and what to do about it.

        Args:
            error: what is wrong.
            model: a name that may be a command's, misspelt.
            about: the model to name before it, where the message may not; then it is one line.
        """
        from inspector.report.units import inert

        message, hint = ("\n".join(map(inert, text.split("\n"))) for text in (error.message, error.hint))
        if about is not None:
            message = f"{inert(about)}: {message.splitlines()[0]}"
        if model and error.exit_code in (RepoNotFound.exit_code, HubUnreachable.exit_code):
            hint = _near_text(model, error) or hint
        say(f"Error: {message}" + (f"\n{hint}" if hint else ""))
        self.comes_to(error.exit_code)

    def fail(self, error: InspectError, model: str | None = None, **keys: Any) -> int:
        """Why the command has no answer, as an object, too, where JSON was asked for; the exit code.

        Args:
            error: what is wrong.
            model: which it is about; None where it is about several.
            keys: more of the object.
        """
        self.error(error, model)
        if self.format in ("json", "jsonl") and not isinstance(error, UsageError):
            from inspector.record import error_record
            from inspector.report.writers import Answer

            record = error_record(model, error) | keys
            self.write(Answer((model or "",), lambda: [record], lambda: None))
        return self.exit_code

    def comes_to(self, code: int) -> int:
        """Raises the exit code; returns it."""
        self.exit_code = max(self.exit_code, code)
        return self.exit_code

    def verdicts(self, fits: Sequence[bool | None]) -> int:
        """The exit code of verdicts: all must fit, and one at least must be there."""
        return self.comes_to(EXIT_NO if False in fits or not fits else EXIT_CANNOT_TELL if None in fits else 0)


def write_file(path: Path, content: str | bytes) -> None:
    """Puts a file in the place of an older one in one step; what is no file on a disk (a pipe) is written to.

    Raises:
        OutputFailed: it cannot be written.
    """
    whole = path.is_file() or not path.exists()
    target = path.with_name(f".{path.name}.part") if whole else path
    try:
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        if whole:
            target.replace(path)
    except OSError as error:
        if whole:
            target.unlink(missing_ok=True)
        raise OutputFailed(f"{path} could not be written: {error.strerror or error}") from None


def _near_text(model: str, error: InspectError) -> str:
    """What a name that led to nothing may be a slip of: a command, or a model; "" for nothing that is known."""
    if "/" not in model and (command := _near_command(model.lower())):
        return f"Did you mean the command `llm-inspect {command}`?"
    context = click.get_current_context(silent=True)
    asked = {} if context is None else context.params
    if "://" in model or not (isinstance(error, RepoNotFound) or asked.get("offline")):
        return ""
    from inspector.hub.near import near_models
    from inspector.report.units import inert

    near = near_models(model, token=asked.get("token"), offline=asked.get("offline") or None)
    return f"Did you mean {' or '.join(map(inert, near))}? {error.hint}" if near else ""


def _near_command(model: str) -> str:
    """The command that a repo's name may be a slip of; "" for none."""
    import difflib

    context = click.get_current_context().find_root()
    commands = context.command.list_commands(context) if isinstance(context.command, click.Group) else []
    return next(iter(difflib.get_close_matches(model, commands, 1, 0.75)), "")
