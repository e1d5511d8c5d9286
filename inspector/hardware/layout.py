"""How transformers' `device_map` lays a model over several cards: whole layers, in order, nothing divided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inspector.memory import PRECISION_BITS, STORED, Estimate
from inspector.memory.kv_cache import layer_cache_bytes
from inspector.model import Model


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies in a row and is cut into one run a card, and what every card holds besides.

    Attributes:
        blocks: bytes of the embedding (with all else that stands before the layers), of each layer with its cache,
            and of the head, in the model's order.
        every_card: bytes of the working set and the fixed overhead.
    """

    blocks: tuple[int, ...]
    every_card: int

    def per_card(self, count: int) -> tuple[int, ...]:
        """Bytes on each of `count` cards, by the split whose fullest card holds least. Cards left empty take 0.

        >>> Layout((2, 3, 4), every_card=1).per_card(2)
        (6, 5)
        """
        runs = split(self.blocks, count)
        return tuple(sum(run) + self.every_card if run else 0 for run in runs)

    def least_count(self, capacity: int) -> int | None:
        """The fewest cards of so many bytes that hold it; None where one block alone is too much for a card.

        >>> Layout((2, 3, 4), every_card=1).least_count(6)
        2
        """
        room = capacity - self.every_card
        return None if max(self.blocks, default=0) > room else len(_filled(self.blocks, room))


def split(blocks: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Cut a row of blocks into `count` runs such that the largest run is as small as it can be.

    A binary search for the smallest limit under which filling one run after the other needs no more than `count`.

    >>> split((7, 2, 5, 10, 8), 2)
    [(7, 2, 5), (10, 8)]
    """
    low, high = max(blocks, default=0), sum(blocks)
    while low < high:
        limit = (low + high) // 2
        if len(_filled(blocks, limit)) <= count:
            high = limit
        else:
            low = limit + 1
    runs = _filled(blocks, low)
    return runs + [()] * (count - len(runs))


def _filled(blocks: Sequence[int], limit: int) -> list[tuple[int, ...]]:
    """The runs that come of filling each up to `limit` before the next is begun; no block may exceed it."""
    runs: list[tuple[int, ...]] = []
    start = total = 0
    for index, block in enumerate(blocks):
        if total + block > limit and index > start:
            runs.append(tuple(blocks[start:index]))
            start, total = index, 0
        total += block
    if blocks:
        runs.append(tuple(blocks[start:]))
    return runs


def device_map_layout(model: Model, estimate: Estimate) -> Layout | None:
    """The layout of an estimate, or None where it is not known what each layer holds.

    The parts' bytes are the estimate's; only their places come from the parameters by layer and from the cache sizes
    by layer. Tied weights lie with the embedding (accelerate keeps them on one device).
    """
    layers = layer_weights(model, estimate)
    caches = layer_caches(model, estimate)
    weights, activations, overhead = estimate.weights.bytes, estimate.activations.bytes, estimate.overhead.bytes
    if layers is None or caches is None or weights is None or activations is None or overhead is None:
        return None
    outside = weights - sum(layers)
    parameters = model.parameters
    parameters_outside = parameters.total - sum(parameters.by_layer)
    head = 0
    if parameters_outside > 0:
        head = outside * min(parameters.by_component.get("head", 0), parameters_outside) // parameters_outside
    blocks = (outside - head, *(a + b for a, b in zip(layers, caches, strict=True)), head)
    return Layout(blocks, activations + overhead)


def layer_weights(model: Model, estimate: Estimate) -> tuple[int, ...] | None:
    """Bytes of each layer's weights at the workload's precision; None where they are not known."""
    parameters, total = model.parameters, estimate.weights.bytes
    if total is None or not parameters.by_layer or len(parameters.by_layer) != len(model.architecture.layers):
        return None
    as_stored = estimate.workload.dtype == STORED and estimate.workload.formulas == "exact"
    if as_stored and len(parameters.bytes_by_layer) == len(parameters.by_layer):
        layers = parameters.bytes_by_layer
    else:
        layers = tuple(total * layer // parameters.total for layer in parameters.by_layer)
    return layers if sum(layers) <= total else None


def layer_caches(model: Model, estimate: Estimate) -> tuple[int, ...] | None:
    """Bytes of each layer's cache, which sum to the estimate's; None where they are not known."""
    total, count = estimate.kv_cache.bytes, len(model.architecture.layers)
    if total is None or count == 0:
        return None
    if total == 0:
        return (0,) * count
    if estimate.workload.formulas == "article" or estimate.kv_dtype is None:
        # The article's cache is the same for every layer.
        return tuple(total * (index + 1) // count - total * index // count for index in range(count))
    sizes = layer_cache_bytes(model.architecture, estimate.workload, PRECISION_BITS[estimate.kv_dtype])
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == count and sum(known) == total else None
