"""What the page's controls are made of: the library's own settings, as JSON objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from inspector.api.settings import DesignSettings, Settings
from inspector.devices.table import list_devices
from inspector.engines.registry import engines
from inspector.memory.precision import FILE_TYPE_NAMES, PRECISION_BITS, RECIPE_NAMES, STORED
from inspector.memory.training import Sharding, TrainingSetup
from inspector.memory.training.objectives.registry import OBJECTIVES, objective_of
from inspector.settings import About, Setting, settings_of
from inspector.version import __version__

NAMED: Mapping[str, tuple[str, ...]] = {
    "dtype": (STORED, *PRECISION_BITS, *RECIPE_NAMES, *FILE_TYPE_NAMES),
    "kv_dtype": tuple(PRECISION_BITS),
}
"""The values of settings that have no list of choices."""


TRAINABLE = Setting(
    "trainable_parameters",
    "int | str | None",
    None,
    About("Trainable parameters, or a share of all: 50%. Default: all.", option="--trainable"),
)
"""The one setting of training by the article's formulas alone."""


def form() -> dict[str, Any]:
    """All settings that a page can offer, in their order, and the devices."""
    return {
        "version": __version__,
        "inference": _controls(Settings),
        "design": _controls(DesignSettings),
        "training": _controls(TrainingSetup),
        "sharding": _controls(Sharding),
        "article": [_control(TRAINABLE)],
        "objectives": {name: objective_of(name).settings for name in OBJECTIVES},
        "engines": [
            {
                "name": each.name,
                "title": each.title,
                "needs_device": each.needs_device,
                "makes_file_types": each.makes_file_types,
                "serving": _controls(each.options),
            }
            for each in engines()
        ],
        "devices": [{"name": each.name, "vendor": each.vendor, "gb": each.gb} for each in list_devices()],
        "precisions": {"precisions": [STORED, *PRECISION_BITS], "recipes": RECIPE_NAMES, "file_types": FILE_TYPE_NAMES},
    }


def _controls(kind: type) -> list[dict[str, Any]]:
    return [_control(each) for each in settings_of(kind).values() if each.about.option]


def _control(setting: Setting) -> dict[str, Any]:
    """A setting as a page has to know it; a default that is no JSON value is None."""
    about, default = setting.about, setting.default
    values = about.values() or NAMED.get(setting.name, ())
    kinds = {"bool": "flag", "int": "whole", "float": "number"}
    plain = setting.type.partition(" | ")[0]
    return {
        "name": setting.name,
        "option": about.option,
        "help": about.help,
        "kind": about.reads or ("list" if setting.many else kinds.get(plain, "text")),
        "values": list(values),
        "default": None if default is dataclasses.MISSING else default,
        "least": about.least,
        "most": about.most,
        "unit": about.unit,
        "rare": about.rare,
    }
