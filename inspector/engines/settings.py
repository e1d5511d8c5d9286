"""The engines' options together: which engine has which, and the refusal of those that an engine does not have.

All of it is read off the engines' own dataclasses of options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.engines.engine import Engine
from inspector.engines.registry import engine_named, engines
from inspector.errors import UsageError
from inspector.settings import Setting, read_values, settings_of


def all_options() -> Mapping[str, Setting]:
    """Every engine's options by their field's name, in the order of the engines; of one name the first counts."""
    found: dict[str, Setting] = {}
    for each in engines():
        for name, option in settings_of(each.options).items():
            found.setdefault(name, option)
    return found


def engines_with() -> Mapping[str, list[str]]:
    """The names of the engines that have an option, by its field's name."""
    return {name: [each.name for each in engines() if name in settings_of(each.options)] for name in all_options()}


def option_of(name: str) -> str:
    """An option as the command line writes it: "n_ubatch" -> "--n-ubatch"."""
    known = all_options()
    return known[name].about.option if name in known else f"--{name.replace('_', '-')}"


def engine_settings(engine: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """An engine's options as people write them, read.

    Raises:
        UsageError: there is no such engine, or one of them belongs to another engine, or to none.
        TypeError: one of them has not its type.
    """
    asked = engine_named(engine)
    own = settings_of(asked.options)
    if given and not own:
        raise UsageError(*_owners_of(tuple(given), asked))
    for name in given:
        if name in own:
            continue
        owners = [other.name for other in engines() if name in settings_of(other.options)]
        has = f"{engine} has: {', '.join(option.about.option for option in own.values())}."
        if not owners:
            raise UsageError(f"'{name}' is no setting of a serving engine", has)
        raise UsageError(
            f"{option_of(name)} is a setting of {' and '.join(owners)}, not of {engine}",
            asked.foreign_options.get(name, has),
        )
    return read_values(asked.options, given, "serving")


def _owners_of(given: tuple[str, ...], asked: Engine) -> tuple[str, str]:
    """What to say of options that were given to an engine without any: what is wrong, and which engines have them
    all."""
    having = [each for each in engines() if settings_of(each.options)]
    fitting = [each.name for each in having if all(name in settings_of(each.options) for name in given)]
    are = "is a setting" if len(given) == 1 else "are settings"
    return (
        f"{', '.join(map(option_of, given))} {are} of serving engines, not of {asked.name}",
        f"Add --engine {' or '.join(fitting or [each.name for each in having])}.",
    )
