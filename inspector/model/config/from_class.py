"""Reads a config through transformers' own config class. Imports transformers, so only where the light reader can't."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

from inspector.model.config.common import read_common
from inspector.model.config.light import cache_facts, installed, release, table
from inspector.model.config.meanings import runs_of_layers
from inspector.model.config.text import EXPERT_PARTS, KEYS, LOOP_COUNTS, TextConfig, inner_experts

_PLAIN = (str, int, float, bool, list, type(None))


def known_model_type(model_type: str) -> bool:
    """Whether the installed transformers has a config class for it."""
    with quiet():
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        return model_type in CONFIG_MAPPING


def read_with_class(config: Mapping[str, Any], model_type: str) -> TextConfig:
    """The language part as `CONFIG_MAPPING[model_type](**config).get_text_config(decoder=True)` has it.

    No remote code, no network: the class comes from the installed transformers alone.

    Raises:
        Exception: whatever the class raises for values that it refuses.
    """
    with quiet():
        return dataclasses.replace(text_config_of(_made(config, model_type)), model_type=model_type)


def _made(config: Mapping[str, Any], model_type: str) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[model_type](**arguments(config))


def read_new_type(config: Mapping[str, Any], model_type: str) -> TextConfig:
    """A type that the tables do not have: its class fills in what config.json leaves out. What its layers cache is the
    language part's where that is a known type; else it is read by common key names, with their bounds.

    Raises:
        Exception: whatever the class raises for values that it refuses.
    """
    with quiet():
        whole = _made(config, model_type)
        text = dataclasses.replace(text_config_of(whole), model_type=model_type)
        keys = whole.get_text_config(decoder=True).to_dict()
    here = installed()
    reason = (
        f"model type {model_type!r} is not in the tables, which are of transformers {release()}: read by the class of"
        f" {here.release if here else 'an unknown release'}"
    )
    if text.text_type in table():
        notes = (f"{reason}, its language part as {text.text_type!r}",)
        return dataclasses.replace(text, exact=False, outside=True, notes=notes)
    keys |= {key: value for key, value in text.values.items() if value is not None}
    common = read_common(keys, model_type, reason, "what its layers cache is read by common key names and may be wrong")
    return dataclasses.replace(common, per_layer={**common.per_layer, **text.per_layer}, outside=True)


def text_config_of(whole: Any) -> TextConfig:
    """The language part of a transformers config object."""
    text = whole.get_text_config(decoder=True)
    # A drafter that keeps no cache has no layers for others to share, which its class takes for a mistake.
    keys = [key for key in KEYS if key != "kv_sharing_modes" or not cache_facts(type(whole).model_type).get("none")]
    values = dict.fromkeys(KEYS) | {key: _value(text, key) for key in keys}
    for part in (getattr(text, name, None) for name in EXPERT_PARTS):
        if part is not None and hasattr(part, "to_dict"):
            values |= {key: value for key, value in inner_experts(part.to_dict()).items() if values[key] is None}
    # The head belongs to the whole model: tying is read where the class that ties reads it.
    tied = _value(whole, "tie_word_embeddings")
    if tied is not None or (text is not whole and hasattr(whole, "tie_word_embeddings")):
        values["tie_word_embeddings"] = bool(tied)
    values["is_encoder_decoder"] = bool(_value(whole, "is_encoder_decoder"))
    per_layer: dict[int, dict[str, Any]] = {}
    if getattr(text, "is_heterogeneous", False):
        for index, layer in enumerate(text.per_layer_config):
            own = {key: _value(layer, key) for key in KEYS if _value(layer, key) != values[key]}
            own.pop("tie_word_embeddings", None)
            own.pop("is_encoder_decoder", None)
            if own:
                per_layer[index] = own
    again = any(values[key] is not None for key in LOOP_COUNTS)
    runs = runs_of_layers(values, values["num_hidden_layers"]) if again else ()
    return TextConfig(type(whole).model_type, type(text).model_type, values, per_layer, runs=runs)


def _value(config: Any, key: str) -> Any:
    """A config's value as plain JSON; None where it has none, or a property of its cannot be computed."""
    try:
        value = config._getattr_without_heterogeneous_validation(key, None)
    except Exception:
        if key == "kv_sharing_modes":  # then the model cannot make its cache either
            raise
        return None
    if isinstance(value, tuple):
        value = list(value)
    return value if isinstance(value, _PLAIN) or key == "compress_rates" else None


_FLOATS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


def arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for a config class, which has `model_type` by itself.

    `num_labels` is left out: every class makes two dicts of as many entries, and no language part depends on it.
    {"__float__": "Infinity"} is the float that it stands for: so transformers 5 writes what JSON has no number for
    (`time_step_limit` of Mamba-2's kin). Source: PreTrainedConfig._decode_special_floats.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            tag = value.get("__float__") if len(value) == 1 else None
            if isinstance(tag, str) and tag in _FLOATS:
                return _FLOATS[tag]
            return {key: plain(item) for key, item in value.items() if key != "num_labels"}
        return [plain(item) for item in value] if isinstance(value, list) else value

    return {key: plain(value) for key, value in config.items() if key not in ("model_type", "num_labels")}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """transformers logs what it thinks of a config; the reader of a report has no use for it."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that there is no torch, as it is imported
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
