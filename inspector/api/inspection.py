"""The library: everything that the command line can do, as functions.

model/ and memory/ are imported while the Hub's answer is on its way, not before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inspector.errors import InspectError, UsageError
from inspector.hub import Checkpoint, Resolver

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.engines.serving import Serving
    from inspector.fit.verdict import Fit
    from inspector.memory import Estimate, Formulas, Workload
    from inspector.memory.layer_table import LedgerRow
    from inspector.model import Model

DEFAULT_ENGINE = "transformers"
"""Of which a plain report asks nothing: no engine's module is loaded for it."""

AT_ONCE = 8
"""Models that `inspect_each` reads at the same time."""

TABLE_PRECISIONS = ("fp32", "bf16", "int8", "int4")
"""The precisions that every report shows beside the as-stored row."""


@dataclass(frozen=True)
class Settings:
    """What is asked of every model of a call.

    Attributes:
        context: tokens a sequence; None for the smaller of 4,096 and the model's own maximum.
        batch: sequences at once.
        dtype: the weights' precision; "stored" for as the files have it.
        kv_dtype: the cache's precision; None for the one the model computes in.
        engine: whose accounting is followed: "transformers", or a server's: "vllm", "sglang", "llama.cpp", "mlx".
        serving: the server's own settings, as `hardware.ServingSettings` names them (tensor_parallel, version,
            gpu_memory_utilization, n_gpu_layers, ...); what is left out is the engine's default.
        formulas: "exact", or the article's ("article").
        gpus: devices to answer for: names, sizes ("24GiB"), counts ("4xH100"), or "auto" for this machine's.
        all_gpus: answer for every known device instead: those that it fits on, the least memory first.
        images: pictures in each sequence, for models that see (vLLM: the most that a prompt may have); None for one
            where its tokens fit the context, or the engine's default.
        image_size: (width, height) of each in pixels; None for the largest that the model's processor makes.
    """

    context: int | None = None
    batch: int = 1
    dtype: str = "stored"
    kv_dtype: str | None = None
    engine: str = DEFAULT_ENGINE
    formulas: Formulas = "exact"
    gpus: tuple[str, ...] = ()
    all_gpus: bool = False
    serving: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Bring the precisions to their one name, and refuse what no run can have, before anything is asked for."""
        if self.batch < 1 or (self.context is not None and self.context < 1):
            raise UsageError("context and batch must be at least 1")
        if self.images is not None and not 0 <= self.images <= 2**20:
            raise UsageError(f"images must be 0 to {2**20:,}, not {self.images}")
        if self.image_size is not None and not all(1 <= side <= 2**16 for side in self.image_size):
            raise UsageError(f"a picture's sides must be 1 to {2**16:,} pixels, not {self.image_size}")
        if self.dtype != "stored" or self.kv_dtype is not None:
            from inspector.memory import FILE_TYPE_NAMES, RECIPE_NAMES, parse_precision

            object.__setattr__(self, "dtype", parse_precision(self.dtype, recipes=True))
            kv_dtype = parse_precision(self.kv_dtype or "auto")
            object.__setattr__(self, "kv_dtype", None if kv_dtype == "stored" else kv_dtype)
            if self.dtype in FILE_TYPE_NAMES and not self._engine_is("makes_file_types"):
                raise UsageError(
                    f"{self.dtype} is a type of llama.cpp's files, and none that {self.engine} makes",
                    "Add --engine llama.cpp, or name a recipe: fp8, awq, gptq, nvfp4.",
                )
            if self.formulas == "article" and self.dtype in (*RECIPE_NAMES, *FILE_TYPE_NAMES):
                raise UsageError(
                    f"the article has no recipe '{self.dtype}'", "It has precisions: fp32, bf16, int8, int4."
                )
        needs_device = self._engine_is("needs_device", usual=False)
        if self.all_gpus and self.gpus:
            raise UsageError("all known GPUs, or those of --gpu: not both")
        if needs_device and not (self.gpus or self.all_gpus):
            raise UsageError(
                f"what {self.engine} takes depends on the card: it fills its share of it",
                "Name the cards, e.g. --gpu 'RTX 4090' or --gpu 4xH100.",
            )
        if self.serving:
            from inspector.engines.settings import check_engine_settings

            check_engine_settings(self.engine, self.serving)
        if self.formulas not in ("exact", "article"):
            raise UsageError(f"unknown formulas '{self.formulas}'", "Known: exact, article.")
        if self.images or self.image_size is not None:
            self._check_pictures()

    def _check_pictures(self) -> None:
        if self.images == 0:
            raise UsageError("no pictures have no size", "Leave out --image-size, or --images 0.")
        if self.formulas == "article":
            raise UsageError("the article counts no pictures", "Leave out --images and --image-size.")
        if not self._engine_is("counts_images"):
            from inspector.engines.registry import engines

            counting = " and ".join(each.name for each in engines() if each.counts_images)
            raise UsageError(
                f"pictures are counted under {counting}, not under {self.engine}",
                "Leave out --images and --image-size.",
            )

    def _engine_is(self, what: str, *, usual: bool = True) -> bool:
        """What an engine says of itself; of the default one `usual`, so that nothing is loaded for it.

        Raises:
            UsageError: there is no such engine.
        """
        name = self.engine
        if name == DEFAULT_ENGINE:
            return usual
        from inspector.engines.registry import engine_named

        return bool(getattr(engine_named(name), what))

    def workload(self, model: Model) -> Workload:
        """These settings for one model, defaults filled in."""
        from inspector.memory import Workload, default_context

        return Workload(
            context=self.context if self.context is not None else default_context(model),
            batch=self.batch,
            dtype=self.dtype,
            kv_dtype=self.kv_dtype,
            formulas=self.formulas,
            images=self.images if self._engine_is("counts_images") else 0,
            image_size=self.image_size,
        )


@dataclass(frozen=True)
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

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the numbers should know, each once."""
        return tuple(dict.fromkeys(self.checkpoint.warnings + self.model.warnings + self.estimate.warnings))

    def ledger(self) -> tuple[LedgerRow, ...]:
        """What each layer is, holds and caches, and where each number comes from: `--layers`."""
        from inspector.memory.layer_table import build_ledger

        checkpoint, estimate = self.checkpoint, self.estimate
        return build_ledger(self.model, checkpoint.config, estimate.workload, estimate.kv_dtype, checkpoint.format)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `--json`: sizes in bytes, unknown values None."""
        from inspector.record import inspection_record

        return inspection_record(self)


def inspect(
    model: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    offline: bool | None = None,
    resolver: Resolver | None = None,
    **settings: Any,
) -> Inspection:
    """Read a model's config and headers, and work out what it is and what it takes.

    Args:
        model: a repo ID (`org/name`, `org/name@revision`), or a local folder or file.
        revision: branch, tag or commit; the repo's `main` where None.
        token: of the Hub; the saved login or HF_TOKEN where None, none at all where False.
        offline: ask no server; HF_HUB_OFFLINE where None.
        resolver: shared between calls, to keep connections; then `token` and `offline` are its own.
        settings: the fields of `Settings` (context, batch, dtype, kv_dtype, formulas, gpus...).

    Raises:
        InspectError: one of its subclasses, see inspector.errors.
    """
    asked = Settings(**settings)
    specs = device_specs(asked.gpus)
    if resolver is None:
        with Resolver(token=token, offline=offline, while_waiting=prepare) as own:
            checkpoint = own.resolve(model, revision)
    else:
        checkpoint = resolver.resolve(model, revision)
    return inspect_checkpoint(checkpoint, asked, specs)


async def ainspect(model: str, **arguments: Any) -> Inspection:
    """`inspect`, for callers that run an event loop."""
    import asyncio

    return await asyncio.to_thread(inspect, model, **arguments)


def inspect_each(
    models: Iterable[str], *, resolver: Resolver, revision: str | None = None, **settings: Any
) -> list[Inspection | InspectError]:
    """Inspect several models, in order; one that fails leaves its error in its place and does not stop the rest."""
    asked = Settings(**settings)
    specs = device_specs(asked.gpus)

    def one(model: str) -> Inspection | InspectError:
        try:
            return inspect_checkpoint(resolver.resolve(model, revision), asked, specs)
        except InspectError as error:
            return error

    names = list(models)
    if len(names) < 2:
        return [one(name) for name in names]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(names), AT_ONCE)) as pool:
        return list(pool.map(one, names))


def fit(model: str, gpu: str, **arguments: Any) -> Fit:
    """Whether a model fits a device: `inspect` for one `gpu`, and its verdict."""
    return inspect(model, gpus=(gpu,), **arguments).fits[0]


def prepare() -> None:
    """Import what a report is made with. Good to call while something else is waited for."""
    import inspector.memory
    import inspector.model  # noqa: F401


def inspect_checkpoint(checkpoint: Checkpoint, asked: Settings, specs: tuple[GpuSpec, ...]) -> Inspection:
    """What a checkpoint means, and what it takes on these devices.

    Raises:
        InspectError: the config holds values that no model can have, or an engine refuses its settings.
    """
    from inspector.memory import estimate
    from inspector.model import build_model

    model = build_model(checkpoint)
    workload = asked.workload(model)
    fits, servings = _verdicts(model, workload, asked, specs)
    return Inspection(
        checkpoint,
        model,
        estimate(model, workload),
        tuple(estimate(model, dataclasses.replace(workload, dtype=name)) for name in TABLE_PRECISIONS),
        fits,
        servings,
    )


def _verdicts(
    model: Model, workload: Workload, asked: Settings, specs: tuple[GpuSpec, ...]
) -> tuple[tuple[Fit, ...], tuple[Serving, ...]]:
    if not specs and not asked.all_gpus:
        return (), ()
    from inspector.engines.registry import engine_named

    engine = engine_named(asked.engine)
    answer = engine.planner(model, workload, engine.options(**asked.serving))
    if asked.all_gpus:
        from inspector.fit.all_devices import fits_on_any

        return fits_on_any(lambda spec: answer(spec, False).fit, engine.device_kinds), ()
    answers = [answer(spec, True) for spec in specs]
    servings = (each.serving for each in answers)
    return tuple(each.fit for each in answers), tuple(serving for serving in servings if serving is not None)


def device_specs(gpus: tuple[str, ...]) -> tuple[GpuSpec, ...]:
    """The devices meant, before anything is read: a mistyped name should cost no request."""
    if not gpus:
        return ()
    from inspector.devices.spec import parse_gpus

    return parse_gpus(gpus)
