"""action.yml: its steps, run with bash as GitHub's runner does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import command_environment
from tests.packages.tools import BIN, environment, run_tool

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS: dict[str, dict[str, Any]] = {each["name"]: each for each in ACTION["runs"]["steps"]}
MANIFEST = """\
models:
  - model: gpt2
    gpus: [24GiB]
    expected: {fits: {24GiB: true}, parameters: PARAMETERS}
"""


class Ran:
    """What a step left behind."""

    def __init__(self, code: int, folder: Path, printed: str) -> None:
        self.code, self.printed = code, printed
        self.summary = (folder / "summary.md").read_text("utf-8")
        text = (folder / "output").read_text("utf-8")
        self.output = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
        self.output |= {name: value for name, _, value in re.findall(r"^(\w+)<<(\S+)\n(.*?)\n\2$", text, re.M | re.S)}


def run_step(name: str, folder: Path, environment: dict[str, str], **inputs: str) -> Ran:
    """A step by the runner's rules: its inputs' defaults, its `env`, and bash with -e and pipefail."""
    given = {key: each["default"] for key, each in ACTION["inputs"].items()} | inputs
    assert set(given) == set(ACTION["inputs"])
    step = STEPS[name]
    named = {
        key: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda it: given[it[1]], text)
        for key, text in step.get("env", {}).items()
    }
    assert "${{" not in step["run"], "an input that is put into a script is run"
    files = {
        key: str(folder / file) for key, file in (("GITHUB_OUTPUT", "output"), ("GITHUB_STEP_SUMMARY", "summary.md"))
    }
    for path in (*files.values(), folder / "path"):
        Path(path).touch()
    runner = {"GITHUB_ACTION_PATH": str(ROOT), "RUNNER_TEMP": str(folder), "GITHUB_PATH": str(folder / "path")}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        env=environment | files | runner | named,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, folder, done.stdout + done.stderr)


@pytest.fixture
def inspect(tmp_path: Path) -> Any:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = command_environment(tmp_path / "home", HF_HUB_OFFLINE="1", PATH=path)
    return lambda **inputs: run_step("Inspect", tmp_path, environment, **inputs)


def test_what_fits_passes_with_verdict_json_and_summary(inspect: Any) -> None:
    ran = inspect(models="gpt2\n\n  Qwen/Qwen2.5-7B  \n", gpu="RTX 4090\n24GiB", context="1k", args="--dtype 'bf16'")
    assert (ran.code, ran.output["verdict"]) == (0, "fits"), ran.printed
    records = json.loads(ran.output["json"])
    assert [each["repo_id"] for each in records] == ["gpt2", "Qwen/Qwen2.5-7B"]
    assert [each["gpu"] for each in records[0]["fit"]] == ["RTX 4090", "24GiB"]
    assert records[0]["memory"]["inference"]["context"] == 1024
    assert ran.summary.startswith("### llm-inspect: fits\n\n| model |")
    assert ran.summary.count("\n|") == 4


def test_what_does_not_fit_fails(inspect: Any) -> None:
    ran = inspect(models="Qwen/Qwen2.5-7B", gpu="8GiB", engine="vllm")
    assert (ran.code, ran.output["verdict"]) == (1, "does not fit"), ran.printed
    assert json.loads(ran.output["json"])[0]["serving"]
    assert "::error title=llm-inspect::does not fit (exit code 1)" in ran.printed


def test_without_a_gpu_models_are_read(inspect: Any) -> None:
    ran = inspect(models="gpt2")
    assert (ran.code, ran.output["verdict"]) == (0, "read"), ran.printed


@pytest.mark.parametrize(("parameters", "code", "verdict"), [(124439808, 0, "as expected"), (1, 1, "changed")])
def test_a_manifest_is_verified(inspect: Any, tmp_path: Path, parameters: int, code: int, verdict: str) -> None:
    (tmp_path / "models.lock.yaml").write_text(MANIFEST.replace("PARAMETERS", str(parameters)))
    ran = inspect(file="models.lock.yaml", args="--offline")
    assert (ran.code, ran.output["verdict"]) == (code, verdict), ran.printed
    assert "gpt2" in ran.summary
    assert json.loads(ran.output["json"])


def test_a_list_is_inspected(inspect: Any, tmp_path: Path) -> None:
    (tmp_path / "models.txt").write_text("gpt2\nQwen/Qwen2.5-7B\n")
    ran = inspect(file="models.txt", gpu="4GiB")
    assert (ran.code, ran.output["verdict"]) == (1, "does not fit"), ran.printed
    assert [each["outcome"] for each in json.loads(ran.output["json"])] == ["fits", "does_not_fit"]
    assert "| gpt2 | fits |" in ran.summary


@pytest.mark.parametrize(
    ("inputs", "code", "text"),
    [
        ({}, 2, "name models, or a file"),
        ({"models": "gpt2", "file": "models.txt"}, 2, "not both"),
        ({"models": "gpt2", "gpu": "RTX 9999"}, 2, "RTX 9999"),
        ({"models": "org/none", "gpu": "24GiB"}, 5, "org/none"),
        ({"models": "gpt2", "args": "--no-such"}, 2, "--no-such"),
        ({"models": "--version"}, 2, "neither a repo ID nor a path"),
        ({"models": "gpt2", "gpu": "$(touch gone); `touch gone`"}, 2, "touch gone"),
    ],
    ids=str,
)
def test_what_is_wrong_fails(inspect: Any, tmp_path: Path, inputs: dict[str, str], code: int, text: str) -> None:
    ran = inspect(**inputs)
    assert ran.code == code, ran.printed
    assert ran.output.get("verdict", "failed") == "failed"
    assert text in ran.printed
    assert not ran.summary or text in ran.summary
    assert not (tmp_path / "gone").exists()


@pytest.mark.packages
def test_it_installs_itself_on_a_runner(tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    installed = run_step("Install llm-inspect", tmp_path, env)
    assert installed.code == 0, installed.printed
    added = (tmp_path / "path").read_text().strip()
    ran = run_step("Inspect", tmp_path, env | {"PATH": f"{added}:{env['PATH']}"}, models="gpt2", gpu="24GiB")
    assert (ran.code, ran.output["verdict"]) == (0, "fits"), ran.printed


@pytest.mark.packages
def test_the_linters_have_nothing_to_say(tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    run_tool(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml", cwd=ROOT, env=env)
    assert not run_tool(BIN / "shellcheck", "packaging/action.sh", cwd=ROOT, env=env)
