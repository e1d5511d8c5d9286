"""Headers: accepted exactly where the safetensors library accepts them."""

# ruff: noqa: UP031  (the texts are full of braces)

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from inspector.errors import InvalidHeader
from inspector.hub.dtypes import DTYPE_BITS
from inspector.hub.formats.safetensors import Header, header_from_json, header_length, parse_header

ONE = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
FOUR = b"\0" * 4


def ours(file: bytes) -> Header:
    length = header_length(file[:8], "test", len(file))
    return parse_header(file[8 : 8 + length], "test", len(file))


def theirs(file: bytes) -> dict[str, tuple[str, list[int]]] | None:
    try:
        return {name: (info["dtype"], list(info["shape"])) for name, info in deserialize(file)}
    except SafetensorError:
        return None


def agree(file: bytes) -> bool:
    """Asserts that both accept or both refuse, and read the same. Returns whether they accept."""
    expected = theirs(file)
    if expected is None:
        with pytest.raises(InvalidHeader):
            ours(file)
        return False
    assert {t.name: (t.dtype, list(t.shape)) for t in ours(file).tensors} == expected
    return True


def file_of(header: str | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def field(name: str, value: str) -> str:
    fields = {"dtype": '"F32"', "shape": "[1]", "data_offsets": "[0,4]"} | {name: value}
    return '{"a":{%s}}' % ",".join(f'"{k}":{v}' for k, v in fields.items())


ACCEPTED = {
    "one tensor": ('{"a":%s}' % ONE, FOUR),
    "spaces before": (' {"a":%s}' % ONE, FOUR),
    "padding after": ('{"a":%s} \n\t\r' % ONE, FOUR),
    "no tensors": ("{}", b""),
    "metadata null": ('{"__metadata__":null}', b""),
    "metadata empty": ('{"__metadata__":{}}', b""),
    "metadata with a colon": ('{"__metadata__":{"a":"b:c"}}', b""),
    "a key twice in metadata": ('{"__metadata__":{"a":"1","a":"2"}}', b""),
    "a tensor twice, the last counts": ('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":%s}' % ONE, FOUR),
    "an extra field": (field("x", '[1.5,{"y":null}]'), FOUR),
    "an extra field twice": ('{"a":%s,"x":1,"x":2}}' % ONE[:-1], FOUR),
    "a list for an object": ('{"a":["F32",[1],[0,4]]}', FOUR),
    "an object for a dtype": (field("dtype", '{"F32":null}'), FOUR),
    "a large number where none is read": (field("x", "9" * 30), FOUR),
    "127 levels": (field("x", "[" * 125 + "]" * 125), FOUR),
    "minus zero where none is read": (field("x", "-0"), FOUR),
    "an escaped emoji": ('{"\\ud83d\\ude00":%s}' % ONE, FOUR),
    "an escaped control character": ('{"\\u0001":%s}' % ONE, FOUR),
    "an escape that spells a terminal sequence": ('{"\\u001b[31m":%s}' % ONE, FOUR),
    "an empty name": ('{"":%s}' % ONE, FOUR),
    "a zero before a product that overflows": (
        '{"a":{"dtype":"F32","shape":[0,9223372036854775807,4],"data_offsets":[0,0]}}',
        b"",
    ),
    "half a byte twice": ('{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}', b"x"),
    "a scalar": ('{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"x"),
    "an empty tensor at the same place": (
        '{"a":%s,"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' % ONE,
        FOUR,
    ),
}

REFUSED = {
    "nothing": (b"", b""),
    "a null byte after": ('{"a":%s}\0' % ONE, FOUR),
    "a list": ("[]", b""),
    "a byte order mark": ("\ufeff{}", b""),
    "two objects": ("{}{}", b""),
    "a form feed before": ("\x0c{}", b""),
    "not UTF-8": (b'{"\xff":%s}' % ONE.encode(), FOUR),
    "metadata a list": ('{"__metadata__":[]}', b""),
    "metadata of numbers": ('{"__metadata__":{"a":1}}', b""),
    "metadata spelled with an escape": ('{"__meta\\u0064ata__":{"a":1}}', b""),
    "metadata twice": ('{"__metadata__":{},"__metadata__":{}}', b""),
    "a tensor named as the metadata": ('{"__metadata__":%s}' % ONE, FOUR),
    "null, then the tensor": ('{"a":null,"a":%s}' % ONE, FOUR),
    "a field twice": ('{"a":%s,"dtype":"F32"}}' % ONE[:-1], FOUR),
    "a field missing": ('{"a":{"dtype":"F32","shape":[1]}}', FOUR),
    "minus zero": (field("data_offsets", "[-0,4]"), FOUR),
    "a negative dimension": (field("shape", "[-1]"), FOUR),
    "a fraction": (field("shape", "[1.0]"), FOUR),
    "an exponent": (field("shape", "[1e0]"), FOUR),
    "true": (field("shape", "[true]"), FOUR),
    "a leading zero": (field("shape", "[01]"), FOUR),
    "three offsets": (field("data_offsets", "[0,4,4]"), FOUR),
    "offsets in an object": (field("data_offsets", '{"0":4}'), FOUR),
    "an unknown dtype": (field("dtype", '"F31"'), FOUR),
    "a null dtype": (field("dtype", "null"), FOUR),
    "an object of two for a dtype": (field("dtype", '{"F32":null,"F16":null}'), FOUR),
    "four in a list": ('{"a":["F32",[1],[0,4],1]}', FOUR),
    "a number out of range": (field("x", "1e999"), FOUR),
    "an integer out of range": (field("x", "9" * 400), FOUR),
    "an integer of 5,000 digits": (field("x", "9" * 5000), FOUR),
    "NaN": (field("x", "NaN"), FOUR),
    "128 levels": (field("x", "[" * 126 + "]" * 126), FOUR),
    "100,000 levels": (field("x", "[" * 100_000 + "]" * 100_000), FOUR),
    "100,000 levels that never end": ("[" * 100_000, FOUR),
    "half an emoji": ('{"\\ud83d":%s}' % ONE, FOUR),
    "the other half": ('{"\\ude00":%s}' % ONE, FOUR),
    "half an emoji where none is read": (field("x", '"\\ud800"'), FOUR),
    "a raw control character": ('{"\x01":%s}' % ONE, FOUR),
    "data after the last tensor": ('{"a":%s}' % ONE, FOUR + b"x"),
    "data cut short": ('{"a":%s}' % ONE, b"xxx"),
    "a hole": ('{"a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}', b"12345"),
    "an overlap": ('{"a":%s,"b":%s}' % (ONE, ONE), FOUR),
    "an end before its start": ('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', FOUR),
    "more than its shape needs": ('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}', FOUR * 2),
    "half a byte": ('{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}', b"x"),
    "an empty tensor within another": (
        '{"a":%s,"z":{"dtype":"F32","shape":[0],"data_offsets":[2,2]}}' % ONE,
        FOUR,
    ),
    "a product that overflows before a zero": (
        '{"a":{"dtype":"F32","shape":[9223372036854775807,4,0],"data_offsets":[0,0]}}',
        b"",
    ),
    "a product that overflows": (
        '{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
        b"",
    ),
    "bits that overflow": (
        '{"a":{"dtype":"F64","shape":[288230376151711744],"data_offsets":[0,2305843009213693952]}}',
        b"",
    ),
    "a dimension over 64 bits": ('{"a":{"dtype":"U8","shape":[0,18446744073709551616],"data_offsets":[0,0]}}', b""),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_library_accepts_is_accepted(case: str) -> None:
    assert agree(file_of(*ACCEPTED[case]))


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_library_refuses_is_refused(case: str) -> None:
    assert not agree(file_of(*REFUSED[case]))


@pytest.mark.parametrize("length", [0, 1, 3, 5, 100_000_000, 100_000_001, 2**32, 2**63, 2**64 - 1])
def test_a_length_that_is_not_the_header_s_is_refused(length: int) -> None:
    assert not agree(file_of("{}", length=length))


@pytest.mark.parametrize("size", range(8))
def test_a_file_shorter_than_its_prefix_is_refused(size: int) -> None:
    assert not agree(file_of("{}")[:size])


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_the_bits_of_every_dtype_are_the_library_s(dtype: str) -> None:
    size = 4 * DTYPE_BITS[dtype] // 8
    header = {"a": {"dtype": dtype, "shape": [4], "data_offsets": [0, size]}}
    assert agree(file_of(json.dumps(header), b"\0" * size))


def test_the_library_knows_no_dtype_that_is_not_listed() -> None:
    with pytest.raises(SafetensorError) as error:
        deserialize(file_of(field("dtype", '"F31"'), FOUR))
    named = str(error.value).split("expected one of")[1].split("`")[1::2]
    assert sorted(named) == sorted(DTYPE_BITS)


def test_sizes_follow_from_the_header() -> None:
    header = ours(file_of('{"a":%s} ' % ONE, FOUR))
    assert header.header_bytes == len('{"a":%s} ' % ONE)
    assert header.data_bytes == 4
    assert header.file_bytes == 8 + len('{"a":%s} ' % ONE) + 4


def test_a_header_within_another_answer_is_checked_alike() -> None:
    header = header_from_json({"a": json.loads(ONE), "__metadata__": {"format": "pt"}}, "test")
    assert header.tensors[0].name == "a"
    assert header.metadata == {"format": "pt"}
    assert header.file_bytes is None
    for bad in ([], None, {"a": None}, {"a": {**json.loads(ONE), "shape": [2]}}, {"__metadata__": {"a": 1}}):
        with pytest.raises(InvalidHeader):
            header_from_json(bad, "test")


NUMBERS = st.one_of(
    st.integers(0, 12), st.sampled_from([-1, 2**31, 2**63, 2**64 - 1, 2**64, 1.0, True, None, "1", -0.0])
)
EXTRA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda children: st.one_of(st.lists(children, max_size=2), st.dictionaries(st.text(max_size=2), children)),
    max_leaves=4,
)


@st.composite
def valid_headers(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Tensors one after the other, in any order of the keys."""
    entries: list[tuple[str, dict[str, Any]]] = []
    position = 0
    for name in draw(st.lists(st.text(max_size=6), max_size=4, unique=True)):
        dtype = draw(st.sampled_from(list(DTYPE_BITS)))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        bits = DTYPE_BITS[dtype]
        for n in shape:
            bits *= n
        end = position + bits // 8
        entries.append((name, {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}))
        position = end
    header: dict[str, Any] = dict(draw(st.permutations(entries)))
    if draw(st.booleans()):
        header["__metadata__"] = draw(st.one_of(st.none(), st.dictionaries(st.text(max_size=3), st.text(max_size=3))))
    return header, position


@settings(max_examples=400, deadline=None)
@given(valid_headers(), st.booleans())
def test_files_in_the_usual_form_are_read_as_the_library_reads_them(
    header: tuple[dict[str, Any], int], escaped: bool
) -> None:
    agree(file_of(json.dumps(header[0], ensure_ascii=escaped).encode("utf-8", "surrogatepass"), b"\0" * header[1]))


@settings(max_examples=600, deadline=None)
@given(valid_headers(), st.data())
def test_files_with_one_thing_changed_are_judged_as_the_library_judges_them(
    header: tuple[dict[str, Any], int], data: st.DataObject
) -> None:
    value, size = header
    names = [name for name in value if name != "__metadata__"]
    if names:
        entry = value[data.draw(st.sampled_from(names))]
        kind = data.draw(st.sampled_from(["shape", "data_offsets", "dtype", "extra", "drop"]))
        if kind == "drop":
            entry.pop(data.draw(st.sampled_from(list(entry))))
        elif kind == "extra":
            entry[data.draw(st.text(max_size=3))] = data.draw(EXTRA)
        elif kind == "dtype":
            entry["dtype"] = data.draw(st.one_of(st.sampled_from(list(DTYPE_BITS)), EXTRA))
        else:
            entry[kind] = data.draw(st.one_of(st.lists(NUMBERS, max_size=3), EXTRA))
    agree(file_of(json.dumps(value).encode(), b"\0" * size))


@settings(max_examples=600, deadline=None)
@given(valid_headers(), st.data())
def test_files_with_a_few_bytes_changed_are_judged_as_the_library_judges_them(
    header: tuple[dict[str, Any], int], data: st.DataObject
) -> None:
    raw = bytearray(file_of(json.dumps(header[0], separators=(",", ":")), b"\0" * header[1]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(8, max(8, len(raw) - 1)))
        raw[at : at + data.draw(st.integers(0, 1))] = data.draw(
            st.sampled_from(
                [b"", b'"', b",", b":", b"0", b"-", b"1", b"{", b"}", b"[", b"]", b"\\", b" ", b"e", b"\xff"]
            )
        )
    if data.draw(st.booleans()):
        raw[:8] = struct.pack("<Q", max(0, len(raw) - 8 - header[1]))
    agree(bytes(raw))
