"""Random access to a file that may be far away: few reads, a cap on bytes, and never less than what was asked for."""

from __future__ import annotations

import stat
from pathlib import Path
from types import TracebackType
from typing import Protocol

from inspector.errors import FileMissing, UnreadableModel

MIB = 1024 * 1024
MAX_BYTES = 256 * MIB
"""No header is this large; a file that wants more is hostile."""
BLOCKS = (1 * MIB, 8 * MIB, 16 * MIB, 32 * MIB)
"""What a forward reader fetches at its first, second, ... read; the last repeats.

One MiB holds a header without a tokenizer; nine hold nearly all tokenizers; 25, in three reads, every known one.
"""


class RangeReader(Protocol):
    """A file of a known size. Over HTTP, every `read` is one ranged GET."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset` on; raises an InspectError where it cannot."""


class LocalFile:
    """A file on this disk. Use it as a context manager, or call `close`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            status = self.path.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe would block, a device never end
                raise UnreadableModel(f"{self.path} is not a file")
            self._file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            raise FileMissing(f"{self.path} does not exist") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise UnreadableModel(f"{self.path} cannot be opened: {_reason(error)}") from None
        self._size = status.st_size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        try:
            self._file.seek(offset)
            while length > 0:
                part = self._file.read(length)
                if not part:
                    raise UnreadableModel(f"{self.path} ends before byte {offset + length:,}")
                parts.append(part)
                length -= len(part)
        except (OSError, ValueError) as error:
            raise UnreadableModel(f"{self.path} cannot be read: {_reason(error)}") from None
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CountingReader:
    """Counts the reads and bytes of another reader, and holds it to its contract.

    Attributes:
        reads: calls passed on.
        bytes_read: bytes they returned.
    """

    def __init__(self, reader: RangeReader, limit: int = MAX_BYTES) -> None:
        self._reader = reader
        self._limit = limit
        self.size = reader.size
        self.reads = 0
        self.bytes_read = 0

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise UnreadableModel(f"the file ends at byte {self.size:,}, before what its header points to")
        if length == 0:
            return b""
        if self.bytes_read + length > self._limit:
            raise UnreadableModel(f"its header takes more than {self._limit:,} bytes")
        data = self._reader.read(offset, length)
        self.reads += 1
        self.bytes_read += len(data)
        if len(data) != length:
            raise UnreadableModel(f"the file ended before byte {offset + length:,}")
        return data


class CachingReader(CountingReader):
    """For reading forwards: fetches blocks that grow, keeps the latest one, and serves small reads from it."""

    def __init__(self, reader: RangeReader, blocks: tuple[int, ...] = BLOCKS, limit: int = MAX_BYTES) -> None:
        super().__init__(reader, limit)
        self._blocks = blocks
        self._start = 0
        self._block = b""

    def read(self, offset: int, length: int) -> bytes:
        block, start = self.block(offset, length)
        return block[start : start + length]

    def block(self, offset: int, length: int) -> tuple[bytes, int]:
        """A block that holds `length` bytes of the file from `offset` on, and where in it they start."""
        if not self._start <= offset <= offset + length <= self._start + len(self._block):
            ahead = self._blocks[min(self.reads, len(self._blocks) - 1)]
            ahead = min(ahead, self.size - offset, self._limit - self.bytes_read)
            self._block = super().read(offset, max(length, ahead))
            self._start = offset
        return self._block, offset - self._start


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
