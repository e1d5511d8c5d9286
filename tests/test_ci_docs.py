"""What docs/ci.md tells to copy works: its manifest is read, its commands parse, the hook names a command that runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from inspector.cli.main import cli
from inspector.manifest import read_manifest
from tests.batch.mixed import small_files
from tests.conftest import Run
from tests.hub_server import LoopbackHub

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
MANIFEST = "models.lock.yaml"


def block(key: str) -> Any:
    (found,) = [each for each in BLOCKS if key in each]
    return found


def inputs() -> list[dict[str, str]]:
    """What the examples give the Action."""
    steps = [*block("steps")["steps"], *block("jobs")["jobs"]["verify"]["steps"]]
    return [step["with"] for step in steps if step.get("uses", "").startswith("OWNER/llm-inspect@")]


def commands() -> list[str]:
    shell = [line for text in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in text.splitlines()]
    return [line for line in shell if line.startswith("llm-inspect ")]


def hook() -> dict[str, Any]:
    (found,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return dict(found)


def test_the_hand_written_manifest_is_read(tmp_path: Path) -> None:
    (text,) = [text for text in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if text.startswith("models:")]
    path = tmp_path / MANIFEST
    path.write_text(text)
    first, second = read_manifest(path)
    assert first.expected.fits == {"RTX 4090": True, "24GiB": True}
    assert (second.settings.context, second.tolerance, second.expected.parameters) == (8192, 0.01, 8_030_261_248)


@pytest.mark.parametrize("command", commands())
def test_commands_have_options_that_exist(command: str) -> None:
    name, *arguments = shlex.split(command)[1:]
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    found.make_context(name, arguments)


def test_the_workflow_verifies_the_manifest() -> None:
    workflow = block("jobs")
    # YAML 1.1 takes the key `on` for true; GitHub does not.
    assert workflow[True]["pull_request"]["paths"] == [MANIFEST]
    (given,) = [each for each in inputs() if "file" in each]
    assert given["file"] == MANIFEST
    verify = cli.get_command(click.Context(cli), "verify")
    assert verify is not None
    verify.make_context("verify", [*shlex.split(given["args"]), MANIFEST])
    assert workflow["permissions"] == {"contents": "read"}


def test_the_examples_give_inputs_that_the_action_has() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert len(inputs()) == 2
    for given in inputs():
        assert set(given) <= set(action["inputs"])
    for name in action["outputs"]:
        assert f"`{name}`" in TEXT


def test_the_hook_is_named_in_the_docs_and_runs_for_manifests_alone() -> None:
    assert block("repos")["repos"][0]["hooks"] == [{"id": hook()["id"]}]
    assert re.search(hook()["files"], f"deploy/{MANIFEST}")
    assert not re.search(hook()["files"], "config.yaml")
    assert hook()["language"] == "python"


def test_the_hooks_command_passes_and_fails_as_git_wants_it(
    run: Run, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    repo = loopback_hub.add_repo("org/name", small_files())
    path = tmp_path / MANIFEST
    assert run("lock", "org/name", "-o", path, endpoint=loopback_hub.url).code == 0
    program, *arguments = hook()["entry"].split()
    assert program == "llm-inspect"
    assert run(*arguments, path, endpoint=loopback_hub.url).code == 0
    repo.commit(small_files())
    assert run(*arguments, path, endpoint=loopback_hub.url).code == 1
