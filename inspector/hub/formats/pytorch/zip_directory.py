"""A zip archive's table of contents, read from its end: one ranged read for nearly every file that torch.save wrote.

Format: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16 (its end, in 32
and in 64 bits) and 4.5.3 (64-bit sizes). Nothing here is lenient: no bytes before the archive, no comments, no
second disk, no name twice; torch writes none of these.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from struct import Struct

from inspector.errors import UnreadableModel, UnsupportedFormat
from inspector.hub.formats.reader import RangeReader

END = Struct("<4sHHHHIIH")
END_64 = Struct("<4sQHHIIQQQQ")
LOCATOR_64 = Struct("<4sIQI")
ENTRY = Struct("<4sHHHHHHIIIHHHHHII")
LOCAL = Struct("<4sHHHHHIIIHH")
EXTRA = Struct("<HH")
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF
"""In a 32-bit record: "see the 64-bit one"."""
ENCRYPTED = 1
STORED, DEFLATED = 0, 8
ZIP64_EXTRA = 1

MIN_TAIL, MAX_TAIL, TAIL_SHARE = 4 * 1024, 128 * 1024, 256
"""First read: 1/256 of the file, within these. An entry takes about 90 bytes, so 128 KiB hold 1,400 of them."""
MAX_DIRECTORY = 32 * 1024 * 1024
MAX_ENTRIES = 200_000
MAX_LOCAL_EXTRA = 0xFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive.

    Attributes:
        size, packed_size: its bytes, and what they take in the archive.
        offset, end: where its header starts, and where the next entry's (or the directory) does.
    """

    name: str
    method: int
    flags: int
    size: int
    packed_size: int
    offset: int
    end: int


def read_directory(reader: RangeReader) -> dict[str, Entry] | None:
    """Name -> entry, or None where the file does not end like a zip archive."""
    length = min(reader.size, max(MIN_TAIL, min(MAX_TAIL, reader.size // TAIL_SHARE)))
    start = reader.size - length
    tail = reader.read(start, length)
    if length < END.size or tail[-END.size :][:4] != b"PK\5\6":
        return None
    _, disk, first_disk, here, count, size, offset, comment = END.unpack_from(tail, length - END.size)
    end = reader.size - END.size
    at = end - LOCATOR_64.size
    # a locator, where there is one, decides: the short record may hold placeholders
    if at >= start and tail[at - start :][:4] == b"PK\6\7":
        _, _, record, _ = LOCATOR_64.unpack_from(tail, at - start)
        if record + END_64.size > at:
            raise UnreadableModel("its zip directory's 64-bit end is not where it should be")
        raw = tail[record - start :][: END_64.size] if record >= start else reader.read(record, END_64.size)
        signature, _, _, _, disk, first_disk, here, count, size, offset = END_64.unpack(raw)
        if signature != b"PK\6\6":
            raise UnreadableModel("its zip directory's 64-bit end is missing")
        end = record
    elif FULL_16 in (here, count) or FULL_32 in (size, offset):
        raise UnreadableModel("its zip directory's 64-bit end is missing")
    if comment:
        raise UnreadableModel("its zip directory's end is damaged")
    if disk or first_disk or here != count:
        raise UnsupportedFormat("a zip archive split over several files")
    if offset + size > end or count > MAX_ENTRIES or size > MAX_DIRECTORY or count * ENTRY.size > size:
        raise UnreadableModel(f"its zip directory cannot be: {count:,} entries in {size:,} bytes")
    if offset >= start:
        directory = tail[offset - start :][:size]
    else:  # more than the tail held: fetch what lies before it, and nothing twice
        directory = (reader.read(offset, min(size, start - offset)) + tail)[:size]
    return _entries(directory, count, offset)


def read_entry(reader: RangeReader, entry: Entry, max_size: int) -> bytes:
    """An entry's bytes, in one read, unpacked where they are deflated."""
    if entry.flags & ENCRYPTED or entry.method not in (STORED, DEFLATED):
        raise UnsupportedFormat(f"{entry.name[:80]!r} in it is encrypted, or packed by method {entry.method}")
    if max(entry.size, entry.packed_size) > max_size:
        raise UnreadableModel(
            f"{entry.name[:80]!r} in it is {entry.size:,} bytes; no model's is more than {max_size:,}"
        )
    name = entry.name.encode()
    most = LOCAL.size + len(name) + MAX_LOCAL_EXTRA + entry.packed_size
    data = reader.read(entry.offset, min(entry.end - entry.offset, most))
    if len(data) < LOCAL.size:
        raise UnreadableModel(f"{entry.name[:80]!r} in it is cut off")
    signature, _, flags, method, _, _, _, _, _, name_length, extra_length = LOCAL.unpack_from(data)
    start = LOCAL.size + name_length + extra_length
    if signature != b"PK\3\4" or method != entry.method or flags & ENCRYPTED:
        raise UnreadableModel(f"{entry.name[:80]!r} in it is not where the zip directory says")
    if data[LOCAL.size :][:name_length] != name or start + entry.packed_size > len(data):
        raise UnreadableModel(f"{entry.name[:80]!r} in it is not what the zip directory says")
    body = data[start : start + entry.packed_size]
    if entry.method == DEFLATED:
        body = _inflate(body, entry.size)
    if len(body) != entry.size:
        raise UnreadableModel(f"{entry.name[:80]!r} in it is not as long as the zip directory says")
    return body


def _entries(directory: bytes, count: int, end: int) -> dict[str, Entry]:
    rows = []
    at = 0
    for _ in range(count):
        if at + ENTRY.size > len(directory):
            raise UnreadableModel("its zip directory is cut off")
        row = ENTRY.unpack_from(directory, at)
        signature, flags, method, packed, size, offset, disk = (row[i] for i in (0, 3, 4, 8, 9, 16, 13))
        name_length, extra_length, comment_length = row[10:13]
        at += ENTRY.size
        if signature != b"PK\1\2" or disk or at + name_length + extra_length + comment_length > len(directory):
            raise UnreadableModel("its zip directory is damaged")
        try:
            name = directory[at : at + name_length].decode()
        except UnicodeDecodeError:
            raise UnreadableModel("a name in its zip directory is no text") from None
        extra = directory[at + name_length : at + name_length + extra_length]
        size, packed, offset = _wide(extra, size, packed, offset)
        at += name_length + extra_length + comment_length
        rows.append((offset, packed, size, name, flags, method))
    rows.sort()
    entries: dict[str, Entry] = {}
    for i, (offset, packed, size, name, flags, method) in enumerate(rows):
        following = rows[i + 1][0] if i + 1 < len(rows) else end
        if name in entries or offset + LOCAL.size + len(name.encode()) + packed > following:
            raise UnreadableModel("entries of its zip directory are double or overlap")
        entries[name] = Entry(name, method, flags, size, packed, offset, following)
    return entries


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The three numbers of an entry, each replaced by its 64-bit form where the 32-bit one is full."""
    values = [size, packed, offset]
    if FULL_32 not in values:
        return size, packed, offset
    at = 0
    while at + EXTRA.size <= len(extra):
        kind, length = EXTRA.unpack_from(extra, at)
        at += EXTRA.size
        if kind == ZIP64_EXTRA:
            wide = extra[at : at + length]
            for i, value in enumerate(values):
                if value == FULL_32 and len(wide) >= 8:
                    values[i] = int.from_bytes(wide[:8], "little")
                    wide = wide[8:]
            return values[0], values[1], values[2]
        at += length
    return size, packed, offset


def _inflate(body: bytes, size: int) -> bytes:
    """Unpacks at most one byte more than was promised: a bomb is noticed, not set off."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, size + 1)
    except zlib.error:
        raise UnreadableModel("its packed pickle is damaged") from None
