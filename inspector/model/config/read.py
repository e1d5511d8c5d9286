"""Picks the reader for a config: the light one, transformers' class, or common key names; and finds its quantization.

What a quantization recipe says is read by inspector.model.packing, which a config without one never loads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from inspector.errors import InvalidConfig
from inspector.model.config.light import installed, read_light, release, table
from inspector.model.config.text import LANGUAGE_PARTS, LAYER_COUNT_NAMES, LOOP_COUNTS, TextConfig, language_part
from inspector.model.model import Quantization

LARGEST_LAYER_COUNT = 2_000
"""Readers and classes build a list of that length, and a search over contexts sizes each layer many times, so a layer
count is bounded before any of them sees it. The deepest published models have a few hundred."""

LAYER_COUNT_KEYS = ("num_hidden_layers", "num_decoder_layers", "encoder_layers", *LAYER_COUNT_NAMES)


SIGNS = (
    ".weight_scale",
    ".weight_scale_inv",
    ".weight_scale_2",
    ".input_scale",
    ".activation_scale",
    ".output_scale",
    ".k_scale",
    ".v_scale",
    ".q_scale",
    ".prob_scale",
    ".scale_inv",
    ".input_scale_ub",
    ".qweight",
    ".absmax",
    ".SCB",
    "_qdata",
    "_blocks",
    "._data",
    ".weight_packed",
    ".q_weight",
    ".trellis",
    ".W_q",
    ".codes",
    ".centroids.weight",
    ".dense_weights",
    ".quantized_weight_values",
    ".weight_scales",
    ".weight_sf",
    ".tables",
    ".scales",
    ".B",
    ".bitmask",
    ".input_activation_scale",
)
"""Ends of names that a packed weight has beside it, whatever its config says."""


def read_config(config: Mapping[str, Any]) -> TextConfig:
    """The language part of a config, read the lightest way that is exact.

    Raises:
        InvalidConfig: `model_type` is no string, or a layer count is one that no model can have.
    """
    check_layer_counts(config)
    model_type = config.get("model_type")
    if model_type is None or model_type == "":
        return _read_without_type(config)
    if not isinstance(model_type, str):
        raise InvalidConfig(f"config.json: model_type is {shown(model_type)}, which is no name.")
    beside = _read_beside(config, model_type)
    text = beside or read_light(config, model_type)
    if text is None:
        text = _read_heavy(config, model_type)
    text = with_runs(_of_a_newer_release(_with_head_dims(text), config))
    entry, text_entry = table().get(model_type, {}), table().get(text.text_type or "", {})
    return dataclasses.replace(
        text,
        role=text.role if beside else str(entry.get("role", text.role)),
        mlp_gated=text_entry.get("gated"),
        always_shared_experts=text_entry.get("shared", 0),
        parts=tuple(part for part in entry.get("parts", ()) if config.get(part, True) is not None),
    )


def with_runs(text: TextConfig) -> TextConfig:
    """A language part with the layers as they run for one token, where it says that some run more than once."""
    if not text.exact or all(text.get(key) is None for key in LOOP_COUNTS):
        return text
    from inspector.model.config.meanings import runs_of_layers  # of few configs

    return dataclasses.replace(text, runs=runs_of_layers(text.values, text.get("num_hidden_layers")))


def _read_beside(config: Mapping[str, Any], model_type: str) -> TextConfig | None:
    """The language part of a file whose type is an encoder's alone, as MLX's conversions of Pixtral are; None where it
    has none, or the type's class has a place for it."""
    entry = table().get(model_type)
    part = config.get("text_config")
    if entry is None or entry.get("role") != "other" or "text" in entry or not isinstance(part, Mapping):
        return None
    inner = part.get("model_type")
    if not isinstance(inner, str) or table().get(inner, {}).get("role") != "decoder":
        return None
    text = _read_known(part, inner)
    reason = f"{shown(model_type)} is an encoder's type, and this config has a language part; it is read as {inner!r}"
    return text and dataclasses.replace(text, model_type=model_type, role="decoder", exact=False, notes=(reason,))


def _of_a_newer_release(text: TextConfig, config: Mapping[str, Any]) -> TextConfig:
    """Marked as changed where the installed transformers is newer than the tables and has the config's type, or that of
    a part of it, otherwise. Of GGUF files, which transformers does not run, nothing depends on it."""
    here = installed()
    if here is None or not here.newer or "gguf_architecture" in config:
        return text
    from inspector.model.config.changed import changed_types  # of few environments

    parts = [part.get("model_type") for part in config.values() if isinstance(part, Mapping)]
    types = [each for each in (text.model_type, text.text_type, *parts) if isinstance(each, str)]
    changed = changed_types(types, here.folder)
    if not changed:
        return text
    note = (
        f"transformers {here.release} is newer than the tables ({release()}) and has other classes for"
        f" {' and '.join(map(repr, changed))}: facts and parameters may differ"
    )
    return dataclasses.replace(text, outside=True, notes=(*text.notes, note))


_HEAD_DIMS = ("head_dim", "v_head_dim", "qk_rope_head_dim", "qk_nope_head_dim")


def _with_head_dims(text: TextConfig) -> TextConfig:
    """A class that can make latents may be told to make plain heads instead, by no latent (`kv_lora_rank`) and head
    dimensions of 0: then they are hidden_size / num_attention_heads wide (DeepSeek-VL2-tiny, DeepSeek-OCR)."""
    zeros = [key for key in _HEAD_DIMS if text.get(key) == 0]
    if text.get("kv_lora_rank") is not None or "qk_rope_head_dim" not in zeros or len(zeros) < 2:
        return text
    return dataclasses.replace(text, values={**text.values, **dict.fromkeys(zeros)})


def check_layer_counts(config: Mapping[str, Any], depth: int = 0) -> None:
    """Refuses absurd layer counts, in sub-configs, too. A recipe of quantization has none."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            if depth < 3 and key != "quantization_config":
                check_layer_counts(value, depth + 1)
        elif isinstance(value, (int, float)) and (
            not 0 <= value <= LARGEST_LAYER_COUNT
            if key in LAYER_COUNT_KEYS
            else str(key).endswith("layers") and value > LARGEST_LAYER_COUNT  # -1 may be the last one
        ):
            raise InvalidConfig(
                f"config.json: {key} is {shown(value)}, which no model can have.",
                "Check the repo's config.json: a number of layers is due there.",
            )


def _read_heavy(config: Mapping[str, Any], model_type: str) -> TextConfig:
    """Through the class; by common names where there is none, where it refuses the config, or where it has nothing of
    what a flat config of another class says. A type that the tables do not have is never exact."""
    outside = model_type not in table()
    try:
        from inspector.model.config.from_class import known_model_type, read_new_type, read_with_class

        if known_model_type(model_type):
            if not _is_flat(config, model_type):
                return (read_new_type if outside else read_with_class)(config, model_type)
            reason = f"{shown(model_type)} keeps its language part in a sub-config, and this config has none"
        else:
            reason = f"model type {shown(model_type)} is not known to transformers"
    except Exception as error:  # whatever a config class raises for values it does not like
        reason = f"transformers cannot read this {shown(model_type)} config ({_one_line(error)})"
    return dataclasses.replace(_read_common(config, model_type, reason), outside=outside)


def _is_flat(config: Mapping[str, Any], model_type: str) -> bool:
    """Whether a composite type's file has no language part, but its keys at the top, for a class that transformers has
    not (LLaVA's first code)."""
    sizes = (config.get(key) for key in ("hidden_size", "num_hidden_layers", "num_attention_heads"))
    if "text" not in table().get(model_type, {}) or not all(type(size) is int for size in sizes):
        return False
    return language_part(config) is None and _known_class(config) is None


def _known_class(config: Mapping[str, Any]) -> str | None:
    """The class that a config names, if transformers has it."""
    from inspector.model.parameters.classes import find_class

    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    return name if isinstance(name, str) and find_class(name) is not None else None


def _read_common(config: Mapping[str, Any], model_type: str | None, reason: str) -> TextConfig:
    """By common names; a language part of a known type is read as that type is, a flat config as the type whose class
    it names (Kimi-K2 is a DeepseekV3ForCausalLM), and marked all the same."""
    from inspector.model.config.common import read_common  # of few configs

    part = language_part(config)
    if part is None:
        name = _known_class(config) if model_type not in table() else None
        inner, part = model_type_of(name) if name else None, config
        note = f"{reason}; read as {inner!r}, by its architecture {name}"
    else:
        inner = part.get("model_type")
        note = f"{reason}; its language part is read as {inner!r}"
    text = _read_known({**part, "model_type": inner}, inner) if isinstance(inner, str) else None
    if text is None:
        return read_common({"is_encoder_decoder": config.get("is_encoder_decoder"), **part}, model_type, reason)
    role = str(table()[str(inner)].get("role", text.role))
    return dataclasses.replace(text, model_type=model_type, role=role, exact=False, notes=(note,))


def _read_known(config: Mapping[str, Any], model_type: str) -> TextConfig | None:
    """A config of a type that transformers knows; None where it does not, or where its class refuses it."""
    if model_type not in table():
        return None
    text = read_light(config, model_type)
    try:
        from inspector.model.config.from_class import read_with_class

        return text or read_with_class(config, model_type)
    except Exception:  # as above
        return None


def _read_without_type(config: Mapping[str, Any]) -> TextConfig:
    """No `model_type`: the class that `architectures` names tells it, if it is a known one."""
    reason = "config.json names no model_type"
    names = config.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        model_type = model_type_of(names[0])
        if model_type is not None:
            text = read_config({**config, "model_type": model_type})
            note = f"{reason}; read as {model_type!r}, by its architecture {names[0]}"
            return dataclasses.replace(text, notes=(note, *text.notes))
    return _read_common(config, None, reason)


def shown(value: object) -> str:
    """A value of a config as a message shows it: on one line, and never a long one."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def model_type_of(architecture: str) -> str | None:
    """The model type of a class by its name: LlamaForCausalLM is of the family whose config is LlamaConfig."""
    best, best_name = None, ""
    for model_type, entry in table().items():
        name = entry.get("class", "")
        rest = architecture.removeprefix(name)
        if len(name) > len(best_name) and rest != architecture and (rest == "" or rest[0].isupper()):
            best, best_name = model_type, name
    return best


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:160]


def find_recipe(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool] | None:
    """A config's recipe, also where it sits in the language part, and whether it is MLX's own; None without one."""
    for part in (config, *(config.get(key) for key in LANGUAGE_PARTS)):
        if not isinstance(part, Mapping):
            continue
        mlx = part.get("quantization")
        for key in ("quantization_config", "compression_config"):
            recipe = part.get(key)
            if isinstance(recipe, Mapping) and recipe:
                return recipe, isinstance(mlx, Mapping) and "quant_method" not in recipe
        if isinstance(mlx, Mapping) and mlx:
            return mlx, True
    return None


def read_quantization(config: Mapping[str, Any]) -> Quantization | None:
    """The recipe in a config's quantization_config, also where that sits in the language part; None without one."""
    found = find_recipe(config)
    if found is None:
        return None
    from inspector.model.packing.recipe import read_recipe

    recipe, mlx = found
    return read_recipe(recipe, mlx=mlx)
