"""One model over the values of several settings: a table whose cells are sized one by one, of one reading."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.api.cells import Cell, InferenceCells, TrainingCells, on_device, values_of
from inspector.api.inspection import device_specs, read
from inspector.api.settings import DeviceSettings, Settings, Source, chosen
from inspector.api.training import TrainingSettings, no_such_setting
from inspector.errors import UsageError
from inspector.hub import Checkpoint
from inspector.memory.training import ADAPTER_METHODS
from inspector.settings import asking, check_bounds, read_ranges, settings_of

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.model import Model

MAX_CELLS = 1000

Asked = Settings | TrainingSettings
Combination = tuple[dict[str, Any], Asked | UsageError]


@dataclass(frozen=True, kw_only=True)
class GridQuestion(Source, Settings):
    """What `grid` is asked.

    Attributes:
        ranges: setting -> its values, or a text such as "4k,32k,128k": context, batch, dtype, kv_dtype, engine.
    """

    ranges: Mapping[str, Any]

    def __post_init__(self) -> None:
        """The settings are looked at with each combination of the ranges, not by themselves."""


@dataclass(frozen=True, kw_only=True)
class TrainingGridQuestion(Source, DeviceSettings, TrainingSettings):
    """What `train_grid` is asked.

    Attributes:
        ranges: as of `GridQuestion`: context, batch, method, precision, optimizer, checkpointing, lora_rank.
    """

    ranges: Mapping[str, Any]

    def __post_init__(self) -> None:
        """As of `GridQuestion`."""


@dataclass(frozen=True, repr=False)
class Grid:
    """A model over ranges of settings.

    Attributes:
        checkpoint: what was read.
        model: what it means.
        axes: setting -> its values, in the order asked for; "gpu" -> the devices' names, last, where there are some.
        cells: one a combination, the last axis fastest; one for all ranks of a training without adapters.
        training: the cells are of training steps.
        notes: what the reader of the cells should know, each once.
    """

    checkpoint: Checkpoint
    model: Model
    axes: Mapping[str, tuple[Any, ...]]
    cells: tuple[Cell, ...]
    training: bool = False
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> tuple[bool | None, ...]:
        """Each cell's verdict."""
        return tuple(cell.fits for cell in self.cells)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the numbers should know, each once."""
        return tuple(dict.fromkeys(self.checkpoint.warnings + self.model.warnings + self.notes))

    def __repr__(self) -> str:
        sizes = " x ".join(f"{len(values)} {name}" for name, values in self.axes.items())
        return f"<Grid {self.checkpoint.repo_id}: {sizes}>"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `--json`: sizes in bytes, unknown values None."""
        from inspector.record import grid_record

        return grid_record(self)


@asking(GridQuestion)
def grid(question: GridQuestion) -> Grid:
    """What a model takes at every combination of some settings' values, and whether that fits each device.

    The model is read once; a cell takes a millisecond or a few. Each is what `inspect` or `fit` answers for it alone.

    Args:
        model: as for `inspect`; so are gpus, resolver, revision, token, offline and the other settings.
        ranges: setting -> its values: `{"context": ["4k", "32k"], "dtype": "bf16,fp8"}`.

    Raises:
        InspectError: one of its subclasses; UsageError for more than 1,000 cells, and a value that no cell can have.
    """
    plan = inference_plan(question)
    return plan.answer(read(question))


@asking(TrainingGridQuestion, no_such_setting)
def train_grid(question: TrainingGridQuestion) -> Grid:
    """`grid` for training steps, as `train` answers for each alone.

    Args:
        model: as for `train`, and so are all settings.
        ranges: setting -> its values: `{"method": ["full", "lora"], "batch": [1, 8]}`.

    Raises:
        InspectError: as of `grid`.
    """
    from inspector.api.companions import with_companions

    _ = training_plan(question)  # refused here, before anything is read
    checkpoint = read(question)
    return training_plan(with_companions(question, question)).answer(checkpoint)


@dataclass(frozen=True)
class Plan:
    """A table that was checked and is not yet filled: bad values should cost no request.

    Attributes:
        ranges: setting -> its values.
        asked: each combination's settings, in order, or why there is no such run.
        usual: every setting that a table may be over -> its value where it is not.
        specs: the devices.
        training: it is of training steps.
    """

    ranges: Mapping[str, tuple[Any, ...]]
    asked: tuple[Combination, ...]
    usual: Mapping[str, Any]
    specs: tuple[GpuSpec, ...]
    training: bool

    def answer(self, checkpoint: Checkpoint) -> Grid:
        """The table of a checkpoint.

        Raises:
            InspectError: as `inspect`.
        """
        from inspector.model import build_model

        model = build_model(checkpoint)
        sizes: Any = TrainingCells(checkpoint, model) if self.training else InferenceCells(model)
        cells: list[Cell] = []
        for values, asked in self.asked:
            if isinstance(asked, UsageError):
                refused = Cell({**self.usual, **values}, why=asked.message)
                cells += [on_device(refused, spec) for spec in self.specs or (None,)]
            else:
                cells += list(sizes.cells(asked, self.specs))
        axes = dict(self.ranges) | ({"gpu": tuple(spec.label for spec in self.specs)} if self.specs else {})
        return Grid(checkpoint, model, axes, tuple(cells), self.training, tuple(dict.fromkeys(sizes.notes)))


def inference_plan(question: GridQuestion) -> Plan:
    """The table that `grid` is asked for.

    Raises:
        UsageError: as of `grid`.
    """
    if question.all_gpus or question.all_options:
        raise UsageError("a table answers for the devices that are named", "Leave out --all-gpus and --all-options.")
    if question.price is not None:
        raise UsageError("a table tells no price", "Leave out --price.")
    given = chosen(Settings, question)
    serving = given.pop("serving")
    ranges = read_ranges(Settings, question.ranges, "grid()")

    def make(values: dict[str, Any]) -> Settings:
        settings = given | values
        return Settings(**settings, serving=_of_engine(settings["engine"], serving, ranges.get("engine", ())))

    return _planned(question, ranges, make, values_of(Settings, question))


def training_plan(question: TrainingGridQuestion) -> Plan:
    """The table that `train_grid` is asked for.

    Raises:
        UsageError: as of `grid`.
    """
    ranges = read_ranges(TrainingSettings, question.ranges, "train_grid()")
    given = {each.name: getattr(question, each.name) for each in dataclasses.fields(TrainingSettings)}
    if question.measure or question.formulas == "article":
        raise UsageError("a table of training steps has neither --measure nor the article's formulas")

    def make(values: dict[str, Any]) -> TrainingSettings:
        own = given | values
        if mixed and own["method"] not in ADAPTER_METHODS:
            own["lora_rank"] = usual_rank  # the one that is asked for is of the other methods
        settings = TrainingSettings(**own)
        _ = settings.setup, settings.over  # refused here, before anything is read
        return settings

    mixed = _with_adapters(ranges)
    usual_rank = settings_of(TrainingSettings)["lora_rank"].default
    return _planned(question, ranges, make, values_of(TrainingSettings, question))


def _planned(
    question: GridQuestion | TrainingGridQuestion,
    ranges: Mapping[str, tuple[Any, ...]],
    make: Callable[[dict[str, Any]], Asked],
    usual: Mapping[str, Any],
) -> Plan:
    specs = device_specs(question.gpus)
    count = math.prod(map(len, ranges.values())) * max(1, len(specs))
    if count > MAX_CELLS:
        raise UsageError(f"a table of {count:,} cells: {MAX_CELLS:,} are the most", "Name fewer values or devices.")
    tried = [_tried(values, make) for values in _combinations(ranges)]
    called = _names_of_values(ranges, tried)
    asked: dict[tuple[Any, ...], Asked | UsageError] = {}
    for values, settings in tried:
        asked.setdefault(tuple(called.get(each, each[1]) for each in values.items()), settings)
    return Plan(
        {name: tuple(dict.fromkeys(called[name, value] for value in values)) for name, values in ranges.items()},
        tuple((dict(zip(ranges, values, strict=True)), settings) for values, settings in asked.items()),
        usual,
        specs,
        isinstance(question, TrainingGridQuestion),
    )


def _combinations(ranges: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """The values of each combination. Of several ranks what trains without adapters has one, with None for its rank,
    where another method has them."""
    ranks = ranges.get("lora_rank", ())
    mixed = bool(ranks) and _with_adapters(ranges)
    for each in itertools.product(*ranges.values()):
        values = dict(zip(ranges, each, strict=True))
        if not mixed or values["method"] in ADAPTER_METHODS:
            yield values
        elif values["lora_rank"] == ranks[0]:
            yield {**values, "lora_rank": None}


def _with_adapters(ranges: Mapping[str, tuple[Any, ...]]) -> bool:
    """Whether a table is over methods of which some train adapters."""
    return not ADAPTER_METHODS.isdisjoint(ranges.get("method", ()))


def _tried(values: dict[str, Any], make: Callable[[dict[str, Any]], Asked]) -> Combination:
    try:
        settings = make(values)
        check_bounds(settings)
    except UsageError as error:
        return values, error
    return values, settings


def _names_of_values(ranges: Mapping[str, tuple[Any, ...]], tried: Sequence[Combination]) -> dict[tuple[str, Any], Any]:
    """Each setting's values under the names that the settings have for them ("BF16" is bf16).

    Raises:
        UsageError: a value is refused with all values of the others: it is wrong by itself.
    """
    called: dict[tuple[str, Any], Any] = {}
    if all(isinstance(settings, UsageError) for _, settings in tried):
        raise next(settings for _, settings in tried if isinstance(settings, UsageError))
    for name, values in ranges.items():
        for value in values:
            found = [settings for given, settings in tried if given[name] == value]
            good = next((each for each in found if not isinstance(each, UsageError)), None)
            if good is None:
                error = next(each for each in found if isinstance(each, UsageError))
                which = "" if str(value) in error.message else f"{name} {value}: "
                raise UsageError(which + error.message, error.hint)
            called[name, value] = getattr(good, name)
    return called


def _of_engine(engine: str, serving: Mapping[str, Any], engines: Sequence[str]) -> Mapping[str, Any]:
    """The engines' options; of a table over engines those that this one has, where another has the rest."""
    if not serving or len(engines) < 2:
        return serving
    from inspector.engines.registry import engine_named

    known = {name: settings_of(engine_named(name).options) for name in engines}
    return {
        name: value
        for name, value in serving.items()
        if name in known[engine] or not any(name in options for options in known.values())
    }
