"""How transformers' `device_map` lays a model over several GPUs: whole layers, in order, nothing divided."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from inspector.memory import PRECISION_BITS, STORED, Estimate
from inspector.memory.inference.kv_cache import layer_cache_bytes
from inspector.model import Model


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies in a row and is cut into one run a GPU, and what every GPU holds besides.

    Attributes:
        blocks: bytes of the embedding (with all else that stands before the layers), of each layer with its cache,
            and of the head, in the model's order.
        every_gpu: bytes of the working set and the fixed overhead.
    """

    blocks: tuple[int, ...]
    every_gpu: int

    def fits(self, capacities: Sequence[int]) -> bool:
        """Whether some split leaves no GPU of so many bytes with too much: `per_card` or `per_mixed_gpu`, without the
        search for the best.

        >>> Layout((2, 3, 4), every_gpu=1).fits((6, 5)), Layout((2, 3, 4), every_gpu=1).fits((5, 5))
        (True, False)
        """
        rooms = [capacity - self.every_gpu for capacity in capacities]
        return _filled(self.blocks, rooms, 0) is not None

    def per_card(self, count: int) -> tuple[int, ...]:
        """Bytes on each of `count` GPUs, by the split whose fullest GPU holds least. GPUs left empty take 0.

        >>> Layout((2, 3, 4), every_gpu=1).per_card(2)
        (6, 5)
        """
        runs = split(self.blocks, count)
        return tuple(sum(run) + self.every_gpu if run else 0 for run in runs)

    def per_mixed_gpu(self, capacities: Sequence[int]) -> tuple[int, ...]:
        """Bytes on each of unequal GPUs, in their order, by the split that leaves the tightest most room.

        >>> Layout((2, 3, 4), every_gpu=1).per_mixed_gpu((6, 12))
        (3, 8)
        """
        runs = split_unequal(self.blocks, [capacity - self.every_gpu for capacity in capacities])
        return tuple(sum(run) + self.every_gpu if run else 0 for run in runs)

    def least_count(self, capacity: int) -> int | None:
        """The fewest GPUs of so many bytes that hold it; None where one block alone is too much for a GPU.

        >>> Layout((2, 3, 4), every_gpu=1).least_count(6)
        2
        """
        room = capacity - self.every_gpu
        return None if max(self.blocks, default=0) > room else len(_ends([0, *accumulate(self.blocks)], room))


def split(blocks: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Cut a row of blocks into `count` runs such that the largest run is as small as it can be.

    A binary search for the smallest limit under which filling one run after the other needs no more than `count`.

    >>> split((7, 2, 5, 10, 8), 2)
    [(7, 2, 5), (10, 8)]
    """
    sums = [0, *accumulate(blocks)]
    largest, even = max(blocks, default=0), -(-sums[-1] // count)
    low, high = max(largest, even), min(sums[-1], even + largest)  # filled up to that, each run has an even share
    while low < high:
        limit = (low + high) // 2
        if len(_ends(sums, limit)) <= count:
            high = limit
        else:
            low = limit + 1
    ends = _ends(sums, low)
    return [tuple(blocks[start:end]) for start, end in pairwise([0, *ends])] + [()] * (count - len(ends))


def split_unequal(blocks: Sequence[int], rooms: Sequence[int]) -> list[tuple[int, ...]]:
    """Cut a row of blocks into one run a room, in order, such that the least that is left in any used room is the most
    that it can be; negative where they do not all fit. A room may stay empty.

    A binary search over what is left: filling each room before the next is begun leaves most for those after it. With
    equal rooms it is `split`.

    >>> split_unequal((7, 2, 5, 10, 8), (30, 10))
    [(7, 2, 5, 10), (8,)]
    """

    low, high = max(rooms) - sum(blocks), max(rooms)
    while low < high:
        middle = (low + high + 1) // 2
        if _filled(blocks, rooms, middle) is None:
            high = middle - 1
        else:
            low = middle
    return _filled(blocks, rooms, low) or [tuple(blocks), *(() for _ in rooms[1:])]


def _filled(blocks: Sequence[int], rooms: Sequence[int], left: int) -> list[tuple[int, ...]] | None:
    """The runs that come of filling each room, but for `left` of it, before the next is begun; None where blocks are
    left over."""
    runs, start = [], 0
    for room in rooms:
        end, total = start, 0
        while end < len(blocks) and total + blocks[end] <= room - left:
            total += blocks[end]
            end += 1
        runs.append(tuple(blocks[start:end]))
        start = end
    return runs if start == len(blocks) else None


def balanced(weights: Sequence[int], capacities: Sequence[int]) -> tuple[int, ...]:
    """How many blocks of weights `device_map="auto"` puts on each GPU; where the sum is less than all, the rest goes
    to the CPU.

    transformers/integrations/accelerate.py (5.23; accelerate's own modeling.py before): get_balanced_memory grants each
    GPU but the last an even share and 1.25 times the largest block; infer_auto_device_map fills them in order, with
    room kept for the largest block to come on the first. Both count weights alone: no cache, no working set.
    """
    share = sum(weights) // len(capacities) + int(1.25 * max(weights, default=0))
    limits = [min(share, capacity) for capacity in capacities[:-1]] + [capacities[-1]]
    counts, start = [], 0
    for gpu, limit in enumerate(limits):
        end, total = start, 0
        while end < len(weights):
            kept = max(weights[end:]) if gpu == 0 else 0
            if total + weights[end] > limit - kept:
                break
            total += weights[end]
            end += 1
        counts.append(end - start)
        start = end
    return tuple(counts)


def _ends(sums: Sequence[int], limit: int) -> list[int]:
    """Where the runs end that come of filling each up to `limit` before the next is begun; a block above it is alone.

    `sums`: bytes of the blocks before each place, 0 first.
    """
    ends: list[int] = []
    start = 0
    while start < len(sums) - 1:
        start = max(bisect_right(sums, sums[start] + limit) - 1, start + 1)
        ends.append(start)
    return ends


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


def automatic_notes(model: Model, estimate: Estimate, capacities: Sequence[int]) -> tuple[str, ...]:
    """What `device_map="auto"` makes of unequal GPUs, where that is not what the best split would.

    Adding a GPU, or one that is larger, can so make "auto" itself worse: its even share shrinks with every GPU.
    """
    layers, caches = layer_weights(model, estimate), layer_caches(model, estimate)
    layout = device_map_layout(model, estimate)
    if layers is None or caches is None or layout is None:
        return ()
    first, last = layout.blocks[0], layout.blocks[-1]
    counts = balanced((first, *layers, last), capacities)
    placed = sum(counts)
    advice = "; give it a device_map or a max_memory of your own"
    if placed < len(layout.blocks):
        left = max(1, min(len(layers), len(layout.blocks) - 1 - placed))
        return (
            f'device_map="auto" balances the weights, and would leave {left} of {len(layers)} layers to the CPU'
            f"{advice}",
        )
    start = 0
    for number, (count, capacity) in enumerate(zip(counts, capacities, strict=True)):
        held = sum(layout.blocks[start : start + count]) + (layout.every_gpu if count else 0)
        if held > capacity:
            return (f'device_map="auto" counts no cache, and would overfill GPU {number}{advice}',)
        start += count
    return ()


def layer_weights(model: Model, estimate: Estimate) -> tuple[int, ...] | None:
    """Bytes of each layer's weights at the workload's precision; None where they are not known."""
    parameters, total = model.parameters, estimate.weights.bytes
    counts = parameters.by_layer
    if total is None or not counts or len(counts) != len(model.architecture.layers):
        return None
    as_stored = estimate.workload.dtype == STORED and estimate.workload.formulas == "exact"
    layers = parameters.bytes_by_layer if as_stored else ()
    if len(layers) != len(counts):
        layers = tuple(total * layer // parameters.total for layer in counts)
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
