"""GGUF's header: metadata and tensor infos of a file that may be far away, read forwards in blocks that grow.

Format: docs/gguf.md of ggml-org/ggml; what is refused here is what `gguf_init_from_file` in ggml/src/gguf.cpp refuses.
A header is 99 % tokenizer: its long arrays are walked over, not built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple

from inspector.errors import UnreadableModel, UnsupportedFormat
from inspector.hub.dtypes import FILE_TYPES, ggml_type, tensor_bytes
from inspector.hub.formats.reader import MIB, CachingReader, RangeReader

VERSIONS = (2, 3)
OLD_MAGICS = (b"lmgg", b"fmgg", b"tjgg", b"algg")
"""'ggml', 'ggmf', 'ggjt' and 'ggla' as little-endian numbers: the formats before August 2023."""
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20
MAX_DIMENSIONS = 4
MAX_NAME = 1024
"""ggml allows 63 bytes, some forks more."""
MAX_ELEMENTS = 2**63 - 1
MAX_KEYS = 10_000
"""Published files have below a hundred."""
MAX_TENSORS = 200_000
MAX_KEPT_ITEMS = 1024
"""Longer arrays are vocabularies; arrays by layer are far shorter."""
MAX_KEPT_STRING = 64 * 1024
"""Longer texts are embedded tokenizers."""
MAX_KEPT_BYTES = 16 * MIB
"""Of all texts and arrays kept, so that many cannot fill the memory."""
MAX_HEADER_BYTES = 128 * MIB
"""The largest known headers take about 30 MB."""

SCALARS: dict[int, tuple[str, str]] = {
    0: ("uint8", "B"),
    1: ("int8", "b"),
    2: ("uint16", "H"),
    3: ("int16", "h"),
    4: ("uint32", "I"),
    5: ("int32", "i"),
    6: ("float32", "f"),
    7: ("bool", "?"),
    10: ("uint64", "Q"),
    11: ("int64", "q"),
    12: ("float64", "d"),
}
"""`enum gguf_type` -> name and struct code."""
STRING, ARRAY = 8, 9
BUFFERS = ("rope_freqs.", "rope_factors_long.", "rope_factors_short.")
"""Tensors that llama.cpp's converter computes from the config: no parameters of the model."""


class Omitted(NamedTuple):
    """Stands for a metadata value that is not kept: `length` items (of a string: bytes) of a type."""

    kind: str
    length: int


class GGUFTensor(NamedTuple):
    """One tensor of the file.

    Attributes:
        type: ggml's name of its type, "Q4_K"; "type 57" where nobody here knows it.
        shape: as torch has it, the innermost dimension last (the file has it first).
        offset: of its data in the file.
        nbytes: of its data; where the type's layout is not settled, up to the next tensor.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    @property
    def numel(self) -> int:
        """Elements, unpacked."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class GGUFFile:
    """What a file's header says.

    Attributes:
        metadata: key -> int, float, bool, text, or a list of these; `Omitted` where it is long.
        data_offset: where the tensors' data begins.
        reads, bytes_read: what it took.
    """

    version: int
    big_endian: bool
    metadata: dict[str, Any]
    tensors: tuple[GGUFTensor, ...]
    alignment: int
    data_offset: int
    reads: int = 0
    bytes_read: int = 0

    @property
    def parameters(self) -> int:
        """Elements of all tensors but the rotary buffers that the converter adds."""
        return sum(t.numel for t in self.tensors if not t.name.startswith(BUFFERS))

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors, padding left out."""
        return sum(t.nbytes for t in self.tensors)

    @property
    def file_type(self) -> str | None:
        """The quantization recipe that the file names, "Q4_K_M", or None."""
        number = self.metadata.get("general.file_type")
        return FILE_TYPES.get(number) if type(number) is int else None


def read_gguf(reader: RangeReader, name: str) -> GGUFFile:
    """Read the header of a GGUF file, or of one part of a split one.

    Args:
        name: the file's name, for messages.

    Raises:
        UnsupportedFormat: no GGUF file, or one of another version.
        UnreadableModel: it is damaged or hostile.
    """
    cached = CachingReader(reader, limit=MAX_HEADER_BYTES)
    try:
        return _read(cached)
    except UnreadableModel as error:
        raise type(error)(f"{name}: {error.message}", error.hint) from None


def merge_parts(parts: list[GGUFFile]) -> GGUFFile:
    """One file out of the parts of a split one, in order: the first's metadata, everyone's tensors.

    Raises:
        UnreadableModel: parts are missing, out of order, or hold the same tensor.
    """
    if not parts:
        raise UnreadableModel("a split GGUF file without parts")
    count = parts[0].metadata.get("split.count", 1)
    numbers = [part.metadata.get("split.no", 0) for part in parts]
    if count != len(parts) or numbers != list(range(len(parts))):
        raise UnreadableModel(f"a split GGUF file of {count} parts, of which {len(parts)} are here, or out of order")
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    if parts[0].metadata.get("split.tensors.count", len(tensors)) != len(tensors):
        raise UnreadableModel("a split GGUF file whose parts do not hold all of its tensors")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise UnreadableModel("a split GGUF file whose parts hold the same tensor")
    first = parts[0]
    reads, size = sum(part.reads for part in parts), sum(part.bytes_read for part in parts)
    return GGUFFile(
        first.version, first.big_endian, first.metadata, tensors, first.alignment, first.data_offset, reads, size
    )


def _read(reader: CachingReader) -> GGUFFile:
    if reader.size < 24:
        raise UnsupportedFormat("not a GGUF file")
    head = reader.read(0, 8)
    if head[:4] != b"GGUF":
        if head[:4] in OLD_MAGICS:
            raise UnsupportedFormat("a GGML file from before GGUF (August 2023)", "Convert it, or use a newer upload.")
        raise UnsupportedFormat("not a GGUF file")
    # as llama.cpp does: a version number below 65,536 in the other byte order has its low half empty
    big_endian = head[4:6] == b"\0\0"
    cursor = Cursor(reader, ">" if big_endian else "<", 4)
    version = cursor.scalar("I")
    if version not in VERSIONS:
        raise UnsupportedFormat(f"a GGUF file of version {version}; versions 2 and 3 can be read")
    tensor_count, key_count = cursor.scalar("Q"), cursor.scalar("Q")
    # the least that one takes: 8 (length) + 4 (type) + 1, and 8 + 4 (rank) + 4 (type) + 8 (offset)
    if key_count > MAX_KEYS or tensor_count > MAX_TENSORS or key_count * 13 + tensor_count * 24 > reader.size:
        raise UnreadableModel(f"it claims {tensor_count:,} tensors and {key_count:,} metadata keys")
    metadata = cursor.metadata(key_count)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise UnreadableModel("its alignment is no power of two")
    infos = [cursor.tensor_info() for _ in range(tensor_count)]
    start = _pad(cursor.at, alignment)
    tensors = _place(infos, start, alignment, reader.size)
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise UnreadableModel("two of its tensors have the same name")
    return GGUFFile(version, big_endian, metadata, tensors, alignment, start, reader.reads, reader.bytes_read)


class Info(NamedTuple):
    """A tensor as the header has it; the offset is relative to the data."""

    name: str
    number: int
    shape: tuple[int, ...]
    offset: int


class Cursor:
    """Reads forwards."""

    def __init__(self, reader: CachingReader, order: str, at: int) -> None:
        self.reader = reader
        self.at = at
        self.kept = MAX_KEPT_BYTES
        codes = {code for _, code in SCALARS.values()}
        self.forms = {code: Struct(order + code) for code in codes}
        self.order = order

    def take(self, length: int) -> bytes:
        data = self.reader.read(self.at, length)
        self.at += length
        return data

    def scalar(self, code: str) -> Any:
        form = self.forms[code]
        return form.unpack(self.take(form.size))[0]

    def skip(self, length: int) -> None:
        self.at += length
        if self.at > self.reader.size:
            raise UnreadableModel("its header is longer than the file")

    def text(self, limit: int) -> str:
        length = self.scalar("Q")
        if length > limit:
            raise UnreadableModel(f"it has a name of {length:,} bytes")
        return self.decode(length)

    def decode(self, length: int) -> str:
        return self.keep(length).decode("utf-8", "replace")

    def keep(self, length: int) -> bytes:
        self.kept -= length
        if self.kept < 0:
            raise UnreadableModel("its metadata is larger than any model's")
        return self.take(length)

    def metadata(self, count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self.text(MAX_NAME)
            if not key or key in found:
                raise UnreadableModel(f"its metadata has {key[:80]!r} twice, or a key without a name")
            found[key] = self.value(self.scalar("I"))
        return found

    def value(self, kind: int) -> Any:
        if kind in SCALARS:
            return self.scalar(SCALARS[kind][1])
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self.array(self.scalar("I"), self.scalar("Q"))
        raise UnreadableModel(f"its metadata has a value of unknown type {kind}")

    def string(self) -> Any:
        length = self.scalar("Q")
        if length <= MAX_KEPT_STRING:
            return self.decode(length)
        self.skip(length)
        return Omitted("string", length)

    def array(self, kind: int, count: int) -> Any:
        if kind in SCALARS:
            name, code = SCALARS[kind]
            size = self.forms[code].size * count
            if count > MAX_KEPT_ITEMS:
                self.skip(size)
                return Omitted(name, count)
            return list(Struct(f"{self.order}{count}{code}").unpack(self.keep(size)))
        if kind != STRING:  # arrays of arrays: nobody writes them, llama.cpp refuses them
            raise UnreadableModel(f"its metadata has an array of type {kind}")
        if count * 8 > self.reader.size - self.at:
            raise UnreadableModel(f"it claims an array of {count:,} texts")
        if count > MAX_KEPT_ITEMS:
            self.skip_strings(count)
            return Omitted("string", count)
        return [self.string() for _ in range(count)]

    def skip_strings(self, count: int) -> None:
        """The hot loop: a vocabulary and its merges are half a million texts."""
        length_at = self.forms["Q"].unpack_from
        while count:
            block, start = self.reader.block(self.at, 8)
            at, end = start, len(block) - 8
            while count and at <= end:
                at += 8 + length_at(block, at)[0]
                count -= 1
            self.skip(at - start)

    def tensor_info(self) -> Info:
        name = self.text(MAX_NAME)
        rank = self.scalar("I")
        if rank > MAX_DIMENSIONS:
            raise UnreadableModel(f"its tensor {name[:80]!r} has {rank:,} dimensions")
        shape = tuple(self.scalar("Q") for _ in range(rank))[::-1]
        if max(shape, default=0) > MAX_ELEMENTS or math.prod(shape) > MAX_ELEMENTS:
            raise UnreadableModel(f"its tensor {name[:80]!r} has more elements than can be counted")
        return Info(name, self.scalar("I"), shape, self.scalar("Q"))


def _place(infos: list[Info], start: int, alignment: int, size: int) -> tuple[GGUFTensor, ...]:
    """Offsets in the file and bytes; each tensor must begin where the one before it, padded, ends."""
    tensors = []
    expected = 0
    for i, (name, number, shape, offset) in enumerate(infos):
        kind = ggml_type(number)
        try:
            nbytes = tensor_bytes(kind, shape)
        except ValueError as error:
            raise UnreadableModel(f"its tensor {name[:80]!r}: {error}") from None
        if nbytes is None:
            nbytes = (infos[i + 1].offset if i + 1 < len(infos) else size - start) - offset
        if offset != expected or nbytes < 0:
            raise UnreadableModel(f"its tensor {name[:80]!r} is not where the tensor before it ends")
        if start + offset + nbytes > size:
            raise UnreadableModel(f"it is cut off: its tensor {name[:80]!r} ends beyond byte {size:,}")
        expected = _pad(offset + nbytes, alignment)
        tensors.append(GGUFTensor(name, kind.name, shape, start + offset, nbytes))
    return tuple(tensors)


def _pad(offset: int, alignment: int) -> int:
    return (offset + alignment - 1) & -alignment
