"""Writes what torch.save writes, without torch: pickles by hand, so that they can be wrong, in zip archives."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

from inspector.hub.formats.pytorch.archive import PytorchFile, read_pytorch


class Bytes:
    """A reader over bytes in memory, which counts what it is asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        self.reads.append((offset, length))
        return self.data[offset : offset + length]


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def numbers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def name(module: str, word: str) -> bytes:
    return f"c{module}\n{word}\n".encode()


def storage(key: str, kind: str, elements: int) -> bytes:
    return b"(" + text("storage") + name("torch", kind) + text(key) + text("cpu") + number(elements) + b"tQ"


def tensor(
    key: str = "0",
    shape: Sequence[int] = (2, 3),
    stride: Sequence[int] = (3, 1),
    offset: int = 0,
    kind: str = "FloatStorage",
    elements: int = 6,
) -> bytes:
    hooks = name("collections", "OrderedDict") + b")R"
    where = storage(key, kind, elements) + number(offset)
    return (
        name("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + where
        + numbers(shape)
        + numbers(stride)
        + b"\x89"
        + hooks
        + b"tR"
    )


def mapping(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def archive(
    pickle: bytes,
    storages: Mapping[str, int] | None = None,
    root: str = "archive",
    method: int = zipfile.ZIP_STORED,
    more: Mapping[str, bytes] | None = None,
) -> bytes:
    """A file as torch.save lays it out; storages are key -> bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        file.writestr(f"{root}/data.pkl", pickle)
        for key, size in ({"0": 24} if storages is None else storages).items():
            file.writestr(f"{root}/data/{key}", bytes(size), zipfile.ZIP_STORED)
        for path, data in (more or {}).items():
            file.writestr(f"{root}/{path}", data)
        file.writestr(f"{root}/version", b"3\n")
    return out.getvalue()


def read(data: bytes) -> PytorchFile:
    return read_pytorch(Bytes(data), "model.bin")


def read_pickle(body: bytes, **kwargs: int) -> PytorchFile:
    """The file whose pickle is `body` between PROTO and STOP."""
    return read(archive(pickled(body), kwargs or None))
