"""The README shows real output: every `console` block is run and compared.

To rewrite them: python tests/test_readme.py
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"```console\n\$ (llm-inspect[^\n]*)\n(.*?)```", re.DOTALL)


def output(command: str, home: Path) -> str:
    """What the command prints on standard output, on a machine without a network; "[exit code N]" where it is not 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "COLUMNS"))}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(README.parent)}
    arguments = [sys.executable, "-m", "inspector", *shlex.split(command)[1:]]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    code = f"[exit code {done.returncode}]\n" if done.returncode else ""
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n" + code


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(README.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("command", "shown"), blocks(), ids=[command for command, _ in blocks()])
def test_the_readme_shows_what_the_command_prints(command: str, shown: str, tmp_path: Path) -> None:
    assert output(command, tmp_path) == shown


def test_the_readme_names_every_option_and_no_other() -> None:
    import click

    from inspector.cli import cli

    text = README.read_text(encoding="utf-8")
    known = {
        name
        for command in map(partial(cli.get_command, click.Context(cli)), cli.list_commands(click.Context(cli)))
        if command is not None
        for parameter in command.params
        for name in parameter.opts
        if name.startswith("--")
    }
    named = set(re.findall(r"`(--[a-z][a-z-]*)", text))
    assert named - {"--help", "--version"} == known


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = README.read_text(encoding="utf-8")
        README.write_text(
            BLOCK.sub(lambda found: f"```console\n$ {found[1]}\n{output(found[1], Path(folder))}```", text),
            encoding="utf-8",
        )
