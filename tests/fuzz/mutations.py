"""Real files with a few things changed: JSON edited as a tree, so that most of it stays what a model has, or bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

HOSTILE_TEXTS = (
    '"\\u001b]0;owned\\u0007\\u202e\\u2066x"',
    '"\\u001b[2J\\r\\n\\u0000"',
    '"\\ud800"',
    '"../../../etc/passwd"',
    '"/etc/passwd"',
    '"http://127.0.0.1:9/x"',
    '"file:///etc/passwd"',
    '"{}.{a[0]!r:>99}%s%n"',
    '"[bold]x[/bold][/]"',
    '"a.b.c"',
    '""',
    '" "',
    '"0"',
    '"(a+)+$"',
    '"re:(.*)*(.*)*x"',
)
HOSTILE_NUMBERS = (
    *("0", "-0", "-1", "1", "2", "3", "7", "0.5", "1.5", "-0.0", "1e3", "1e308", "-1e308", "1e999", "5e-324"),
    *(str(2**power + more) for power in (16, 31, 32, 40, 53, 62, 63, 64, 100, 1100) for more in (-1, 0)),
    *("-9223372036854775808", "9" * 400, "9" * 5000, "NaN", "Infinity", "-Infinity"),
)
HOSTILE_SHAPES = (
    *("null", "true", "false", "[]", "{}", "[null]", "[[]]", '{"":{}}', "[0]", "[-1]", '["a"]', "[1,2]", '{"a":1}'),
    *('[{"a":[]}]', "[true,null]", '{"0":0}', '["full_attention",1]', '[["a","b"]]', '{"re:.*":{"num_bits":4}}'),
)
LARGE = ("[" * 90 + "]" * 90, "[" * 130 + "]" * 130, '{"a":' * 3000 + "1" + "}" * 3000, "[" * 100_000)
WIDE = ("[" + "0," * 60_000 + "0]", '"' + "a" * 300_000 + '"', "[" + '"x",' * 30_000 + '"x"]')


class Raw(str):
    """JSON text that stands as it is."""

    __slots__ = ()


class Pairs:
    """An object whose keys may stand twice."""

    def __init__(self, items: Sequence[tuple[str, Any]]) -> None:
        self.items = [list(item) for item in items]


def parse(text: str) -> Any:
    """JSON as lists, `Pairs` and plain values."""
    return json.loads(text, object_pairs_hook=Pairs)


def write(value: Any) -> str:
    """The text of what `parse` gives, or of what became of it."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{write(key)}:{write(item)}" for key, item in value.items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return json.dumps(value)


def hostile(random: Random) -> Raw:
    """A value that does not belong where it is put."""
    kind = random.random()
    if kind < 0.45:
        return Raw(random.choice(HOSTILE_NUMBERS))
    if kind < 0.72:
        return Raw(random.choice(HOSTILE_SHAPES))
    if kind < 0.97:
        return Raw(random.choice(HOSTILE_TEXTS))
    return Raw(random.choice(LARGE if kind < 0.985 else WIDE))


def places(root: Any) -> list[tuple[list[Any], int]]:
    """Where values stand: a list and an index into it."""
    found: list[tuple[list[Any], int]] = []
    todo = [root]
    while todo:
        value = todo.pop()
        if isinstance(value, Pairs):
            found += [(item, 1) for item in value.items]
            todo += [item[1] for item in value.items]
        elif isinstance(value, list):
            found += [(value, i) for i in range(len(value))]
            todo += value
    return found


def objects(root: Any) -> list[Pairs]:
    """All objects within."""
    found, todo = [], [root]
    while todo:
        value = todo.pop()
        if isinstance(value, Pairs):
            found.append(value)
            todo += [item[1] for item in value.items]
        elif isinstance(value, list):
            todo += value
    return found


def mutate_json(random: Random, text: str, keys: Sequence[str], values: Sequence[str] = ()) -> str:
    """One to four edits of a JSON document.

    Args:
        keys: names that mean something there, to be added.
        values: JSON texts that mean something there.
    """
    root = parse(text)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        root = _edited(random, root, keys, values)
    out = write(root)
    return mutate_text(random, out) if random.random() < 0.06 else out


def _edited(random: Random, root: Any, keys: Sequence[str], values: Sequence[str]) -> Any:
    spots = places(root)
    holders = objects(root)
    kind = random.random()
    value = Raw(random.choice(values)) if values and random.random() < 0.3 else hostile(random)
    if not spots or kind < 0.01:
        return value
    holder, at = random.choice(spots)
    if kind < 0.45:
        holder[at] = value
    elif kind < 0.60 and type(holder[at]) in (int, float):
        number = holder[at]
        holder[at] = random.choice(
            (0, 1, -1, -number, number + 1, number * 2, number // 2, float(number), number * 10**9)
        )
    elif kind < 0.75 and holders and keys:
        random.choice(holders).items.append([random.choice(keys), value])
    elif kind < 0.83 and holders:
        chosen = random.choice(holders)
        if chosen.items:
            chosen.items.pop(random.randrange(len(chosen.items)))
    elif kind < 0.88:
        other, there = random.choice(spots)
        holder[at], other[there] = Raw(write(other[there])), Raw(write(holder[at]))
    elif kind < 0.93 and holders:
        random.choice(holders).items.append([random.choice(keys) if keys else "a", Raw(write(holder[at]))])
    elif kind < 0.97 and holders and (items := random.choice(holders).items):
        random.choice(items)[0] = random.choice([*keys, "\x1b[31m", "\u202e", "", "a" * 5000, "../x", "0"])
    elif isinstance(holder[at], list) and holder[at]:
        holder[at] = holder[at] * random.choice((2, 50))
    else:
        holder[at] = value
    return root


TOKENS = (
    *(
        b"",
        b'"',
        b",",
        b":",
        b"0",
        b"-",
        b"1",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\",
        b" ",
        b"e",
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
    ),
    *(b"null", b"NaN", b"true", b"\\ud800", b"\x1b[", b"\xe2\x80\xae", b"9" * 30, b"../", b"\n"),
)
INTEGERS = (
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    65535,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


def mutate_text(random: Random, text: str) -> str:
    """A few characters changed; what is no UTF-8 stands as surrogates."""
    return mutate_bytes(random, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def mutate_bytes(random: Random, data: bytes, tokens: Sequence[bytes] = TOKENS) -> bytes:
    """One to six edits: bits, bytes, numbers of 1 to 8 bytes, tokens, pieces cut, doubled or moved."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        at = random.randrange(len(out) + 1)
        kind = random.randrange(8)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = random.randrange(256)
        elif kind == 2:
            width = random.choice((1, 2, 4, 8))
            number = random.choice(INTEGERS) % 2 ** (8 * width)
            out[at : at + width] = number.to_bytes(width, random.choice(("little", "little", "big")))
        elif kind == 3:
            out[at : at + random.choice((0, 0, 1))] = random.choice(tokens)
        elif kind == 4:
            del out[at : at + random.choice((1, 2, 8, 64))]
        elif kind == 5:
            piece = out[at : at + random.choice((1, 4, 16, 64, 256))]
            out[at:at] = piece * random.choice((1, 1, 2, 20))
        elif kind == 6:
            there = random.randrange(len(out) + 1)
            out[there:there] = out[at : at + random.choice((4, 16, 64))]
        elif random.random() < 0.2:
            del out[at:]
        elif number_at := list(re.finditer(rb"\d+", out[at : at + 200])):
            match = number_at[0]
            out[at + match.start() : at + match.end()] = random.choice(HOSTILE_NUMBERS).encode()
    return bytes(out)
