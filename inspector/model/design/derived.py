"""What the tables of designs read beside a class's keys: the number of labels, and lists of what layers have of their
own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inspector.errors import InvalidConfig

MOST_ITEMS = 100_000
LAYER = re.compile(r"[0-9]{1,9}")
"""A key of `per_layer_config`: "05"."""
OF_LAYERS = (
    "head_dim",
    "kv_lora_rank",
    "num_attention_heads",
    "num_key_value_heads",
    "num_local_experts",
    "q_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
)
"""Keys of sizes that some models have another value of in some layers."""


def add_derived(full: dict[str, Any], config: Mapping[str, Any]) -> None:
    """Adds them to a config with all that its class has. `config`: as its file has it.

    Raises:
        InvalidConfig: values of a layer whose number is none.
    """
    labels, count = config.get("id2label"), config.get("num_labels")
    if isinstance(labels, Mapping) and labels:  # the labels' names say how many there are
        full["num_labels"] = len(labels)
    else:
        full["num_labels"] = count if type(count) is int else 2
    add_layers(full)


def add_layers(part: dict[str, Any]) -> None:
    """Where layers have values of their own (`per_layer_config`), a list with an entry a layer of each such key:
    `layer_head_dim` of `head_dim`; so too in each part."""
    own, count = part.get("per_layer_config"), part.get("num_hidden_layers")
    if "per_layer_config" in part and type(count) is int and 0 < count <= MOST_ITEMS:
        layers = _by_number(own) if isinstance(own, Mapping) else {}
        for key in OF_LAYERS:
            values = [layers.get(at, {}).get(key, part.get(key)) for at in range(count)]
            if any(value is not None for value in values):
                part[f"layer_{key}"] = values
    for inner in list(part.values()):
        if isinstance(inner, dict):
            add_layers(inner)


def _by_number(own: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    found = {}
    for at, values in own.items():
        if not LAYER.fullmatch(str(at)):
            raise InvalidConfig(f"per_layer_config has values of {str(at)[:20]!r}, which is no layer's number")
        if isinstance(values, Mapping):
            found[int(at)] = values
    return found
