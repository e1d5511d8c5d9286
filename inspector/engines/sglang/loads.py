"""What SGLang loads, and what its own classes cache: its registry of architectures, its backend for transformers.

The table is inspector/data/engines/sglang.json, made of SGLang's own lists (fixtures/make_engines_sglang.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from inspector.engines.common.own_code import is_own_class, own_code_note, own_models
from inspector.engines.common.recipes import unheard_of, why_not_widths
from inspector.engines.common.served import ServedModel
from inspector.engines.sglang.fraction import NEWEST, FractionFacts, Release
from inspector.model.layers.chunked import ChunkedAttention
from inspector.model.layers.cross import CrossAttention
from inspector.model.layers.full import Attention, FullAttention
from inspector.model.layers.hybrid import HybridAttention
from inspector.model.layers.image_cross import ImageCrossAttention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.no_cache import NoCache
from inspector.model.layers.reference_sliding import ReferenceSlidingAttention
from inspector.model.layers.sliding import SlidingAttention
from inspector.model.model import Architecture
from inspector.model.packing.registry import own_name
from inspector.tables import table_text

PLAIN = FullAttention, SlidingAttention, ChunkedAttention, ReferenceSlidingAttention
"""Kinds of layers whose heads are those of a row."""

ROWS = NoCache, CrossAttention, ImageCrossAttention, IndexedAttention, LatentAttention, LinearAttention, HybridAttention
"""Kinds that have a row of the model's heads instead; a kind that is neither is told as it is, and has no rule."""

OVERRIDE = "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN"
"""The variable under which SGLang takes longer requests than the model's own maximum."""

CONTEXT = 2048
"""Tokens of a request where the config names no maximum (utils/hf_transformers/common.py: get_context_length)."""

VISION = 24, 1024
"""Layers and width of a vision encoder whose config does not have them under these names."""


@cache
def table() -> dict[str, Any]:
    """The table, with its lists of names as sets."""
    found: dict[str, Any] = json.loads(table_text("engines/sglang.json"))
    for name in ("no_backend", "not_read", "no_quantizations", "types"):
        found[name] = frozenset(found[name].split())
    return found


def flags(architecture: str | None) -> frozenset[str]:
    """What SGLang does with the class, see fixtures/make_engines_sglang.py."""
    return frozenset(table()["architectures"].get(architecture or "", "").split())


def why_not_loaded(shape: Architecture, release: Release = NEWEST) -> str | None:
    """Why the release of the table does not load the model; None where nothing known stands against it.

    What it has no class for goes to its backend for transformers, if the class lets it. A class that neither has may
    come with code of its own: see `why_unsure`. Of that, `AutoModel` alone is asked for
    (model_loader/utils.py: resolve_transformers_arch).
    """
    known, name = table(), shape.architecture
    foreign = _is_of_neither(shape) and "AutoModel" not in own_models(shape)
    if foreign or name in known["no_backend"] or name in known["not_read"]:
        return f"SGLang {known['sglang']} has no {name}"
    packing = shape.quantization
    if packing is None:
        return None
    if own_name(packing.method) in known["no_quantizations"] or unheard_of(packing, known["min_capability"]):
        return f"SGLang {known['sglang']} does not load {packing.method} checkpoints"
    refused = why_not_widths(packing, known["widths"]) if release >= NEWEST else None
    return None if refused is None else f"SGLang {known['sglang']} does not load {refused}"


def why_unsure(shape: Architecture) -> str | None:
    """Why it cannot be told whether the release of the table loads the model; None where nothing stands against it."""
    if not _is_of_neither(shape):
        return None
    return own_code_note(f"SGLang {table()['sglang']} has no {shape.architecture}")


def _is_of_neither(shape: Architecture) -> bool:
    return is_own_class(shape) and shape.architecture not in table()["architectures"]


_LENGTHS = ("max_sequence_length", "seq_length", "max_seq_len", "model_max_length", "max_position_embeddings")


def context_length(shape: Architecture) -> int:
    """Tokens of the longest request: the first of these keys, times the factor of a RoPE that does not say what it was
    stretched from (utils/hf_transformers/common.py: get_context_length)."""
    keys = shape.written
    rope = keys.get("rope_parameters") or keys.get("rope_scaling")
    factor = rope.get("factor") or 1 if isinstance(rope, Mapping) else 1
    if not isinstance(rope, Mapping) or "original_max_position_embeddings" in rope or rope.get("rope_type") == "llama3":
        factor = 1
    named = next((keys[key] for key in _LENGTHS if isinstance(keys.get(key), int)), None)
    positions = shape.max_position_embeddings  # those of a decoder's target are under no key that SGLang reads
    longest = named or (None if positions == keys.get("max_target_positions") else positions) or CONTEXT
    return int(longest * factor) if isinstance(factor, (int, float)) else longest


def page_size(shape: Architecture) -> int:
    """Tokens of a page of the pool: 1, but for the kernels of some classes."""
    pages = [flag.removeprefix("page") for flag in flags(shape.architecture) if flag.startswith("page")]
    return int(pages[0]) if pages else 1


def fraction_facts(shape: Architecture) -> FractionFacts:
    """What the default of mem_fraction_static depends on."""
    found = flags(shape.architecture)
    multimodal = "images" in found or shape.vision or shape.audio
    layers, width = shape.vision_size or (None, None)
    return FractionFacts(
        latent="latent" in found,
        multimodal=multimodal and "text" not in found,
        captured="captured" in found,
        eager="latent" in found and any(layer.states for layer in shape.layers),
        vision=(layers or VISION[0], width or VISION[1]) if shape.vision else None,
    )


BUFFERED_SINCE = (0, 5, 14)
"""States of a prefix have slots of their own by default, where the class allows it."""


STRATEGIES = {"no_buffer": 3, "extra_buffer": 5, "extra_buffer_lazy": 4}


def state_slots(
    shape: Architecture, release: Release = NEWEST, strategy: str | None = None, *, radix_cache: bool = True
) -> int:
    """Slots of states that a request keeps: three, and two more where a prefix's states have slots of their own; one
    where no prefixes are cached.

    mem_cache/kv_cache_configurator.py: _calculate_mamba_ratio.
    """
    if not radix_cache:
        return 1
    if strategy in STRATEGIES:
        return STRATEGIES[strategy]
    return 5 if release >= BUFFERED_SINCE and "buffered" in flags(shape.architecture) else 3


def as_cached(served: ServedModel, shape: Architecture) -> ServedModel:
    """The facts with the layers as SGLang caches them."""
    return replace(served, layers=cached_layers(served.layers, shape))


def cached_layers(layers: Sequence[Layer], shape: Architecture) -> tuple[Layer, ...]:
    """A row of one width in each layer, whatever transformers' class caches there: its windows, its shared and missing
    caches. Of its own classes, some have a pool of windows, some of latents, and those with states keep them.

    configs/model_config.py: ModelConfig; model_executor/pool_configurator.py: _compute_cell_size.
    """
    found = flags(shape.architecture)
    native = shape.architecture in table()["architectures"] or shape.architecture is None
    states = native and any(layer.states for layer in layers)
    row = _row(layers, shape)
    kept: list[Layer] = []
    for layer in layers:
        rows = layer.rows
        if states and layer.states:
            kept.append(layer)
            if isinstance(layer, HybridAttention) and isinstance(layer.attention, Attention):
                kept[-1] = replace(layer, attention=_full(layer.attention))
        elif states and rows is None:
            kept.append(layer)
        elif "latent" in found and isinstance(rows, LatentAttention):
            kept.append(layer if "indexed" in found else rows)
        elif "windows" in found and isinstance(layer, SlidingAttention | ChunkedAttention):
            kept.append(layer)
        elif isinstance(layer, PLAIN) and type(layer) in PLAIN:
            kept.append(_full(layer))
        elif row is not None and type(layer) in ROWS:
            kept += [row] * (2 if isinstance(layer, CrossAttention) and native else 1)
        else:
            kept.append(layer)
    if (
        "looped" in found and shape.num_hidden_layers
    ):  # ModelConfig counts all runs, and layer_setup.py all runs of each
        kept *= max(1, len(layers) // shape.num_hidden_layers)
    if shape.encoder_layers and row is not None and native and any(isinstance(each, CrossAttention) for each in layers):
        kept += [row] * shape.encoder_layers
    return tuple(kept)


def _row(layers: Sequence[Layer], shape: Architecture) -> FullAttention | None:
    """The row of a layer that has none of its own: another layer's, else of the heads that config.json names."""
    for layer in layers:
        if isinstance(layer.rows, PLAIN):
            return _full(layer.rows)
    heads = shape.num_key_value_heads or shape.num_attention_heads
    if not heads or not shape.head_dim:
        return None
    values = next((layer.rows.widths.get("v_head_dim") for layer in layers if layer.rows is not None), None)
    return FullAttention(heads, shape.head_dim, values or shape.head_dim)


def _full(layer: Attention) -> FullAttention:
    return FullAttention(layer.num_key_value_heads, layer.head_dim, layer.v_head_dim)
