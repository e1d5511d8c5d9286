"""Lists of models: every form, each ID once and in order, and mistakes named by file and line."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.batch import read_ids
from inspector.batch.ids import _parse
from inspector.errors import FileMissing, UsageError


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_lines_with_comments_blanks_and_revisions(tmp_path: Path) -> None:
    text = "\ufeff# a list\norg/a\r\n\n  org/b@v1.0  # why\norg/c@a#b\n\t#gone\ngpt2"
    assert read_ids([write(tmp_path, "models.txt", text)]) == ["org/a", "org/b@v1.0", "org/c@a#b", "gpt2"]


def test_duplicates_of_several_files_count_once_in_the_order_of_the_first(tmp_path: Path) -> None:
    first, second = write(tmp_path, "a.txt", "org/b\norg/a\norg/b\n"), write(tmp_path, "b.txt", "org/a\norg/c\n")
    assert read_ids([first, second]) == ["org/b", "org/a", "org/c"]


@pytest.mark.parametrize("head", ["model", "repo_id", "id", "ID", "downloads,model,id", "id,repo_id"])
def test_csv_takes_the_column_that_names_models(tmp_path: Path, head: str) -> None:
    cells = ["no/no"] * len(head.split(","))
    names = head.lower().split(",")
    cells[names.index(next(name for name in ("model", "repo_id", "id") if name in names))] = '"org/a"'
    assert read_ids([write(tmp_path, "models.csv", f"# exported\n\n{head}\n{','.join(cells)}\n\n")]) == ["org/a"]


def test_csv_is_known_by_the_comma_of_its_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"model,likes\norg/a,3\n")))
    assert read_ids(["-"]) == ["org/a"]


@pytest.mark.parametrize(
    "text",
    [
        "- org/a\n- org/b@v1\n",
        "models:\n  - org/a\n  - model: org/b\n    revision: v1\n",
        "- {repo_id: org/a, gpu: H100}\n- id: org/b@v1\n",
    ],
)
def test_yaml_lists(tmp_path: Path, text: str) -> None:
    assert read_ids([write(tmp_path, "models.yaml", text)]) == ["org/a", "org/b@v1"]


@pytest.mark.parametrize(
    "text",
    [
        '["org/a", "org/b@v1"]',
        ' [\n\t{"id": "org/a", "likes": 3},\n\t{"repo_id": "org/b", "revision": "v1"}\n]\n',
        '{"models": ["org/a", {"model": "org/b", "revision": "v1"}]}',
        '{"id": "org/a", "model": {"model_type": "gpt2"}}\n{"id": "org/b@v1", "revision": "main"}\n',
    ],
)
def test_json_lists_and_lines(tmp_path: Path, text: str) -> None:
    assert read_ids([write(tmp_path, "models.json", text)]) == ["org/a", "org/b@v1"]
    assert read_ids([write(tmp_path, "models", text)]) == ["org/a", "org/b@v1"]


def test_a_row_or_an_entry_without_a_model_is_kept_and_told(tmp_path: Path) -> None:
    told: list[UsageError] = []
    rows = write(tmp_path, "m.csv", "model,likes\norg/a,3\n,4\norg/b\n")
    assert read_ids([rows], refuse=told.append) == ["org/a", ",4", "org/b"]
    entries = write(tmp_path, "m.json", '["org/a", {"likes": 4}, "org/b:Q4_K_M"]')
    assert read_ids([entries], refuse=told.append) == ["org/a", '{"likes": 4}', "org/b:Q4_K_M"]
    assert [each.message.partition(":")[0] for each in told] == [f"{rows}, line 3", f"{entries}, line 1"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.txt", "org/a\na/b/c\n", "m.txt, line 2: 'a/b/c'"),
        ("m.txt", "org/a\norg/b x\n", "m.txt, line 2"),
        ("m.txt", b"org/a\n\norg/\xff\n", "m.txt, line 3: no UTF-8"),
        ("m.csv", "name,likes\norg/a,3\n", "m.csv, line 1: no column model, repo_id or id"),
        ("m.csv", "model,likes\norg/a,3\n,4\n", "m.csv, line 3: ',4'"),
        ("m.json", '["org/a",\n "org/b"', "m.json: the JSON list has no end"),
        ("m.json", '["org/a",\n org/b]', "m.json, line 2: no valid JSON"),
        ("m.json", '["org/a",\n {"likes": 3}]', "m.json, line 2: '{"),
        ("m.csv", 'model\n"org/a', "m.csv, line 2: no valid CSV"),
        ("m.yaml", "- org/a\n- {likes: 3}\n", "m.yaml, line 2: this entry names no model"),
        ("m.yaml", "- org/a\n- [org/b]\n", "m.yaml, line 2"),
        ("m.yaml", "- org/a\n- 'org/b\n", "m.yaml, line 3: no valid YAML"),
        ("m.yaml", "org/a\n", "m.yaml: no list of models"),
        ("m.yaml", "[" * 5000, "m.yaml: no valid YAML"),
    ],
)
def test_a_mistake_is_named_by_file_and_line(tmp_path: Path, name: str, text: str | bytes, words: str) -> None:
    write(tmp_path, name, text)
    with pytest.raises(UsageError) as caught:
        read_ids([tmp_path / name])
    assert words in caught.value.message


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="no such file"):
        read_ids([tmp_path / "none.txt"])
    with pytest.raises(UsageError, match="cannot be read"):
        read_ids([tmp_path])


def test_a_revision_for_all_conflicts_with_one_of_a_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 2: .* two revisions"):
        read_ids([write(tmp_path, "m.txt", "org/a\norg/b@v1\n")], revision="v2")


@given(st.sampled_from(["x.txt", "x.csv", "x.yaml"]), st.text(max_size=200) | st.text('[{"1, }]\n:', max_size=20))
def test_any_text_is_parsed_or_refused(name: str, text: str) -> None:
    with contextlib.suppress(UsageError):
        assert all(line >= 1 and model for line, model in _parse(name, text))
