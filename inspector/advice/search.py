"""What fits some devices of a model, and what it costs: a search over the engines' own sizing functions.

The space: recipes of the weights x precisions of the KV cache x context and batch x engines x devices, their layout and
layers left to the CPU. What a device or an engine cannot do is no part of it (`Engine.why_not_recipe`, `cache_types`,
`GpuSpec.unified`). Of recipes in their order, and of contexts, what does not fit does not fit with more: of each engine
and cache the search goes down to the first that fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from itertools import product
from typing import Any, NamedTuple

from inspector.advice.loss import COARSE_CACHE, COARSE_WEIGHTS, Kept, loss_key, loss_text, whole_key, without_dominated
from inspector.devices.spec import GpuSpec
from inspector.devices.speed import active_bytes, bound_of_reading
from inspector.engines.engine import CacheType, Engine, Sized
from inspector.engines.registry import engine_named, names
from inspector.engines.serving import CannotTell
from inspector.errors import UsageError
from inspector.memory import Workload, estimated_cache
from inspector.memory.precision import COMPUTE_PRECISIONS, PRECISION_BITS, STORED
from inspector.memory.quantization.recipes import bits_of
from inspector.model import Model
from inspector.verdict.changes import Option
from inspector.verdict.fit import largest_that_fits

LEAST_SHARE = 8
"""A context that is shorter than an eighth of what was asked for is no option."""

ROUND_TO = 256
"""Tokens of which a shorter context is a multiple."""

MOST_DEVICES = 16

USUAL_CACHE = CacheType(16)
"""The one that the model computes in."""


class Trial(NamedTuple):
    """One point of the space."""

    dtype: str
    cache: CacheType
    context: int
    batch: int
    spec: GpuSpec
    own: tuple[tuple[str, Any], ...] = ()
    layers: int | None = None


@dataclass(frozen=True)
class Asked:
    """What was asked: what every option is measured against.

    Attributes:
        model: of which an account is made.
        workload: what the model is to do.
        spec: the devices.
        own: settings of the engine that was asked for.
        bits: of a weight as it was asked for.
    """

    model: Model
    workload: Workload
    spec: GpuSpec
    own: Mapping[str, Any]

    @cached_property
    def bits(self) -> float:
        """Bits of a weight as it was asked for."""
        packing = self.model.architecture.quantization
        if self.workload.dtype != STORED:
            return bits_of(self.workload.dtype)
        if packing is not None:
            return float(packing.bits or packing.effective_bits or 8)
        return 32 if self.model.stored_dtype == "F32" else 16

    @cached_property
    def cache_bits(self) -> float:
        """Bits of a cached value as it was asked for."""
        return PRECISION_BITS[self.workload.kv_dtype] if self.workload.kv_dtype else 16

    @cached_property
    def at_least(self) -> int:
        """Parameters that lie on the devices in any case: an embedding may stay with the CPU."""
        return self.model.parameters.total - self.model.parameters.by_component.get("embedding", 0)


def best_options(
    model: Model,
    spec: GpuSpec,
    *,
    workload: Workload,
    engines: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Option, ...]:
    """What fits, least loss first (`verdict.changes.CRITERION`); empty where nothing does, or nothing can be told.

    Args:
        spec: the devices.
        workload: what is asked for; an option that keeps all of it comes first.
        engines: names, the preferred one first; all of them where None.
        options: settings of the preferred engine, as its dataclass of options names them.
    """
    if workload.formulas == "article":
        return ()
    found: list[tuple[Any, Option]] = []
    for search in _searches(Asked(model, workload, spec, options or {}), engines):
        found += search.options()
    return without_dominated([option for _, option in sorted(found, key=lambda each: each[0])])


def best_whole_option(
    model: Model, spec: GpuSpec, *, workload: Workload, engines: Sequence[str] | None = None
) -> Option | None:
    """The first of `best_options` that keeps the whole context and all sequences on these devices, with the engine's
    own settings as they are; None where none does.

    Found with fewer trials: nothing is tried that keeps fewer bits than the best so far, nor a second engine where
    nothing is given up under the first.
    """
    best: tuple[Any, Option] | None = None
    for search in _searches(Asked(model, workload, spec, {}), engines):
        best = search.best_whole(best)
        if best is not None and not best[1].text:
            break
    return None if best is None else best[1]


def _searches(asked: Asked, engines: Sequence[str] | None) -> Iterator[_Search]:
    """One for each engine that runs on the devices, the preferred one's first."""
    for place, name in enumerate(engines or names()):
        engine = engine_named(name)
        if _runs_on(engine, asked.spec, alone=place == 0):
            yield _Search(engine, asked, preferred=place == 0)


def _runs_on(engine: Engine, spec: GpuSpec, *, alone: bool) -> bool:
    """Whether an engine runs on these devices; on a bare size the asked engine does, and those for all devices."""
    if spec.kind is None:
        return alone or engine.device_kinds is None
    try:
        engine.check_kind(spec)
    except (UsageError, CannotTell):
        return False
    return True


class _Search:
    """The options of one engine."""

    def __init__(self, engine: Engine, asked: Asked, *, preferred: bool) -> None:
        self.engine, self.asked, self.preferred = engine, asked, preferred
        known = {each.name for each in fields(engine.options)} - {"version"}
        self.own = {name: value for name, value in asked.own.items() if preferred or name in known}
        self.size = engine.sizer(asked.model)
        self.sizes: dict[Any, Sized] = {}
        self.active = cache(lambda dtype: active_bytes(asked.model, dtype))
        self.cached = cache(lambda workload: estimated_cache(asked.model, workload).bytes)

    def options(self) -> list[tuple[Any, Option]]:
        """Those that fit, each with its place in the ranking."""
        if not self.engine.counts_images and self.asked.workload.images:
            return []
        found = (self._option(trial, sized) for trial, sized in self._thorough())
        return [(self._place(option), option) for option in found if option is not None]

    def best_whole(self, best: tuple[Any, Option] | None) -> tuple[Any, Option] | None:
        """The better one, in its place in the ranking: `best`, or the best of this engine that keeps all of the
        workload."""
        if not self.engine.counts_images and self.asked.workload.images:
            return best
        for recipes, kind in product((self.recipes, self._coarse), self.caches):
            leading = [name for name in recipes if best is None or self._may_lead(name, kind, best[0])]
            for trial, sized in self._down(kind, leading):
                option = self._option(trial, sized)
                if option is None:
                    continue
                place = self._place(option)
                if best is None or place < best[0]:
                    best = place, option
                if not option.text:
                    return best
                break
        return best

    def _may_lead(self, dtype: str, kind: CacheType, best: Any) -> bool:
        """Whether what keeps the whole workload in this recipe and with this cache may come before the best place."""
        place = whole_key(self._bits(dtype), kind.bits, self.asked.workload, preferred=self.preferred)
        return place <= tuple(best[: len(place)])

    # The trials

    def _thorough(self) -> Iterator[tuple[Trial, Sized]]:
        """All recipes that fit, the finest with a narrower cache; what else makes it fit."""
        whole = False
        for kind in self.caches:
            for trial, sized in self._down(kind, self.recipes):
                whole = True
                yield trial, sized
                if kind is not USUAL_CACHE:
                    break
        yield from self._lighter()
        if self.preferred or not whole:
            yield from self._smaller(self._usual(), coarse=not whole)
        if not self.asked.spec.unified:
            yield from self._offloaded()
        if self.preferred:
            yield from self._more_devices()

    def _usual(self) -> Trial:
        workload = self.asked.workload
        return Trial(workload.dtype, self.caches[0], workload.context, workload.batch, self.asked.spec)

    @cached_property
    def recipes(self) -> tuple[str, ...]:
        """What the weights may be in, as asked for first, then the finest first, none below 4 bits."""
        first = self.asked.workload.dtype
        return tuple(name for name in self._all_recipes if self._bits(name) >= COARSE_WEIGHTS or name == first)

    @property
    def _coarse(self) -> list[str]:
        """Those below 4 bits."""
        return [name for name in self._all_recipes if name not in self.recipes]

    @cached_property
    def _all_recipes(self) -> tuple[str, ...]:
        model, asked = self.asked.model, self.asked.workload.dtype
        packing, bits = model.architecture.quantization, self.asked.bits
        options, spec = self.engine.options(**self.own), self.asked.spec
        takes = asked == STORED or asked in COMPUTE_PRECISIONS or asked in self.engine.recipes
        found = [asked] if takes or self.preferred else []
        if model.parameters.stack == "blk" or model.parts:  # a GGUF file's types are what they are
            return tuple(found)
        if bits == 32:
            found.append("bf16" if spec.computes is None or "bf16" in spec.computes else "fp16")
        same = None if packing is None else self.engine.keeping.get(packing.method)
        for name in self.engine.recipes:
            made_at_load = packing is not None and name.startswith(("bnb", "nf4"))
            if name == asked or made_at_load or not (bits_of(name) < bits or name == same):
                continue
            if name in self.engine.keeping.values() and name != same:
                continue
            if self.engine.why_not_recipe(name, spec, options) is None:
                found.append(name)
        return tuple(found)

    @cached_property
    def caches(self) -> tuple[CacheType, ...]:
        """The cache as asked for, then narrower ones; another engine's nearest to it where one was asked for."""
        named, narrower = self.asked.workload.kv_dtype, self.engine.cache_types(self.asked.spec)
        given = [each for each in narrower if dict(each.options).keys() & self.asked.own.keys()]
        if named is None and not given:
            return (USUAL_CACHE, *narrower)
        if self.preferred:
            return (CacheType(self.asked.cache_bits, named),)
        bits = self.asked.cache_bits
        return (
            (USUAL_CACHE,)
            if bits >= 16
            else tuple(each for each in narrower if int(each.bits) <= bits) or (USUAL_CACHE,)
        )

    def _down(self, kind: CacheType, recipes: Sequence[str]) -> Iterator[tuple[Trial, Sized]]:
        """The recipes, the finest first, that fit the whole workload with a cache."""
        usual = self._usual()._replace(cache=kind)
        for name in recipes:
            trial = usual._replace(dtype=name)
            sized = self._sized(trial)
            if sized.fits:
                yield trial, sized

    def _lighter(self) -> Iterator[tuple[Trial, Sized]]:
        """The engine's own settings that take less, with the finest recipe that they make fit."""
        for own in self.engine.lighter:
            if own[0] in self.own:
                continue
            for name in self.recipes:
                trial = self._usual()._replace(dtype=name)
                if self._sized(trial).fits:
                    return
                lighter = trial._replace(own=(own,))
                sized = self._sized(lighter)
                if sized.fits:
                    yield lighter, sized
                    return

    def _smaller(self, usual: Trial, *, coarse: bool) -> Iterator[tuple[Trial, Sized]]:
        """Fewer sequences, or a shorter context: as asked for, and with what keeps most of it. `coarse`: also below 4
        bits."""
        narrow = next((kind for kind in reversed(self.caches) if kind.bits >= COARSE_CACHE), self.caches[0])
        starts = [usual] if usual.dtype in self.recipes else []
        if coarse:
            starts += [
                usual._replace(dtype=name, cache=kind) for name in self.recipes[-1:] for kind in (usual.cache, narrow)
            ]
        for start in dict.fromkeys(starts):
            yield from self._fewer(start)
        if coarse:
            for kind in self.caches:
                for trial, sized in self._down(kind, self._coarse):
                    yield trial, sized
                    break

    def _fewer(self, start: Trial) -> Iterator[tuple[Trial, Sized]]:
        """The most sequences of the whole context, and the longest context of all sequences."""

        def room(trial: Trial) -> tuple[bool | None, int | None]:
            sized = self._sized(trial)
            return bool(sized.fits), sized.left

        if start.batch > 1 and (many := largest_that_fits(lambda n: room(start._replace(batch=n)), start.batch)):
            trial = start._replace(batch=many)
            yield trial, self._sized(trial)
        least = max(1, start.context // LEAST_SHARE)
        if not room(start._replace(context=least))[0]:
            return
        longest = largest_that_fits(lambda tokens: room(start._replace(context=tokens)), start.context) or 0
        rounded = longest // ROUND_TO * ROUND_TO
        trial = start._replace(context=rounded if rounded >= least else longest)
        sized = self._sized(trial)
        if sized.fits and trial.context < start.context:
            yield trial, sized

    def _offloaded(self) -> Iterator[tuple[Trial, Sized]]:
        """Of a mixture the experts of some layers with the CPU, else whole layers: as asked for, and the finest recipe
        of all and of 4."""
        layers = len(self.asked.model.architecture.layers)
        mixture = self.asked.model.architecture.experts is not None
        four = [dtype for dtype in self.recipes if self._bits(dtype) < COARSE_WEIGHTS + 1]
        for dtype in dict.fromkeys((*self.recipes[:2], *four[:1])):
            usual = self._usual()._replace(dtype=dtype)
            if self._sized(usual).fits is not False:
                continue
            trial = self._placed(usual, self.engine.offload_experts, range(layers)) if mixture else None
            trial = trial or self._placed(usual, self.engine.offload, range(1, layers + 1))
            if trial is not None:
                yield trial, self._sized(trial)

    def _placed(self, usual: Trial, name: str, whole: range) -> Trial | None:
        """The trial with the most layers that are whole on the GPUs, of so many; None where none of them fits."""
        if not name or {self.engine.offload, self.engine.offload_experts} & self.own.keys():
            return None
        experts, layers = name == self.engine.offload_experts, len(self.asked.model.architecture.layers)

        def trial(count: int) -> Trial:
            return usual._replace(own=((name, layers - count if experts else count),), layers=count)

        def room(number: int) -> tuple[bool | None, int | None]:
            return bool(self._sized(trial(whole[number - 1])).fits), None

        most = largest_that_fits(room, len(whole))
        return trial(whole[most - 1]) if most else None

    def _more_devices(self) -> Iterator[tuple[Trial, Sized]]:
        """The least count of the same device: as asked for, then of each recipe that needs fewer."""
        spec, least = self.asked.spec, MOST_DEVICES + 1
        if spec.mixed or spec.alone or (spec.device is None and spec.kind is not None):
            return
        own = tuple((name, None) for name in ("tensor_parallel", "expert_parallel") if name in self.own)
        for name in self.recipes:
            for count in range(spec.count + 1, least):
                trial = self._usual()._replace(dtype=name, spec=replace(spec, count=count), own=own)
                sized = self._sized(trial)
                if sized.fits:
                    least = count
                    yield trial, sized
                    break

    # What a trial comes to

    def _sized(self, trial: Trial) -> Sized:
        key = (*trial[:4], trial.spec.count, *trial[5:])
        if key not in self.sizes:
            self.sizes[key] = self._measured(trial)
        return self.sizes[key]

    def _measured(self, trial: Trial) -> Sized:
        least = self.asked.at_least * self._bits(trial.dtype) / 8
        if trial.layers is None and least > sum(trial.spec.capacities):
            return Sized(fits=False)
        try:
            options = self.engine.options(**{**self.own, **dict(trial.cache.options), **dict(trial.own)})
            return self.size(self._workload(trial), trial.spec, options)
        except (UsageError, CannotTell):
            return Sized()

    def _workload(self, trial: Trial) -> Workload:
        return replace(
            self.asked.workload,
            dtype=trial.dtype,
            kv_dtype=trial.cache.kv_dtype,
            context=trial.context,
            batch=trial.batch,
            images=self.asked.workload.images if self.engine.counts_images else 0,
        )

    def _bits(self, dtype: str) -> float:
        return self.asked.bits if dtype == self.asked.workload.dtype else bits_of(dtype)

    def _option(self, trial: Trial, sized: Sized) -> Option | None:
        if not sized.fits or sized.needed is None or sized.usable is None:
            return None
        asked, workload = self.asked, self.asked.workload
        settings: dict[str, Any] = {"engine": self.engine.name, "dtype": trial.dtype, "kv_dtype": trial.cache.kv_dtype}
        settings |= {"context": trial.context, "batch": trial.batch}
        if trial.spec.count != asked.spec.count:
            settings["gpus"] = (f"{trial.spec.count}x{trial.spec.name}",)
        own = {**self.own, **dict(trial.cache.options), **dict(trial.own), **sized.own}
        settings["serving"] = {name: value for name, value in own.items() if value is not None}
        kept = self._kept(trial, sized.own)
        return Option(
            engine=self.engine.name,
            settings=settings,
            text=loss_text(kept, asked.bits, asked.cache_bits, workload, trial.dtype),
            gpu=trial.spec.name,
            count=trial.spec.count,
            dtype=trial.dtype,
            weight_bits=self._bits(trial.dtype),
            cache_bits=trial.cache.bits,
            context=trial.context,
            batch=trial.batch,
            layers_on_gpu=trial.layers,
            needed=sized.needed,
            usable=sized.usable,
            headroom=sized.usable - sized.needed,
            decode_bound=None if trial.layers is not None else self._decode_bound(trial, sized.split),
        )

    def _kept(self, trial: Trial, own: Mapping[str, Any]) -> Kept:
        places = (self.engine.offload, self.engine.offload_experts)
        lighter = tuple((name, value) for name, value in trial.own if name not in places and value is not None)
        return Kept(
            self.engine.title if not self.preferred else "",
            trial.context,
            trial.batch,
            self._bits(trial.dtype),
            trial.cache.bits,
            trial.spec.count if trial.spec.count != self.asked.spec.count else 0,
            trial.layers,
            lighter,
            tuple(own.items()),
            dict(trial.own).get(self.engine.offload_experts),
        )

    def _place(self, option: Option) -> Any:
        lighter = len(option.settings["serving"].keys() & dict(self.engine.lighter).keys() - self.own.keys())
        return loss_key(option, self.asked.workload, self.asked.spec.count, preferred=self.preferred, lighter=lighter)

    def _decode_bound(self, trial: Trial, split: int) -> float | None:
        """As `devices.speed.decode_bound`, of weights and caches that several trials share."""
        cached = self.cached(replace(self._workload(trial), dtype=STORED))
        weights = self.active(trial.dtype)
        if cached is not None and trial.cache.options:
            cached = int(cached * trial.cache.bits / 16)
        return bound_of_reading(self.asked.model, trial.spec, trial.batch, weights, cached, split)
