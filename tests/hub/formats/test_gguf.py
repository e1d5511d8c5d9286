"""GGUF headers: by hand in both byte orders, hostile ones, and what gguf-py writes where it is installed."""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import InspectError, UnreadableModel, UnsupportedFormat
from inspector.hub.dtypes import FILE_TYPES, GGML_TYPES, ggml_type, tensor_bytes
from inspector.hub.formats.gguf import header as gguf
from inspector.hub.formats.gguf.header import GGUFTensor, Omitted, merge_parts, read_gguf
from inspector.hub.formats.reader import CachingReader, LocalFile
from tests.hub.formats.make_gguf import Header, Raw, array, read, text, u32
from tests.hub.formats.make_torch import Bytes

F32, F16, Q4_K, Q2_0, IQ4_KS = 0, 1, 12, 42, 144
LLAMA = [
    ("general.architecture", text("llama")),
    ("general.file_type", u32(15)),
    ("llama.block_count", u32(2)),
    ("llama.rope.freq_base", Raw(6, 10000.0)),
    ("llama.attention.head_count_kv", array(5, [8, 4])),
    ("tokenizer.ggml.add_bos_token", Raw(7, True)),
    ("tokenizer.ggml.tokens", array(8, ["<s>", "a", "é"])),
    ("big", Raw(10, 2**64 - 1)),
    ("small", Raw(11, -(2**63))),
]
TENSORS = [
    ("token_embd.weight", (256, 10), Q4_K, 0),
    ("output_norm.weight", (256,), F32, 1440),
    ("rope_freqs.weight", (3,), F32, 2464),
    ("scalar", (), F16, 2496),
]
DATA = 2498


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [2, 3])
def test_metadata_and_tensors_in_both_byte_orders(order: str, version: int) -> None:
    header = Header(LLAMA, TENSORS, order, version)
    file = read(header.bytes(DATA))
    assert (file.version, file.big_endian, file.alignment) == (version, order == ">", 32)
    assert file.metadata == {
        "general.architecture": "llama",
        "general.file_type": 15,
        "llama.block_count": 2,
        "llama.rope.freq_base": 10000.0,
        "llama.attention.head_count_kv": [8, 4],
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.tokens": ["<s>", "a", "é"],
        "big": 2**64 - 1,
        "small": -(2**63),
    }
    start = len(header.bytes())
    assert file.data_offset == start
    assert file.tensors == (
        GGUFTensor("token_embd.weight", "Q4_K", (10, 256), start, 1440),
        GGUFTensor("output_norm.weight", "F32", (256,), start + 1440, 1024),
        GGUFTensor("rope_freqs.weight", "F32", (3,), start + 2464, 12),
        GGUFTensor("scalar", "F16", (), start + 2496, 2),
    )
    assert file.parameters == 2560 + 256 + 1  # the rotary buffer is none
    assert file.tensor_bytes == 1440 + 1024 + 12 + 2
    assert file.file_type == "Q4_K_M"
    assert (file.reads, file.bytes_read) == (1, start + DATA)


def test_another_alignment() -> None:
    tensors = [("a", (3,), F32, 0), ("b", (3,), F32, 128)]
    header = Header([("general.alignment", u32(128))], tensors, alignment=128)
    file = read(header.bytes(140))
    assert file.alignment == 128
    assert file.data_offset % 128 == 0
    for wrong in (0, 3, 48, 2**31):
        with pytest.raises(UnreadableModel, match="alignment"):
            read(Header([("general.alignment", u32(wrong))], tensors).bytes(140))
    with pytest.raises(UnreadableModel, match="alignment"):
        read(Header([("general.alignment", text("32"))], tensors).bytes(140))


def vocabulary(size: int) -> list[tuple[str, Raw]]:
    """A tokenizer like those of Llama 3 and Gemma: texts, scores, types, and two merges a token."""
    return [
        *LLAMA[:3],
        ("tokenizer.ggml.scores", array(6, [0.0] * size)),
        ("tokenizer.ggml.token_type", array(5, [1] * size)),
        ("tokenizer.ggml.words", array(8, [f"token{i}" for i in range(size)])),
        ("tokenizer.ggml.merges", array(8, [f"to ken{i}" for i in range(size)])),
        ("llama.context_length", u32(8192)),
    ]


class Padded(Bytes):
    """A header with a far larger body of zeros, which is not in memory."""

    def __init__(self, header: bytes, data: int) -> None:
        super().__init__(header)
        self.size = len(header) + data

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return self.data[offset : offset + length].ljust(length, b"\0")


@pytest.mark.parametrize("size", [32_000, 256_000])
def test_a_header_with_a_large_vocabulary_takes_at_most_three_reads(size: int) -> None:
    tensors = [(f"blk.{i}.w", (256, 2**20), Q4_K, i * 144 * 2**20) for i in range(30)]
    header = Header(vocabulary(size), tensors)
    reader = Padded(header.bytes(), 30 * 144 * 2**20)
    start = time.process_time()
    file = read_gguf(reader, "model.gguf")
    assert time.process_time() - start < 10  # about 0.2 s
    assert file.metadata["tokenizer.ggml.words"] == Omitted("string", size)
    assert file.metadata["tokenizer.ggml.scores"] == Omitted("float32", size)
    assert file.metadata["llama.context_length"] == 8192
    assert file.parameters == 30 * 256 * 2**20
    assert file.reads == len(reader.reads) <= 3
    assert file.bytes_read < reader.size / 100


def test_a_header_without_a_tokenizer_takes_one_read_of_one_mib() -> None:
    tensors = [(f"blk.{i}.w", (256, 2**20), Q4_K, i * 144 * 2**20) for i in range(800)]
    reader = Padded(Header(LLAMA, tensors).bytes(), 800 * 144 * 2**20)
    assert len(read_gguf(reader, "model.gguf").tensors) == 800
    assert reader.reads == [(0, 2**20)]


def test_long_arrays_that_end_at_a_blocks_edge_are_walked_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "MAX_KEPT_ITEMS", 3)
    monkeypatch.setattr(gguf, "MAX_KEPT_STRING", 40)
    words = ["", "x" * 41, "ab", "y" * 200, "c"] * 5
    metadata = [
        ("w", array(8, words)),
        ("n", array(3, range(50))),
        ("long", text("z" * 41)),
        ("k", array(8, words[:2])),
    ]
    data = Header([*metadata, ("end", u32(7))], [("t", (2,), F32, 0)]).bytes(8)
    for block in range(8, 400, 7):
        reader = CachingReader(Bytes(data), blocks=(block,))
        file = gguf._read(reader)
        assert file.metadata == {
            "w": Omitted("string", 25),
            "n": Omitted("int16", 50),
            "long": Omitted("string", 41),
            "k": ["", Omitted("string", 41)],
            "end": 7,
        }
        assert [t.name for t in file.tensors] == ["t"]


# types


@pytest.mark.parametrize("number", sorted(n for n, kind in GGML_TYPES.items() if kind.block_bytes))
def test_every_types_bits_fit_its_name(number: int) -> None:
    """The digits in a name are its bits; scales and minima add to them."""
    kind = GGML_TYPES[number]
    bits = kind.block_bytes * 8 / kind.block
    named = 16 if kind.name == "BF16" else int("".join(c for c in kind.name.split("_")[0] if c.isdigit()))
    assert named <= bits < named + 1.6
    assert tensor_bytes(kind, (3, kind.block * 2)) == 6 * kind.block_bytes


def test_bytes_of_a_tensor() -> None:
    assert tensor_bytes(ggml_type(Q4_K), (3, 512)) == 864
    assert tensor_bytes(ggml_type(39), (32, 2880, 2880)) == 32 * 2880 * 90 * 17  # experts of gpt-oss-20b
    assert tensor_bytes(ggml_type(F32), ()) == 4
    assert tensor_bytes(ggml_type(999), (32,)) is None
    with pytest.raises(ValueError, match="no whole number of Q4_K blocks"):
        tensor_bytes(ggml_type(Q4_K), (3, 100))


def test_types_without_a_settled_layout_take_the_bytes_up_to_the_next_tensor() -> None:
    tensors = [("a", (128, 64), Q2_0, 0), ("b", (256, 4), IQ4_KS, 2176), ("c", (8,), 250, 2176 + 576)]
    file = read(Header([], tensors).bytes(2176 + 576 + 100))
    assert [(t.type, t.nbytes) for t in file.tensors] == [("Q2_0", 2176), ("IQ4_KS", 576), ("type 250", 100)]


# wrong and hostile


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a GGUF file"),
        (bytes(100), "not a GGUF file"),
        (b"PK\3\4" + bytes(100), "not a GGUF file"),
        (b"tjgg\3\0\0\0" + bytes(100), "before GGUF"),
        (b"lmgg" + bytes(100), "before GGUF"),
        (Header(LLAMA, version=1).bytes(), "version 1"),
        (Header(LLAMA, version=4).bytes(), "version 4"),
        (Header(LLAMA, version=1, order=">").bytes(), "version 1"),
    ],
)
def test_what_is_something_else_is_named(data: bytes, says: str) -> None:
    with pytest.raises(UnsupportedFormat, match=says):
        read(data)


def one_key(value: bytes) -> bytes:
    """A header with one key whose type and value are given as bytes."""
    return b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + value + bytes(100)


def strings(count: int, length: int) -> bytes:
    """One key whose value is an array that claims `count` texts, the first of which claims `length` bytes."""
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, count)
    return out + struct.pack("<Q", length) + bytes(20_000)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (Header(LLAMA, tensor_count=2**63).bytes(), "claims"),
        (Header(LLAMA, key_count=2**63).bytes(), "claims"),
        (Header(LLAMA, tensor_count=200_000).bytes(), "claims"),
        (Header(LLAMA, key_count=len(LLAMA) + 1).bytes(), "without a name"),
        (Header(LLAMA, tensor_count=1).bytes(), "ends at byte"),
        (Header([*LLAMA, *LLAMA[:1]]).bytes(), "twice"),
        (Header([("a", Raw(8, "x" * 20)), ("a", u32(1))]).bytes(), "twice"),
        (one_key(struct.pack("<IIQ", 9, 9, 1)), "array of type 9"),
        (one_key(struct.pack("<I", 13)), "unknown type 13"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60) + bytes(100), "name of"),
        (one_key(struct.pack("<IQ", 8, 2**62)), "longer than the file"),
        (one_key(struct.pack("<IIQ", 9, 4, 2**62)), "longer than the file"),
        (strings(2**60, 1), "claims an array"),
        (strings(2000, 2**63), "longer than the file"),
        (strings(1000, 30_000), "ends at byte"),
        (Header([], [("a", (2, 2, 2, 2, 2), F32, 0)]).bytes(128), "5 dimensions"),
        (Header([], [("a", (2**63,), F32, 0)]).bytes(128), "more elements"),
        (Header([], [("a", (2**32, 2**32), F32, 0)]).bytes(128), "more elements"),
        (Header([], [("a", (2**40,), F32, 0)]).bytes(128), "cut off"),
        (Header([], [("a", (32,), F32, 0)]).bytes(127), "cut off"),
        (Header([], [("a", (32,), F32, 32)]).bytes(160), "not where"),
        (Header([], [("a", (32,), F32, 0), ("b", (32,), F32, 96)]).bytes(300), "not where"),
        (Header([], [("a", (32,), F32, 0), ("b", (32,), F32, 160)]).bytes(300), "not where"),
        (Header([], [("a", (32,), 250, 0), ("b", (32,), F32, 2**63)]).bytes(300), "cut off"),
        (Header([], [("a", (8,), F32, 0), ("a", (8,), F32, 32)]).bytes(64), "same name"),
        (Header([], [("a", (100,), Q4_K, 0)]).bytes(640), "no whole number"),
        (Header([], [("x" * 2000, (1,), F32, 0)]).bytes(64), "name of"),
    ],
)
def test_what_is_damaged_is_refused(data: bytes, says: str) -> None:
    reader = Bytes(data)
    with pytest.raises(UnreadableModel, match=says) as caught:
        read_gguf(reader, "model.gguf")
    assert caught.value.message.startswith("model.gguf: ")
    assert len(reader.reads) <= 2


def test_endless_metadata_of_an_endless_file_ends_at_the_cap() -> None:
    class Endless(Padded):
        def read(self, offset: int, length: int) -> bytes:
            return super().read(offset, length) if len(self.reads) < 20 else pytest.fail("read on and on")

    head = strings(2**40, 0)[:-20_000]  # zeros: empty texts, without end
    reader = Endless(head, 2**50)
    start = time.process_time()
    with pytest.raises(UnreadableModel, match="takes more than"):
        read_gguf(reader, "model.gguf")
    assert sum(length for _, length in reader.reads) <= gguf.MAX_HEADER_BYTES
    assert time.process_time() - start < 60  # 16 million empty texts: about two seconds


def test_many_kept_values_end_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "MAX_KEPT_BYTES", 10_000)
    for value in (text("x" * 5000), array(0, [1] * 1000)):
        with pytest.raises(UnreadableModel, match="larger than any model's"):
            read(Header([(f"k{i}", value) for i in range(30)]).bytes(64))


GOOD = Header(LLAMA, TENSORS).bytes(DATA)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_result_or_our_error(data: bytes) -> None:
    for body in (data, b"GGUF\3\0\0\0" + data, b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + data):
        with contextlib.suppress(InspectError):
            read(body)


@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - DATA - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_any_mutation_gives_a_result_or_our_error(changes: list[tuple[int, int]], cut: bool) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    if cut:
        del data[changes[0][0] :]
    reader = Bytes(bytes(data))
    with contextlib.suppress(InspectError):
        file = read_gguf(reader, "model.gguf")
        assert all(t.offset + t.nbytes <= len(data) and t.nbytes >= 0 for t in file.tensors)
    assert len(reader.reads) <= 3


# split files


def part(number: int, count: int, names: list[str], total: int) -> bytes:
    metadata = [("split.no", Raw(2, number)), ("split.count", Raw(2, count)), ("split.tensors.count", Raw(5, total))]
    if number == 0:
        metadata = [*LLAMA, *metadata]
    return Header(metadata, [(name, (8,), F32, 32 * i) for i, name in enumerate(names)]).bytes(32 * len(names))


def test_parts_are_put_together() -> None:
    parts = [read(part(0, 3, [], 3)), read(part(1, 3, ["a", "b"], 3)), read(part(2, 3, ["c"], 3))]
    whole = merge_parts(parts)
    assert [t.name for t in whole.tensors] == ["a", "b", "c"]
    assert whole.metadata["general.architecture"] == "llama"
    assert (whole.parameters, whole.reads) == (24, 3)
    assert merge_parts([read(GOOD)]).tensors == read(GOOD).tensors
    for wrong in (parts[:2], parts[::-1], [], [parts[0], parts[1], parts[1]]):
        with pytest.raises(UnreadableModel, match="split"):
            merge_parts(wrong)
    with pytest.raises(UnreadableModel, match="all of its tensors"):
        merge_parts([read(part(0, 2, ["a"], 3)), read(part(1, 2, ["b"], 3))])
    with pytest.raises(UnreadableModel, match="same tensor"):
        merge_parts([read(part(0, 2, ["a"], 2)), read(part(1, 2, ["a"], 2))])


# gguf-py


def test_the_table_of_types_is_that_of_gguf_py() -> None:
    library = pytest.importorskip("gguf")
    for kind, (block, size) in library.GGML_QUANT_SIZES.items():
        if kind.name != "Q8_1":  # 40 bytes there; ggml-common.h asserts 36
            assert GGML_TYPES[int(kind)] == (kind.name, block, size)
    ours = {number: f"MOSTLY_{name}" for number, name in FILE_TYPES.items() if not 33 <= number <= 35}
    theirs = {int(kind): kind.name for kind in library.LlamaFileType if kind.name != "GUESSED"}
    assert {**ours, 0: "ALL_F32"} == theirs


@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
def test_what_gguf_py_writes_is_read_as_gguf_py_reads_it(order: str, tmp_path: Path) -> None:
    library = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "m.gguf"
    writer: Any = library.GGUFWriter(path, "llama", endianess=library.GGUFEndian[order])
    writer.add_block_count(2)
    writer.add_head_count_kv([4, 2])
    writer.add_token_list([f"t{i}" for i in range(2000)])
    writer.add_token_scores([0.5] * 2000)
    writer.add_tensor("a", numpy.zeros((3, 5), dtype=numpy.float32))
    writer.add_tensor("b", numpy.zeros((2, 3, 7), dtype=numpy.float16))
    for kind, (_, size) in library.GGML_QUANT_SIZES.items():
        if kind.name not in ("F32", "F16", "F64", "I8", "I16", "I32", "I64", "Q8_1"):
            writer.add_tensor(kind.name, numpy.zeros((4, 2 * size), dtype=numpy.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with LocalFile(path) as local:
        file = read_gguf(local, "m.gguf")
    assert file.big_endian == (order == "BIG")
    theirs = library.GGUFReader(path)
    assert [(t.name, t.type, t.nbytes, t.offset, t.numel) for t in file.tensors] == [
        (t.name, t.tensor_type.name, int(t.n_bytes), int(t.data_offset), int(t.n_elements)) for t in theirs.tensors
    ]
    assert [t.shape[::-1] for t in file.tensors] == [tuple(int(n) for n in t.shape) for t in theirs.tensors]
    assert file.metadata["llama.attention.head_count_kv"] == [4, 2]
    assert file.metadata["tokenizer.ggml.tokens"] == Omitted("string", 2000)
