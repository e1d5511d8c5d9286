"""What may be asked, as dataclasses: the settings, where a model is read, and the question of each function.

A setting stands in one of them, once. The functions' arguments (`inspector.settings.asking`), the command line's
options, a manifest's keys and the tables of docs/options.md are made from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inspector.errors import UsageError
from inspector.memory.estimate import Workload, WorkloadSettings
from inspector.settings import setting, settings_of

if TYPE_CHECKING:
    from os import PathLike

    from inspector.hub import Resolver
    from inspector.model import Model
    from inspector.model.design.changes import Change

DEFAULT_ENGINE = "transformers"
"""Of which a plain report asks nothing: no engine's module is loaded for it."""

GPU_EXAMPLES = "'RTX 4090', 4xH100, 24GiB, 'RTX 4090 + RTX 3060 12GB', or auto for this machine's"


def engine_names() -> tuple[str, ...]:
    """The engines that `--engine` takes, the default first."""
    from inspector.engines.registry import names

    return names()


@dataclass(frozen=True, kw_only=True)
class DesignSettings:
    """What a model is beside what its files say.

    Attributes:
        config_only: leave its weights out: what the config alone says, by the tables of its class.
        set: changes of its config: `{"num_hidden_layers": 40}`, or texts as `--set` takes them; implies that the
            tensors are those that its class would write.
    """

    config_only: bool = setting(
        False,
        help="Leave the weights out: what config.json alone says.",
        docs="leave the weights out: what config.json alone says, by the tables of its class (one file of the Hub)",
        group="Model",
    )
    set: Sequence[str] | Mapping[str, Any] = setting(
        (),
        help="Change a key of config.json: num_hidden_layers=40, text_config.hidden_size=4k; may be repeated.",
        docs="change a key of config.json (`num_hidden_layers=40`, `text_config.hidden_size=4k`; the value is JSON,"
        " else text), and answer for the design that this is; may be repeated",
        metavar="KEY=VALUE",
        group="Model",
    )

    @property
    def changes(self) -> tuple[Change, ...]:
        """What `set` asks for.

        Raises:
            UsageError: something there is no change of a key.
        """
        if not self.set:
            return ()
        from inspector.model.design.changes import read_changes

        return read_changes(self.set)


@dataclass(frozen=True, kw_only=True)
class EngineSettings(DesignSettings, WorkloadSettings):
    """What is asked of a model, whatever the device.

    Attributes:
        engine: whose accounting is followed: "transformers", or a server's: "vllm", "sglang", "llama.cpp", "mlx".
        serving: the server's own options, as the engine's dataclass of them names them (tensor_parallel, version,
            gpu_memory_utilization, n_gpu_layers, ...); what is left out is the engine's default.
        price: US dollars per GPU-hour; verdicts then have a lower bound of what a million tokens cost.
    """

    engine: str = setting(
        DEFAULT_ENGINE,
        help="Whose memory accounting to follow; all but transformers need a --gpu.",
        docs="whose memory accounting to follow: `transformers` (default), `vllm`, `sglang`, `llama.cpp`, `mlx`"
        " (mlx-lm, on Macs); all but transformers need a `--gpu`",
        choices=engine_names,
        group="Engine",
        several=True,
    )
    serving: Mapping[str, Any] = setting({}, help="The engine's own settings.", option="")
    price: float | None = setting(
        None,
        help="US dollars per GPU-hour: also say what a million tokens cost at least.",
        docs="US dollars per GPU-hour, as your provider asks: verdicts also say what a million tokens cost at least, at"
        " the upper bounds of speed",
        metavar="USD",
        unit="US dollars",
        least=0,
        most=10**6,
        group="Device",
    )


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """On which devices.

    Attributes:
        gpus: devices to answer for: names, sizes ("24GiB"), counts ("4xH100"), or "auto" for this machine's; one
            alone, or several with commas, as a text.
    """

    gpus: Sequence[str] = setting(
        (),
        help=f"Also say whether it fits: {GPU_EXAMPLES}; may be repeated.",
        docs="the GPUs to answer for, a `+` between unlike ones that work together (`'RTX 4090 + RTX 3060 12GB'`); may"
        " be repeated, or a list with commas",
        option="--gpu",
        metavar="GPU",
        group="Device",
        several=True,
    )


@dataclass(frozen=True, kw_only=True)
class Settings(DeviceSettings, EngineSettings):
    """What is asked of every model of a call.

    Attributes:
        all_options: look for other ways to run it where it fits, too.
        all_gpus: answer for every known device instead: those that it fits on, the least memory first.
    """

    all_options: bool = setting(
        False,
        help="With fit: all ways to make it fit, not the best three; and where it fits, all other ways.",
        docs="all ways to make a model fit that does not, not the best three alone; where it fits, all other ways",
        group="Device",
    )
    all_gpus: bool = setting(
        False,
        help="Every known device instead: those it fits on, least memory first.",
        docs="every known device instead: those that it fits on, the least memory first",
        group="Device",
    )

    def __post_init__(self) -> None:
        """Bring the precisions to their one name, and refuse what no run can have, before anything is asked for."""
        if self.set:
            object.__setattr__(self, "set", tuple(change.text for change in self.changes))
        if self.batch < 1 or (isinstance(self.context, int) and self.context < 1):
            raise UsageError("context and batch must be at least 1")
        if self.images is not None and not 0 <= self.images <= 2**20:
            raise UsageError(f"images must be 0 to {2**20:,}, not {self.images}")
        size = self.image_size
        if size is not None and not (len(size) == 2 and all(1 <= side <= 2**16 for side in size)):
            raise UsageError(f"an image's sides must be 1 to {2**16:,} pixels, not {size}")
        if self.dtype != "stored" or self.kv_dtype is not None:
            from inspector.memory.precision import FILE_TYPE_NAMES, RECIPE_NAMES, parse_precision

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
                f"what {self.engine} takes depends on the GPU: it fills its share of it",
                "Name the GPUs, e.g. --gpu 'RTX 4090' or --gpu 4xH100.",
            )
        if self.serving:
            from inspector.engines.settings import engine_settings

            object.__setattr__(self, "serving", engine_settings(self.engine, self.serving))
        if self.formulas not in ("exact", "article"):
            raise UsageError(f"unknown formulas '{self.formulas}'", "Known: exact, article.")
        if self.images or self.image_size is not None:
            self._check_images()

    def _check_images(self) -> None:
        if self.images == 0:
            raise UsageError("no images have no size", "Leave out --image-size, or --images 0.")
        if self.formulas == "article":
            raise UsageError("the article counts no images", "Leave out --images and --image-size.")
        if not self._engine_is("counts_images"):
            from inspector.engines.registry import engines

            counting = " and ".join(each.name for each in engines() if each.counts_images)
            raise UsageError(
                f"images are counted under {counting}, not under {self.engine}",
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
        from inspector.memory.inference.total import default_context

        return Workload(
            **{name: getattr(self, name) for name in settings_of(WorkloadSettings)}
            | {
                "context": self.context if self.context is not None else default_context(model),
                "images": self.images if self._engine_is("counts_images") else 0,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Access:
    """How the Hub is asked.

    Attributes:
        token: of the Hub; the saved login or HF_TOKEN where None, none at all where False.
        offline: ask no server; HF_HUB_OFFLINE where None.
        resolver: shared between calls, to keep connections; then `token` and `offline` are its own.
    """

    token: str | bool | None = None
    offline: bool | None = None
    resolver: Resolver | None = None


@dataclass(frozen=True, kw_only=True)
class Source(Access, DesignSettings):
    """Where a model is read.

    Attributes:
        model: a repo ID (`org/name`, `org/name@revision`), a local folder or file, or a config as parsed.
        revision: branch, tag or commit; the repo's `main` where None.
    """

    model: str | PathLike[str] | Mapping[str, Any] = field(kw_only=False)
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Question(Source, Settings):
    """What `inspect` is asked."""


@dataclass(frozen=True, kw_only=True)
class FitQuestion(Source, EngineSettings):
    """What `fit` is asked: of one device, as `gpus` of `Settings` names them."""

    gpu: str = field(kw_only=False)


@dataclass(frozen=True, kw_only=True)
class DeviceQuestion(EngineSettings):
    """What a loaded model is asked of one device, as `gpus` of `Settings` names them."""

    gpu: str = field(kw_only=False)


@dataclass(frozen=True, kw_only=True)
class EachQuestion(Settings):
    """What `inspect_each` is asked of several models, in order."""

    models: Iterable[str | PathLike[str] | Mapping[str, Any]] = field(kw_only=False)
    resolver: Resolver
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class PairSettings(DesignSettings):
    """Changes of two models.

    Attributes:
        set_a / set_b: as `set`, of the first or the second alone.
    """

    set_a: Sequence[str] | Mapping[str, Any] = setting(
        (),
        help="--set for A alone; may be repeated.",
        docs="`--set` for A alone; may be repeated",
        metavar="KEY=VALUE",
        group="Model",
    )
    set_b: Sequence[str] | Mapping[str, Any] = setting(
        (),
        help="--set for B alone; without a B, of A beside itself.",
        docs="`--set` for B alone; without a B, A is compared with itself so changed",
        metavar="KEY=VALUE",
        group="Model",
    )


@dataclass(frozen=True, kw_only=True)
class PairQuestion(Access, PairSettings, Settings):
    """What `inspect_pair` is asked: of two models, each as `Source` names it; where `after` is None, of one beside
    itself changed."""

    before: str | PathLike[str] | Mapping[str, Any] = field(kw_only=False)
    after: str | PathLike[str] | Mapping[str, Any] | None = field(kw_only=False, default=None)

    @property
    def sides(self) -> tuple[Question, Question]:
        """What is asked of each.

        Raises:
            UsageError: one model, and no change of it.
        """
        if self.after is None and not (self.set_a or self.set_b):
            raise UsageError("one model is compared with nothing", "Name a second, or change it: --set-b KEY=VALUE.")
        models = (self.before, self.before if self.after is None else self.after)
        own = ({**_pairs(self.set), **_pairs(each)} for each in (self.set_a, self.set_b))
        first, second = (
            Question(model, **chosen(Settings, self) | {"set": changes})
            for model, changes in zip(models, own, strict=True)
        )
        return first, second


def _pairs(given: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Changes as a mapping."""
    if not given:
        return {}
    from inspector.model.design.changes import read_changes

    return {change.key: change.value for change in read_changes(given)}


def chosen(kind: type[Any], asked: Any) -> dict[str, Any]:
    """Of a question, the settings that another dataclass has, too."""
    return {name: getattr(asked, name) for name in settings_of(kind)}
