"""`fit "vllm serve MODEL ..."`: a launch command in the place of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from inspector.cli.output import Output
from inspector.errors import UsageError


class Asked(NamedTuple):
    """What a command asks for: the model, the settings with those of the command line, and the files beside it."""

    model: str
    settings: dict[str, Any]
    files: dict[str, Any]


def pasted(
    text: str, settings: Mapping[str, Any], files: Mapping[str, Any], access: Mapping[str, Any], out: Output
) -> Asked:
    """A command's model and settings; what stands on our own command line counts before them.

    Raises:
        UsageError: the command cannot be read.
        InspectError: the model cannot be read, whose own maximum is the length of a request that names none.
    """
    from inspector.api.inspection import inspect
    from inspector.engines.command import read_command

    found = read_command(text)
    asked = dict(settings)
    told = dict(found.settings)
    made = told.pop("made", None)
    if found.whole_length or made is not None:
        with out.waiting(found.model):
            model = inspect(found.model, **access).model.architecture
        if found.whole_length and model.longest_context:
            told["context"] = model.longest_context
        if made is not None and model.quantization is None and not told.get("dtype"):
            told["dtype"] = made
    given = _given()
    for name, value in {"engine": found.engine, **told, **found.serving}.items():
        if value is not None and name not in given:
            asked[name] = value
    if "engine" in given and asked["engine"] != found.engine:
        raise UsageError(f"the command is one of {found.engine}", f"Leave out --engine {asked['engine']}.")
    if found.ignored:
        out.note(f"taken to take no memory: {', '.join(found.ignored)}")
    return Asked(found.model, asked, {**found.files, **{name: value for name, value in files.items() if value}})


def _given() -> set[str]:
    """The options that stand on our own command line."""
    context = click.get_current_context()
    usual = (None, click.core.ParameterSource.DEFAULT, click.core.ParameterSource.DEFAULT_MAP)
    return {name for name in context.params if context.get_parameter_source(name) not in usual}
