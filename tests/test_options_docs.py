"""docs/options.md's tables of settings are made from the settings themselves.

To write them anew: python -m tests.test_options_docs
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click
import pytest

from inspector.api.settings import Settings
from inspector.cli.main import COMMANDS, cli
from inspector.cli.options import Several
from inspector.engines.registry import engines
from inspector.engines.settings import all_options
from inspector.finding.settings import FindSettings
from inspector.memory.training import Sharding, TrainingSetup
from inspector.memory.training.layout import LayoutSettings
from inspector.settings import Setting, settings_of

DOCS = Path(__file__).parent.parent / "docs" / "options.md"
ALL = ("show", "fit", "train", "batch", "lock")
"""What docs/options.md calls `all`."""


def offered(command: str) -> Iterator[click.Option]:
    """The options that a command's --help shows."""
    context = click.Context(cli)
    found = cli.get_command(context, command)
    assert found is not None
    yield from (each for each in found.get_params(context) if isinstance(each, click.Option) and not each.hidden)


def commands_with(option: str) -> str:
    """Those that have it: "all, diff"."""
    # click keeps the help option of a command that has run, with the names that it had there.
    found = {
        name: {each for had in offered(name) if "--help" not in had.opts for each in had.opts} for name in COMMANDS
    }
    having = [name for name, opts in found.items() if option in opts]
    if set(ALL) <= set(having):
        having = ["all", *(name for name in having if name not in ALL)]
    order = ("all", *ALL, "diff", "check-log", *COMMANDS)
    return ", ".join(sorted(having, key=order.index))


def meaning(each: Setting) -> str:
    """What it says, and which commands make a table of several values, where others take one."""
    having = {name: found for name in COMMANDS for found in offered(name) if each.about.option in found.opts}
    several = [name for name in ALL if name in having and isinstance(having[name].type, Several)]
    ranges = "" if not (each.about.several and several) else "; or [several](tables.md)"
    if ranges and len(several) < len(having):
        ranges = f"; or, with {', '.join(several[:-1])} and {several[-1]}, [several](tables.md)"
    return (each.about.docs or in_a_table(each.about.help)) + ranges


def in_a_table(text: str) -> str:
    """The words of --help without a capital and a full stop, names apart."""
    return (text[0].lower() if text.split(maxsplit=1)[0][1:].islower() else text[0]) + text[1:].rstrip(".")


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def tables() -> Mapping[str, str]:
    """The heading that each stands under, without what is in brackets -> the table."""
    own = [each for each in settings_of(Settings).values() if each.about.option]
    general = [each for each in own if each.name != "engine"]
    engine = next(each for each in own if each.name == "engine")
    having = {
        name: ", ".join(each.title for each in engines() if name in settings_of(each.options)) for name in all_options()
    }
    serving = [(engine, ""), *((each, having[name]) for name, each in all_options().items())]
    training = {
        each.about.option: meaning(each)
        for kind in (TrainingSetup, Sharding, LayoutSettings)
        for each in settings_of(kind).values()
    }
    others = {f"--{name}" for name in ("config", "processes", "ignore-key", "measure", "trainable")}
    for each in offered("train"):
        if each.opts[0] in others:
            training[each.opts[0]] = in_a_table(each.help or "")
    return {
        "What is asked of the model": table(
            ("option", "commands", "meaning"),
            ((f"`{each.about.option}`", commands_with(each.about.option), meaning(each)) for each in general),
        ),
        "Serving engines": table(
            ("option", "engine", "meaning"),
            ((f"`{each.about.option}`", owners, meaning(each)) for each, owners in serving),
        ),
        "Training": table(("option", "meaning"), ((f"`{name}`", text) for name, text in training.items())),
        "What runs on a device": table(
            ("option", "meaning"),
            ((f"`{each.about.option}`", meaning(each)) for each in settings_of(FindSettings).values()),
        ),
    }


def with_tables(text: str) -> str:
    """The text with its tables made anew."""
    for heading, made in tables().items():
        pattern = rf"(?m)^(## {re.escape(heading)}[^\n]*\n\n)(?:\|[^\n]*\n)+"
        text, count = re.subn(pattern, lambda found, made=made: f"{found[1]}{made}\n", text)  # type: ignore[misc]
        assert count == 1, heading
    return text


def test_the_tables_are_those_of_the_settings() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert text == with_tables(text), "python -m tests.test_options_docs writes them anew"


@pytest.mark.parametrize("command", ["show", "fit", "batch", "lock", "diff"])
def test_a_command_offers_every_setting_that_it_takes(command: str) -> None:
    shown = {name for each in offered(command) for name in each.opts}
    every = {"--all-gpus", "--all-options"}
    left_out = {"fit": set[str](), "diff": {"--engine", "--gpu", "--price", *every}}.get(command, every)
    assert {each.about.option for each in settings_of(Settings).values()} - {""} - shown == left_out


def test_train_offers_nothing_that_it_refuses() -> None:
    shown = {name for each in offered("train") for name in each.opts}
    assert not shown & {"--kv-dtype", "--engine"}


if __name__ == "__main__":
    DOCS.write_text(with_tables(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
