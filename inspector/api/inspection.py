"""The library: everything that the command line can do, as functions.

model/ and memory/ are imported while the Hub's answer is on its way, not before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from inspector.api.settings import (
    Access,
    DesignSettings,
    EachQuestion,
    EngineSettings,
    FitQuestion,
    Question,
    Settings,
    Source,
    chosen,
)
from inspector.errors import InspectError
from inspector.hub import Checkpoint, Resolver
from inspector.settings import asking

if TYPE_CHECKING:
    from os import PathLike

    from inspector.devices.spec import GpuSpec
    from inspector.engines.serving import Serving
    from inspector.memory import Estimate, Workload
    from inspector.memory.layer_table import LayerRow
    from inspector.model import Model
    from inspector.verdict.fit import Fit

AT_ONCE = 8
"""Models that `inspect_each` reads at the same time."""

TABLE_PRECISIONS = ("fp32", "bf16", "int8", "int4")
"""The precisions that every report shows beside the as-stored row."""


@dataclass(frozen=True, repr=False)
class Inspection:
    """Everything that is known of one model under one workload.

    Attributes:
        checkpoint: what was read.
        model: what it means.
        estimate: the memory of the workload.
        precisions: the same workload with the weights at each of `TABLE_PRECISIONS`.
        fits: a verdict for each device that was asked for.
        servings: where a serving engine was asked for, its account on each of them.
    """

    checkpoint: Checkpoint
    model: Model
    estimate: Estimate
    precisions: tuple[Estimate, ...]
    fits: tuple[Fit, ...] = ()
    servings: tuple[Serving, ...] = ()

    as_html: ClassVar[Callable[[Inspection], str] | None] = None
    """What makes HTML of it: report/, which stands above this folder, is put here by the package."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the numbers should know, each once."""
        return tuple(dict.fromkeys(self.checkpoint.warnings + self.model.warnings + self.estimate.warnings))

    def __repr__(self) -> str:
        fits = "".join(f", {each!r}" for each in self.fits)
        name, total = self.checkpoint.repo_id, self.model.parameters.total
        return f"<Inspection {name}: {total:,} parameters, {self.estimate!r}{fits}>"

    def _repr_html_(self) -> str | None:
        """The report, for notebooks."""
        return None if Inspection.as_html is None else Inspection.as_html(self)

    def layer_table(self) -> tuple[LayerRow, ...]:
        """What each layer is, holds and caches, and where each number comes from: `--layers`."""
        from inspector.memory.layer_table import build_layer_table

        checkpoint, estimate = self.checkpoint, self.estimate
        return build_layer_table(self.model, checkpoint.config, estimate.workload, estimate.kv_dtype, checkpoint.format)

    ledger = layer_table
    """The name in version 0.1.0; gone a release later."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `--json`: sizes in bytes, unknown values None."""
        from inspector.record import inspection_record

        return inspection_record(self)


@asking(Question)
def inspect(question: Question) -> Inspection:
    """Read a model's config and headers, and work out what it is and what it takes.

    Args:
        model: a repo ID (`org/name`, `org/name@revision`), its address, a local folder or file (a `Path`, too), or a
            config as parsed (a `dict`), of which the tables of its class tell the parameters.
        revision: branch, tag or commit; the repo's `main` where None.
        token: of the Hub; the saved login or HF_TOKEN where None, none at all where False.
        offline: ask no server; HF_HUB_OFFLINE where None.
        resolver: shared between calls, to keep connections; then `token` and `offline` are its own.
        context, batch, dtype, gpus, ...: see `inspector.api.settings`.

    Raises:
        InspectError: one of its subclasses, see inspector.errors.
    """
    return _inspect(question)


@asking(Question)
async def ainspect(question: Question) -> Inspection:
    """`inspect`, for callers that run an event loop."""
    import asyncio

    return await asyncio.to_thread(_inspect, question)


def _inspect(question: Question) -> Inspection:
    specs = device_specs(question.gpus)  # a mistyped name should cost no request
    return inspect_checkpoint(read(question), question, specs, other_engines=True)


@asking(EachQuestion)
def inspect_each(asked: EachQuestion) -> list[Inspection | InspectError]:
    """Inspect several models, in order; one that fails leaves its error in its place and does not stop the rest."""
    specs = device_specs(asked.gpus)

    def one(model: str | PathLike[str] | Mapping[str, Any]) -> Inspection | InspectError:
        try:
            return inspect_checkpoint(checkpoint_of(asked.resolver, model, asked.revision, asked), asked, specs)
        except InspectError as error:
            return error

    names = list(asked.models)
    if len(names) < 2:
        return [one(name) for name in names]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(names), AT_ONCE)) as pool:
        return list(pool.map(one, names))


@asking(FitQuestion)
def fit(question: FitQuestion) -> Fit:
    """Whether a model fits a device: `inspect` for one `gpu`, and its verdict."""
    settings = Settings(**chosen(EngineSettings, question), gpus=(question.gpu,))
    specs = device_specs(settings.gpus)
    return inspect_checkpoint(read(question), settings, specs, other_engines=True).fits[0]


def read(source: Source) -> Checkpoint:
    """A model's config and headers, from where they are said to be.

    Raises:
        InspectError: one of its subclasses, see inspector.errors.
    """
    with resolver_of(source, while_waiting=prepare) as resolver:
        return checkpoint_of(resolver, source.model, source.revision, source)


def checkpoint_of(
    resolver: Resolver, model: str | PathLike[str] | Mapping[str, Any], revision: str | None, asked: DesignSettings
) -> Checkpoint:
    """What one model's files say, changed as is asked; of a config alone the tensors that its class would write.

    Raises:
        InspectError: one of its subclasses, see inspector.errors.
    """
    checkpoint = resolver.resolve(model, revision, config_only=asked.config_only)
    if checkpoint.design is None and not asked.set:
        return checkpoint
    from inspector.model.design.designed import designed

    return designed(checkpoint, asked.changes)


def resolver_of(access: Access, **settings: Any) -> AbstractContextManager[Resolver]:
    """The resolver that is shared, which stays open; else one of the caller's own, for a `with`.

    Args:
        settings: of one of its own, as `Resolver` takes them.
    """
    if access.resolver is not None:
        return nullcontext(access.resolver)
    return Resolver(token=access.token, offline=access.offline, **settings)


def prepare() -> None:
    """Import what a report is made with. Good to call while something else is waited for."""
    import inspector.memory.inference.total
    import inspector.model  # noqa: F401


def inspect_checkpoint(
    checkpoint: Checkpoint, asked: Settings, specs: tuple[GpuSpec, ...], *, other_engines: bool = False
) -> Inspection:
    """What a checkpoint means, and what it takes on these devices.

    Args:
        other_engines: where it does not fit, look for options with other engines, too.

    Raises:
        InspectError: the config holds values that no model can have, or an engine refuses its settings.
    """
    from inspector.model import build_model

    return inspect_model(checkpoint, build_model(checkpoint), asked, specs, other_engines=other_engines)


def inspect_model(
    checkpoint: Checkpoint, model: Model, asked: Settings, specs: tuple[GpuSpec, ...], *, other_engines: bool = False
) -> Inspection:
    """`inspect_checkpoint` of a checkpoint whose meaning is known."""
    from inspector.memory import estimate

    workload = asked.workload(model)
    fits, servings = verdicts(checkpoint, model, workload, asked, specs, other_engines=other_engines)
    return Inspection(
        checkpoint,
        model,
        estimate(model, workload),
        tuple(estimate(model, dataclasses.replace(workload, dtype=name)) for name in TABLE_PRECISIONS),
        fits,
        servings,
    )


def verdicts(
    checkpoint: Checkpoint,
    model: Model,
    workload: Workload,
    asked: Settings,
    specs: tuple[GpuSpec, ...],
    *,
    other_engines: bool,
) -> tuple[tuple[Fit, ...], tuple[Serving, ...]]:
    """Whether it fits each device, and a serving engine's account of each; where it does not, what does."""
    if not specs and not asked.all_gpus:
        return (), ()
    from inspector.engines.registry import engine_named

    engine = engine_named(asked.engine)
    answer = engine.planner(model, workload, engine.options(**asked.serving))
    if asked.all_gpus:
        from inspector.verdict.all_devices import fits_on_any

        fits = fits_on_any(lambda spec: answer(spec, False).fit, engine.device_kinds)
        return tuple(fit.priced(asked.price) for fit in fits), ()
    from inspector.devices.forecast import forecast

    answers: list[tuple[Fit, Serving | None]] = []
    texts = asked.gpus if len(asked.gpus) == len(specs) else [spec.label.replace(" x ", "x") for spec in specs]
    for spec, text in zip(specs, texts, strict=True):
        found: tuple[Fit, Serving | None] = answer(spec, True)
        if found[0].fits is False or asked.all_options:
            from inspector.api.advised import advised
            from inspector.hub.formats.documents import CONFIG_FILE

            given = getattr(asked, "model", None)
            own = CONFIG_FILE if isinstance(given, Mapping) else checkpoint.repo_id  # a config is named as its file
            name = given if isinstance(given, str) else own
            found = advised(model, workload, asked, spec, found, name=name, gpu=text, other_engines=other_engines)
        fit, serving = found
        likely = partial(forecast, engine=asked.engine, spec=spec, model=model, batch=workload.batch)
        fit = dataclasses.replace(
            fit.priced(asked.price),
            decode_forecast=likely("decode", bound=fit.decode_bound),
            prefill_forecast=likely("prefill", bound=fit.prefill_bound),
        )
        answers.append((fit, serving))
    return tuple(fit for fit, _ in answers), tuple(serving for _, serving in answers if serving is not None)


def device_specs(gpus: Sequence[str]) -> tuple[GpuSpec, ...]:
    """The devices meant, before anything is read: a mistyped name should cost no request."""
    if not gpus:
        return ()
    from inspector.devices.spec import parse_gpus

    return parse_gpus(gpus)
