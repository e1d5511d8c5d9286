"""docs/llm-inspect.1, the man page, is made from the commands and their options.

To write it anew: python -m tests.test_man_page
"""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from inspector.cli.main import COMMANDS, cli
from inspector.version import __version__
from tests.test_options_docs import commands_with, offered

PAGE = Path(__file__).parent.parent / "docs" / "llm-inspect.1"
EXIT_CODES = Path(__file__).parent.parent / "docs" / "json.md"
DATE = "2026-11-30"
"""Of the version that the page is of; a release sets it."""
ENVIRONMENT = {
    "HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT": "As huggingface_hub reads them.",
    "LLM_INSPECT_CACHE_SIZE": "What the cache of answers may take, such as 512MB; 0 keeps none.",
    "LLM_INSPECT_DEBUG": "Where it is set, a bug shows its traceback.",
    "NO_COLOR": "No colour, no progress.",
}


def escaped(text: str) -> str:
    """Text that roff prints as it stands."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def paragraph(text: str) -> str:
    """Lines as click's help has them; what stands behind its \\b keeps its lines."""
    parts = []
    for each in (part for part in re.split(r"\n\s*\n", inspect.cleandoc(text)) if part.strip()):
        if each.startswith("\b"):
            parts.append(".nf\n" + escaped(each[1:].strip("\n")) + "\n.fi")
        else:
            parts.append(escaped(" ".join(each.split())))
    return "\n.PP\n".join(parts)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command, those of a group by both names."""
    context = click.Context(cli)
    for name in COMMANDS:
        found = cli.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from ((f"{name} {below}", found.commands[below]) for below in sorted(found.commands))
        else:
            yield name, found


def of_commands() -> Iterator[str]:
    for name, command in commands():
        context = click.Context(command)
        arguments = (each.make_metavar(context) for each in command.params if isinstance(each, click.Argument))
        yield f".SS {escaped(name)}"
        yield f".B {escaped(f'llm-inspect {name}')}\n[options] {escaped(' '.join(arguments))}".rstrip()
        yield f".PP\n{paragraph(command.help or '')}"
        for line, text in getattr(command, "examples", ()):
            yield f".TP\n.B {escaped(line)}\n{escaped(text)}"


def of_options() -> Iterator[str]:
    """Each once, under its heading, with the commands that have it."""
    groups: dict[str, dict[str, str]] = {}
    for name in COMMANDS:
        for option in offered(name):
            context = click.Context(click.Command(name))
            words = ", ".join(sorted(option.opts, key=len))
            value = "" if option.is_flag or option.count else f" {option.make_metavar(context)}"
            if option.opts[0] in ("--help", "-h"):
                continue
            having = commands_with(option.opts[-1] if len(option.opts) > 1 else option.opts[0])
            help = (option.help or "").strip()
            entry = f".TP\n.B {escaped(words)}{escaped(value)}\n{escaped(help)}"
            group = getattr(option, "group", "") or "Other"
            groups.setdefault(group, {}).setdefault(option.opts[0], f"{entry}\n({escaped(having)})")
    for group in sorted(groups, key=lambda name: (name == "Other", name.startswith("Engine:"))):
        yield f".SS {escaped(group)}"
        yield from groups[group].values()


def page() -> str:
    codes = EXIT_CODES.read_text("utf-8").partition("## Exit codes\n\n")[2].split("\n\n")[0].replace("`", "")
    parts = [
        '.\\" python -m tests.test_man_page writes this page from the commands and their options.',
        f'.TH LLM\\-INSPECT 1 {DATE} "llm\\-inspect {__version__}" "User Commands"',
        ".SH NAME",
        "llm\\-inspect \\- exact parameters and memory of a Hugging Face model, before its weights are downloaded",
        ".SH SYNOPSIS",
        ".B llm\\-inspect\n[options] MODEL...\n.br\n.B llm\\-inspect\nCOMMAND [options] [arguments]",
        ".SH DESCRIPTION",
        paragraph(cli.help or ""),
        f".PP\n{paragraph(cli.epilog or '')}",
        ".SH COMMANDS",
        *of_commands(),
        ".SH OPTIONS",
        'Behind each stand the commands that have it; "all" are show, fit, train, batch and lock.',
        *of_options(),
        ".SH EXIT STATUS",
        paragraph(codes),
        ".SH ENVIRONMENT",
        *(f".TP\n.B {escaped(name)}\n{escaped(text)}" for name, text in ENVIRONMENT.items()),
        ".SH SEE ALSO",
        "The documentation in docs/ of the source, as pages by\n.BR \\(dqmake\\ docs\\(dq .",
    ]
    return "\n".join(parts) + "\n"


def test_the_man_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.test_man_page writes it anew"


def test_the_man_page_names_every_command_and_option() -> None:
    text = page().replace("\\-", "-")
    for name in COMMANDS:
        assert re.search(rf"(?m)^\.SS {name}\b", text)
        for option in offered(name):
            assert option.opts[0] == "--help" or option.opts[0] in text


@pytest.mark.parametrize("checker", [["mandoc", "-T", "lint", "-W", "warning"], ["groff", "-man", "-z", "-ww"]])
def test_the_man_page_is_well_made(checker: list[str]) -> None:
    if shutil.which(checker[0]) is None:
        pytest.skip(f"no {checker[0]} here")
    done = subprocess.run([*checker, str(PAGE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
