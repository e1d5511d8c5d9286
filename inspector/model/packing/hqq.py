"""HQQ, and SINQ, which stores as it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.packing import (
    Packing,
    Parts,
    Rules,
    Scheme,
    Schemes,
    beside,
    by_pattern,
    every,
    mapping,
    scheme_in,
)
from inspector.model.parameters.names import Group


def hqq(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """W_q: 8 // bits values a byte, at 3 bits ten an int32, of which the last may be padded: there a scale for each
    group tells the number. Source: hqq.core.bitpack; a W_q viewed as floats has the same bytes."""
    if scheme.bits is None:
        return None
    scale = parts.get("scale")
    if scheme.bits == 3:
        capacity = stored.nbytes // 4 * 10
        if scale is not None and scheme.group_size and 0 < scale.numel * scheme.group_size <= capacity:
            return scale.numel * scheme.group_size
        return None if stored.dtype not in ("I32", "F32") else capacity
    return stored.nbytes * (8 // min(scheme.bits, 8)) if scheme.bits in (1, 2, 4) else stored.nbytes


class Hqq(Packing):
    """HQQ: its recipes speak of all layers, or of each by the end of its name."""

    tensors: ClassVar[Rules] = {
        "W_q": hqq,
        **every(
            beside,
            "nbits group_size shape scale zero axis packing unpack_view_dtype view_as_float quant_scale quant_zero "
            "compute_dtype offload_meta encoded_state_dict stores_quant_config channel_wise optimize round_zero",
        ),
    }

    marks = ("W_q", "scale")

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        return scheme_in(mapping(mapping(recipe.get("quant_config")).get("weight_quant_params")) or recipe)

    def schemes(self, recipe: Mapping[str, Any]) -> Schemes:
        default = self.scheme(recipe)
        tags = _hqq_tags(recipe, default)
        if not tags:
            return Schemes(default, default)
        return by_pattern(default, tags, lambda tag, name: name == tag or name.endswith(f".{tag}"))


def _hqq_tags(recipe: Mapping[str, Any], default: Scheme) -> dict[str, Scheme]:
    found = mapping(recipe.get("quant_config")) or mapping(recipe.get("dynamic_config"))
    inner = {tag: mapping(value) for tag, value in found.items() if "." in tag}
    return {tag: scheme_in(value.get("weight_quant_params", value), default) for tag, value in inner.items()}


class Sinq(Packing):
    """SINQ: what is known of its groups lies in a module of its own."""

    tensors: ClassVar[Rules] = {**Hqq.tensors, **every(beside, "meta.*")}
    marks = ("W_q", "meta.*")
