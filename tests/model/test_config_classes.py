"""Every config class of transformers, read both ways: without transformers and through the class. They must agree."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES

from inspector.errors import InvalidConfig
from inspector.model.architecture import architecture_of, read_architecture
from inspector.model.config.from_class import text_config_of
from inspector.model.config.light import read_light, table

DATA = Path(__file__).parents[2] / "inspector" / "data" / "configs.json"
RELEASE: str = json.loads(DATA.read_text("utf-8"))["transformers"]

same_release = pytest.mark.skipif(
    transformers.__version__ != RELEASE, reason=f"the table is of transformers {RELEASE}: other releases differ"
)
"""The `test` extra asks for that release; Python 3.10 gets an older one, whose classes are not the table's."""

NO_DEFAULT_CONFIG = {
    "gemma4_assistant": "its default config fails its own validation",
    "nougat": "its default names a model type that does not exist",
}
"""Classes that cannot be made without arguments, and why."""

LIGHT_TYPES = sorted(
    name
    for name, entry in table().items()
    if entry["light"] and name in CONFIG_MAPPING_NAMES and name not in NO_DEFAULT_CONFIG
)
OTHER_TYPES = sorted(name for name in CONFIG_MAPPING_NAMES if name in table() and not table()[name]["light"])


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    transformers.logging.set_verbosity(50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def default_config(model_type: str) -> Any:
    return CONFIG_MAPPING[model_type]()


def as_json(config: Any) -> dict[str, Any]:
    """What save_pretrained would write."""
    values: dict[str, Any] = config.to_dict()
    return values


def through_the_class(config: dict[str, Any], whole: Any, model_type: str) -> dict[str, Any]:
    text = text_config_of(whole)
    mine = dataclasses.asdict(read_architecture(config))
    theirs = dataclasses.asdict(architecture_of(dataclasses.replace(text, role=table()[model_type]["role"]), config))
    # What the table knows of the model and not of the config, and the name (a gpt-sw3 is saved as a gpt2).
    for fact in ("mlp_gated", "experts", "vision", "audio", "model_type"):
        mine.pop(fact), theirs.pop(fact)
    if mine["language_type"] == model_type:  # read as a flat config: RAG's is its generator's
        theirs["language_type"] = model_type
    assert mine == theirs
    return mine


@same_release
def test_most_types_are_read_without_transformers() -> None:
    assert len(LIGHT_TYPES) >= 700
    assert len(CONFIG_MAPPING_NAMES) >= 800


@same_release
@pytest.mark.parametrize("model_type", LIGHT_TYPES)
def test_defaults_read_lightly_are_the_class_s(model_type: str) -> None:
    config = {"model_type": model_type}
    assert read_light(config, model_type) is not None
    through_the_class(config, default_config(model_type), model_type)


@same_release
@pytest.mark.parametrize("model_type", LIGHT_TYPES)
def test_a_saved_config_read_lightly_is_the_class_s(model_type: str) -> None:
    config = as_json(default_config(model_type))
    through_the_class(config, CONFIG_MAPPING[model_type](**config), model_type)


@same_release
@pytest.mark.parametrize("model_type", OTHER_TYPES)
def test_the_other_types_are_read_through_their_class(model_type: str) -> None:
    found = read_architecture({"model_type": model_type})
    assert found.model_type == model_type
    assert found.exact == (model_type not in NO_DEFAULT_CONFIG)


@same_release
@pytest.mark.parametrize("model_type", sorted(NO_DEFAULT_CONFIG))
def test_the_exceptions_are_still_exceptions(model_type: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - each class has its own
        text_config_of(CONFIG_MAPPING[model_type]())


def test_an_absurd_value_is_refused_whichever_way_it_is_read() -> None:
    for model_type in ("llama", OTHER_TYPES[0]):
        with pytest.raises(InvalidConfig):
            read_architecture({"model_type": model_type, "num_hidden_layers": -2, "hidden_size": -2})
