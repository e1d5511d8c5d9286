"""What memory/ hands on: an `Estimate`, a small tree of named parts that say what they are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Formulas = Literal["exact", "article"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked of the model.

    Attributes:
        context: tokens a sequence, prompt and answer together.
        batch: sequences at once.
        dtype: the weights' precision: "stored", or a key of `precision.PRECISION_BITS` or `recipes.RECIPES`.
        kv_dtype: the cache's precision, or None for the one the model computes in.
        formulas: "exact" or "article".
        images: pictures in each sequence, for models that see; None for one where its tokens fit the context.
        image_size: (width, height) of each in pixels; None for the largest that the processor's class makes.
    """

    context: int
    batch: int = 1
    dtype: str = "stored"
    kv_dtype: str | None = None
    formulas: Formulas = "exact"
    images: int | None = None
    image_size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One named share of memory.

    Attributes:
        name: "weights", "kv_cache", "activations", "overhead", or a sub-part's.
        bytes: None where it is not known; then `formula` says why.
        formula: the equation with the numbers put in.
        source: the paper, or the library and class, that the equation mirrors.
        parts: what it is the sum (or, where the formula says so, the maximum) of.
        low / high: of a measured cost, the least and the most that was seen; None for what is worked out.
    """

    name: str
    bytes: int | None
    formula: str
    source: str
    parts: tuple[Part, ...] = ()
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class Estimate:
    """Memory of one model under one workload, in bytes, on one device.

    `total` is None where a part is unknown: a partial number is never shown as a whole one. `kv_cache` is what the
    tokens hold in steady state; `kv_cache_allocated` has what transformers' classes allocate for it, a part each.
    """

    workload: Workload
    weights: Part
    kv_cache: Part
    activations: Part
    overhead: Part
    kv_bytes_per_token: int | None
    kv_dtype: str | None
    warnings: tuple[str, ...] = ()
    kv_cache_allocated: tuple[Part, ...] = ()
    image_tokens: int | None = None
    """Of each sequence's context, the tokens that its pictures take; None where none are counted."""

    @property
    def explained(self) -> tuple[Part, ...]:
        """The parts of the total, and beside it what transformers' cache classes allocate for `kv_cache`."""
        beside = (replace(part, name=f"allocated_{part.name}") for part in self.kv_cache_allocated)
        return (*self.parts, *beside)

    @property
    def parts(self) -> tuple[Part, Part, Part, Part]:
        return (self.weights, self.kv_cache, self.activations, self.overhead)

    @property
    def total(self) -> int | None:
        total = 0
        for part in self.parts:
            if part.bytes is None:
                return None
            total += part.bytes
        return total
