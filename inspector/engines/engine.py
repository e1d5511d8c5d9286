"""What an engine says of itself: the one protocol that the library, the command line and the reports ask.

An engine is a folder here, with an object `ENGINE` in its engine.py and a line in registry.py. The object is cheap to
make: it imports its plan, its log reader and its comparison when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.engines.common.commands import Commands
    from inspector.engines.common.comparison import Comparison
    from inspector.engines.common.heads import DraftHead
    from inspector.engines.common.layer_rules import LayerRules
    from inspector.engines.common.log import Collection as Collected
    from inspector.engines.common.log import LoggedRun
    from inspector.engines.launch import Container, Launch, Verdict
    from inspector.engines.serving import Serving
    from inspector.memory import Workload
    from inspector.model import Model
    from inspector.verdict.fit import Fit


@dataclass(frozen=True)
class NoOptions:
    """The options of an engine that has none."""


class Answer(NamedTuple):
    """What an engine says of a model on some devices: the verdict, and a server's whole account."""

    fit: Fit
    serving: Serving | None = None


class LogReader(Protocol):
    """Reads an engine's start-up log, line after line."""

    def feed(self, line: str) -> None:
        """Take what one line says."""

    def finish(self) -> Collected:
        """What all lines said."""


Planner = Callable[["GpuSpec", bool], Answer]
"""(devices, whether to look for changes that make it fit) -> the answer."""


class Sized(NamedTuple):
    """Whether a workload fits some devices, and no more than that.

    Attributes:
        fits: None where it cannot be told.
        needed: bytes on the fullest device; None where that is not known.
        usable: bytes that the engine may use of it; likewise.
        split: devices that work on one step at the same time, for the bound of its speed.
        parts: what `needed` is the sum of; empty where they are not told apart.
        own: settings of the engine's own that it takes to fit.
    """

    fits: bool | None = None
    needed: int | None = None
    usable: int | None = None
    split: int = 1
    parts: Mapping[str, int | None] = {}
    own: Mapping[str, Any] = {}

    @property
    def left(self) -> int | None:
        """Bytes that are left, negative where some are missing; None where that is not known."""
        return None if self.needed is None or self.usable is None else self.usable - self.needed


Sizer = Callable[["Workload", "GpuSpec", Any], Sized]
"""(workload, devices, the engine's options) -> whether it fits."""


class CacheType(NamedTuple):
    """A narrower KV cache that an engine has: bits of a value, scales included, and the settings that ask for it.

    Attributes:
        kv_dtype: the workload's setting; None where the engine has options of its own for it.
        options: these, each with its value.
    """

    bits: float
    kv_dtype: str | None = None
    options: tuple[tuple[str, Any], ...] = ()


class Engine:
    """An engine's name and options, what it runs on, and its answers. What a subclass leaves out is the usual case.

    Attributes:
        name: as `--engine` takes it: "llama.cpp".
        title: as its makers write it: "vLLM".
        options: a dataclass of `inspector.settings.setting` fields: the command line's options, a manifest's keys and
            the library's `serving` mapping are made from it. Fields of one name are one option of several engines.
        device_kinds: what drives the devices that its accounts are known on; None for all.
        needs_device: what it takes depends on the device.
        counts_images: its account has images in it.
        makes_file_types: it can take llama.cpp's file types (Q4_K_M, ...) for the weights' precision.
        foreign_options: other engines' options -> what to say to someone who gives one to this engine.
        log_line: by which its log is known; "" where no log of it is read.
        formats: stored formats that it reads, as `Checkpoint.format` names them.
        methods: methods of quantization that it reads from files; None for all that nothing else refuses.
        recipes: the values of `--dtype` that it loads or makes, the finest first: what the search for advice offers.
        keeping: method of packed weights -> the recipe that keeps their bits, where files are converted.
        offload: its option for the layers that lie on the GPUs, the rest with the CPU; "" where it has none.
        offload_experts: its option for the layers whose experts alone lie with the CPU; "" where it has none.
        lighter: options of its own, each with a value that takes less memory and costs speed alone, the mildest first.
        part_names: parts of its account -> their names in reports, where they are not the usual ones.
        emits: what `launch` writes, names of `--emit`: its command first.
        share_option: its setting for the share of a device that it fills; None for one that takes what it needs.
        share_is_of_free: the share is of what is free as it starts, not of the whole device.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    options: ClassVar[type[Any]] = NoOptions
    device_kinds: ClassVar[Collection[str] | None] = None
    needs_device: ClassVar[bool] = True
    counts_images: ClassVar[bool] = False
    makes_file_types: ClassVar[bool] = True
    foreign_options: ClassVar[Mapping[str, str]] = {}
    log_line: ClassVar[str] = ""
    formats: ClassVar[Collection[str]] = ("safetensors", "pytorch")
    methods: ClassVar[Collection[str] | None] = None
    recipes: ClassVar[tuple[str, ...]] = ()
    keeping: ClassVar[Mapping[str, str]] = {}
    offload: ClassVar[str] = ""
    offload_experts: ClassVar[str] = ""
    lighter: ClassVar[tuple[tuple[str, Any], ...]] = ()
    part_names: ClassVar[Mapping[str, str]] = {}
    emits: ClassVar[tuple[str, ...]] = ()
    share_option: ClassVar[str | None] = None
    share_is_of_free: ClassVar[bool] = False

    def cache_rules(self) -> LayerRules[..., Any] | None:
        """What it keeps of each mechanism of a layer; None where that is what the model's own class caches."""
        return None

    def why_not_recipe(self, recipe: str, spec: GpuSpec, options: Any) -> str | None:
        """Why these devices do not run weights of a recipe under this engine, or why it does not load them at all; None
        where nothing known stands against it."""
        del spec, options
        return None if recipe in self.recipes else f"{self.title} does not load {recipe}"

    def why_not_stored(self, model: Model, stored_as: str, spec: GpuSpec, options: Any) -> str | None:
        """Why it does not run a checkpoint's files as they are on these devices; None where nothing is against it.

        Args:
            stored_as: their format, as `Checkpoint.format` names it.
        """
        del spec, options
        if stored_as not in self.formats:
            return f"{self.title} reads no {stored_as} files"
        packing = model.architecture.quantization
        if packing is None or self.methods is None or packing.method in self.methods:
            return None
        return f"{self.title} reads no {packing.method} weights"

    def cache_types(self, spec: GpuSpec) -> tuple[CacheType, ...]:
        """The narrower KV caches that it has on these devices, the widest first."""
        del spec
        return ()

    def account(self, model: Model, workload: Workload, spec: GpuSpec, options: Any, *, suggest: bool) -> Serving:
        """A server's account of a workload on these devices: what a subclass of one states.

        Raises:
            UsageError: options that the engine refuses, or devices that it does not run on.
            CannotTell: why there is no account; `UnsupportedLayer` where a layer's mechanism has no rule.
        """
        raise NotImplementedError(f"{self.name} has no account")

    def knows_kind(self, kind: str | None) -> bool:
        """Whether its accounts are known on what a kind drives; on a bare size, of no kind, they are."""
        return kind is None or self.device_kinds is None or kind in self.device_kinds

    def check_kind(self, spec: GpuSpec) -> None:
        """Refuse devices that it does not run on, or not by an account that is known.

        Raises:
            CannotTell: its account is of other devices.
            UsageError: it runs on none of these.
        """
        from inspector.engines.serving import CannotTell

        if not self.knows_kind(spec.kind):
            known = " and ".join(self.device_kinds or ())
            raise CannotTell(f"{self.name}'s memory is known on {known} devices, not on {spec.name} ({spec.kind})")

    @staticmethod
    def check_capability(spec: GpuSpec, least: tuple[int, int], release: str) -> None:
        """Refuse GPUs that are older than a release runs on.

        Args:
            least: CUDA's compute capability of the oldest that it runs on.
            release: "vLLM 0.33".

        Raises:
            CannotTell: one of the GPUs is older.
        """
        from inspector.engines.serving import CannotTell

        has = spec.compute_capability
        if has is not None and has < least:
            asked, found = (".".join(map(str, each)) for each in (least, has))
            raise CannotTell(f"{release} needs compute capability {asked} or newer, and {spec.name} has {found}")

    def version_of(self, options: Any) -> str | None:
        """The engine's version where there is no account; None where that says nothing."""
        del options
        return None

    def plan(self, model: Model, workload: Workload, spec: GpuSpec, options: Any, *, suggest: bool = True) -> Serving:
        """`account`; one that says why it cannot be told where there is none. Where the layers' caches are known
        between two bounds, the verdict is of both (`Serving.bounded_by`).

        Args:
            spec: one device, many or unequal ones.
            options: an instance of `self.options`.
            suggest: look for changes that make it fit, where it does not.

        Raises:
            UsageError: options that the engine refuses, or devices that it does not run on.
        """
        from inspector.engines.serving import CannotTell, Serving

        try:
            self.check_kind(spec)
            serving = self.account(model, workload, spec, options, suggest=suggest)
            if not model.architecture.layers_at_least:
                return serving
            return serving.bounded_by(self.account(_at_least(model), workload, spec, options, suggest=False))
        except CannotTell as why:
            notes = (f"cannot tell: {why}", *spec.notes)
            return Serving(self.name, self.version_of(options), spec.name, spec.count, spec.capacity, notes=notes)

    def planned(self, model: Model, workload: Workload, spec: GpuSpec, options: Any) -> Serving:
        """`plan` without a search for changes."""
        return self.plan(model, workload, spec, options, suggest=False)

    def planner(self, model: Model, workload: Workload, options: Any) -> Planner:
        """Plans for one device after another; what they share, an engine may work out once."""

        def answer(spec: GpuSpec, suggest: bool) -> Answer:
            serving = self.plan(model, workload, spec, options, suggest=suggest)
            return Answer(serving.verdict, serving)

        return answer

    def sizer(self, model: Model) -> Sizer:
        """Tells for one workload after another whether it fits, as fast as its rules allow: by default, `plan`.

        What it returns raises:
            UsageError: as `plan`.
        """

        def sized(workload: Workload, spec: GpuSpec, options: Any) -> Sized:
            serving = self.plan(model, workload, spec, options, suggest=False)
            needed, left = serving.needs()
            usable = None if needed is None or left is None else needed + left
            split = serving.settings.get("tensor_parallel_size") or 1
            fits = True if serving.starts_with else serving.fits
            return Sized(fits, needed, usable, split, serving.parts, serving.starts_with)

        return sized

    def log_reader(self) -> LogReader | None:
        """A new reader of its start-up log; None where no log of it is read."""
        return None

    def compare(
        self,
        run: LoggedRun,
        model: Model,
        spec: GpuSpec | None,
        *,
        dtype: str,
        draft: Model | DraftHead | None = None,
    ) -> Comparison:
        """A logged run beside the prediction for it.

        Args:
            spec: one device of those that the log is of, where the user named it; else it is read off the log.
            dtype: the weights' precision, "stored" for that of the files.
            draft: what drafted in the run, read; None where nothing did, or it is not known.

        Raises:
            UsageError: the log names settings that no plan can be made for.
        """
        raise NotImplementedError(f"no log of {self.name} is compared")

    def commands(self) -> Commands | None:
        """How the commands that start it are read; None where none is."""
        return None

    def launch(self, asked: Verdict, emit: str) -> Launch:
        """What starts it with the settings of a verdict.

        Args:
            emit: one of `emits`.

        Raises:
            UsageError: it does not load the model from where it is.
        """
        raise NotImplementedError(f"{self.name} is not launched")

    def asleep(self, serving: Serving) -> int | None:
        """Bytes of a GPU that it keeps while it sleeps; None where it cannot sleep, or that is not known."""
        del serving
        return None

    def container(self, kind: str | None, version: str | None) -> Container | None:
        """How it runs in a container on devices of a kind; None where it does in none.

        Raises:
            UsageError: there is no image for such devices.
        """
        del kind, version
        return None


def _at_least(model: Model) -> Model:
    """The model with the least that its layers may keep."""
    facts = model.architecture
    return replace(model, architecture=replace(facts, layers=facts.layers_at_least, layers_at_least=()))
