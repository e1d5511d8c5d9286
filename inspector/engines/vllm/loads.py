"""What vLLM loads: its registry of architectures, the runner that each gets, and its methods of quantization.

The table is inspector/data/engines/vllm.json, made by running vLLM's own registry (fixtures/make_engines.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from inspector.devices.spec import GpuSpec
from inspector.engines.common.cache_specs import CompressedIndex
from inspector.engines.common.kept_heads import expanded_latents, later_rounds
from inspector.engines.common.own_code import is_own_class, own_code_note, own_models
from inspector.engines.common.recipes import method_of, why_not_on
from inspector.engines.common.served import ServedModel
from inspector.engines.vllm.checkpoints import why_not_unpacked
from inspector.engines.vllm.version import NEWEST, parse_version
from inspector.model.architecture import PARAMS
from inspector.model.layers.compressed_sparse import CompressedAttention
from inspector.model.layers.cross import CrossAttention
from inspector.model.layers.full import FullAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.no_cache import NoCache
from inspector.model.model import Architecture
from inspector.tables import table_text

PLUGINS_SINCE = (0, 11)
"""Encoder-decoders but Whisper left with the V0 engine: the plugins' names are the last that were in the tree."""

YARN_RELEASE = (0, 30)
"""The first vLLM that takes a maximum beside YaRN as lengthened already."""

PACKED_RELEASE = (0, 30)
"""The first vLLM read that packs caches of several widths into one block as 0.33 does."""


@cache
def table() -> dict[str, Any]:
    """The table, with its lists of names as sets."""
    found: dict[str, Any] = json.loads(table_text("engines/vllm.json"))
    sets = ("plugins", "backend", "no_backend", "backend_refuses", "bare", "no_quantizations", "no_float16", "rocm")
    for name in (*sets, "deprecated"):
        found[name] = frozenset(found[name].split())
    for name in ("since", "latents"):
        found[name] = {each: release for release, names in found[name].items() for each in names.split()}
    return found


def loaded_as(name: str) -> str | None:
    """The architecture of vLLM's that a class is loaded as; None where vLLM has none.

    A suffix may stand for another: LlamaForSequenceClassification is LlamaForCausalLM with another head
    (vllm/model_executor/models/registry.py: _normalize_arch).
    """
    known, suffixes = table()["architectures"], table()["suffixes"]
    if name in known:
        return name
    suffix = next((each for each in suffixes if name.endswith(each)), None)
    if suffix is None:
        return None
    return next((other for each in suffixes if (other := name.replace(suffix, each)) in known), None)


def runner(architecture: str | None) -> Literal["generate", "pooling"]:
    """What vLLM runs a class for by default (vllm/config/model.py: _get_default_runner_type)."""
    name = architecture or ""
    if name in table()["architectures"]:
        return "pooling" if "pooling" in flags(name) else "generate"
    found = next((runs for suffix, runs in table()["suffixes"].items() if name.endswith(suffix)), "generate")
    return "pooling" if found == "pooling" else "generate"


def flags(architecture: str | None) -> frozenset[str]:
    """What vLLM's class is besides a generating decoder ("pooling", "hybrid", "attention_free"), and what it caches
    that its config does not tell ("full_heads", "latent", "rows", "no_cache", "checkpoints:64")."""
    return frozenset(table()["architectures"].get(architecture or "", "").split())


STATE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Precisions of recurrent states -> bytes."""


def as_cached(served: ServedModel, shape: Architecture, release: tuple[int, int] = NEWEST) -> ServedModel:
    """The facts as vLLM's own class has them: what it caches of latents, its states' precision, and whether it attends
    at all."""
    found = flags(shape.architecture)
    first = table()["latents"].get(shape.model_type)
    if first is not None and release < parse_version(first).release:  # a type that is_deepseek_mla did not know yet
        found = found - {"latent"} | {"full_heads"}
    served = replace(served, recurrent_bytes=STATE_BYTES.get(state_dtype(shape) or "", served.recurrent_bytes))
    alignment = next((int(each.partition(":")[2]) for each in found if each.startswith("checkpoints:")), None)
    return replace(
        served,
        layers=_cached_layers(served, shape, found, release),
        attention_free="attention_free" in found,
        checkpoint_alignment=alignment,
    )


def _cached_layers(
    served: ServedModel, shape: Architecture, found: frozenset[str], release: tuple[int, int]
) -> tuple[Layer, ...]:
    """The layers with what vLLM's class caches of each, where that is not what transformers' class does."""
    layers, heads = _as_run(served.layers, shape), served.num_attention_heads
    if release >= PACKED_RELEASE and any(isinstance(layer, CompressedAttention) for layer in layers):
        from inspector.engines.vllm.packed import packed_layers  # of few models

        rope = shape.written.get("qk_rope_head_dim")
        return packed_layers(layers, rope if isinstance(rope, int) else None)
    if shape.architecture in table()["bare"]:
        layers = tuple(layer.rows or layer for layer in layers)
    if "full_heads" in found:
        return expanded_latents(layers, heads, padded_values=True)
    if "no_cache" in found:
        return (NoCache(),) * len(layers)
    if "latent" in found:
        rank, rope = (shape.written.get(key) for key in ("kv_lora_rank", "qk_rope_head_dim"))
        if isinstance(rank, int) and isinstance(rope, int):
            latent = LatentAttention(rank, rope)
            return tuple(latent if type(layer) is FullAttention else layer for layer in layers)
    generates = shape.architecture in table()["architectures"] and "pooling" not in found
    if (generates or "rows" in found) and heads and shape.head_dim and all(type(layer) is NoCache for layer in layers):
        return (FullAttention(shape.num_key_value_heads or heads, shape.head_dim, shape.head_dim),) * len(layers)
    return layers


def _as_run(layers: tuple[Layer, ...], shape: Architecture) -> tuple[Layer, ...]:
    """The layers with what config.json alone tells: an indexer's keys compressed, and of a model that runs its layers
    again, a window for the later rounds."""
    ratio = shape.written.get("indexer_compress_ratio")
    if isinstance(ratio, int) and ratio > 0:
        ropes = _ropes(shape.written.get("rope_parameters") or shape.written.get("rope_scaling"))
        positions = 12 if any("mrope_section" in rope for rope in ropes) else 0  # three, of 64 bits
        layers = tuple(
            CompressedIndex(layer.attention, layer.index_head_dim, ratio=ratio, position_values=positions)
            if isinstance(layer, IndexedAttention)
            else layer
            for layer in layers
        )
    return later_rounds(layers, shape)


def native_class(shape: Architecture) -> str | None:
    """vLLM's class by Mistral's own params.json, which it goes by where its weights are there, too."""
    names = (shape.written.get(PARAMS) or {}).get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


def why_not_recipe(recipe: str, spec: GpuSpec, version: str | None) -> str | None:
    """Why a release does not run weights of a recipe on these GPUs; None where nothing known stands against it."""
    method, release = method_of(recipe), NEWEST if version is None else parse_version(version).release
    last = table()["quantizations"].get(method)
    if last is not None and release > parse_version(last).release:
        return f"vLLM {'.'.join(map(str, release))} has no {method}: {last} was the last that had it"
    return why_not_on(recipe, spec, {"bitsandbytes": 70} | table()["min_capability"], table()["rocm"])


def why_not_loaded(shape: Architecture, release: tuple[int, int]) -> str | None:
    """Why this release does not load the model; None where nothing known stands against it.

    What vLLM has no class for goes to its backend for transformers, if the class lets it: what remains is refused.
    A class that neither has may come with code of its own: see `why_unsure`.
    """
    label = ".".join(map(str, min(release, NEWEST)))
    name = native_class(shape) or shape.architecture
    first = table()["since"].get(loaded_as(name) or "") if name else None
    if first is not None and release < parse_version(first).release:
        return f"vLLM {label} has no {name}: {first} is the first that has it"
    refused = name in table()["backend_refuses"] and name not in table()["architectures"]
    if name is not None and (refused or loaded_as(name) is None):
        last = table()["removed"].get(name)
        if last is not None and release <= parse_version(last).release:
            return None
        gone = last is not None and name not in table()["backend"]
        newer = release > NEWEST
        if gone or (not newer and (refused or name in table()["no_backend"] or _not_dispatched(shape))):
            if name in table()["plugins"]:
                return None if release < PLUGINS_SINCE else f"vLLM {label} has no {name}: a plugin of its own has it"
            return f"vLLM {label} has no {name}" + (f" (removed after {last})" if last else "")
        if not newer and _is_of_neither(shape) and not own_models(shape):
            return f"vLLM {label} has no {name}"
    return None if shape.quantization is None else why_not_unpacked(shape.quantization, release, label, table())


def why_unsure(shape: Architecture, release: tuple[int, int]) -> str | None:
    """Why it cannot be told whether this release loads the model; None where nothing stands against it.

    vllm/model_executor/models/registry.py: _try_resolve_transformers takes a class of `auto_map` that dispatches its
    attention as transformers' own do, and no other.
    """
    if release > NEWEST or not _is_of_neither(shape):
        return None
    return own_code_note(f"vLLM {'.'.join(map(str, release))} has no {shape.architecture}")


def _is_of_neither(shape: Architecture) -> bool:
    """Whether neither vLLM, in any release, nor transformers has the class."""
    name, lists = shape.architecture or "", ("removed", "plugins", "backend", "no_backend", "backend_refuses")
    named = (name, native_class(shape))
    return (
        is_own_class(shape)
        and not any(each and loaded_as(each) for each in named)
        and not any(name in table()[each] for each in lists)
    )


def _not_dispatched(shape: Architecture) -> bool:
    """Whether a layer does what the backend for transformers refuses: a state and no rows, or attention to an encoder.

    vllm/model_executor/models/transformers/base.py: "does not dispatch through the Transformers attention interface",
    "dispatches attention from more than one module".
    """
    return any(isinstance(layer, CrossAttention) or (layer.states and layer.rows is None) for layer in shape.layers)


OVERRIDE = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
"""The variable under which vLLM takes longer requests than the model's own maximum."""

DEFAULT_LENGTH = 2048
"""Tokens where config.json has none of the keys of a length, nor vLLM's own class for it one."""

_LENGTHS = ("max_seq_length", "max_sequence_length", "seq_len", "seq_length")
"""Keys of a length besides those that `max_position_embeddings` is read from."""

_OWN_LENGTHS = frozenset(["su", "longrope", "llama3", "deepseek_llama_scaling"])
_YARNS = frozenset(["yarn", "deepseek_yarn"])
"""RoPE types whose factor the config's maximum has in it already: YaRN's since `YARN_RELEASE`."""


def longest_length(shape: Architecture, release: tuple[int, int] = NEWEST) -> int:
    """Tokens of the longest request that vLLM takes unasked: `most_length`, or what LongRoPE was trained with."""
    original = shape.written.get("original_max_position_embeddings")
    long = any(_kind(rope) == "longrope" for rope in _shape_ropes(shape))
    return original if long and isinstance(original, int) else most_length(shape, release) or DEFAULT_LENGTH


def most_length(shape: Architecture, release: tuple[int, int] = NEWEST) -> int | None:
    """Tokens of the longest request that it takes at all (vllm/config/model.py: _get_and_verify_max_len): the smallest
    of the keys of a length, times the factor of a RoPE that lengthens; None where no key names one."""
    keys = shape.written
    lengths = [keys[key] for key in _LENGTHS if isinstance(keys.get(key), int)]
    lengths += [shape.max_position_embeddings] if shape.max_position_embeddings else []
    own = (keys.get(PARAMS) or {}).get("max_position_embeddings")
    lengths = [own] if isinstance(own, int) else lengths
    named = keys.get("model_max_length")
    default = table()["lengths"].get(shape.model_type or "")
    longest = named if isinstance(named, int) and named else min(lengths, default=default)
    if longest is None:
        return None
    factor = 1.0
    for rope in _shape_ropes(shape):
        kind = _kind(rope)
        if kind in _YARNS and release < YARN_RELEASE:
            longest = rope.get("original_max_position_embeddings") or longest
        if kind not in _OWN_LENGTHS and (kind not in _YARNS or release < YARN_RELEASE):
            factor = rope.get("factor") or factor
    if "gemma3" in (shape.model_type or "") or not isinstance(factor, (int, float)):
        return int(longest)
    return int(longest * factor)


def _shape_ropes(shape: Architecture) -> list[Mapping[str, Any]]:
    return _ropes(shape.written.get("rope_parameters") or shape.written.get("rope_scaling"))


def _kind(rope: Mapping[str, Any]) -> Any:
    return rope.get("rope_type") or rope.get("type") or "default"


def _ropes(found: Any) -> list[Mapping[str, Any]]:
    """The RoPE of each kind of layers: one, or one under the name of each kind."""
    if not isinstance(found, Mapping) or not found:
        return []
    inner = [each for each in found.values() if isinstance(each, Mapping)]
    return inner if len(inner) == len(found) else [found]


def state_dtype(shape: Architecture) -> str | None:
    """The precision of recurrent states that vLLM's class takes for "auto": what its key in config.json says, or the
    class's own; None for the one that the model computes in. By running its `verify_and_update_config`."""
    key, _, otherwise = table()["state_dtypes"].get(shape.architecture or "", "").partition("=")
    named = shape.written.get(key)
    return named if isinstance(named, str) else otherwise or None


def resolve_dtype(named: str, shape: Architecture, capability: tuple[int, int] | None) -> str:
    """What `--dtype auto` makes of the precision that a checkpoint names (vllm/config/model.py: _resolve_auto_dtype).

    float32 becomes the GPU's first of bfloat16 (from Ampere on), float16 and float32; float16 for pooling models. What
    the GPU does not have, or vLLM refuses for the type (Gemma 2 in float16), becomes the first, too.

    Args:
        named: "fp32", "fp16" or "bf16".
        capability: the GPU's; None where it is not known, taken to be a new one.
    """
    known = capability or (9, 0)
    has = ["bf16"] * (known >= (8, 0)) + ["fp16"] * (known >= (6, 0)) + ["fp32"]
    if shape.model_type in table()["no_float16"] and "fp16" in has:
        has.remove("fp16")
    first = "fp16" if runner(shape.architecture) == "pooling" and "fp16" in has else has[0]
    loaded = first if named == "fp32" else named
    return loaded if loaded in has else first
