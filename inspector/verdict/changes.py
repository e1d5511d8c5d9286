"""When a model does not fit: the single changes that make it fit, each with what the fullest GPU then holds.

Every figure comes from the sizing function that gave the verdict; a change that does not suffice is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from inspector.devices.spec import GpuSpec
from inspector.memory import Workload

CACHE_PRECISIONS = ("fp8", "int4")
WEIGHT_PRECISIONS = ("bf16", "fp8", "int4")
"""Mildest first. The weights' are floors, see `memory.precision`."""

Needed = Callable[[Workload, int], "int | None"]
"""(workload, GPUs) -> bytes on the fullest GPU, None where that is not known."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what to type for it ("" where no option says it), what it is, and bytes on the fullest GPU then."""

    option: str
    text: str
    needed: int


def changes_that_fit(
    workload: Workload,
    spec: GpuSpec,
    needed: Needed,
    *,
    max_context: int | None,
    max_batch: int | None,
    min_count: int | None,
    precisions: bool = True,
) -> tuple[Change, ...]:
    """The single changes to a workload that does not fit, the mildest first.

    Args:
        needed: the sizing function of the verdict.
        max_context / max_batch / min_count: what the verdict's searches found.
        precisions: those of the weights and the cache may change, too.
    """
    candidates = [*_smaller_workloads(workload, max_context, max_batch)]
    if precisions:
        candidates += _lower_precisions(workload)
    found: dict[str, Change] = {}
    for option, text, changed in candidates:
        size, kind = needed(changed, spec.count), option.partition(" ")[0]
        if kind not in found and size is not None and size <= spec.capacity:
            found[kind] = Change(option, text, size)
    if min_count is not None and min_count > spec.count:
        size = needed(workload, min_count)
        if size is not None:
            found["--gpu"] = Change(f"--gpu '{min_count}x{spec.name}'", f"{min_count} GPUs", size)
    return tuple(found.values())


def offload_that_fits(total: int, capacity: int, layers: Sequence[int], head: int) -> Change | None:
    """The fewest last layers whose weights, with the head's, stay on the CPU, as `device_map="auto"` puts them there.

    total - offloaded + the largest one offloaded, which is copied to the GPU when its turn comes; caches stay on it.
    None where even all layers are too few.

    >>> offload_that_fits(1000, 850, (100,) * 8, head=50).text
    'the weights of the last 2 of 8 layers and the head stay on the CPU, which is slow'
    """
    gone, largest = head, head
    for count in range(1, len(layers) + 1):
        gone += layers[-count]
        largest = max(largest, layers[-count])
        if total - gone + largest <= capacity:
            text = (
                f"the weights of the last {count} of {len(layers)} layers and the head stay on the CPU, which is slow"
            )
            return Change("", text, total - gone + largest)
    return None


def _smaller_workloads(
    workload: Workload, max_context: int | None, max_batch: int | None
) -> Iterator[tuple[str, str, Workload]]:
    if max_context:
        changed = dataclasses.replace(workload, context=max_context)
        yield f"--context {max_context}", f"{max_context:,} tokens a sequence", changed
    if max_batch:
        changed = dataclasses.replace(workload, batch=max_batch)
        yield f"--batch {max_batch}", f"{max_batch:,} sequences at once", changed


def _lower_precisions(workload: Workload) -> Iterator[tuple[str, str, Workload]]:
    for name in CACHE_PRECISIONS:
        yield f"--kv-dtype {name}", f"the KV cache in {name}", dataclasses.replace(workload, kv_dtype=name)
    for name in WEIGHT_PRECISIONS:
        yield f"--dtype {name}", f"the weights in {name}", dataclasses.replace(workload, dtype=name)
