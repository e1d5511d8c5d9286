"""inspector/tables.py: the tables read the same from a checkout's files and from a wheel's packed file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector import tables
from inspector.tables import DATA, PACKED, packed, table_names, table_text


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package whose tables are packed, as a wheel's are."""
    found = [path for folder in PACKED for path in (DATA / folder).glob("*.json") if path.stem != "index"]
    texts = {path.relative_to(DATA).as_posix(): path.read_bytes() for path in found}
    (tmp_path / "tables.pack").write_bytes(packed(texts))
    monkeypatch.setattr(tables, "PACK", tmp_path / "tables.pack")
    monkeypatch.setattr(tables, "DATA", tmp_path)
    tables._index.cache_clear()
    yield tmp_path
    tables._index.cache_clear()


@pytest.mark.usefixtures("installed")
def test_every_packed_table_reads_as_its_file() -> None:
    for folder in PACKED:
        names = {path.stem for path in (DATA / folder).glob("*.json")} - {"index"}
        assert set(table_names(folder)) == names
        for name in names:
            assert table_text(f"{folder}/{name}.json") == (DATA / folder / f"{name}.json").read_text("utf-8")


def test_a_table_that_is_not_packed_is_a_file(installed: Path) -> None:
    (installed / "configs.json").write_text("{}")
    assert table_text("configs.json") == "{}"


@pytest.mark.parametrize("name", ["training/none.json", "training/llam", "llama.json", "../inspector/none.json"])
@pytest.mark.usefixtures("installed")
def test_a_table_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        table_text(name)


def test_the_packed_file_is_the_same_each_time() -> None:
    assert packed({"b.json": b"2", "a.json": b"1"}) == packed({"a.json": b"1", "b.json": b"2"})


def test_in_a_checkout_the_names_are_the_files() -> None:
    assert {"llama", "qwen3"} <= set(table_names("training"))
