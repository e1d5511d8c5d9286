"""The model types of mlx-lm by what their classes do.

The table is inspector/data/mlx.json, made from mlx-lm's source (fixtures/make_mlx.py); what the source does not say
plainly stands in inspector/data/by_hand.json, with reasons.
"""

from __future__ import annotations

import json

from inspector.model.model import Architecture
from inspector.tables import table_text

_TABLE = json.loads(table_text("mlx.json"))


def mlx_type(shape: Architecture) -> str:
    """The model type whose class mlx-lm takes: config.json's, or the one that it has for a type's class of that name
    (MODEL_ARCHITECTURE_REMAPPING)."""
    found: str = _TABLE["by_class"].get(f"{shape.model_type} {shape.architecture}", shape.model_type or "")
    return found


def _types(name: str) -> frozenset[str]:
    return frozenset(_TABLE[name])


TYPES = _types("types")
"""Those that it has a class for, and names that it takes for one of them (MODEL_REMAPPING)."""

WINDOWED = _types("windowed")
"""Types whose windows get a RotatingKVCache. All others keep every token, Gemma 2, Phi 3 and Qwen2 among them."""

BY_LAYER_TYPES = _types("by_layer_types")
"""Types that have windows where `layer_types` names some layers for them, and full attention for the others."""

EXPANDED_LATENTS = _types("expanded_latents")
"""Types whose latents are cached as what they expand to, keys and values of every head."""

KEEPS_VISION = _types("keeps_vision")
"""Types whose encoder for images is loaded, too; all others drop it (sanitize)."""

OWN_ATTENTION = _types("own_attention")
"""Types whose class does its attention by hand, with no room for a quantized cache or a batch."""

STATEFUL = _types("stateful")
"""Types whose class makes an ArraysCache: some layers keep states."""

ONE_ARRAY = _types("one_array")
"""Types whose class keeps one array in a layer without rows: of a convolution and a matrix, the matrix."""

OWN_CACHE = _types("own_cache")
"""Types whose file has a cache of its own, which no rule here is of."""

SHARDED = _types("sharded")
"""Types whose class has a shard()."""

ROUTER_IS_NO_LINEAR = _types("router_is_no_linear")
"""Types whose router is a bare matrix, which quantize_model leaves alone."""

ROUTER_8_BITS = _types("router_8_bits")
"""Types whose `quant_predicate` keeps the router at 8 bits in groups of 64."""

PARTS_AT_8_BITS = _types("parts_at_8_bits")
"""Types whose `quant_predicate` keeps output and down projections at 8 bits, too: not told apart here."""
