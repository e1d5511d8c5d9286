"""Seeded random configs for a model class: sizes, heads, experts, windows and switches of all its parts.

Every value is one that the class accepts: what it refuses is tried again with half of the changes, until it builds.
Needs torch and transformers.
"""

from __future__ import annotations

import copy
import dataclasses
import random
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from fixtures.class_variants import FIXES, KINDS, SKIPPED, VALUES, few_experts, sub_configs

Changes = dict[str, Any]
"""Dotted path of a key ("text_config.num_hidden_layers") -> its value."""

LAYERS, HEADS, WIDTHS, INNER = (1, 2, 3, 5), (2, 4, 8), (64, 96, 128, 256), (48, 80, 160, 272)


def _each(names: str, values: tuple[Any, ...]) -> dict[str, tuple[Any, ...]]:
    return dict.fromkeys(names.split(), values)


SIZES: dict[str, tuple[Any, ...]] = {
    **_each(
        "num_hidden_layers encoder_layers decoder_layers num_layers depth n_layer n_layers e_layers d_layers", LAYERS
    ),
    **_each("num_encoder_layers num_decoder_layers", LAYERS),
    **_each("num_attention_heads num_heads n_head n_heads encoder_attention_heads decoder_attention_heads", HEADS),
    **_each("num_key_value_heads num_kv_heads", (1, 2, 4)),
    **_each("head_dim d_kv global_head_dim", (16, 32, 48)),
    **_each("hidden_size d_model n_embd embed_dim dim", WIDTHS),
    **_each("intermediate_size ffn_dim d_ff encoder_ffn_dim decoder_ffn_dim n_inner ffn_hidden_size", INNER),
    **_each("moe_intermediate_size dim_feedforward inner_dim", INNER),
    **_each("num_experts num_local_experts n_routed_experts moe_num_experts", (4, 8)),
    **_each("num_experts_per_tok num_experts_per_token moe_topk moe_k top_k_experts", (1, 2, 3)),
    **_each("n_shared_experts num_shared_experts moe_num_shared_experts", (1, 2, 3)),
    "vocab_size": (70_001, 300_007),
    "max_position_embeddings": (128, 777),
    "n_positions": (128, 777),
    "sliding_window": (8, 100, 4096),
    "attention_chunk_size": (8, 1024),
    "first_k_dense_replace": (0, 1, 2),
    "q_lora_rank": (None, 24, 40),
    "kv_lora_rank": (24, 40),
    "num_labels": (3, 5),
    "type_vocab_size": (1, 3),
    "num_channels": (1, 3, 4),
    "num_mel_bins": (64, 96),
}
"""What each size may become. Small, so that a variation builds in a fraction of its class's time."""

LAYER_KEYS = frozenset(key for key, values in SIZES.items() if values is LAYERS)


def variations(model_class: type[PreTrainedModel], count: int, salt: str = "") -> Iterator[Changes]:
    """So many random sets of changes, the same in every run with a salt. They may still be refused: see `halves`."""
    base = base_config(model_class)
    rng = random.Random(zlib.crc32(f"{model_class.__name__}{salt}".encode()))
    for _ in range(count):
        yield config_changes(base, rng)


def layer_kinds(model_class: type[PreTrainedModel]) -> Iterator[Changes]:
    """One set of changes for each kind of layer that the default lacks: every second layer is of that kind."""
    for prefix, part in config_parts(base_config(model_class)).items():
        for key, kinds in KINDS.items():
            value = vars(part).get(key)
            for kind in kinds if isinstance(value, list) and len(value) > 1 else ():
                if kind not in value:
                    yield {prefix + key: [kind if index % 2 else own for index, own in enumerate(value)]}


def config_changes(base: PretrainedConfig, rng: random.Random) -> Changes:
    """Random changes to a config and its parts."""
    changes: Changes = {}
    for prefix, part in config_parts(base).items():
        declared = {field.name for field in dataclasses.fields(part)}  # others are derived, and no file says otherwise
        for key, value in sorted((key, value) for key, value in vars(part).items() if key in declared):
            choice = _choice(key, value, rng)
            if choice is not None and choice[0] != value:
                changes[prefix + key] = choice[0]
    return changes or _doubled(base, rng)


def _doubled(base: PretrainedConfig, rng: random.Random) -> Changes:
    """For a class that has none of the usual keys (convolution nets): one of its numbers, or lists of them, doubled."""
    sizes: Changes = {}
    for prefix, part in config_parts(base).items():
        for field in dataclasses.fields(part):
            value = vars(part).get(field.name)
            if field.name.endswith("token_id") or isinstance(value, bool):
                continue
            if type(value) is int and value > 1:
                sizes[prefix + field.name] = 2 * value
            elif isinstance(value, (list, tuple)) and value and all(type(item) is int for item in value):
                sizes[prefix + field.name] = [2 * item for item in value]
    return {key: sizes[key] for key in rng.sample(sorted(sizes), min(2, len(sizes)))}


def _choice(key: str, value: Any, rng: random.Random) -> tuple[Any] | None:
    if key.startswith("_") or key in SKIPPED:
        return None
    if isinstance(value, bool):
        return (not value,) if rng.random() < 0.3 else None
    if key in SIZES and (value is None or type(value) is int):
        return (rng.choice(SIZES[key]),) if rng.random() < (0.9 if key in LAYER_KEYS else 0.6) else None
    if key in VALUES and rng.random() < 0.2:
        return (rng.choice(VALUES[key]),)
    return None


def halves(changes: Changes, rng: random.Random) -> Iterator[Changes]:
    """The changes, then ever fewer of them, each time with the layer counts, which make builds quick, and without."""
    layers = {key: value for key, value in sorted(changes.items()) if key.rpartition(".")[2] in LAYER_KEYS}
    loose = sorted(changes.keys() - layers.keys())
    while loose:
        some = {key: changes[key] for key in loose}
        yield layers | some
        if layers:
            yield some
        loose = sorted(rng.sample(loose, len(loose) // 2))
    if layers:
        yield layers


def base_config(model_class: type[PreTrainedModel]) -> PretrainedConfig:
    """The default config, with what it lacks to be built."""
    config_class = model_class.config_class
    return config_class(**_fix(model_class))


def _fix(model_class: type[PreTrainedModel]) -> dict[str, Any]:
    fix = FIXES.get(model_class.__name__, FIXES.get(model_class.config_class.__name__, {}))
    return copy.deepcopy(fix)


def config_parts(config: PretrainedConfig, prefix: str = "", depth: int = 0) -> dict[str, PretrainedConfig]:
    """The config and its sub-configs: dotted prefix -> part."""
    found = {prefix: config}
    for key, part in sub_configs(config).items() if depth < 3 else ():
        found |= config_parts(part, f"{prefix}{key}.", depth + 1)
    return found


def config_with(model_class: type[PreTrainedModel], changes: Mapping[str, Any]) -> PretrainedConfig:
    """The class's config made anew with these values, so that what it derives from them is derived.

    Raises what the class raises for values that it refuses.
    """
    config = made_with(model_class.config_class, changes, _fix(model_class))
    for part in config_parts(config).values():
        few_experts(part)
    return config


def made_with(
    config_class: type[PretrainedConfig], changes: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> PretrainedConfig:
    """A config of these values, on top of some keyword arguments."""
    values = copy.deepcopy(dict(base or {}))
    parts = config_parts(config_class(**values))
    for path, value in changes.items():
        *names, key = path.split(".")
        target = values
        prefix = ""
        for name in names:
            prefix += f"{name}."
            target = target.setdefault(name, {})
            if parts[prefix].model_type:
                target.setdefault("model_type", parts[prefix].model_type)
        target[key] = value
    return config_class(**values)
