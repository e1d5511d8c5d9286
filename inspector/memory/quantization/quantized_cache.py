"""transformers' QuantizedCache: packed values, and a scale and a zero point for every group of them."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.memory.estimate import Part, Workload
from inspector.model.layers.layer import Layer, size_in_bytes

GROUP_SIZE = 64
"""Values a scale: `q_group_size` of the quanto and hqq backends, as they set it by default."""

RESIDUAL_LENGTH = 128
"""Tokens after the prompt that wait unquantized until they are that many (`residual_length`)."""

FP8_SCALE_BYTES = 4
"""The fp8 backend has one float32 scale for all keys of a layer, and one for all its values."""

SOURCE = "transformers.cache_utils.QuantizedCache, measured with optimum-quanto 0.2.7 and hqq 0.2.8"


def quantized_cache(
    groups: Mapping[Layer, int], workload: Workload, kv_dtype: str, element_bits: int, compute_bits: int
) -> Part:
    """What QuantizedCache allocates after a prompt of the whole context. It takes full attention only.

    Args:
        groups: layer -> how many there are of it.
        kv_dtype: int8 (hqq), int4 (quanto or hqq) or fp8.
        element_bits: bits of one packed value.
        compute_bits: bits of the precision that the model computes in.
    """
    total = 0
    for layer, count in groups.items():
        one = quantized_layer_bytes(layer, workload.context, workload.batch, kv_dtype, element_bits, compute_bits)
        if one is None:
            return Part("quantized", None, f"QuantizedCache takes no layers of the kind '{layer.kind}'", SOURCE)
        total += count * one
    scales = "one scale for a layer's keys and one for its values"
    if kv_dtype != "fp8":
        scales = f"a scale and a zero point of {compute_bits} bits for {GROUP_SIZE} values; of the answer, up to "
        scales += f"{RESIDUAL_LENGTH - 1} tokens more wait at {compute_bits} bits"
    return Part("quantized", total, f"QuantizedCache after a prompt of that length, {kv_dtype}: {scales}", SOURCE)


def quantized_layer_bytes(
    layer: Layer, context: int, batch: int, kv_dtype: str, element_bits: int, compute_bits: int
) -> int | None:
    """Bytes of one layer after a prompt of `context` tokens; None for kinds that QuantizedCache refuses.

    Keys and values apart: n values, and for every 64 of them a scale and a zero point.
    Worked example, int4 in a bfloat16 model: 2 sequences, 2 KV heads of 64, 200 tokens: 51,200 keys take 25,600 B and
    800 groups * 2 * 2 B; with as many values 57,600 B.
    """
    if layer.quantized_widths is None:
        return None
    total = 0
    for width in layer.quantized_widths:
        count = batch * context * width
        total += size_in_bytes(count, element_bits)
        groups = -(-count // GROUP_SIZE)
        total += FP8_SCALE_BYTES if kv_dtype == "fp8" else size_in_bytes(2 * groups, compute_bits)
    return total
