"""torch's caching allocator, replayed: its rules by hand, and what must hold of any run."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.measure.allocator import MIB, CachingAllocator, replay


def reserved(*sizes: int) -> int:
    allocator = CachingAllocator()
    for size in sizes:
        allocator.allocate(size)
    return allocator.reserved


def test_segments_are_of_2_and_20_mib_and_large_ones_are_rounded_to_2() -> None:
    assert reserved(1) == reserved(MIB) == 2 * MIB
    assert reserved(*[MIB // 2] * 4) == 2 * MIB
    assert reserved(MIB + 1) == 20 * MIB
    assert reserved(*[5 * MIB] * 4) == 20 * MIB
    assert reserved(10 * MIB) == 10 * MIB
    assert reserved(10 * MIB + 1) == 12 * MIB


def test_blocks_are_rounded_to_512_bytes() -> None:
    allocator = CachingAllocator()
    allocator.allocate(513)
    assert allocator.allocated == 1024


def test_a_free_block_serves_nothing_larger() -> None:
    """Four of 100 MiB, freed one by one and apart, serve none of 200; two neighbours do, where they are one segment."""
    allocator = CachingAllocator()
    apart = [allocator.allocate(100 * MIB) for _ in range(4)]
    for block in apart:
        allocator.release(block)
    allocator.allocate(200 * MIB)
    assert allocator.reserved == 600 * MIB
    one = CachingAllocator()
    one.release(one.allocate(400 * MIB))
    parts = [one.allocate(100 * MIB) for _ in range(4)]
    one.release(parts[1])
    one.release(parts[2])
    one.allocate(200 * MIB)
    assert one.reserved == 400 * MIB


def test_what_is_left_of_a_large_block_is_split_off_above_1_mib() -> None:
    allocator = CachingAllocator()
    allocator.release(allocator.allocate(12 * MIB))
    allocator.allocate(11 * MIB)
    assert allocator.allocated == 12 * MIB
    split = CachingAllocator()
    split.release(split.allocate(14 * MIB))
    split.allocate(11 * MIB)
    assert split.allocated == 11 * MIB
    split.allocate(3 * MIB)
    assert split.reserved == 14 * MIB


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 40 * MIB), st.booleans()), max_size=60))
def test_reserved_is_never_less_than_allocated_and_freed_memory_is_used_again(steps: list[tuple[int, bool]]) -> None:
    events: list[int] = []
    births: list[int] = []
    live: list[int] = []
    for size, frees in steps:
        if frees and live:
            birth = live.pop(size % len(live))
            births.append(birth)
            events.append(-events[birth])
        live.append(len(events))
        births.append(len(events))
        events.append(size)
    once = replay(events, births)
    assert once.reserved >= once.allocated >= sum(events[birth] for birth in live)
    ends = [*events, *(-events[birth] for birth in live)]
    origins = [*births, *live]
    twice = replay(ends + ends, origins + [birth + len(ends) for birth in origins])
    assert twice.allocated == 0
    assert twice.reserved <= 2 * once.reserved
