"""packaging/skill/SKILL.md: its front matter is what agents read, and every command in it runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.conftest import Run

TEXT = (Path(__file__).parents[2] / "packaging" / "skill" / "SKILL.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


def test_the_front_matter_has_a_name_and_says_when_to_use_it() -> None:
    front = yaml.safe_load(TEXT.split("---\n")[1])
    assert set(front) == {"name", "description"}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", front["name"])
    assert "Use when" in front["description"]
    assert len(front["description"]) <= 1024
    assert len(TEXT.splitlines()) < 100


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(command: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.txt").write_text("gpt2\n")
    program, *arguments = shlex.split(command)
    assert program == "llm-inspect"
    done = run(*arguments, HF_HUB_OFFLINE="1")
    assert done.code in (0, 1), done.err
    assert done.out


def test_the_keys_that_it_names_are_the_jsons(run: Run) -> None:
    record = run("fit", "gpt2", "--gpu", "24GiB", "--json", HF_HUB_OFFLINE="1").record
    for key in re.findall(r"`fit\[\]\.(\w+)`", TEXT):
        assert key in record["fit"][0]
    assert {"warnings", "source"} <= set(record)
