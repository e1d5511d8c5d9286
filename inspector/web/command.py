"""What the page shows, as the command line that prints it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from inspector.api.settings import DesignSettings, DeviceSettings, Settings
from inspector.engines.settings import all_options
from inspector.memory.estimate import RunSettings
from inspector.memory.training import Sharding, TrainingSetup
from inspector.memory.training.layout import LayoutSettings
from inspector.settings import Setting, option_words, settings_of


def command_line(model: str, revision: str | None, settings: Mapping[str, Any], *, training: bool) -> str:
    """`llm-inspect ...` for a POSIX shell; what is left at its default is left out.

    Args:
        model: as the user named it.
        settings: the keywords of `inspector.inspect`, or of `inspector.train`.

    >>> command_line("gpt2", None, {"context": "8k", "gpus": ("RTX 4090",), "batch": 1}, training=False)
    "llm-inspect fit gpt2 --gpu 'RTX 4090' --context 8k"
    """
    asks_devices = bool(settings.get("gpus") or settings.get("all_gpus"))
    words = ["llm-inspect", *(["train"] if training else ["fit"] if asks_devices else []), model]
    words += ["--revision", revision] if revision else []
    nested = "sharding" if training else "serving"
    for name, setting in _known(training).items():
        value = settings.get(name, (settings.get(nested) or {}).get(name))
        words += [] if value == setting.default else option_words(setting, value)
    if (trainable := settings.get("trainable_parameters")) is not None:
        words += ["--trainable", str(trainable)]
    return shlex.join(words)


def _known(training: bool) -> Mapping[str, Setting]:
    """The settings of a command, the devices first."""
    kinds = (
        (DeviceSettings, DesignSettings, RunSettings, TrainingSetup, Sharding, LayoutSettings)
        if training
        else (DeviceSettings, Settings)
    )
    found = {name: each for kind in kinds for name, each in settings_of(kind).items()}
    return found if training else {**found, **all_options()}
