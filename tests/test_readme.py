"""The README shows real output: every `console` block is run and compared.

To rewrite them: python -m tests.test_readme
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.conftest import command_environment, run_here

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"```console\n\$ (llm-inspect[^\n]*)\n(.*?)```", re.DOTALL)


def output(command: str, home: Path) -> str:
    """What the command prints on standard output, on a machine without a network; "[exit code N]" where it is not 0."""
    done = run_here(shlex.split(command)[1:], command_environment(home))
    code = f"[exit code {done.code}]\n" if done.code else ""
    return "\n".join(line.rstrip() for line in done.out.splitlines()) + "\n" + code


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(README.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("command", "shown"), blocks(), ids=[command for command, _ in blocks()])
def test_the_readme_shows_what_the_command_prints(command: str, shown: str, tmp_path: Path) -> None:
    assert output(command, tmp_path) == shown


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """The long options of a command and of those below it."""
    for parameter in command.get_params(context):
        yield from (name for name in parameter.opts if name.startswith("--"))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below, context)


def test_the_docs_name_every_option_and_no_other() -> None:
    from inspector.cli.main import cli

    known = set(options(cli, click.Context(cli))) - {"--version", "--help"}
    texts = [README.read_text("utf-8"), (README.parent / "docs" / "options.md").read_text("utf-8")]
    named = [set(re.findall(r"`(--[a-z][a-z0-9-]*)", text)) for text in texts]
    assert named[1] == known
    assert named[0] <= known


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = README.read_text(encoding="utf-8")
        README.write_text(
            BLOCK.sub(lambda found: f"```console\n$ {found[1]}\n{output(found[1], Path(folder))}```", text),
            encoding="utf-8",
        )
