"""A setting is one dataclass field: its default, help, unit and option stand together, and are said once.

`setting` makes the field, `settings_of` tells what a dataclass's fields say of themselves. The command line's options,
a manifest's keys, JSON and docs/options.md are made from that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

_KEY = "setting"


class About(NamedTuple):
    """What a setting says of itself.

    Attributes:
        help: one or two short sentences, as `--help` shows them.
        option: as the command line writes it; "" for one that has no option.
        unit: of the value: "tokens", "bytes", "pixels"; "" for a plain number, a name or a flag.
        metavar: what stands for the value in `--help`.
        choices: the values that there are; empty where any of the type will do.
        least / most: the bounds of a number, both included.
        reads: how text is read where the type alone does not tell: "tokens" (8k), "pixels" (1024x768), ...
        group: the heading that the option stands under.
        off: the option that turns a flag off, where it is on by default.
    """

    help: str
    option: str = ""
    unit: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    reads: str = ""
    group: str = ""
    off: str = ""


class Setting(NamedTuple):
    """A field of a dataclass of settings: its name, its type as annotated, its default, and what it says of itself."""

    name: str
    type: str
    default: Any
    about: About


def setting(default: Any = dataclasses.MISSING, *, help: str, option: str | None = None, **about: Any) -> Any:
    """A dataclass field that is a setting.

    Args:
        default: its value where none is given; a mapping, list or set is copied for each instance.
        help: see `About`; so are the keywords.
        option: None for the field's name with dashes, "" for no option.
    """
    metadata = {_KEY: (option, About(help, **about))}
    if isinstance(default, dict | list | set):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(kind: type) -> Mapping[str, Setting]:
    """The settings among a dataclass's fields, inherited ones first, in their order."""
    found = {}
    for field in dataclasses.fields(kind):
        if _KEY in field.metadata:
            option, about = field.metadata[_KEY]
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            named = f"--{field.name.replace('_', '-')}" if option is None else option
            found[field.name] = Setting(field.name, str(field.type), default, about._replace(option=named))
    return found
