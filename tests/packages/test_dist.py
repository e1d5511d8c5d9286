"""What `make dist` built: its size, what is in it, and that it runs where nothing else is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packages.tools import BIN, DIST, ROOT, environment, run_tool, the_wheel

pytestmark = pytest.mark.packages

MODEL = "Qwen/Qwen2.5-7B"
MEGABYTE = 1_000_000


def pythons() -> list[str]:
    """The lowest and the highest Python that llm-inspect runs on and that is found here."""
    command = [BIN / "uv", "python", "list", "--only-installed", "--output-format", "json"]
    found = subprocess.run(command, env=environment(BIN.parent / "home"), capture_output=True, check=True).stdout
    listed = [each for each in json.loads(found) if each["implementation"] == "cpython" and each["path"]]
    usable = {tuple(each["version_parts"][part] for part in ("major", "minor")): each["path"] for each in listed}
    usable = {version: path for version, path in usable.items() if version >= (3, 10)}
    return [usable[each] for each in sorted({min(usable), max(usable)})]


def test_the_wheel_is_small_and_has_what_it_reads() -> None:
    wheel = the_wheel()
    with zipfile.ZipFile(wheel) as archive:
        sizes = {each.filename: each.file_size for each in archive.infolist()}
    assert wheel.stat().st_size < 3 * MEGABYTE
    assert sum(sizes.values()) < 7.5 * MEGABYTE
    assert {"inspector/py.typed", "inspector/data/tables.pack", "inspector/snapshots/index.json"} <= set(sizes)
    assert {f"inspector/report/html/{name}" for name in ("charts.js", "report.js", "style.css")} <= set(sizes)
    assert not [name for name in sizes if name.startswith("inspector/data/training/")]
    assert {name.split("/")[0].partition("-")[0] for name in sizes} == {"inspector", "llm_inspect"}


def test_the_source_distribution_builds_the_same_wheel(tmp_path: Path) -> None:
    (source,) = DIST.glob("*.tar.gz")
    run_tool("tar", "xzf", source, cwd=tmp_path, env=environment(tmp_path / "home"))
    (folder,) = tmp_path.glob("llm_inspect-*")
    run_tool(
        BIN / "python",
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        tmp_path,
        cwd=folder,
        env=environment(tmp_path / "home"),
    )
    (again,) = tmp_path.glob("*.whl")
    assert again.read_bytes() == the_wheel().read_bytes()


@pytest.mark.parametrize("end", [0, -1], ids=["lowest", "highest"])
def test_it_runs_in_an_empty_environment(tmp_path: Path, end: int) -> None:
    python = pythons()[end]
    env = environment(tmp_path / "home")
    run_tool(BIN / "uv", "venv", "--quiet", "--python", python, tmp_path / "venv", cwd=tmp_path, env=env)
    inside = tmp_path / "venv" / "bin"
    run_tool(BIN / "uv", "pip", "install", "--quiet", "--python", inside / "python", the_wheel(), cwd=tmp_path, env=env)
    empty = tmp_path / "empty"
    empty.mkdir()
    command = inside / "llm-inspect"
    version = re.search(r'"(.*)"', (ROOT / "inspector" / "version.py").read_text("utf-8").rpartition("=")[2])
    assert version is not None
    assert version[1] in run_tool(command, "--version", cwd=empty, env=env)
    assert "fits · needs" in run_tool(command, "fit", MODEL, "--gpu", "24GiB", cwd=empty, env=env)
    assert "does not fit" in run_tool(command, "fit", MODEL, "--gpu", "8GiB", cwd=empty, env=env, code=1)
    assert "peak" in run_tool(command, "train", MODEL, "--method", "lora", cwd=empty, env=env)
    hint = "Error: the MCP server needs mcp\nInstall it: pip install 'mcp>=2.1'.\n"
    assert run_tool(command, "mcp", cwd=empty, env=env, code=2) == hint
    installed, here = (
        json.loads(subprocess.run([*run, MODEL, "--json"], cwd=empty, env=env, capture_output=True, check=True).stdout)
        for run in ([command], [sys.executable, "-m", "inspector"])
    )
    assert installed == here, "packed tables are read as the checkout's files"
    assert not list(empty.iterdir())
