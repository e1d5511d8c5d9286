"""A serving engine's account of a model on given devices, and the verdict that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from inspector.memory import Part
from inspector.verdict.changes import Change
from inspector.verdict.fit import Fit, GpuShare, between, bounds_note


class CannotTell(ValueError):
    """Why an engine's account of a model cannot be given: caught in `Engine.plan` alone, which says so."""


@dataclass(frozen=True)
class Serving:
    """What an engine would show on these devices. Sizes in bytes, of the tightest rank; None where not known.

    Attributes:
        per_gpu: weights, activations, non_torch, graphs, kv_pool, total.
        cpu: what llama.cpp leaves with the CPU: weights, kv_cache, activations.
        kv_tokens: tokens that the pool holds; for hybrids the engine's own derived figure.
        kv_blocks: blocks of the pool (vLLM).
        max_concurrency: requests of `settings["max_model_len"]` tokens at once.
        longest_context: tokens of the longest single request, up to the model's own maximum.
        request_bytes: cache that one request of max_model_len tokens takes of a rank's pool; the most of it where that
            is known between bounds.
        request_bytes_at_least: then the least of it; None where `request_bytes` is exact, or not known.
        starts_with: settings of the engine's own that it starts with, where `fits` is False for nothing else.
        unused: what the engine's share leaves of a rank where the layers cache nothing, so that no pool takes it.
        fits: one request of max_model_len tokens can be served; None where it cannot be told.
        decode_bound / prefill_bound: tokens per second at most, see `devices.speed`.
        changes: where it does not fit, the single changes that make it fit.
        cards: unequal devices one by one; `capacity` and the sizes are then those of the tightest.
    """

    engine: str
    engine_version: str | None
    gpu: str
    count: int
    capacity: int
    settings: dict[str, Any] = field(default_factory=dict)
    per_gpu: dict[str, int | None] = field(default_factory=dict)
    cpu: dict[str, int | None] = field(default_factory=dict)
    kv_tokens: int | None = None
    kv_blocks: int | None = None
    max_concurrency: float | None = None
    longest_context: int | None = None
    request_bytes: int | None = None
    fits: bool | None = None
    decode_bound: float | None = None
    prefill_bound: float | None = None
    changes: tuple[Change, ...] = ()
    cards: tuple[GpuShare, ...] = ()
    notes: tuple[str, ...] = ()
    request_bytes_at_least: int | None = None
    unused: int = 0
    starts_with: dict[str, Any] = field(default_factory=dict)

    def explained_by(self, make: Callable[[], tuple[Part, ...]]) -> Serving:
        """This account, with what makes its `explanation`. It is no field: `asdict` and `==` see data alone, and
        `dataclasses.replace` leaves it behind."""
        object.__setattr__(self, "_make_explanation", make)
        return self

    def explanation(self) -> tuple[Part, ...]:
        """The parts of `per_gpu`, with their equations and sources, as `--explain` shows them."""
        make = self.__dict__.get("_make_explanation", tuple)
        parts: tuple[Part, ...] = make()
        return parts

    def bounded_by(self, least: Serving) -> Serving:
        """This account, made of the most that the layers may keep, with the verdict of both bounds.

        Args:
            least: the same account of the least that they may keep.
        """
        low, high = least.request_bytes, self.request_bytes
        fits, notes = between(self.fits, least.fits), self.notes
        if low is not None and high is not None and low < high:
            notes = (bounds_note(low, high, fits, "the KV cache of a request"), *notes)
        changes = () if fits is None else self.changes
        bounded = replace(self, fits=fits, changes=changes, notes=notes, request_bytes_at_least=low)
        return bounded.explained_by(self.explanation)

    def doubted(self, why: str | None) -> Serving:
        """This account where it cannot be told whether the engine loads the model at all (`why`): it does not say that
        it fits."""
        if why is None:
            return self
        fits = False if self.fits is False else None
        return replace(self, fits=fits, notes=(why, *self.notes)).explained_by(self.explanation)

    def needs(self) -> tuple[int | None, int | None]:
        """(bytes that one request needs with all that is fixed, bytes of the share that it leaves).

        The headroom is that of the pool, where there is one: an engine takes only its share (`gpu_memory_utilization`).
        """
        pool, request = self.per_gpu.get("kv_pool"), self.request_bytes
        if pool is None or request is None:
            return None, None
        fixed = sum(self.per_gpu.get(name) or 0 for name in ("weights", "activations", "non_torch", "graphs"))
        return fixed + request, pool + self.unused - request

    @property
    def parts(self) -> dict[str, int | None]:
        """What `needs` is the sum of: the parts of `per_gpu` that are fixed, and the cache of one request."""
        return needed_parts(self.per_gpu, self.request_bytes)

    @property
    def verdict(self) -> Fit:
        """The same as a `Fit`: the needs of one request, of which the pool serves `max_batch` at once."""
        needed, headroom = self.needs()
        return Fit(
            gpu=self.gpu,
            count=self.count,
            capacity=self.capacity,
            needed=needed,
            fits=self.fits,
            headroom=headroom,
            max_context=self.longest_context,
            max_batch=None if self.max_concurrency is None else int(self.max_concurrency),
            min_count=None,
            decode_bound=self.decode_bound,
            prefill_bound=self.prefill_bound,
            changes=self.changes,
            cards=self.cards,
            notes=self.notes,
            usable=None if needed is None or headroom is None else needed + headroom,
        )


@dataclass(frozen=True)
class AllocatedServing(Serving):
    """An account of an engine that allocates the cache of all sequences at its start, and no more than that."""

    def needs(self) -> tuple[int | None, int | None]:
        """(all that is taken, what the device has beside it)."""
        total = self.per_gpu.get("total")
        return total, None if total is None else self.capacity - total

    @property
    def parts(self) -> dict[str, int | None]:
        """The parts of `per_gpu`, with the whole cache."""
        return needed_parts(self.per_gpu, self.per_gpu.get("kv_pool"))


def needed_parts(per_gpu: Mapping[str, int | None], kv_cache: int | None) -> dict[str, int | None]:
    """An account's parts with so much cache instead of the pool; empty where it has none."""
    fixed = {name: size for name, size in per_gpu.items() if name not in ("kv_pool", "total") and size is not None}
    return {**fixed, "kv_cache": kv_cache} if fixed else {}
