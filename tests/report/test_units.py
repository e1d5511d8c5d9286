"""Bytes and counts as people read them, and names from a repo made safe to print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.report.units import bytes_text, count_text, gib_text, inert


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.50 KiB"),
        (131_072, "128 KiB"),
        (16_060_522_496, "15.0 GiB"),
        (1_342_177_280, "1.25 GiB"),
        (81_559 * 1024**2, "79.6 GiB"),
        (5 * 1024**4, "5.00 TiB"),
        (-1536, "-1.50 KiB"),
        (None, "unknown"),
    ],
)
def test_bytes(size: int | None, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(8_030_261_248, "8.03 B"), (671_026_404_352, "671 B"), (22_713_216, "22.7 M"), (999, "999"), (None, "unknown")],
)
def test_counts(count: int | None, text: str) -> None:
    assert count_text(count) == text


def test_gib_columns_have_two_decimals() -> None:
    assert [gib_text(size) for size in (1024**3, 16_060_522_496, None)] == ["1.00", "14.96", "unknown"]


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb\nc", "a\\rb\\nc"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("naïve 模型", "naïve 模型"),
    ],
)
def test_hostile_names_are_printed_inert(hostile: str, shown: str) -> None:
    assert inert(hostile) == shown


@given(st.text())
def test_nothing_that_is_printed_steers_a_terminal(text: str) -> None:
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in inert(text))
