"""A checkpoint as a few kilobytes of readable JSON: the form of the bundled snapshots and of the cache on disk.

A large model's 90,000 tensor names follow a few dozen patterns. Each pattern is one row,

    ["model.layers.{}.mlp.experts.{}.up_proj.weight", "F8_E4M3", [2048, 7168], "3-60", "0-255"]

which stands for every combination of the listed indices. A component (what stands between dots) that is a plain
number becomes the placeholder `{}`; its values follow the shape, one string a placeholder: "0-2,4-6,9".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from typing import Any, get_args

from inspector.hub.checkpoint import (
    MAX_INDEX_DIGITS,
    MAX_PARTS,
    PLACEHOLDER,
    Checkpoint,
    Design,
    File,
    Part,
    PartKind,
    Source,
    Tensor,
    TensorRow,
    TensorRows,
)
from inspector.hub.dtypes import is_dtype

FIRST_WORD = "llm-inspect "
"""Begins a file of the cache, before its checksum."""
TEMPORARY_PREFIX = ".llm-inspect-"
"""Of the names of the cache's files that are being written."""
SCHEMA = 1
PARTS_SCHEMA = 2
"""Of a checkpoint that is made of parts, so that a version that knows none does not take it for an empty one."""
MAX_TENSORS = 1_000_000
"""Rows that stand for more are refused: the largest published models have about 100,000 tensors."""
MAX_NAME_CHARACTERS = 200_000_000
"""All names together: a long name repeated a million times must not fill the memory."""
MAX_RANK = 64
MAX_DIMENSION = 2**63 - 1

Indices = tuple[int, ...]


def encode(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint as plain JSON values. What the answer cost (`network`) is left out.

    Raises:
        ValueError: two tensors of the same name.
    """
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "repo_id": checkpoint.repo_id,
        "revision": checkpoint.revision,
        "source": checkpoint.source,
        "format": checkpoint.format,
        "snapshot_date": checkpoint.snapshot_date,
        "files": [[file.name, file.size] for file in checkpoint.files],
        "metadata": checkpoint.metadata,
        "warnings": list(checkpoint.warnings),
        "config": checkpoint.config,
        "tensors": encode_tensors(checkpoint.tensors),
    }
    if checkpoint.design is not None:
        data["is_design"] = True
    if checkpoint.parts:
        data["schema"] = PARTS_SCHEMA
        data["parts"] = [[part.name, part.kind, part.class_name, encode(part.checkpoint)] for part in checkpoint.parts]
    return data


def decode(data: Any) -> Checkpoint:
    """The checkpoint that `encode` was given, its tensors in natural order (layer 2 before layer 10).

    Raises:
        ValueError: anything that `encode` does not write; the data may come from a file that somebody edited.
    """
    if not isinstance(data, dict) or data.get("schema") not in (SCHEMA, PARTS_SCHEMA):
        raise ValueError("no snapshot, or one of another schema")
    parts = _parts(data.get("parts")) if data["schema"] == PARTS_SCHEMA else ()
    source = _string(data, "source")
    if source not in get_args(Source):
        raise ValueError(f"unknown source {source!r}")
    return Checkpoint(
        repo_id=_string(data, "repo_id"),
        revision=_optional_string(data, "revision"),
        source=source,  # type: ignore[arg-type]  # checked against the literal's own values above
        config=_object(data, "config"),
        tensors=decode_tensors(data.get("tensors")),
        format=_string(data, "format"),
        files=tuple(map(_file, _list(data, "files"))),
        metadata=_object(data, "metadata"),
        warnings=tuple(_text(item) for item in _list(data, "warnings")),
        snapshot_date=_optional_string(data, "snapshot_date"),
        parts=parts,
        design=Design() if data.get("is_design") is True else None,
    )


def dumps(checkpoint: Checkpoint) -> str:
    """`encode` as JSON text, one line a row of tensors, so that a person and a diff can read it."""
    data = encode(checkpoint)
    rows = data.pop("tensors")
    head = json.dumps(data, indent=1)[: -len("\n}")]
    body = ",\n".join("  " + json.dumps(row) for row in rows)
    return f'{head},\n "tensors": [\n{body}\n ]\n}}\n'


def loads(text: str | bytes) -> Checkpoint:
    """`decode` of JSON text. Raises ValueError for everything that `dumps` does not write."""
    try:
        return decode(json.loads(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def split_name(name: str) -> tuple[str, Indices]:
    """A tensor name's template and its indices: "h.3.w1" -> ("h.{}.w1", (3,)).

    Only whole components count, so that "w1" stays; "05" and numbers of more than nine digits stay, too, as they
    would not come back as they were. A component that starts with a brace gets one more, to be told apart.
    """
    parts = name.split(".")
    indices = []
    for i, part in enumerate(parts):
        if part[:1] == "{":
            parts[i] = "{" + part
        elif _is_index(part):
            parts[i] = PLACEHOLDER
            indices.append(int(part))
    return ".".join(parts), tuple(indices)


def _is_index(part: str) -> bool:
    return part.isdigit() and part.isascii() and (part[0] != "0" or part == "0") and len(part) <= MAX_INDEX_DIGITS


def encode_tensors(tensors: Iterable[Tensor]) -> list[list[Any]]:
    """Sorted rows of template, dtype, shape and one index string a placeholder.

    Raises:
        ValueError: two tensors of the same name.
    """
    groups: dict[tuple[str, str, str, tuple[int, ...]], list[Indices]] = {}
    names = set()
    count = 0
    # Of a large model's 90,000 names, the prefixes (an expert's) and the suffixes (the last two components) are few:
    # split once each.
    split = _Split()
    for name, dtype, shape in tensors:
        cut = name.rfind(".", 0, max(name.rfind("."), 0)) + 1
        (prefix, first), (suffix, last) = split[name[:cut]], split[name[cut:]]
        groups.setdefault((prefix, suffix, dtype, shape), []).append(first + last)
        names.add(name)
        count += 1
    if len(names) != count:
        raise ValueError("two tensors have the same name")
    rows = sorted((prefix + suffix, dtype, shape, found) for (prefix, suffix, dtype, shape), found in groups.items())
    return [
        [template, dtype, list(shape), *map(format_indices, values)]
        for template, dtype, shape, indices in rows
        for values in _products(sorted(indices))
    ]


class _Split(dict[str, tuple[str, Indices]]):
    """Text -> what `split_name` makes of it, once."""

    def __missing__(self, text: str) -> tuple[str, Indices]:
        self[text] = split_name(text)
        return self[text]


def decode_tensors(rows: Any) -> TensorRows:
    """The tensors that the rows stand for, in natural order. Raises ValueError on anything malformed."""
    if not isinstance(rows, list):
        raise ValueError("tensors: not a list")
    by_template: dict[str, list[TensorRow]] = {}
    tensors = characters = 0
    for data in rows:
        row = _row(data)
        count = row.size
        tensors += count
        characters += count * len(row.template)
        if tensors > MAX_TENSORS or characters > MAX_NAME_CHARACTERS:
            raise ValueError("more tensors than any model has")
        by_template.setdefault(row.template, []).append(row)
    for same in by_template.values():  # names of two templates differ, as no number stands for itself in one
        if len(same) > 1 and len({each for row in same for each in row.numbers}) != sum(row.size for row in same):
            raise ValueError("two tensors have the same name")
    return TensorRows(chain.from_iterable(by_template.values()))


def _products(indices: list[Indices]) -> list[list[list[int]]]:
    """Sorted index tuples, at least one, as products of sets: (0, 0), (0, 1), (1, 0), (1, 1) is {0, 1} x {0, 1}."""
    if not indices[0]:
        return [[]]
    rests: dict[int, list[Indices]] = {}
    for first, *rest in indices:
        rests.setdefault(first, []).append(tuple(rest))
    merged: dict[tuple[Indices, ...], list[int]] = {}
    for first, tails in rests.items():
        merged.setdefault(tuple(tails), []).append(first)
    return [[firsts, *tail] for tails, firsts in merged.items() for tail in _products(list(tails))]


def format_indices(values: list[int]) -> str:
    """Sorted numbers as ranges, both ends included: [0, 1, 2, 5] -> "0-2,5"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def parse_indices(text: Any) -> list[range]:
    ranges = []
    previous = -1
    for run in _text(text).split(","):
        ends = run.split("-")
        if len(ends) > 2 or not all(e.isascii() and e.isdigit() and len(e) <= MAX_INDEX_DIGITS for e in ends):
            raise ValueError(f"{run[:40]!r} is no range of indices")
        first, last = int(ends[0]), int(ends[-1])
        if first <= previous or last < first:
            raise ValueError("indices out of order")
        ranges.append(range(first, last + 1))
        previous = last
    return ranges


def _row(row: Any) -> TensorRow:
    if not isinstance(row, list) or len(row) < 3:
        raise ValueError("a row of tensors is a template, a dtype, a shape and indices")
    template, dtype, shape = _text(row[0]), row[1], row[2]
    placeholders = 0
    for part in template.split("."):
        if part == PLACEHOLDER:
            placeholders += 1
        elif part[:1] == "{" and part[1:2] != "{":
            raise ValueError("a brace that is no placeholder")
        elif _is_index(part):
            raise ValueError("a number that is no placeholder")
    if len(row) != 3 + placeholders:
        raise ValueError("not one set of indices a placeholder")
    if not isinstance(dtype, str) or not is_dtype(dtype):
        raise ValueError("unknown dtype")
    if not isinstance(shape, list) or len(shape) > MAX_RANK:
        raise ValueError("a shape is a list of a few numbers")
    # type() and not isinstance(): True is an int, and no dimension
    if not all(type(n) is int and 0 <= n <= MAX_DIMENSION for n in shape):
        raise ValueError("a dimension is a whole number from 0")
    return TensorRow(template, dtype, tuple(shape), tuple([tuple(parse_indices(text)) for text in row[3:]]))


def _parts(data: Any) -> tuple[Part, ...]:
    """The parts that `encode` wrote.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(data, list) or not 0 < len(data) <= MAX_PARTS:
        raise ValueError("parts: not a list of a few")
    parts = []
    for item in data:
        if not isinstance(item, list) or len(item) != 4:
            raise ValueError("a part is a name, a kind, a class and a checkpoint")
        name, kind, class_name, checkpoint = item
        if not isinstance(name, str) or kind not in get_args(PartKind) or not isinstance(class_name, str | None):
            raise ValueError("a part's name, kind and class are text")
        if isinstance(checkpoint, dict) and "parts" in checkpoint:
            raise ValueError("a part of a part")
        parts.append(Part(name, kind, class_name, decode(checkpoint)))
    return tuple(parts)


def _file(item: Any) -> File:
    if not isinstance(item, list) or len(item) != 2:
        raise ValueError("a file is a name and a size")
    size = item[1]
    if size is not None and (type(size) is not int or size < 0):
        raise ValueError("a file's size is a whole number from 0, or null")
    return File(_text(item[0]), size)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    return value


def _string(data: dict[str, Any], key: str) -> str:
    return _text(data.get(key))


def _optional_string(data: dict[str, Any], key: str) -> str | None:
    return None if data.get(key) is None else _string(data, key)


def _object(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        raise ValueError(f"{key}: not an object")
    return value


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list):
        raise ValueError(f"{key}: not a list")
    return value
