"""torch's caching allocator for one stream, replayed over the births and deaths of storages: what it reserves.

By c10/cuda/CUDACachingAllocator.cpp of torch 2.13 with its default settings (no expandable segments, no limit of
splits): a block is rounded up to 512 B; one of at most 1 MiB comes from segments of 2 MiB, one below 10 MiB from
segments of 20 MiB, and a larger one from a segment of its own, rounded up to 2 MiB. Before a segment is asked for, the
smallest free block that is large enough is taken, of the same kind, and what is left of it stays free where that is
worth it: 512 B of a small one, more than 1 MiB of a large one. Free neighbours become one block; no segment is given
back while the device has room. No GPU and no torch are needed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

MIB = 2**20
ROUND = 512
SMALL, SMALL_SEGMENT = MIB, 2 * MIB
LARGE, LARGE_SEGMENT, LARGE_ROUND = 10 * MIB, 20 * MIB, 2 * MIB


@dataclass(slots=True)
class _Block:
    """A stretch of a segment, between its neighbours there."""

    size: int
    number: int
    small: bool
    before: _Block | None = None
    after: _Block | None = None
    free: bool = False


@dataclass(slots=True)
class CachingAllocator:
    """What torch's allocator holds; sizes in bytes.

    Attributes:
        allocated: of blocks in use.
        reserved: of segments, which is its most, too: none is given back.

    >>> allocator = CachingAllocator()
    >>> block = allocator.allocate(12 * MIB + 1)
    >>> allocator.reserved // MIB
    14
    >>> allocator.release(block)
    >>> _ = allocator.allocate(5 * MIB), allocator.allocate(6 * MIB)
    >>> allocator.reserved // MIB, allocator.allocated // MIB
    (14, 11)
    """

    allocated: int = 0
    reserved: int = 0
    _free: dict[bool, list[tuple[int, int]]] = field(default_factory=lambda: {True: [], False: []})
    _blocks: dict[int, _Block] = field(default_factory=dict)
    _made: int = 0

    def allocate(self, size: int) -> int:
        """A block of at least so many bytes: its number."""
        size = max(ROUND, -(-size // ROUND) * ROUND)
        small = size <= SMALL
        block = self._cached(size, small=small) or self._segment(size, small=small)
        left = block.size - size
        if left >= ROUND if small else left > SMALL:
            rest = self._block(left, small=small)
            rest.before, rest.after, block.after = block, block.after, rest
            if rest.after is not None:
                rest.after.before = rest
            block.size = size
            self._keep(rest)
        self.allocated += block.size
        return block.number

    def release(self, number: int) -> None:
        """A block is used no more."""
        block = self._blocks[number]
        self.allocated -= block.size
        for near in (block.before, block.after):
            if near is not None and near.free:
                self._forget(near)
                block.size += near.size
                self._join(block, near)
        self._keep(block)

    def _cached(self, size: int, *, small: bool) -> _Block | None:
        found = self._free[small]
        at = bisect_left(found, (size, 0))
        if at == len(found):
            return None
        block = self._blocks[found[at][1]]
        self._forget(block)
        return block

    def _segment(self, size: int, *, small: bool) -> _Block:
        whole = SMALL_SEGMENT if small else LARGE_SEGMENT if size < LARGE else -(-size // LARGE_ROUND) * LARGE_ROUND
        self.reserved += whole
        return self._block(whole, small=small)

    def _block(self, size: int, *, small: bool) -> _Block:
        self._made += 1
        block = self._blocks[self._made] = _Block(size, self._made, small)
        return block

    def _keep(self, block: _Block) -> None:
        block.free = True
        insort(self._free[block.small], (block.size, block.number))

    def _forget(self, block: _Block) -> None:
        block.free = False
        found = self._free[block.small]
        del found[bisect_left(found, (block.size, block.number))]

    def _join(self, block: _Block, near: _Block) -> None:
        """A free neighbour becomes a part of a block."""
        if near is block.before:
            block.before = near.before
            if near.before is not None:
                near.before.after = block
        else:
            block.after = near.after
            if near.after is not None:
                near.after.before = block
        del self._blocks[near.number]


def replay(events: Sequence[int], births: Sequence[int]) -> CachingAllocator:
    """The allocator after storages came and went.

    Args:
        events: a storage's bytes where it is made, as many below zero where it is gone.
        births: of each event, the place of its storage's first one.
    """
    allocator, numbers = CachingAllocator(), dict[int, int]()
    for size, birth in zip(events, births, strict=True):
        if size > 0:
            numbers[birth] = allocator.allocate(size)
        elif birth in numbers:
            allocator.release(numbers.pop(birth))
    return allocator
