"""Where a batch's lines go: to standard output, or to a file in which every finished result is once and whole.

A file is only ever added to, each line in one write; a line that a kill or a full disk cut in two is taken off again.
While a batch writes to it, it is locked: a second one is refused, not mixed in. (Where the system has no `flock`,
Windows say, nothing is locked.)

A format that is readable only when it is whole (Parquet) gets its lines in a journal beside it, FILE.jsonl, on disk as
soon as each is finished. At the end the file is made of them and takes the place of an older one in one step, and the
journal goes. A batch that is killed leaves the journal, from which --resume goes on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from inspector.batch.outcome import is_passing
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.report.writers import Writer


class Output(Protocol):
    """Takes lines; each is out of our hands when `write` returns.

    Attributes:
        is_empty: nothing has been written to it, by an earlier run neither.
    """

    @property
    def is_empty(self) -> bool: ...

    def write(self, line: str) -> None: ...

    def close(self) -> None: ...


class StandardOutput:
    """Standard output, flushed after each line so that a pipe's reader has it at once."""

    is_empty = True

    def write(self, line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    def close(self) -> None:
        """It is not ours to close."""


class OutputFile:
    """A file, opened to be added to, and locked.

    Raises:
        UsageError: it cannot be opened, or another batch writes to it.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = open_locked(path)

    @property
    def is_empty(self) -> bool:
        return os.fstat(self._descriptor).st_size == 0

    def write(self, line: str) -> None:
        """Adds a line, all of it or nothing.

        Raises:
            OSError: the disk is full, say.
        """
        data = line.encode()
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            with contextlib.suppress(OSError):  # what can be cut only: no pipe
                if written:
                    os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise

    def close(self) -> None:
        os.close(self._descriptor)


def open_locked(path: Path) -> int:
    """A descriptor to add to a file with, locked until it is closed. What is no file on a disk, a pipe, is not locked.

    Raises:
        UsageError: it cannot be opened, or another batch has it.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        try:
            _lock(descriptor)
            there = path.stat()
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(f"another batch writes to {path}", "Wait for it, or name another file.") from None
        except OSError:
            there = None
        if there is not None and os.path.samestat(os.fstat(descriptor), there):
            return descriptor
        os.close(descriptor)  # another batch has put a file of its own in its place meanwhile


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError where another process has the lock; where there are no locks nothing happens."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks


def new_file(path: Path) -> OutputFile:
    """A file for results, refused where it has some. What is no file on a disk (`/dev/stdout`) has none to lose.

    Raises:
        UsageError: the file is there and not empty, or another batch writes to it.
    """
    output = OutputFile(path)
    if path.is_file() and not output.is_empty:
        output.close()
        raise UsageError(f"{path} is there already", "Add --resume to go on with it, or move it away.")
    return output


def journal_of(path: Path) -> Path:
    """Where the lines of a file are that is made of them at the end."""
    return path.with_name(f"{path.name}.jsonl")


def open_output(path: Path | None, writer: Writer, *, resume: bool) -> tuple[Output, dict[str, str]]:
    """Where the lines go: to standard output without a path, to the file, or to the journal of a whole file.

    Returns:
        It, and the outcome of each ID that is done.

    Raises:
        UsageError: the file is there and not to be resumed, or cannot be; or another batch writes to it.
    """
    if path is None:
        return StandardOutput(), {}
    if writer.whole_file:
        return resume_journal(path, writer) if resume else (new_journal(path), {})
    return resume_file(path, writer) if resume else (new_file(path), {})


def make_whole(path: Path, writer: Writer) -> None:
    """Makes the file of the journal's lines, and takes the journal away.

    Raises:
        OSError: the disk is full, say; the journal stays.
    """
    journal = journal_of(path)
    writer.make_file(journal, path)
    journal.unlink(missing_ok=True)


def new_journal(path: Path) -> OutputFile:
    """The journal of a new file.

    Raises:
        UsageError: the file or its journal is there already.
    """
    if path.exists():
        raise UsageError(f"{path} is there already", "Add --resume to go on with it, or move it away.")
    return new_file(journal_of(path))


def resume_journal(path: Path, writer: Writer) -> tuple[OutputFile, dict[str, str]]:
    """The journal of a batch that was ended early, or made anew from its file. As `resume_file`.

    Raises:
        UsageError: the file cannot be read, or the journal cannot be gone on with.
    """
    journal = journal_of(path)
    guard = OutputFile(journal)
    try:
        if guard.is_empty and path.exists():
            temporary = journal.with_name(f".{journal.name}.table")
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(writer.lines_of(path))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(journal)
    except OSError as error:
        raise UsageError(f"{path} cannot be resumed: {error.strerror or error}") from None
    finally:
        guard.close()
    return resume_file(journal, writer)


def resume_file(path: Path, writer: Writer) -> tuple[OutputFile, dict[str, str]]:
    """Brings the file of a batch that was ended early into order, so that it can be added to.

    A last line that is cut in two is taken off. So are failures of the Hub and the network, as they are to be asked for
    again.

    Returns:
        The file, and the outcome of each ID that is done.

    Raises:
        UsageError: the file holds something else than results in this format and with these columns, or another batch
            writes to it.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file on a disk", "--resume needs one.")
    target = path.resolve()
    # One name, so that a kill here leaves one file, which the next run writes over.
    temporary = target.with_name(f".{target.name}.resume")
    output = OutputFile(target)
    try:
        with target.open("rb") as old, temporary.open("wb") as new:
            done, whole = _keep(old, new, writer, path)
            new.flush()
            os.fsync(new.fileno())
        if not whole:
            shutil.copymode(target, temporary)
            # Locked before it takes the other's place, so that there is no moment without a lock.
            instead = OutputFile(temporary)
            temporary.replace(target)
            output.close()
            output = instead
    except OSError as error:
        output.close()
        raise UsageError(f"{path} cannot be resumed: {error.strerror}") from None
    except UsageError:
        output.close()
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return output, done


def _keep(old: BinaryIO, new: BinaryIO, writer: Writer, path: Path) -> tuple[dict[str, str], bool]:
    """Copies the results that stand; also tells what they are, and whether they are all that was there."""
    done: dict[str, str] = {}
    head = writer.head.encode()
    begin = old.read(len(head))
    if not head.startswith(begin):
        raise UsageError(f"{path} has other columns", "Resume with the format and columns it was begun with.")
    if begin != head:
        return done, False
    new.write(head)
    whole = True
    for number, line in enumerate(old, head.count(b"\n") + 1):
        if not line.endswith(b"\n"):
            return done, False
        model, outcome = _read(writer, line, path, number)
        if model in done or is_passing(outcome):
            whole = False
            continue
        done[model] = outcome
        new.write(line)
    return done, whole


def _read(writer: Writer, line: bytes, path: Path, number: int) -> tuple[str, str]:
    try:
        return writer.read(line.decode())
    except (ValueError, RecursionError):
        raise UsageError(
            f"{path}, line {number} is no result of a batch in this format", "Resume the file that a batch wrote."
        ) from None
