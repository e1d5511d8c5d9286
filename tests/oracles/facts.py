"""Compares the facts that are read of a config.json with the config class's own values, and over every config class.

    python -m tests.oracles.facts [--write] [TYPE ...]

Twice: with the class's plain attributes (`attribute_map`, `get_text_config`, `layer_types`), and with all facts that
the same reader makes of the class's object. What the class's object has is the truth; the file holds only what differs
from its defaults. Needs transformers, not torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import random
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import transformers
from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fixtures import stand_ins

stand_ins.provide()


from inspector.errors import InvalidConfig  # noqa: E402
from inspector.model.architecture import architecture_of, decoder_alone, read_architecture  # noqa: E402
from inspector.model.config.from_class import text_config_of  # noqa: E402
from inspector.model.config.light import table as config_table  # noqa: E402
from inspector.model.model import Architecture  # noqa: E402
from tests.oracles import table  # noqa: E402
from tests.oracles.variations import config_changes, halves, made_with  # noqa: E402

VARIATIONS = 8

PLAIN = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
)
TOTAL = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
ACTIVE = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "moe_top_k")
WITH_EXPERTS = ("ffn_config",)
"""Parts in which a class keeps its experts' numbers (DBRX)."""

FROM_THE_MODEL = ("mlp_gated", "vision", "audio", "model_type", "architecture", "dtype", "notes", "exact", "is_decoder")
"""Facts that are not the config's: what the table knows of the model, or the file alone says."""


def wrong_facts(whole: PretrainedConfig, written: dict[str, Any], *, alone: bool = False) -> list[str]:
    """Which facts of a written config.json are not those of the config object that wrote it. `alone`: the class builds
    the decoder of an encoder-decoder, of which the object tells where it is one of both."""
    try:
        read = read_architecture(written)
    except Exception as error:
        if isinstance(error, InvalidConfig) and "is 0," in error.message:
            return []  # fewer hidden values than heads: a config that no model can be made of
        return [f"not read: {type(error).__name__}: {error}"]
    text = decoder_alone(text_config_of(whole)) if alone else text_config_of(whole)
    role = config_table().get(type(whole).model_type, {}).get("role", "decoder")
    own = architecture_of(dataclasses.replace(text, role=role), written)
    wrong = [
        f"{key} is {_short(got)}, the class has {_short(want)}"
        for key, want in dataclasses.asdict(own).items()
        if key not in FROM_THE_MODEL and (got := dataclasses.asdict(read)[key]) != want and not _more(key, got, want)
    ]
    return wrong + wrong_attributes(whole.get_text_config(decoder=True), read)


def _more(key: str, got: Any, want: Any) -> bool:
    """Whether the table knows of shared experts that no config tells of (Llama 4)."""
    return key == "experts" and bool(got) and bool(want) and {**got, "shared": 0} == {**want, "shared": 0}


def wrong_attributes(text: PretrainedConfig, read: Architecture) -> list[str]:
    """Plain attributes of the language part, as anybody would read them, against the facts."""
    wrong = []
    for key in PLAIN:
        want, got = attribute(text, key), getattr(read, key)
        if type(want) is int and got != want and not _another_meaning(text, key, got, want):
            wrong.append(f"{key} is {got}, the class's attribute {want}")
    parts = (attribute(text, name) for name in WITH_EXPERTS)
    places = [text, *(part for part in parts if isinstance(part, PretrainedConfig))]
    total, active = (
        next((value for place in places for key in keys if type(value := attribute(place, key)) is int), None)
        for keys in (TOTAL, ACTIVE)
    )
    experts = (total, active) if total and total > 1 and active is not None else (None, None)
    got_experts = (read.experts.total, read.experts.active) if read.experts else (None, None)
    if got_experts != experts:
        wrong.append(f"experts are {got_experts}, the class's attributes {experts}")
    kinds = attribute(text, "layer_types")
    if isinstance(kinds, list) and read.is_decoder and len(kinds) == len(read.layers):
        for kind in ("sliding_attention", "linear_attention", "chunked_attention"):
            want, got = kinds.count(kind), read.layer_kinds.get(kind, 0)
            want += kinds.count("conv") if kind == "linear_attention" else 0  # a short convolution's state
            spare = read.layer_kinds.get("no_cache", 0) + read.layer_kinds.get("unknown", 0)
            spare += read.layer_kinds.get("latent_attention", 0)  # a latent takes the window's place
            spare += read.layer_kinds.get("cross_attention", 0)  # an encoder-decoder's layers have windows of their own
            if not got <= want <= got + spare:
                wrong.append(f"{got} layers are {kind}, {want} of the class's layer_types")
    window = attribute(text, "sliding_window")
    if read.sliding_window is not None and type(window) is int and read.sliding_window != window:
        wrong.append(f"sliding_window is {read.sliding_window}, the class's attribute {window}")
    return wrong


def _another_meaning(text: PretrainedConfig, key: str, got: Any, want: int) -> bool:
    """Where an attribute is not what its name says.

    Falcon's and GPT-BigCode's key/value heads count only without `multi_query`; XLNet's context -1 is "no limit".
    """
    if key == "num_key_value_heads" and getattr(text, "multi_query", False):
        return True
    return key == "max_position_embeddings" and want == -1 and got is None


def attribute(config: PretrainedConfig, key: str) -> Any:
    """A key's value; of a key that differs by layer, and so refuses to be read, the one of all other layers."""
    try:
        return getattr(config, key, None)
    except Exception:
        return vars(config).get(key)


def _short(value: Any) -> str:
    return str(value)[:120]


def saved(whole: PretrainedConfig) -> dict[str, Any]:
    """config.json as save_pretrained writes it."""
    written: dict[str, Any] = json.loads(whole.to_json_string(use_diff=True))
    return written


def loaded(config_class: type[PretrainedConfig], written: dict[str, Any]) -> PretrainedConfig:
    """What from_pretrained makes of a written config.json. Raises what the class raises."""
    again = config_class.from_dict(config_class._decode_special_floats(json.loads(json.dumps(written))))
    text_config_of(again)
    return again


def is_named(config_class: type[PretrainedConfig]) -> bool:
    """Whether a config.json's `model_type` names this class: not so for parts of a model (Bark's, say)."""
    model_type = config_class.model_type
    return model_type in CONFIG_MAPPING_NAMES and CONFIG_MAPPING[model_type] is config_class


def check_type(model_type: str, config_class: type[PretrainedConfig]) -> tuple[int, list[str]]:
    """How many configs of a class were compared (its default one and random ones), and what differed."""
    rng = random.Random(zlib.crc32(model_type.encode()))
    checked, wrong = 0, []
    for number in range(VARIATIONS + 1):
        changes = config_changes(config_class(), rng) if number else {}
        for some in halves(changes, rng) if number else [{}]:
            try:
                whole = made_with(config_class, some)
                written = saved(whole)
                again = loaded(config_class, written)
            except Exception:  # values that do not suit the class
                continue
            checked += 1
            wrong += [
                f"{'variation ' + str(number) if number else 'default'}: {w}" for w in wrong_facts(again, written)
            ]
            break
    return checked, wrong


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table's rows")
    parser.add_argument("types", nargs="*", metavar="TYPE")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    configs, refused, differs = 0, {}, {}
    names = options.types or sorted(CONFIG_MAPPING_NAMES)
    for name in names:
        try:
            checked, wrong = check_type(name, CONFIG_MAPPING[name])
        except Exception as error:
            refused[name] = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            continue
        configs += checked
        if not checked:
            refused[name] = "no config of it can be made from its defaults"
        if wrong:
            differs[name] = wrong
    equal = len(names) - len(refused) - len(differs)
    print(
        f"transformers {transformers.__version__}: the facts of {equal} of {equal + len(differs)} config classes agree "
        f"in all of {configs} configs"
    )
    for name, problems in differs.items():
        for problem in problems[:3]:
            print(f"  differs: {name}: {problem}")
    for name, why in refused.items():
        print(f"  not made: {name}: {why}")
    if options.write:
        rows = {
            "classes": equal + len(differs),
            "configs": configs,
            "equal": equal,
            "differs": {name: problems[0] for name, problems in differs.items()},
            "not_made": refused,
        }
        table.write("facts", rows)
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
