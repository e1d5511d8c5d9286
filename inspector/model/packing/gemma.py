"""Gemma's own quantization in transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.packing import (
    SCALES,
    Packing,
    Parts,
    Rules,
    Scheme,
    Schemes,
    by_pattern,
    every,
    mapping,
    overhead,
    scheme_in,
)
from inspector.model.packing.patterns import Matching
from inspector.model.parameters.names import Group


def gemma(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """Bytes of 2 or 4 bits; int8 as it is. Source: QuantizedLinear and QuantizedEmbedding of gemma_quant in
    transformers."""
    del parts
    if stored.dtype != "U8":
        return stored.numel
    return stored.numel * (8 // scheme.bits) if scheme.bits in (2, 4) else None


class Gemma(Packing):
    """Linear layers and embeddings of 2, 4 or 8 bits, by patterns."""

    tensors: ClassVar[Rules] = {
        "weight": gemma,
        "embedding_quantized": gemma,
        **SCALES,
        **every(overhead, "input_activation_scale output_activation_scale embedding_scale"),
    }

    marks = ("weight", "input_activation_scale")

    def schemes(self, recipe: Mapping[str, Any]) -> Schemes:
        default = self.scheme(recipe)
        modules = mapping(recipe.get("module_quant_configs"))
        if not modules:
            return Schemes(default, default)
        found = {pattern: scheme_in(value, default) for pattern, value in modules.items()}
        return by_pattern(default, found, Matching().finds)
