"""compressed-tensors: integers and floats, in groups, channels, blocks, and sparse."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from inspector.hub.checkpoint import Tensor
from inspector.model.packing.groups import group_scheme, shared_scheme, weight_groups
from inspector.model.packing.modelopt import Modelopt
from inspector.model.packing.packing import (
    MAX_LISTED,
    WHOLE_BITS,
    Packing,
    Parts,
    Rules,
    Scheme,
    Schemes,
    Stored,
    beside,
    blocks,
    every,
    mapping,
    overhead,
    whole,
)
from inspector.model.packing.patterns import Matching
from inspector.model.parameters.names import Group


def compressed(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """compressed-tensors' weight_packed: pack-quantized (int32), nvfp4, mxfp4 and mxfp6 (bytes), marlin-24.

    pack-quantized has (out, words of a row). In older versions a word holds 32 // bits values, later ones have no gaps:
    the same at 2, 4 and 8 bits. A scale a group tells the row's width, whatever the bits and the padding.
    marlin-24 keeps two of four values, and 2 bits of metadata for each: meta (int16) has 1 element for 16 weights.
    Source: the compressors of compressed-tensors 0.11 and 0.20.
    """
    if "meta" in parts:
        return 16 * parts["meta"].numel if parts["meta"].dtype == "I16" else None
    if stored.dtype == "U8":
        return stored.numel * 4 // 3 if scheme.bits == 6 else 2 * stored.numel
    if stored.dtype != "I32" or not stored.shape:
        return None
    rows, words = math.prod(stored.shape[:-1]), stored.shape[-1]
    scale, size = parts.get("weight_scale"), scheme.group_size
    if scale is not None and size and len(scale.shape) == len(stored.shape) and scale.shape[-1] > 1:
        width = scale.shape[-1] * size
        if any(words in (-(-width * bits // 32), -(-width // (32 // bits))) for bits in WHOLE_BITS):
            return rows * width
    if not scheme.bits or scheme.bits > 32:
        return None
    if 32 % scheme.bits == 0:
        return rows * words * (32 // scheme.bits)
    if scheme.gapless is None:
        return None
    return rows * (words * 32 // scheme.bits if scheme.gapless else words * (32 // scheme.bits))


def kept_values(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """Sparse formats' `compressed`: the values that are not zero; their bitmask has one bit a parameter.

    2:4 sparse keeps exactly half. Otherwise a row's bits are padded to bytes: exact for widths that 8 divides.
    """
    del scheme
    mask = parts.get("bitmask") or parts.get(".bitmask")
    if mask is None:
        return 2 * stored.numel
    width = mask.shape[-1] * 8 if mask.shape else 0
    halves = 2 * stored.numel
    rows = mask.numel // mask.shape[-1] if width else 0
    return halves if rows and 0 <= width * rows - halves < 8 * rows and len(stored.shape) == 2 else mask.numel * 8


class CompressedTensors(Packing):
    """Groups of modules by their names or classes, each with its own scheme."""

    tensors: ClassVar[Rules] = {
        **Modelopt.tensors,
        "weight_packed": compressed,
        **every(overhead, "weight_shape weight_g_idx scale_packed"),
        **every(beside, "meta bitmask row_offsets shape .bitmask .row_offsets .shape"),
        "compressed": kept_values,
        ".compressed": kept_values,
    }
    grouped = True
    marlin = True

    def told_by(self, parts: Parts) -> bool:
        return "weight_packed" in parts or ("compressed" in parts and "bitmask" in parts) or ".compressed" in parts

    def recipe_of(self, bits: int, group_size: int | None) -> dict[str, Any]:
        weights = {"num_bits": bits, "group_size": group_size}
        return {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        return shared_scheme(recipe)

    def schemes(self, recipe: Mapping[str, Any]) -> Schemes:
        default = self.scheme(recipe)
        if len(weight_groups(recipe)) < 2:
            return Schemes(default, default)
        find = by_target(recipe, Matching())

        def scheme_of(name: str) -> Scheme | None:
            group = find(name)
            return None if group is None else group_scheme(group, recipe)

        return Schemes(default, default, scheme_of)

    def converts(self, component: str) -> bool:
        return component == "head" or super().converts(component)

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        group = by_target(recipe, Matching())(weight.name.removesuffix(".weight"))
        if group is None:
            return None
        how, layout = mapping(group.get("weights")), group.get("format", recipe.get("format"))
        if layout == "mixed-precision":
            layout = None
        scales = _scales(weight.shape, how)
        if scales is None:
            return None
        rows, width = weight.shape
        if layout in ("float-quantized", "int-quantized", "naive-quantized") and how.get("num_bits") == 8:
            if how.get("type") == "int" and how.get("symmetric") is False:
                return None
            kind = "F8_E4M3" if how.get("type") == "float" else "I8"
            return {"weight": (kind, weight.shape), "weight_scale": (weight.dtype, scales)}
        if layout == "pack-quantized" and scheme.bits in WHOLE_BITS and len(scales) == 2:
            return _pack_quantized(weight, scheme, scales, symmetric=how.get("symmetric") is not False)
        packed = ("U8", (rows, width // 2))
        if layout == "nvfp4-pack-quantized" and width % 16 == 0:
            one = ("F32", (1,))
            inputs = {"input_global_scale": one} if mapping(group.get("input_activations")) else {}
            scale = ("F8_E4M3", (rows, width // 16))
            return {"weight_packed": packed, "weight_scale": scale, "weight_global_scale": one, **inputs}
        if layout == "mxfp4-pack-quantized" and width % 32 == 0:
            return {"weight_packed": packed, "weight_scale": ("U8", (rows, width // 32))}
        return None


def _scales(shape: tuple[int, ...], how: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The shape of a matrix's scales by its strategy; None for one that is not known."""
    rows, width = shape
    strategy, block = how.get("strategy"), how.get("block_structure")
    if strategy == "tensor":
        return (1,)
    if strategy == "channel":
        return (rows, 1)
    if strategy in ("group", "tensor_group"):
        return (rows, blocks(width, whole(how.get("group_size"))))
    if strategy == "block" and isinstance(block, list) and len(block) == 2 and all(map(whole, block)):
        return blocks(rows, block[0]), blocks(width, block[1])
    return None


def _pack_quantized(weight: Tensor, scheme: Scheme, scales: tuple[int, ...], *, symmetric: bool) -> Stored | None:
    """Words of a row, without gaps or not; zero points are packed along the rows."""
    rows, width = weight.shape
    bits = scheme.bits or 0
    if scheme.gapless is None and 32 % bits:
        return None
    gapless = scheme.gapless or not 32 % bits
    words, ranks = (blocks(n * bits, 32) if gapless else blocks(n, 32 // bits) for n in (width, rows))
    zeros = {} if symmetric else {"weight_zero_point": ("I32", (ranks, scales[1]))}
    return {
        "weight_packed": ("I32", (rows, words)),
        "weight_scale": (weight.dtype, scales),
        "weight_shape": ("I64", (2,)),
        **zeros,
    }


def by_target(recipe: Mapping[str, Any], match: Matching) -> Callable[[str], Mapping[str, Any] | None]:
    """The group of a module's name: by compressed-tensors' targets, of which a module's name or "re:" and a pattern
    come before a class's name."""
    named: list[tuple[str, Mapping[str, Any]]] = []
    for group in weight_groups(recipe):
        targets = group.get("targets")
        for target in targets[:MAX_LISTED] if isinstance(targets, list) else ():
            if isinstance(target, str):
                named.append((target, group))

    def find(name: str) -> Mapping[str, Any] | None:
        for target, group in named:
            if target == name or (target.startswith("re:") and match.matches(target.removeprefix("re:"), name)):
                return group
        return next((group for target, group in named if target == "Linear"), None)

    return find
