"""An output format is one class and one line of the registry: show, fit, train and batch have it then."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.cli.main import run
from inspector.record import Record
from inspector.report.writers import FORMATS, Format, Writer

GPT2 = "openai-community/gpt2"


class Toy(Writer):
    """A model and its bytes, a line each."""

    def line(self, record: Record) -> str:
        return f"{record['repo_id']} takes {record['memory']['inference']['total']}\n"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(FORMATS, "toy", Format(f"{__name__}:Toy", lines=True, suffixes=(".toy",)))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


def test_every_command_that_reports_on_models_prints_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ids, out = tmp_path / "ids.txt", tmp_path / "out.toy"
    ids.write_text(f"{GPT2}\n")
    printed = []
    for command in (["show", GPT2], ["fit", GPT2, "--gpu", "24GiB"], ["train", GPT2], ["batch", str(ids)]):
        assert run([*command, "--offline", "--format", "toy"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0].startswith(f"{GPT2} takes ")
    assert printed == [printed[0]] * 4
    assert run(["batch", str(ids), "--offline", "--output", str(out)]) == 0  # known by the file's name
    assert out.read_text() == printed[0]
    assert run(["batch", str(ids), "--offline", "--output", str(out), "--resume"]) == 2
    assert "cannot be resumed" in capsys.readouterr().err


def test_it_is_among_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    for command, formats in (
        ("show", "text|json|jsonl|csv|markdown|toy"),
        ("batch", "jsonl|csv|markdown|parquet|toy"),
    ):
        assert run([command, "--help"]) == 0
        assert formats in "".join(capsys.readouterr().out.split())
