"""What differs between two checkpoints: tensors by their headers, config keys, and what follows from them.

Values of weights are not looked at: two checkpoints that are equal here may have been trained differently.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.api.inspection import Inspection, inspect_each, resolver_of
from inspector.api.settings import PairQuestion, Question, Settings, chosen
from inspector.errors import InspectError
from inspector.hub import Checkpoint, Resolver, Tensor
from inspector.hub.cache.snapshot import format_indices
from inspector.model.parameters.names import group_tensors
from inspector.settings import asking

if TYPE_CHECKING:
    from inspector.hub.checkpoint import Part

MISSING = object()
"""Stands for a config key that one side does not have: null is a value."""


class Stored(NamedTuple):
    """How a tensor is stored."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """Tensors of one template that differ in the same way.

    Attributes:
        template: the name with `{}` for its numbers; of a checkpoint that is made of parts, the part's name and a slash
            before it.
        layers: the first numbers of the names as ranges ("0-3,5"), "" for names without numbers.
        count: how many tensors.
        before: how each was stored; None for tensors that were added.
        after: how each is stored now; None for tensors that were removed.
        bytes_before / bytes_after: stored bytes of all of them, 0 where there are none.
    """

    template: str
    layers: str
    count: int
    before: Stored | None
    after: Stored | None
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A config key, nested keys joined by dots, and its two values; `MISSING` where a side does not have it."""

    key: str
    before: Any
    after: Any


class Numbers(NamedTuple):
    """A number of both, None where it is not known. Bytes, tokens or a count, as the name says."""

    before: int | None
    after: int | None

    @property
    def difference(self) -> int | None:
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs.

    Attributes:
        tensors: the groups of tensors that do, in the order of the files: removed, changed, added.
        config: the config keys that do, in the order of the config.
        numbers: what follows, of both, whether it differs or not: parameters, bytes of the tensors, of the cache a
            token, of the whole.
    """

    tensors: tuple[TensorGroup, ...]
    config: tuple[ConfigChange, ...]
    numbers: Mapping[str, Numbers]

    @property
    def equal(self) -> bool:
        """No tensor and no config key differs. How tensors are dealt out to files does not count."""
        return not self.tensors and not self.config

    @property
    def added(self) -> tuple[TensorGroup, ...]:
        return tuple(group for group in self.tensors if group.before is None)

    @property
    def removed(self) -> tuple[TensorGroup, ...]:
        return tuple(group for group in self.tensors if group.after is None)

    @property
    def changed(self) -> tuple[TensorGroup, ...]:
        """Tensors with another shape or dtype."""
        return tuple(group for group in self.tensors if None not in (group.before, group.after))


@asking(PairQuestion)
def inspect_pair(question: PairQuestion) -> tuple[Inspection, Inspection]:
    """Two models, inspected at the same time and for the same context: what `compare` takes.

    Args:
        before: a repo ID (`org/name@revision`), or a local folder or file; so is after, which may be left out where
            `set_b` (or `set_a`) says how it differs from `before`.
        token: as for `inspect`; so are the rest. Without a context the smaller of the two models' defaults counts for
            both.

    Raises:
        InspectError: of the one that could not be read; of both, that with the higher exit code.
    """
    sides: tuple[Question, ...] = question.sides
    with resolver_of(question) as resolver:
        found = _both(_inspected(sides, resolver))
        contexts = {inspection.estimate.workload.context for inspection in found}
        if len(contexts) > 1:
            # Both are kept by now or read again: this is rare, and exact.
            sides = tuple(dataclasses.replace(side, context=min(contexts)) for side in sides)
            found = _both(_inspected(sides, resolver))
    return found


def _inspected(sides: tuple[Question, ...], resolver: Resolver) -> list[Inspection | InspectError]:
    """Each, at the same time; an error stands in its place."""
    from concurrent.futures import ThreadPoolExecutor

    def one(side: Question) -> Inspection | InspectError:
        return inspect_each((side.model,), resolver=resolver, **chosen(Settings, side))[0]

    with ThreadPoolExecutor(len(sides)) as pool:
        return list(pool.map(one, sides))


def _both(found: list[Inspection | InspectError]) -> tuple[Inspection, Inspection]:
    errors = [each for each in found if isinstance(each, InspectError)]
    if errors:
        raise max(errors, key=lambda error: error.exit_code)
    first, second = (each for each in found if isinstance(each, Inspection))
    return first, second


def compare(before: Inspection, after: Inspection) -> Difference:
    """What differs between two inspections, which should have been asked the same."""
    return Difference(
        compare_tensors(before.checkpoint, after.checkpoint),
        compare_configs(before.checkpoint, after.checkpoint),
        {name: Numbers(value, _numbers(after)[name]) for name, value in _numbers(before).items()},
    )


def compare_headers(before: Checkpoint, after: Checkpoint) -> Difference:
    """`compare` of what was read alone, without the numbers that follow from it."""
    return Difference(compare_tensors(before, after), compare_configs(before, after), {})


def compare_tensors(before: Checkpoint, after: Checkpoint) -> tuple[TensorGroup, ...]:
    """The tensors that were removed, changed and added, grouped as the report's names are."""
    old, new = _tensors(before), _tensors(after)
    kinds: dict[tuple[Stored | None, Stored | None], list[str]] = {}
    for name, stored in old.items():
        now = new.get(name)
        if now != stored:
            kinds.setdefault((stored, now), []).append(name)
    for name, stored in new.items():
        if name not in old:
            kinds.setdefault((None, stored), []).append(name)
    found = [group for (was, now), names in kinds.items() for group in _groups(names, was, now)]
    return tuple(sorted(found, key=lambda group: 0 if group.after is None else 2 if group.before is None else 1))


def compare_configs(before: Checkpoint, after: Checkpoint) -> tuple[ConfigChange, ...]:
    """The config keys that differ, those of the parts included."""
    old, new = _config(before), _config(after)
    changes = [
        ConfigChange(key, value, new.get(key, MISSING))
        for key, value in old.items()
        if not _same(value, new.get(key, MISSING))
    ]
    return (*changes, *(ConfigChange(key, MISSING, value) for key, value in new.items() if key not in old))


def _groups(names: list[str], before: Stored | None, after: Stored | None) -> Iterable[TensorGroup]:
    stored = after or before
    assert stored is not None
    for group in group_tensors(Tensor(name, *stored) for name in names):
        yield TensorGroup(
            group.template,
            format_indices(sorted(group.layers)),
            group.count,
            before,
            after,
            0 if before is None else group.count * Tensor("", *before).nbytes,
            0 if after is None else group.count * Tensor("", *after).nbytes,
        )


def _tensors(checkpoint: Checkpoint, prefix: str = "") -> dict[str, Stored]:
    found = {prefix + name: Stored(dtype, shape) for name, dtype, shape in checkpoint.tensors}
    for part in checkpoint.parts:
        found |= _tensors(part.checkpoint, _prefix(prefix, part))
    return found


def _config(checkpoint: Checkpoint, prefix: str = "") -> dict[str, Any]:
    found = dict(_flat(checkpoint.config, prefix))
    for part in checkpoint.parts:
        found |= _config(part.checkpoint, _prefix(prefix, part))
    return found


def _prefix(prefix: str, part: Part) -> str:
    """Before the names of a part; none of an adapter's base, so that the two can be compared."""
    return prefix if part.kind == "base" else f"{prefix}{part.name}/"


def _flat(config: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    """The leaves of nested objects; lists are leaves. A config is no deeper than the resolver lets it be."""
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _same(a: Any, b: Any) -> bool:
    """Whether two values of a config mean the same: 1 and 1.0 do, 1 and true do not, and NaN does with itself."""
    return (isinstance(a, bool) == isinstance(b, bool) and a == b) or (a is not MISSING and repr(a) == repr(b))


def _numbers(inspection: Inspection) -> dict[str, int | None]:
    checkpoint, parameters, estimate = inspection.checkpoint, inspection.model.parameters, inspection.estimate
    return {
        "parameters": parameters.total,
        "active_parameters": parameters.active,
        "tensors": checkpoint.tensor_count,
        "tensor_bytes": checkpoint.tensor_bytes,
        "kv_bytes_per_token": estimate.kv_bytes_per_token,
        **{part.name: part.bytes for part in estimate.parts},
        "total": estimate.total,
    }
