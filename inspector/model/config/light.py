"""Reads a config without transformers: its values, the class's defaults and names, and the rules that fill in the rest.

The table inspector/data/configs.json is generated from transformers (`python fixtures/make_configs.py`). A type is
marked as readable this way only after this reader gave the same as the class on the defaults and on random configs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from inspector.model.config.derive import LEGACY_LAYER_TYPES, apply_rule, overrides_of_full_layers
from inspector.model.config.expressions import holds, key_of, names_in
from inspector.model.config.text import KEYS, TextConfig
from inspector.tables import table_text

Entry = Mapping[str, Any]
"""A type's row of the table.

    class       the config class's name without "Config"
    type        the class's own model type, where the row has another name (gpt-sw3 is a gpt2)
    role        decoder, encoder, either (a decoder if `is_decoder` says so), encoder_decoder, other
    light       this reader may be used
    defaults    key -> the class's default, where it is not None
    names       key -> the names a file may have it under, the strongest first (`attribute_map`)
    rules       key -> rules of `derive`, applied in turn
    refused     names whose values the class sets too late for its own rules: files that have them go to the class
    full_layers_differ  as Gemma 4's do
    gated       the MLP has a gate; absent where that is not known
    shared      shared experts that the class always has
    parts       sub-configs that the class makes even where the file has none
    decisive    fields that are not read here and yet change the facts, with their defaults: files that have another
                value go to the class
    traits      what the model itself tells, where it is not as in most (built on the meta device):
                eager (a decoder without sdpa), gate_up (one projection for gate and up), conv1d (linear layers store
                inputs first), router_16 (the experts get bf16 weights), rotary (kinds of positions that are
                rotated: 0 or 2)
    text        [key of the language part, its type, whether its own model_type counts]
    text_defaults   what the language part is made from where the file has none
    merged      a language part that the file has is laid over `text_defaults`
    cache       what its layers' caches do otherwise than others': each file of inspector/model/layers says which facts
                it reads; from inspector/data/by_hand.json where nothing measures them
    activations what the class does otherwise at inference (inspector/memory/inference/activations.py), by hand
    counted_otherwise, more_embedding_rows  what inspector/model/lint.py does not compare, by hand
    mlp_width   times the hidden size that the MLP is wide where the config does not say
    tied        "text" where `tie_word_embeddings` is the language part's, "either" where one of the two ties
"""


ENCODER_DECODER = "encoder_decoder"
"""The role of a class that has both."""

ENCODER_SIZES = frozenset({"encoder_layers", "encoder_attention_heads", "encoder_ffn_dim"})
"""What an encoder-decoder's class wants beside the decoder's numbers, which are read here."""

_OUTER_KEYS = frozenset(
    {"architectures", "dtype", "model_type", "tie_word_embeddings", "torch_dtype", "transformers_version"}
)


@lru_cache(maxsize=1)
def _configs() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(table_text("configs.json"))
    return found


def table() -> Mapping[str, Entry]:
    """Every model type of the transformers release that the table was made from."""
    types: Mapping[str, Entry] = _configs()["types"]
    return types


def release() -> str:
    """The transformers release that the tables were made from: "5.24.0"."""
    return str(_configs()["transformers"])


class Installed(NamedTuple):
    """The installed transformers: its release, its folder, and whether it is newer than the tables."""

    release: str
    folder: Path
    newer: bool


@lru_cache(maxsize=1)
def installed() -> Installed | None:
    """The installed transformers, told without importing it; None where none is found."""
    try:
        spec = find_spec("transformers")
        if spec is None or spec.origin is None:
            return None
        with open(spec.origin, encoding="utf-8") as file:  # noqa: PTH123
            found = re.search(r'^__version__ = "([^"]+)"', file.read(4_096), re.MULTILINE)
    except (ImportError, ValueError, OSError):
        return None
    if found is None:
        return None
    here, tables = (tuple(map(int, re.findall(r"\d+", text)[:3])) for text in (found[1], release()))
    return Installed(found[1], Path(spec.origin).parent, here > tables)


def traits_of(model_type: str) -> Mapping[str, Any]:
    """A type's traits and whether it is `gated`, where known; those of its language part where it is the whole."""
    entry = table().get(model_type, {})
    while "text" in entry:
        entry = table().get(entry["text"][1], {})
    gated = {"gated": entry["gated"]} if "gated" in entry else {}
    return {**gated, **entry.get("traits", {})}


@cache
def by_hand(section: str) -> Mapping[str, Any]:
    """Model type -> value, of a section of data/by_hand.json: what no script can find out. Each has its reason there;
    a line's key is one model type or several, with spaces between."""
    return {name: line["value"] for names, line in _by_hand().get(section, {}).items() for name in names.split()}


@lru_cache(maxsize=1)
def _by_hand() -> Mapping[str, Mapping[str, Entry]]:
    found: Mapping[str, Mapping[str, Entry]] = json.loads(table_text("by_hand.json"))
    return found


def cache_facts(model_type: str | None) -> Mapping[str, Any]:
    """What the layers' caches of a language part's type do otherwise than others'."""
    facts: Mapping[str, Any] = table().get(model_type or "", {}).get("cache", {})
    return facts


TIES = "tie_word_embeddings"


@lru_cache(maxsize=1)
def tie_rules() -> Mapping[str, list[Any]]:
    """Model type -> [language part, rule, outer and inner default], of classes that make one flag from the other."""
    data = json.loads(table_text("ties.json"))
    types: dict[str, list[Any]] = data["types"]
    return types


def with_ties(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config with `tie_word_embeddings` as its class has it, outside and in the language part.

    Older files have the flag in the language part alone. Some classes then set the outer one ("either"), some take
    the inner one whatever the outer says ("text"), some unless the outer says something ("unless"), some overwrite the
    inner one ("down"). Null ties nothing elsewhere.
    """
    given = config.get(TIES)
    if TIES in config and given is None:
        config = {**config, TIES: False}
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not any(isinstance(value, Mapping) for value in config.values()):
        return config
    found = tie_rules().get(model_type)
    if found is None:
        return config
    part, rule, outer_default, inner_default = found
    inside = config.get(part)
    inner = bool(inside.get(TIES, inner_default)) if isinstance(inside, Mapping) else inner_default
    outer = bool(config.get(TIES, outer_default))
    unless = (inner if given is None else outer, inner)
    made = {"either": (outer or inner, inner), "text": (inner, inner), "down": (outer, outer), "unless": unless}
    outer, inner = made[rule]
    changed = {**config, TIES: outer}
    return changed | {part: {**inside, TIES: inner}} if isinstance(inside, Mapping) else changed


def read_light(
    config: Mapping[str, Any], model_type: str, types: Mapping[str, Entry] | None = None
) -> TextConfig | None:
    """The language part of a config, or None where only the class can tell.

    Args:
        config: config.json as parsed.
        model_type: a key of the table.
        types: the table; the packaged one if not given.
    """
    types = table() if types is None else types
    untold, raw = config.get(TIES, False) is None, config
    if "text" in types.get(model_type, {}):
        config = with_ties(config)
    found = _language_part(config, model_type, types)
    if found is None:
        return None
    text_type, part = found
    entry = types[text_type]
    values = _values(part, entry)
    if part is not config:
        outer = types[model_type]
        tied = _raw(config, outer, "tie_word_embeddings")
        either = outer.get("tied") == "either" and values["tie_word_embeddings"]
        if tied is not None and outer.get("tied") != "text" and not either:
            values["tie_word_embeddings"] = tied
        values["is_encoder_decoder"] = bool(_raw(config, outer, "is_encoder_decoder"))
    values["is_encoder_decoder"] = bool(values["is_encoder_decoder"])
    differ = entry.get("full_layers_differ") and "per_layer_config" not in part  # which says that none does
    per_layer = overrides_of_full_layers(values) if differ else {}
    as_written = raw.get(types[model_type].get("text", ("",))[0], part)
    as_written = as_written if isinstance(as_written, Mapping) and part is not config else part
    notes = list(refusals(text_type, entry, as_written, values))
    if part is not config:
        front = f"{types[model_type]['text'][0]}."
        inside = {front + key: value for key, value in values.items()}
        notes += failed_checks(model_type, raw, inside)
    if part is not config and untold and not takes_null(model_type, TIES):
        notes.append(f"config.json: {TIES} is null, which transformers refuses")
    if "text" not in entry and part is config and isinstance(config.get("text_config"), Mapping):
        notes.append(f"config.json: its text_config is none that {model_type}'s class reads")
    return TextConfig(model_type, entry.get("type", text_type), values, per_layer, exact=not notes, notes=tuple(notes))


def _language_part(
    config: Mapping[str, Any], model_type: str, types: Mapping[str, Entry]
) -> tuple[str, Mapping[str, Any]] | None:
    """The type and the dict of the language part, however deep it sits."""
    entry = types.get(model_type)
    if entry is None or not entry.get("light") or config.get("per_layer_config"):
        return None
    if any(name in config for name in entry.get("refused", ())):
        return None
    if any(config.get(name, default) != default for name, default in entry.get("decisive", {}).items()):
        return None
    two = entry["defaults"].get("is_encoder_decoder")
    if bool(two if (given := config.get("is_encoder_decoder")) is None else given) != bool(two):
        return None  # the class then looks for its numbers elsewhere
    if "text" not in entry:
        return model_type, config
    key, inner_type, own_type_counts = entry["text"]
    inner = config.get(key)
    if inner is None:
        if not _OUTER_KEYS.issuperset(config):  # flat files of older releases: their class knows what is whose
            return None
        inner = entry["text_defaults"]
    elif not isinstance(inner, Mapping):
        return None
    else:
        if own_type_counts:
            inner_type = inner.get("model_type", inner_type)
            if not isinstance(inner_type, str):
                return None
        if entry.get("merged"):
            inner = {**entry["text_defaults"], **inner}
    return _language_part(inner, inner_type, types)


def _values(config: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    values = {key: _raw(config, entry, key) for key in KEYS}
    rules = entry.get("rules", {})
    for key in KEYS:
        for rule in rules.get(key, ()):
            values[key] = apply_rule(rule, values[key], values)
    if isinstance(values["layer_types"], list):
        values["layer_types"] = [LEGACY_LAYER_TYPES.get(str(kind), kind) for kind in values["layer_types"]]
    return values


def _raw(config: Mapping[str, Any], entry: Entry, key: str) -> Any:
    """The file's value under the strongest of the names that the class has for a key, else the default."""
    for name in entry.get("names", {}).get(key, (key,)):
        if name in config:
            return config[name]
    return entry["defaults"].get(key)


@lru_cache(maxsize=1)
def _refusals() -> Mapping[str, Any]:
    """What transformers refuses of a config, or does not make good: made by asking every config class
    (`python fixtures/make_refusals.py`)."""
    found: Mapping[str, Any] = json.loads(table_text("refusals.json"))
    return found


def _is_listed(section: str, name: str, model_type: str) -> bool:
    """Whether a type stands in a section of the table, under a name."""
    return model_type in _refusals()[section].get(name, "").split()


def takes_null(model_type: str, name: str) -> bool:
    """Whether a type's class takes null for a key for which it has a default."""
    return _is_listed("nulls", name, model_type)


def nulls_that_matter(entry: Entry) -> set[str]:
    """The names, of what is read here, under which a class has a default. `entry`: the type's row in configs.json."""
    names = entry.get("names", {})
    found = {name for key in KEYS if key in entry["defaults"] for name in names.get(key, (key,))}
    return found | (ENCODER_SIZES if entry.get("role") == ENCODER_DECODER else set())


def derived(entry: Entry) -> set[str]:
    """The names of what a class has no default for, and makes of its other keys."""
    names = entry.get("names", {})
    found = {name for key in entry.get("rules", {}) for name in names.get(key, (key,))}
    return found - nulls_that_matter(entry)


def refusals(text_type: str, entry: Entry, part: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """Notes on what the class of a language part refuses of it, or does not make good.

    Args:
        text_type: its model type.
        entry: the type's row in configs.json.
        part: its keys as the file has them.
        values: its values, with what the class fills in.
    """
    nulls = {name for name, value in part.items() if value is None}
    for name in sorted(nulls & nulls_that_matter(entry)) if nulls else ():
        if not takes_null(text_type, name):
            yield f"config.json: {name} is null, which transformers refuses"
    for each, types in _refusals()["nulls_with"].items() if nulls else ():
        name, _, flag = each.partition(" ")
        key, _, value = flag.partition("=")
        if name in nulls and text_type in types.split() and json.dumps(values.get(key, part.get(key))) == value:
            yield f"config.json: {name} is null, which transformers refuses where {key} is {value}"
    for name in sorted(nulls & derived(entry)) if nulls else ():
        if _is_listed("kept", name, text_type):
            yield f"config.json: {name} is null, of which transformers makes another model than without the key"
    for name, value in part.items():
        if isinstance(value, bool) and _is_listed("flags", f"{name}={json.dumps(value)}", text_type):
            yield f"config.json: {name} is {json.dumps(value)}, which transformers refuses"
    kinds, count = values["layer_types"], values["num_hidden_layers"]
    kinds = kinds if isinstance(kinds, list) and isinstance(count, int) and len(kinds) != count else ()
    if set(map(str, kinds)) & set(_refusals()["layer_types"].split()) and not _are_choices(entry):
        yield f"config.json: {len(kinds)} layer_types of {count} layers, which transformers refuses"
    yield from failed_checks(text_type, part, values)
    if _turns_odd_heads(part, values["head_dim"]):
        yield f"config.json: head_dim is {values['head_dim']}: transformers refuses to rotate an odd number of values"


def _are_choices(entry: Entry) -> bool:
    """Whether a class's `layer_types` are not its layers', but what one may be (RT-DETR's of its backbone)."""
    own = entry["defaults"].get("layer_types")
    return isinstance(own, list) and len(own) != entry["defaults"].get("num_hidden_layers")


def _turns_odd_heads(part: Mapping[str, Any], head_dim: Any) -> bool:
    """Whether a whole head of an odd width is rotated (transformers/modeling_rope_utils.py: validate_rope; narrow heads
    of test models are let through)."""
    rope = part.get("rope_parameters")
    if not isinstance(rope, Mapping) or type(head_dim) is not int or head_dim <= 4 or head_dim % 2 == 0:
        return False
    kinds = [each for each in rope.values() if isinstance(each, Mapping)] or [rope]
    return any(each.get("partial_rotary_factor", 1) == 1 for each in kinds)


def failed_checks(model_type: str, config: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """Notes on numbers of a config, or of its parts, that do not go together.

    Args:
        values: by their dotted names, what the class fills in too.
    """
    for condition, types in _refusals()["checks"].items():
        if model_type in types.split():
            known = {key: values[key] if key in values else key_of(config, key) for key in names_in(condition)}
            told = all(type(each) is int or f"{key} == None" in condition for key, each in known.items())
            if told and holds(condition, known.get):
                shown = ", ".join(f"{key} is {each}" for key, each in known.items())
                yield f"config.json: {shown}: transformers refuses {condition}"
