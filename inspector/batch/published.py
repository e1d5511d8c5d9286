"""The quantized checkpoints of a model that others have published: what the Hub lists, read, and ranked by what fits.

The Hub knows a model's children by their tag `base_model:quantized:ID`. Of a repo with several GGUF models those are
read that a device can hold, the largest first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.api.advised import command_of
from inspector.api.inspection import device_specs, inspect_checkpoint, resolver_of
from inspector.api.settings import Settings, Source, chosen
from inspector.batch.limits import HubRateLimiter
from inspector.batch.outcome import Record, outcome_of
from inspector.batch.run import JOBS, guarded, run_all
from inspector.errors import AmbiguousModel, UsageError
from inspector.hub import Resolver
from inspector.hub.checkpoint import with_weights
from inspector.hub.repo.query import Query
from inspector.hub.repo_id import RepoId, parse_model
from inspector.record import inspection_record
from inspector.settings import asking

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec

MOST_CHILDREN = 40
"""Repos that are read, the most downloaded first."""

MOST_OF_A_REPO = 4
"""GGUF models of one repo that are read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedQuestion(Source, Settings):
    """What `published` is asked. `limit`: repos to read, the most downloaded first."""

    limit: int = MOST_CHILDREN


class Published(NamedTuple):
    """A model's quantized checkpoints.

    Attributes:
        rows: one for each, those that fit first; see `published`.
        cut: the Hub lists more repos than were read.
    """

    rows: tuple[Record, ...]
    cut: bool


@asking(PublishedQuestion)
def published(question: PublishedQuestion) -> Published:
    """The quantized checkpoints of a model that the Hub lists, each read and sized on the first device.

    A row has `id` (what to type), `downloads`, `outcome` (as `inspect_many`'s) and either `error` or `engine`,
    `format`, `quantization`, `tensor_bytes`, `bits_per_weight`, `needed`, `usable`, `fits`, `max_context`, `max_batch`,
    `decode_bound` and `command`. What fits comes first: the most bytes of weights, then the longest context, the most
    sequences at once, the most downloads; then what cannot be told, what does not fit, and what could not be read.

    Raises:
        UsageError: a local model, or no device.
        InspectError: the Hub was not reached, or lists nothing; what goes wrong with one repo is its row's error.
    """
    specs = device_specs(question.gpus)
    if not specs:
        raise UsageError("which published checkpoints fit depends on the device", "Name one, e.g. --gpu 'RTX 4090'.")
    if isinstance(question.model, Mapping):
        raise UsageError("a config has no published checkpoints", "Give a repo ID.")
    target = parse_model(question.model)
    if not isinstance(target, RepoId):
        raise UsageError("a local model has no published checkpoints", "Give a repo ID.")
    with resolver_of(question, max_connections=JOBS) as source:
        return _published(question, source, target.name, specs[0])


def _published(question: PublishedQuestion, source: Resolver, name: str, spec: GpuSpec) -> Published:
    source.rate_limiter = source.rate_limiter or HubRateLimiter()
    query = Query(filters=(f"base_model:quantized:{name}",), sort="downloads", limit=question.limit)
    listed = source.find_models(query)
    downloads = {each.name: each.downloads for each in listed.details}
    several: dict[str, tuple[tuple[str, int | None], ...]] = {}
    look = _Looks(question, source, spec, several)
    rows = list(run_all(downloads, guarded(look.at), JOBS))
    rows = [row for row in rows if row["id"] not in several]
    picked = [f"{repo}:{label}" for repo, choices in several.items() for label in look.within(choices)]
    rows += run_all(picked, guarded(look.at), JOBS)
    for row in rows:
        row["downloads"] = downloads.get(row["id"].partition(":")[0])
    return Published(tuple(sorted(rows, key=_place)), listed.cut)


class _Looks:
    """Reads one checkpoint after another, and sizes each with an engine that runs it."""

    def __init__(self, question: PublishedQuestion, source: Resolver, spec: GpuSpec, several: dict[str, Any]) -> None:
        self.question, self.source, self.spec, self.several = question, source, spec, several

    def within(self, choices: tuple[tuple[str, int | None], ...]) -> list[str]:
        """Of a repo's GGUF models those that the devices may hold, the largest first; the smallest where none does."""
        room = sum(self.spec.capacities)
        fitting = [label for label, size in reversed(choices) if size is None or size <= room]
        return fitting[:MOST_OF_A_REPO] or [label for label, _ in choices[:1]]

    def at(self, model: str) -> Record:
        """The row of one repo, or of one GGUF model."""
        from inspector.model import build_model

        try:
            checkpoint = with_weights(self.source.resolve(model))
        except AmbiguousModel as error:
            if error.choices:
                self.several[model] = error.choices
            raise
        engine = self._engine(build_model(checkpoint), checkpoint.format)
        own = self.question.serving if engine == self.question.engine else {}
        settings = {**chosen(Settings, self.question), "engine": engine, "serving": own, "dtype": "stored"}
        asked = Settings(**settings)
        record = inspection_record(inspect_checkpoint(checkpoint, asked, (self.spec,)))
        fit, stored = record["fit"][0], record["checkpoint"]["tensor_bytes"]
        keys = ("gpu", "count", "needed", "usable", "fits", "max_context", "max_batch", "decode_bound")
        total = record["parameters"]["total"]
        return {
            "outcome": outcome_of(record),
            "engine": engine,
            "format": record["checkpoint"]["format"],
            "quantization": record["model"]["quantization"],
            "tensor_bytes": stored,
            "bits_per_weight": round(8 * stored / total, 3) if stored and total else None,
            **{key: fit[key] for key in keys},
            "command": command_of(model, asked, {"serving": own}, self.question.gpus[0]),
        }

    def _engine(self, model: Any, stored_as: str) -> str:
        """The engine that was asked for, if it runs such files on these devices; else the first that does."""
        from inspector.engines.registry import engine_named, names

        spec, first = self.spec, self.question.engine
        for name in (first, *(each for each in names() if each != first)):
            engine = engine_named(name)
            options = engine.options(**(self.question.serving if name == first else {}))
            if engine.knows_kind(spec.kind) and engine.why_not_stored(model, stored_as, spec, options) is None:
                return name
        packing = model.architecture.quantization
        raise UsageError(f"no engine runs {packing.method if packing else stored_as} checkpoints on {spec.name}")


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """See `published`."""
    if "error" in row:
        return (3, row["id"])
    order = {True: 0, None: 1, False: 2}[row["fits"]]
    size = row["tensor_bytes"] or 0
    counts = (-(row[key] or 0) for key in ("max_context", "max_batch", "downloads"))
    return (order, size if order == 2 else -size, *counts, row["id"])
