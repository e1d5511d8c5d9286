"""Tables and text in the width that there is: no number is cut, no word broken that fits a line."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

import inspector
from inspector.report.lists import print_comparison
from inspector.report.text import Grid, indented, joined, print_report, wrapped

QWEN = "Qwen/Qwen3-30B-A3B"


def shown(width: int, *, terminal: bool, engine: str = "transformers") -> str:
    out = StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, no_color=True, color_system=None, highlight=False)
    print_report(console, inspector.inspect(QWEN, offline=True, gpus="2xH100", engine=engine))
    return out.getvalue()


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_a_narrow_terminal_shows_every_number_and_word_of_a_wide_one(width: int, engine: str) -> None:
    narrow, wide = (shown(each, terminal=True, engine=engine) for each in (width, 200))
    assert max(map(cell_len, narrow.splitlines())) <= width
    assert "…" not in narrow
    wanted = set(re.findall(r"[\w,.]*\d[\w,.]*|[A-Za-z]{3,}", wide))
    missing = {word for word in wanted if word not in narrow} - ({"precision"} if width < 60 else set())
    assert not missing


def test_a_pipe_has_a_line_for_each_row_however_long_the_names() -> None:
    names = [f"some-organization/a-model-with-a-very-long-name-{number}-Instruct" for number in range(2)]
    records = [inspector.inspect(QWEN, offline=True, gpus=["RTX 4090", "4xH100"]).to_dict()] * 2
    out = StringIO()
    print_comparison(Console(file=out, width=80), names, records)
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["model", *names]
    assert len(lines[1]) > 80
    terminal = StringIO()
    print_comparison(Console(file=terminal, width=80, force_terminal=True, color_system=None), names, records)
    assert [line for line in terminal.getvalue().splitlines() if "/" in line] == names
    assert max(map(len, terminal.getvalue().splitlines())) <= 80


def test_the_forms_of_a_table() -> None:
    table = Grid("name", "first", "second")
    table.add_row("a name", "1", "22")
    table.add_row("x", "333", "4")
    text = {room: [line.plain for line in table.lines(room)] for room in (None, 21, 19, 14, 12)}
    assert text[None] == text[21] == ["name    first  second", "a name      1      22", "x         333       4"]
    assert text[19] == ["name   first second", "a name     1     22", "x        333      4"]
    assert text[14] == ["name", " first second", "a name", "     1     22", "x", "   333      4"]
    assert text[12] == ["a name", "  first 1", "  second 22", "x", "  first 333", "  second 4"]


def test_long_names_break_behind_their_signs() -> None:
    lines = [line.plain for line in wrapped(Text("of an-organization/with-a-name"), 18)]
    assert lines == ["of", "an-organization/", "with-a-name"]
    assert [line.plain for line in wrapped(Text("x" * 20), 8)] == ["x" * 8, "x" * 8, "x" * 4]
    assert [line.plain for line in wrapped(Text("x" * 20), 8, terminal=False)] == ["x" * 20]


def test_words_that_belong_together_stay_on_a_line() -> None:
    assert [line.plain for line in joined(["4 KV heads", "12 layers"], 15)] == ["4 KV heads", "12 layers"]
    assert [line.plain for line in joined(["a 1", "b 2", "c 3"], 9, ", ")] == ["a 1, b 2,", "c 3"]


@given(st.text("ab -/\u4e2d", max_size=60), st.integers(2, 20))
def test_wrapped_text_loses_nothing_but_spaces(text: str, room: int) -> None:
    lines = [line.plain for line in wrapped(Text(text), room)]
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(cell_len(line) <= room or " " not in line.strip() for line in lines)


def test_no_line_ends_in_spaces() -> None:
    out = StringIO()
    indented(Console(file=out, width=20), Text("one two three four five six seven"))
    assert not [line for line in out.getvalue().splitlines() if line != line.rstrip()]
