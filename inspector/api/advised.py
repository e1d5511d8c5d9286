"""A verdict with what else fits: the search's options as command lines, and the single changes among them."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inspector.advice.search import best_options
from inspector.api.settings import EngineSettings, Settings, Source
from inspector.engines.registry import names
from inspector.settings import option_words, settings_of
from inspector.verdict.changes import Change, Option

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.engines.serving import Serving
    from inspector.memory import Workload
    from inspector.model import Model
    from inspector.verdict.fit import Fit

ORDER = ("context", "batch", "kv_dtype", "serving", "dtype", "gpus")
"""Settings of which one may change alone, the mildest first."""


def advised(
    model: Model,
    workload: Workload,
    asked: Settings,
    spec: GpuSpec,
    answer: tuple[Fit, Serving | None],
    *,
    name: str,
    gpu: str,
    other_engines: bool,
) -> tuple[Fit, Serving | None]:
    """A verdict of one device, and an engine's account, with the options and the changes that make it fit.

    Args:
        name: the model's, as a command line names it.
        gpu: the device, as it was named.
        other_engines: search those, too.
    """
    fit, serving = answer
    engines = (asked.engine, *(each for each in names() if each != asked.engine)) if other_engines else (asked.engine,)
    found = best_options(model, spec, workload=workload, engines=engines, options=asked.serving)
    options = tuple(
        dataclasses.replace(option, command=command_of(name, asked, _named(option, asked, workload), gpu))
        for option in found
    )
    changes = fit.changes
    if fit.fits is False:
        changes = (*single_changes(options, asked, workload), *fit.changes)
    if serving is not None:
        serving = dataclasses.replace(serving, changes=changes).explained_by(serving.explanation)
    return dataclasses.replace(fit, options=options, changes=changes), serving


def _named(option: Option, asked: EngineSettings, workload: Workload) -> Mapping[str, Any]:
    """An option's settings, without a context that is the model's default and was not asked for."""
    usual = asked.context is None and option.context == workload.context
    return {**option.settings, "context": None} if usual else option.settings


def command_of(name: str, asked: EngineSettings, settings: Mapping[str, Any], gpu: str) -> str:
    """The command line of `fit` that asks for an option.

    Args:
        name: the model's.
        asked: what was asked for: what the option leaves as it is.
        settings: the option's.
        gpu: the device, where the option has none of its own.
    """
    words = ["llm-inspect", "fit", name]
    if isinstance(asked, Source) and asked.revision:
        words += ["--revision", asked.revision]
    words += ["--gpu", *settings.get("gpus", (gpu,))]
    for each in settings_of(EngineSettings).values():
        value = settings.get(each.name, getattr(asked, each.name))
        if each.about.option and value != each.default:
            words += option_words(each, value)
    return shlex.join([*words, *_own_words(settings["serving"])])


def _own_words(serving: Mapping[str, Any]) -> list[str]:
    """The engine's own options as a command line has them."""
    if not serving:
        return []
    from inspector.engines.settings import all_options

    known = all_options()
    return [word for name, value in serving.items() for word in option_words(known[name], value)]


def single_changes(options: Sequence[Option], asked: EngineSettings, workload: Workload) -> tuple[Change, ...]:
    """Of the options those that change one thing that was asked for, the best of each kind, the mildest kind first."""
    found: dict[str, Change] = {}
    for option in options:
        given: dict[str, Any] = {"kv_dtype": workload.kv_dtype, "dtype": workload.dtype, "serving": dict(asked.serving)}
        given |= {"engine": asked.engine, "context": workload.context, "batch": workload.batch, "gpus": None}
        changed = [name for name, value in given.items() if option.settings.get(name) != value]
        if len(changed) != 1 or changed[0] not in ORDER:
            continue
        (kind,) = changed
        if kind == "serving":
            own = {
                name: value for name, value in option.settings["serving"].items() if asked.serving.get(name) != value
            }
            words = shlex.join(_own_words(own))
            kind = f"serving {words.partition(' ')[0]}"
        else:
            value = option.settings[kind]
            name = {"gpus": "--gpu", "kv_dtype": "--kv-dtype"}.get(kind, f"--{kind}")
            words = f"--gpu '{value[0]}'" if kind == "gpus" else f"{name} {value}"
        found.setdefault(kind, Change(words, option.text, option.needed))
    return tuple(found[kind] for kind in sorted(found, key=lambda kind: ORDER.index(kind.partition(" ")[0])))
