"""packaging/Dockerfile: linted, and its instructions followed in a folder: there is no Docker where the tests run.

What only an image shows is not tried here: its base, its user and its size.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.packages.tools import BIN, ROOT, environment, run_tool

DOCKERFILE = ROOT / "packaging" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, in a line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def test_the_image_runs_the_command_as_a_user_who_is_not_root() -> None:
    last = dict(instructions())
    assert last["ENTRYPOINT"] == '["llm-inspect"]'
    assert last["USER"].isdigit()
    assert last["USER"] != "0"
    assert "python:3" in last["FROM"]
    assert "slim" in last["FROM"]


@pytest.mark.packages
def test_the_linter_has_nothing_to_say() -> None:
    assert not run_tool(BIN / "hadolint", DOCKERFILE, cwd=ROOT, env=environment(BIN.parent / "home"))


@pytest.mark.packages
def test_what_it_copies_and_runs_makes_a_command_that_runs_offline(tmp_path: Path) -> None:
    """The first stage, with folders below `tmp_path` for those of the image."""
    env = environment(tmp_path / "home")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    where = tmp_path
    inside = tmp_path / "opt" / "llm-inspect"
    for name, rest in instructions()[1:]:
        if name == "FROM":
            break
        if name == "WORKDIR":
            where = tmp_path / rest.lstrip("/")
            where.mkdir(parents=True)
        elif name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                to = where / target / Path(source).name if target.endswith("/") else where / target
                to.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, to)
        else:
            assert name == "RUN"
            path = f"{tmp_path / 'bin'}:{env['PATH']}"
            run_tool("sh", "-e", "-c", rest.replace("/opt/", f"{tmp_path}/opt/"), cwd=where, env=env | {"PATH": path})
    shutil.rmtree(where)
    entry = json.loads(dict(instructions())["ENTRYPOINT"])[0]
    printed = run_tool(inside / "bin" / entry, "fit", "Qwen/Qwen2.5-7B", "--gpu", "24GiB", cwd=tmp_path, env=env)
    assert "fits · needs" in printed
    assert not (inside / "bin" / "pip").exists()
