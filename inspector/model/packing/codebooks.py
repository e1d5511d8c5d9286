"""Codebooks: AQLM's, VPTQ's and the tables of HIGGS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from inspector.model.packing.packing import PLAIN, Packing, Parts, Rules, Scheme, beside, every, mapping
from inspector.model.parameters.names import Group


def aqlm(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """codes (out groups, in groups, codebooks) and codebooks (n, 2^bits, out group, in group): in * out by both shapes.

    Source: aqlm.QuantizedLinear.
    """
    del scheme
    books = parts.get("codebooks")
    if books is None or len(books.shape) != 4 or len(stored.shape) != 3:
        return None
    return stored.shape[0] * stored.shape[1] * books.shape[2] * books.shape[3]


def vptq(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """indices (codebooks, out / vector length, packed): the recipe gives in and out features of every layer; else the
    width is that of the permutation or the norm, and the height a multiple of the vector length.

    Source: vptq.VQuantLinear. A height that the vector length does not divide is padded.
    """
    width, (into, out) = parts.get("perm") or parts.get("weight_scale"), scheme.shape or (0, 0)
    if len(stored.shape) != 3 or not scheme.vector:
        return None
    height = stored.shape[1] * scheme.vector
    if 0 <= height - out < scheme.vector and (width is None or width.numel == into):
        return into * out
    return None if width is None else height * width.numel


def higgs(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """weight (out * bits / 16, in) int16 beside tables (2^bits). Source: HiggsLinear of transformers."""
    if stored.dtype != "I16":
        return stored.numel if stored.dtype in PLAIN else None
    tables = parts.get("tables")
    bits = (tables.shape[0].bit_length() - 1) if tables is not None and tables.shape else scheme.bits
    return stored.numel * 16 // bits if bits and bits > 0 else None  # an empty table has -1


class Aqlm(Packing):
    """AQLM."""

    marks = ("codes", "codebooks")
    tensors: ClassVar[Rules] = {"codes": aqlm, **every(beside, "codebooks scales")}


class Vptq(Packing):
    """VPTQ, whose recipes have every layer's features and vector length."""

    tensors: ClassVar[Rules] = {
        "indices": vptq,
        **every(
            beside,
            "centroids.weight res_centroids.weight outlier_centroids.weight outlier_indices res_indices perm "
            "weight_scale weight_bias",
        ),
    }

    marks = ("indices", "centroids.weight")

    def by_name(self, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
        return mapping(recipe.get("config_for_layers"))


class Higgs(Packing):
    """HIGGS."""

    marks = ("weight", "tables")
    tensors: ClassVar[Rules] = {"weight": higgs, **every(beside, "scales tables tables2")}
