"""Random access: exact lengths, few reads, a cap."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inspector.errors import FileMissing, UnreadableModel
from inspector.hub.formats.reader import CachingReader, CountingReader, LocalFile
from tests.hub.formats.make_torch import Bytes

DATA = bytes(range(256)) * 40


def test_a_local_file_gives_the_bytes_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(DATA)
    with LocalFile(path) as file:
        assert file.size == len(DATA)
        assert file.read(300, 1000) == DATA[300:1300]
        assert file.read(0, 0) == b""
        with pytest.raises(UnreadableModel, match="ends before"):
            file.read(len(DATA) - 1, 2)


def test_what_is_no_file_is_refused_without_opening_it(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        LocalFile(tmp_path / "nothing")
    with pytest.raises(UnreadableModel, match="is not a file"):
        LocalFile(tmp_path)
    with pytest.raises(UnreadableModel):
        LocalFile("a\0b")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
        with pytest.raises(UnreadableModel, match="is not a file"):
            LocalFile(tmp_path / "pipe")


def test_reads_after_the_end_never_reach_the_reader() -> None:
    inner = Bytes(DATA)
    reader = CountingReader(inner)
    for offset, length in ((0, len(DATA) + 1), (len(DATA), 1), (-1, 2), (0, -1), (2**70, 1)):
        with pytest.raises(UnreadableModel):
            reader.read(offset, length)
    assert inner.reads == []


def test_a_reader_that_returns_too_little_is_noticed() -> None:
    class Short(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            return super().read(offset, length)[:-1]

    with pytest.raises(UnreadableModel, match="ended before"):
        CountingReader(Short(DATA)).read(0, 10)


def test_small_reads_are_served_from_blocks_that_grow() -> None:
    inner = Bytes(DATA)
    reader = CachingReader(inner, blocks=(100, 1000))
    for at in range(0, 1100, 10):
        assert reader.read(at, 10) == DATA[at : at + 10]
    assert inner.reads == [(0, 100), (100, 1000)]
    assert (reader.reads, reader.bytes_read) == (2, 1100)


def test_a_read_larger_than_the_block_is_one_read() -> None:
    inner = Bytes(DATA)
    assert CachingReader(inner, blocks=(100,)).read(5, 500) == DATA[5:505]
    assert inner.reads == [(5, 500)]


def test_the_last_block_ends_with_the_file() -> None:
    inner = Bytes(DATA)
    reader = CachingReader(inner, blocks=(10**9,))
    assert reader.read(len(DATA) - 3, 3) == DATA[-3:]
    assert inner.reads == [(len(DATA) - 3, 3)]


def test_the_cap_on_bytes_holds() -> None:
    reader = CachingReader(Bytes(DATA), blocks=(100,), limit=250)
    reader.read(0, 1)
    reader.read(100, 1)
    reader.read(200, 50)
    assert reader.bytes_read == 250
    with pytest.raises(UnreadableModel, match="more than 250 bytes"):
        reader.read(250, 1)
