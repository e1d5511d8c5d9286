"""Writes GGUF headers by hand, in either byte order, right or wrong in any place."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inspector.hub.formats.gguf.header import GGUFFile, read_gguf
from tests.hub.formats.make_torch import Bytes

CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass
class Raw:
    """A value with its type number; `item` is the items' type of an array."""

    kind: int
    value: Any
    item: int = 0


def u32(value: int) -> Raw:
    return Raw(4, value)


def text(value: str) -> Raw:
    return Raw(8, value)


def array(item: int, values: Sequence[Any]) -> Raw:
    return Raw(9, values, item)


@dataclass
class Header:
    """A header as written; the numbers can be made to lie."""

    metadata: Sequence[tuple[str, Raw]] = ()
    tensors: Sequence[tuple[str, Sequence[int], int, int]] = ()  # name, ne, type, offset
    order: str = "<"
    version: int = 3
    alignment: int = 32
    tensor_count: int | None = None
    key_count: int | None = None

    def pack(self, code: str, value: Any) -> bytes:
        return struct.pack(self.order + code, value)

    def string(self, value: str) -> bytes:
        raw = value.encode()
        return self.pack("Q", len(raw)) + raw

    def value(self, raw: Raw) -> bytes:
        if raw.kind == 9:
            head = self.pack("I", raw.item) + self.pack("Q", len(raw.value))
            return head + b"".join(self.value(Raw(raw.item, item)) for item in raw.value)
        return self.string(raw.value) if raw.kind == 8 else self.pack(CODES[raw.kind], raw.value)

    def bytes(self, data: int = 0) -> bytes:
        """The header, padded, and `data` zero bytes after it."""
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        keys = len(self.metadata) if self.key_count is None else self.key_count
        out = [b"GGUF", self.pack("I", self.version), self.pack("Q", tensors), self.pack("Q", keys)]
        for key, raw in self.metadata:
            out += [self.string(key), self.pack("I", raw.kind), self.value(raw)]
        for name, ne, kind, offset in self.tensors:
            out += [self.string(name), self.pack("I", len(ne)), *(self.pack("Q", n) for n in ne)]
            out += [self.pack("I", kind), self.pack("Q", offset)]
        header = b"".join(out)
        return header + bytes(-len(header) % self.alignment + data)


def read(data: bytes) -> GGUFFile:
    return read_gguf(Bytes(data), "model.gguf")
