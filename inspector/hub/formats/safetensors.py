"""Safetensors headers, checked as strictly as the safetensors library checks them: what it refuses is refused here.

A file is 8 bytes (little-endian) that hold N, N bytes of JSON, and the data. The JSON maps each tensor's name to its
dtype, shape and place in the data, and `__metadata__` to a map of strings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from inspector.errors import InvalidHeader
from inspector.hub.checkpoint import File, Tensor, Weights
from inspector.hub.dtypes import DTYPE_BITS
from inspector.hub.formats.documents import Index
from inspector.hub.formats.weights import WeightsFile, sharded

if TYPE_CHECKING:  # not needed for files that are read over the network in one piece
    from inspector.hub.formats.reader import RangeReader

PREFIX_BYTES = 8
"""What holds the header's length, before the header."""
MAX_HEADER_BYTES = 100_000_000
"""The library's own limit (`MAX_HEADER_SIZE`); DeepSeek-V3's largest shard has 75,000 bytes."""
MAX_DEPTH = 127
"""Arrays and objects within each other: the limit of the library's JSON parser."""
MAX_UNSIGNED = 2**64 - 1
LFS_POINTER = b"version "
"""How a Git LFS pointer begins, which stands for the file in a clone without LFS."""
METADATA_KEY = "__metadata__"

Span = tuple[int, int, str, str, list[int]]
"""Start, end, name, dtype, shape: in this order, so that sorting sorts by place."""


class Header(NamedTuple):
    """One file's header.

    Attributes:
        tensors: in the order of their data.
        metadata: the file's `__metadata__`.
        data_bytes: bytes of all tensors together.
        header_bytes: N, or None where the header did not come from the file itself.
    """

    tensors: tuple[Tensor, ...]
    metadata: dict[str, str]
    data_bytes: int
    header_bytes: int | None = None

    @property
    def file_bytes(self) -> int | None:
        """Size of the whole file, None where N is not known."""
        return None if self.header_bytes is None else PREFIX_BYTES + self.header_bytes + self.data_bytes


def read_file(reader: RangeReader, where: str) -> Header:
    """A file's header, in two reads.

    Raises:
        InvalidHeader: the safetensors library would refuse the file.
    """
    length = header_length(reader.read(0, min(PREFIX_BYTES, reader.size)), where, reader.size)
    return parse_header(reader.read(PREFIX_BYTES, length), where, reader.size)


def single(header: WeightsFile, file: File, where: str) -> Weights:  # noqa: ARG001  # see `FileFormat`
    """The weights of a model of one file."""
    assert isinstance(header, Header)  # what `read_file` returns
    return Weights(header.tensors, (File(file.name, header.file_bytes),), dict(header.metadata))


def joined(index: Index, headers: Mapping[str, WeightsFile], where: str) -> Weights:  # noqa: ARG001
    """The weights of all shards."""
    return sharded(index, headers)


def header_length(prefix: bytes, where: str, file_bytes: int | None = None) -> int:
    """N, from a file's first 8 bytes.

    Args:
        where: names the file in errors.
        file_bytes: the file's size, where it is known.

    Raises:
        InvalidHeader: no whole prefix, or a length that no file may have, or longer than this file.
    """
    if len(prefix) < PREFIX_BYTES:
        raise InvalidHeader(f"{where} is no safetensors file: it has {len(prefix)} bytes, fewer than the 8 of a prefix")
    if prefix[:PREFIX_BYTES] == LFS_POINTER:
        raise InvalidHeader(f"{where} is a Git LFS pointer: the file itself was not downloaded", "Run `git lfs pull`.")
    length = int.from_bytes(prefix[:PREFIX_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise InvalidHeader(f"{where} is no safetensors file: a header of {length} bytes is over the format's limit")
    if file_bytes is not None and PREFIX_BYTES + length > file_bytes:
        raise InvalidHeader(f"{where} is cut short: a header of {length} bytes in a file of {file_bytes}")
    return length


def parse_header(data: bytes, where: str, file_bytes: int | None = None) -> Header:
    """A header from its N bytes.

    Args:
        where: names the file in errors.
        file_bytes: the file's size; where it is known, header and data must fill it exactly.

    Raises:
        InvalidHeader: whatever the safetensors library would refuse.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        _refuse(where, "it is not UTF-8")
    header = _usual_form(data, text, where) or _any_form(text, where)
    header = Header(header.tensors, header.metadata, header.data_bytes, len(data))
    if file_bytes is not None and header.file_bytes != file_bytes:
        _refuse(where, f"header and data make {header.file_bytes} bytes, the file has {file_bytes}")
    return header


def header_from_json(value: Any, where: str) -> Header:
    """A header that came as JSON within another answer: all checks but those of its raw text and of the file's size.

    Raises:
        InvalidHeader: also for rare forms that the library accepts in a file (the file itself is to be read then).
    """
    found = _plain_places(value) if isinstance(value, dict) else None
    if found is None:
        _refuse(where, "not in the usual form")
    places, metadata = found
    return _checked(places, metadata, where)


def _usual_form(data: bytes, text: str, where: str) -> Header | None:
    """The header if its text is in the form that every writer gives it, which parses quickly; None if in doubt.

    In doubt: what Python's parser reads otherwise than the library's. Minus zero is no integer there, an escape may be
    half a character, and of two equal keys Python keeps the last; as each pair of key and value has one colon, counting
    colons finds those.
    """
    if b"-0" in data or b"\\u" in data:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = _plain_places(value) if isinstance(value, dict) else None
    if found is None:
        return None
    places, metadata = found
    pairs = 4 * len(places) + (1 + len(metadata) if METADATA_KEY in value else 0)
    return _checked(places, metadata, where) if data.count(b":") == pairs else None


def _plain_places(value: dict[str, Any]) -> tuple[list[Span], dict[str, str]] | None:
    """Each tensor's place and the metadata, None if anything is out of the ordinary."""
    metadata = value.get(METADATA_KEY, {})
    if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
        return None
    places: list[Span] = []
    for name, info in value.items():
        if name == METADATA_KEY:
            continue
        try:
            dtype, shape = info["dtype"], info["shape"]
            start, end = info["data_offsets"]
        except (TypeError, KeyError, ValueError):
            return None
        if len(info) != 3 or type(dtype) is not str or dtype not in DTYPE_BITS or type(shape) is not list:
            return None
        for number in (start, end, *shape):
            if type(number) is not int or not 0 <= number <= MAX_UNSIGNED:
                return None
        places.append((start, end, name, dtype, shape))
    return places, metadata


def _checked(places: list[Span], metadata: dict[str, str], where: str) -> Header:
    """The header, if the tensors fill the data without holes or overlaps and each has the bytes its shape needs."""
    places.sort()
    position = 0
    for start, end, name, dtype, shape in places:
        if start != position or end < start:
            _refuse(where, f"tensor {name!r} lies at {start} to {end}, where {position} should follow")
        bits = _numel(shape, name, where) * DTYPE_BITS[dtype]
        if bits > MAX_UNSIGNED:
            _refuse(where, f"tensor {name!r} is too large to be true")
        if bits != 8 * (end - start):
            _refuse(where, f"tensor {name!r} has {end - start} bytes, its shape and dtype need {bits / 8:g}")
        position = end
    tensors = tuple([Tensor(name, dtype, tuple(shape)) for _, _, name, dtype, shape in places])
    return Header(tensors, metadata, position)


def _numel(shape: list[int], name: str, where: str) -> int:
    """Elements of a shape; the library multiplies from the left and must not overflow on the way, even to zero."""
    numel = math.prod(shape)
    if numel == 0:
        nonzero = shape[: shape.index(0)]
        if math.prod(nonzero) <= MAX_UNSIGNED:
            return 0
    if numel == 0 or numel > MAX_UNSIGNED:
        _refuse(where, f"tensor {name!r} is too large to be true")
    return numel


def _any_form(text: str, where: str) -> Header:
    """The header of any text that the library accepts. Objects are read as tuples of pairs, so that no pair is lost."""
    try:
        value = json.loads(
            text, object_pairs_hook=tuple, parse_int=_integer, parse_float=_float, parse_constant=_no_constant
        )
    except (ValueError, OverflowError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        _refuse(where, f"its JSON is not valid ({reason[:100]})")
    if not isinstance(value, tuple):
        _refuse(where, "its JSON is no object")
    _check_depth_and_text(value, where)
    metadata: Any = None
    if len([key for key, _ in value if key == METADATA_KEY]) > 1:
        _refuse(where, f"{METADATA_KEY} stands there twice")
    tensors: dict[str, Span] = {}
    for name, info in value:
        if name == METADATA_KEY:
            metadata = info
        else:
            tensors[name] = _place(name, info, where)
    if metadata is None:
        metadata = ()
    if not isinstance(metadata, tuple) or not all(isinstance(v, str) for _, v in metadata):
        _refuse(where, f"{METADATA_KEY} is no map of strings")
    return _checked(list(tensors.values()), dict(metadata), where)


def _place(name: str, info: Any, where: str) -> Span:
    """One tensor's entry: an object with three known fields (others are ignored), or the three in a list."""
    if isinstance(info, tuple):
        known = [pair for pair in info if pair[0] in ("dtype", "shape", "data_offsets")]
        fields = dict(known)
        if len(known) != 3 or len(fields) != 3:
            _refuse(where, f"tensor {name!r} needs one dtype, one shape and one data_offsets")
        dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    elif isinstance(info, list) and len(info) == 3:
        dtype, shape, offsets = info
    else:
        _refuse(where, f"tensor {name!r} is no object")
    if isinstance(dtype, tuple) and len(dtype) == 1 and dtype[0][1] is None:
        dtype = dtype[0][0]  # {"F32": null} is the library's other spelling of "F32"
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        _refuse(where, f"tensor {name!r} has an unknown dtype")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n <= MAX_UNSIGNED for n in numbers):
            _refuse(where, f"tensor {name!r} has a shape or offsets that are no whole numbers")
    if len(offsets) != 2:
        _refuse(where, f"tensor {name!r} needs two offsets")
    return offsets[0], offsets[1], name, dtype, shape


def _check_depth_and_text(root: Any, where: str) -> None:
    """Refuses what nests deeper than the library's parser goes, and half characters (lone surrogates)."""
    stack = [(root, 1)]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, str):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                _refuse(where, "it has half a character")
        elif isinstance(value, (tuple, list)):
            if depth > MAX_DEPTH:
                _refuse(where, "nested too deeply")
            if isinstance(value, list):
                stack += [(item, depth + 1) for item in value]
            else:
                for key, item in value:
                    stack += [(key, depth), (item, depth + 1)]


def _integer(text: str) -> int | float:
    """The library reads minus zero, and what does not fit 64 bits, as a fraction (which no field accepts)."""
    if text == "-0":
        return -0.0
    value = int(text)
    return value if -(2**63) <= value <= MAX_UNSIGNED else float(value)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _refuse(where: str, reason: str) -> NoReturn:
    raise InvalidHeader(f"the safetensors header of {where} is not valid: {reason}")
