"""What an option gives up of what was asked: its place in the ranking, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from inspector.memory import Workload
from inspector.verdict.changes import Option

COARSE_WEIGHTS, COARSE_CACHE = 4, 8
"""Bits below which quality is known to fall: tried where nothing else keeps the whole workload."""


class Kept(NamedTuple):
    """What an option is beside what was asked; "", 0 and None where it is as asked.

    Attributes:
        experts: layers whose experts alone are with the CPU.
    """

    engine: str
    context: int
    batch: int
    weight_bits: float
    cache_bits: float
    devices: int
    layers: int | None
    lighter: tuple[tuple[str, Any], ...]
    own: tuple[tuple[str, Any], ...] = ()
    experts: int | None = None


def loss_key(option: Option, workload: Workload, count: int, *, preferred: bool, lighter: int) -> tuple[Any, ...]:
    """The place in the ranking that `verdict.changes.CRITERION` names, the least first."""
    weights, cache = min(16, int(option.weight_bits)), min(16, int(option.cache_bits))
    return (
        weights < COARSE_WEIGHTS or cache < COARSE_CACHE,
        1 if option.layers_on_gpu is not None else 2 if option.count != count else 0,
        -(option.layers_on_gpu or 0),
        -min(option.context, workload.context),
        -min(option.batch, workload.batch),
        -min(weights, cache),
        not preferred,
        -weights - cache,
        lighter,
        option.count,
        -option.weight_bits,
        -(option.decode_bound or 0),
        option.needed,
    )


def whole_key(weight_bits: float, cache_bits: float, workload: Workload, *, preferred: bool) -> tuple[Any, ...]:
    """How the `loss_key` begins of an option that keeps the whole workload on the same devices."""
    weights, cache = min(16, int(weight_bits)), min(16, int(cache_bits))
    coarse = weights < COARSE_WEIGHTS or cache < COARSE_CACHE
    return (coarse, 0, 0, -workload.context, -workload.batch, -min(weights, cache), not preferred)


def without_dominated(ranked: Sequence[Option]) -> tuple[Option, ...]:
    """The same in the same order, `best` False where an option before it, of its engine and in its place, keeps as much
    and as many bits."""
    best: dict[Any, list[Option]] = {}
    found = []
    for option in ranked:
        place = (option.engine, option.count, option.layers_on_gpu is None)
        worse = any(
            other.context >= option.context
            and other.batch >= option.batch
            and other.weight_bits >= option.weight_bits
            and other.cache_bits >= option.cache_bits
            for other in best.setdefault(place, [])
        )
        best[place].append(option)
        found.append(replace(option, best=not worse))
    return tuple(found)


def loss_text(kept: Kept, bits: float, cache_bits: float, workload: Workload, dtype: str) -> str:
    """What is given up, in words: "weights in 4.5 bits (Q4_K_M), with llama.cpp"; "" for nothing."""
    words = []
    if kept.weight_bits < bits or dtype != workload.dtype:
        words.append(f"weights in {kept.weight_bits:.3g} bits ({dtype})")
    if kept.cache_bits < cache_bits:
        words.append(f"a KV cache of {kept.cache_bits:.3g} bits")
    if kept.context < workload.context:
        words.append(f"{kept.context:,} of {workload.context:,} tokens")
    if kept.batch < workload.batch:
        words.append(f"{kept.batch:,} of {workload.batch:,} sequences at once")
    if kept.experts is not None:
        words.append(f"the experts of {kept.experts} layers on the CPU, which is slower")
    elif kept.layers is not None:
        words.append(f"{kept.layers} layers on the GPU, the rest on the CPU, which is slow")
    if kept.devices:
        words.append(f"{kept.devices} GPUs")
    words += [f"{name} {value}, which is slower" for name, value in kept.lighter]
    words += [f"{name} {value}" for name, value in kept.own]
    if kept.engine:
        words.append(f"with {kept.engine}")
    return ", ".join(words)
