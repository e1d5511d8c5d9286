"""The KV cache, and the fixed states of layers without attention: sums over the layers, each of which sizes itself.

One sizing function for all: fits, tables and searches call `cache_bytes`, which is what the tokens hold in steady
state; `allocated_bytes` sizes the same layers as transformers' cache classes allocate them. The rules of each mechanism
stand in its file under inspector/model/layers.
"""

from __future__ import annotations

from inspector.memory.estimate import Part, Workload
from inspector.model.layers.layer import Cache, CacheRequest, Layer, distinct, size_in_bytes
from inspector.model.model import Architecture

ALLOCATIONS: tuple[Cache, ...] = ("dynamic", "dynamic_after_prefill", "static")

COUNTER_BYTES = 8
"""A whole number that a cache layer keeps as a tensor (`Layer.counters`)."""


def values_per_token(layer: Layer) -> int | None:
    """Values that one token adds to this layer's cache, until a window is full; None where that is unknown."""
    return layer.values_per_token


def tokens_held(layer: Layer, context: int, encoder_tokens: int | None = None) -> int:
    """Rows that the cache of a sequence of `context` tokens holds between two decode steps.

    Cross attention also keeps the encoder's rows: as many as the encoder's fixed length, else `encoder_tokens`, else
    as many again as the context.
    """
    return layer.tokens_held(CacheRequest(context, 1, 8, "held", encoder_tokens))


def cache_bytes(
    layer: Layer, *, context: int, batch: int, element_bits: int, encoder_tokens: int | None = None
) -> int | None:
    """Bytes that one layer's cache holds for `batch` sequences of `context` tokens; None where that is unknown.

    `encoder_tokens`: the input's length, for encoder-decoders; as long as the context where it is not given.
    """
    return layer.cache_bytes(CacheRequest(context, batch, element_bits, "held", encoder_tokens))


def allocated_bytes(
    layer: Layer, *, context: int, batch: int, element_bits: int, cache: Cache, encoder_tokens: int | None = None
) -> int | None:
    """Bytes that transformers' cache class has allocated for one layer; None where unknown, or where there is no such
    class for this kind.

    Args:
        context: tokens a sequence; those of the prompt after a prompt, and `max_cache_len` of a StaticCache.
        cache: which class, and when. StaticCache allocates all rows at once.
    """
    total = layer.cache_bytes(CacheRequest(context, batch, element_bits, cache, encoder_tokens))
    counters = layer.counters(cache)
    return None if total is None or counters is None else total + COUNTER_BYTES * counters


def layer_cache_bytes(architecture: Architecture, workload: Workload, element_bits: int) -> tuple[int | None, ...]:
    """`cache_bytes` of every layer, in order."""
    request = CacheRequest(workload.context, workload.batch, element_bits)
    sizes = {id(layer): layer.cache_bytes(request) for layer in distinct(architecture.layers)}
    return tuple(sizes[id(layer)] for layer in architecture.layers)


def kv_cache_allocated(
    architecture: Architecture, workload: Workload, kv_dtype: str, element_bits: int, compute_bits: int
) -> tuple[Part, ...]:
    """What transformers' caches allocate for the whole model: a part named after each of `ALLOCATIONS`, and one for
    QuantizedCache. None where a layer's is unknown, and where that class does not keep values of this precision.

    Args:
        element_bits: bits of one cached value.
        compute_bits: bits of the precision that the model computes in, which a quantized cache's scales have.
    """
    groups = _groups(architecture)
    known = bool(groups) or not architecture.is_decoder
    parts: list[Part] = []
    for cache, (name, when) in _ALLOCATION_TEXTS.items():
        total: int | None = 0 if known and kv_dtype not in QUANTIZED else None
        for layer, count in groups.items():
            one = allocated_bytes(
                layer, context=workload.context, batch=workload.batch, element_bits=element_bits, cache=cache
            )
            total = None if one is None or total is None else total + count * one
        formula = f"{name} {when}" if total is not None else f"not known, or no {name} of this kind in {kv_dtype}"
        parts.append(Part(cache, total, formula, f"transformers.cache_utils.{name}"))
    if kv_dtype in QUANTIZED:
        from inspector.memory.quantization.quantized_cache import quantized_cache

        parts.append(quantized_cache(groups, workload, kv_dtype, element_bits, compute_bits))
    return tuple(parts)


QUANTIZED = ("int8", "int4", "fp8")
"""Precisions of a cache that only transformers' QuantizedCache keeps."""

_ALLOCATION_TEXTS: dict[Cache, tuple[str, str]] = {
    "dynamic": ("DynamicCache", "between two decode steps: a window's view of one row more, and its counter"),
    "dynamic_after_prefill": ("DynamicCache", "after a prompt of that length: a window is a view of all its rows"),
    "static": ("StaticCache", "whose max_cache_len is the context: all rows at once, and a counter a layer"),
}


def _groups(architecture: Architecture) -> dict[Layer, int]:
    """Layer -> how many there are of it, in order of first appearance."""
    groups: dict[Layer, int] = {}
    for layer in architecture.layers:
        groups[layer] = groups.get(layer, 0) + 1
    return groups


def kv_bytes_per_token(architecture: Architecture, element_bits: int) -> int | None:
    """Bytes that one token of one sequence takes in all layers together, as long as no window is full; None where the
    layers are not known."""
    if architecture.is_decoder and not architecture.layers:
        return None
    total = 0
    for layer in architecture.layers:
        bits = layer.bits_per_token(element_bits)
        if bits is None:
            return None
        total += bits
    return size_in_bytes(total, 1)


def kv_cache(architecture: Architecture, workload: Workload, kv_dtype: str, element_bits: int) -> Part:
    """The whole model's cache as transformers' DynamicCache holds it between two decode steps, one part a run of
    equal layers."""
    source = "transformers.cache_utils.DynamicCache"
    if not architecture.is_decoder:
        return Part("kv_cache", 0, "no decoder: nothing is cached", source)
    if not architecture.layers:
        return Part("kv_cache", None, "unknown: config.json does not tell the layers", source)
    request = CacheRequest(workload.context, workload.batch, element_bits)
    parts: list[Part] = []
    for layer, count in _groups(architecture).items():
        one = layer.cache_bytes(request)
        formula = f"{count} layers x {layer.equation(request)}"
        parts.append(Part(layer.kind, None if one is None else count * one, formula, source))
    unknown = [part.name for part in parts if part.bytes is None]
    scales = "; the values alone: a QuantizedCache's scales are not in it" if kv_dtype in ("int8", "int4") else ""
    total = None if unknown else sum(part.bytes or 0 for part in parts)
    return Part(
        "kv_cache",
        total,
        f"unknown: no size is known for {', '.join(unknown)}" if unknown else f"the layers' caches, {kv_dtype}{scales}",
        source,
        tuple(parts),
        low=_least_bytes(architecture, request),
        high=total if architecture.layers_at_least else None,
    )


def _least_bytes(architecture: Architecture, request: CacheRequest) -> int | None:
    """The least that the layers may keep, where their mechanism is not known; else None."""
    sizes = [layer.cache_bytes(request) for layer in architecture.layers_at_least]
    return None if not sizes or None in sizes else sum(size or 0 for size in sizes)
