"""The wheel by the installers of applications: uvx, and pipx."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages.tools import environment, run_tool, the_wheel

pytestmark = pytest.mark.packages

FIT = ("fit", "Qwen/Qwen2.5-7B", "--gpu", "24GiB")


def test_uvx_runs_it(tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    assert "fits · needs" in run_tool("uvx", "--from", the_wheel(), "llm-inspect", *FIT, cwd=tmp_path, env=env)


def test_pipx_installs_and_runs_it(tmp_path: Path) -> None:
    env = environment(tmp_path / "home", PIPX_HOME=str(tmp_path / "pipx"), PIPX_BIN_DIR=str(tmp_path / "bin"))
    run_tool("pipx", "install", the_wheel(), cwd=tmp_path, env=env)
    assert "fits · needs" in run_tool(tmp_path / "bin" / "llm-inspect", *FIT, cwd=tmp_path, env=env)
