"""README and docs show real output: every `console` block is run and compared, the image is made again.

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

import inspector
from tests.conftest import command_environment, run_here

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
IMAGE = ROOT / "docs" / "terminal.svg"
PLOT = ROOT / "docs" / "memory.svg"
SHOWN = ("meta-llama/Meta-Llama-3-8B", "RTX 4090")
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"```console\n\$ (llm-inspect[^\n]*)\n(.*?)```", re.DOTALL)


def output(command: str, home: Path) -> str:
    """What the command prints on standard output, on a machine without a network; "[exit code N]" where it is not 0."""
    done = run_here(shlex.split(command)[1:], command_environment(home))
    code = f"[exit code {done.code}]\n" if done.code else ""
    return "\n".join(line.rstrip() for line in done.out.splitlines()) + "\n" + code


def blocks() -> list[tuple[str, str, str]]:
    """Page, command and what it shows."""
    return [(page.name, *found) for page in PAGES for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "command", "shown"), blocks(), ids=[f"{each[0]} {each[1]}" for each in blocks()])
def test_a_page_shows_what_the_command_prints(page: str, command: str, shown: str, tmp_path: Path) -> None:
    assert output(command, tmp_path) == shown, page


def image() -> str:
    """A report as a terminal of 80 columns shows it."""
    from io import StringIO

    from rich.console import Console

    from inspector.report.text import print_report

    model, gpu = SHOWN
    console = Console(
        record=True,
        width=80,
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        markup=False,
    )
    print_report(console, inspector.inspect(model, gpus=gpu, offline=True))
    return console.export_svg(title=f"llm-inspect {model} --gpu '{gpu}'", unique_id="terminal")


def plot() -> str:
    """What `--plot memory.svg` writes."""
    from inspector.api.curves import bars, curve
    from inspector.api.settings import Settings
    from inspector.cli.plot import FILE_POINTS
    from inspector.report.plot.svg import plots_svg

    name, gpu = SHOWN
    asked, model = Settings(gpus=(gpu,), context=8192), inspector.load(name, offline=True).model
    return plots_svg(name, curve(model, asked, points=FILE_POINTS), bars(model, asked))


def test_the_images_are_what_the_command_makes() -> None:
    assert IMAGE.read_text(encoding="utf-8") == image()
    assert PLOT.read_text(encoding="utf-8") == plot()


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


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
    texts = [README.read_text("utf-8"), (ROOT / "docs" / "options.md").read_text("utf-8")]
    named = [set(re.findall(r"`(--[a-z][a-z0-9-]*)", text)) for text in texts]
    assert named[1] == known
    assert named[0] <= known


if __name__ == "__main__":
    IMAGE.write_text(image(), encoding="utf-8")
    PLOT.write_text(plot(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for page in PAGES:
            text = page.read_text(encoding="utf-8")
            page.write_text(
                BLOCK.sub(lambda found: f"```console\n$ {found[1]}\n{output(found[1], Path(folder))}```", text),
                encoding="utf-8",
            )
