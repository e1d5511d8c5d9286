"""A stored format is one module and one entry: a toy one, from a folder and from the Hub, with all that names give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from inspector.hub import File, Resolver, Tensor
from inspector.hub.checkpoint import Weights
from inspector.hub.formats.documents import Index
from inspector.hub.formats.reader import RangeReader
from inspector.hub.formats.registry import FORMATS, StoredFormat
from inspector.hub.formats.weights import WeightsFile, sharded
from tests.hub_server import Content, LoopbackHub


class Header(NamedTuple):
    """A toy file is the number of its values, as text."""

    tensors: tuple[Tensor, ...]
    file_bytes: int | None
    data_bytes: int | None = None


def read_file(reader: RangeReader, where: str) -> Header:
    return Header((Tensor(where.split(" ", maxsplit=1)[0], "F32", (int(reader.read(0, reader.size)),)),), reader.size)


def single(header: WeightsFile, file: File, where: str) -> Weights:  # noqa: ARG001
    return Weights(header.tensors, (file,), {}, format="toy")


def joined(index: Index, headers: Mapping[str, WeightsFile], where: str) -> Weights:  # noqa: ARG001
    return sharded(index, headers)._replace(format="toy")


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    FORMATS.append(StoredFormat("toy", (".toy",), ("toy_model",), __name__))
    yield
    FORMATS.pop()


@pytest.mark.parametrize("where", ["folder", "hub"])
@pytest.mark.parametrize(
    ("files", "selector", "values"),
    [
        ({"toy_model.toy": b"7"}, "", 7),
        ({"toy_model.fp16.toy": b"8"}, "", 8),
        ({"toy_model.toy": b"7", "toy_model.fp16.toy": b"8"}, ":fp16", 8),
        ({"toy_model-00001-of-00002.toy": b"5", "toy_model-00002-of-00002.toy": b"4"}, "", 9),
        (
            {
                "toy_model.toy.index.json": {"weight_map": {"a.toy": "a.toy", "b.toy": "b.toy"}},
                "a.toy": b"1",
                "b.toy": b"2",
            },
            "",
            3,
        ),
        ({"other.toy": b"3"}, ":other.toy", 3),
    ],
)
def test_a_toy_format_is_read(
    where: str,
    files: dict[str, Content],
    selector: str,
    values: int,
    tmp_path: Path,
    hub: LoopbackHub,
    resolver: Resolver,
) -> None:
    files = {"config.json": {}, **files}
    if where == "hub":
        hub.add_repo("org/name", files)
        model = f"org/name{selector}"
    else:
        from tests.hub.test_local import write

        folder = write(tmp_path / "m", files)
        if selector == ":fp16":
            pytest.skip("a folder has no selectors")
        model = str(folder / selector[1:]) if selector else str(folder)
    found = resolver.resolve(model)
    assert found.format == "toy"
    assert sum(tensor.numel for tensor in found.tensors) == values
