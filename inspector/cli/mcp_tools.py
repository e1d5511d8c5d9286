"""The tools of `llm-inspect mcp`: what each says of itself, which settings it takes, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from inspector.api.settings import Settings
from inspector.errors import UsageError
from inspector.memory.estimate import WorkloadSettings
from inspector.settings import Setting, settings_of

MODELS_TOLD = 20
"""Of those that `find` finds, the first: an agent reads them all."""
MODEL = "Repo ID (org/name, org/name@revision, org/name:Q4_K_M), its address on the Hub, or a local folder or file."

Record = dict[str, Any]


class Tool(NamedTuple):
    """A tool: what it says of itself (`about`), and what it does.

    Attributes:
        names: arguments that are no settings -> what is said of them; those of `needs` must be there.
        kinds: dataclasses whose settings are arguments, too.
        nested: arguments that are an object with the settings of a mapping.
        record: the $def of the JSON Schema that its answers follow, or each of their `models` where there are `many`.
        answer: its arguments -> the record.
    """

    about: str
    names: Mapping[str, str]
    needs: tuple[str, ...]
    kinds: tuple[type, ...]
    nested: Mapping[str, tuple[str, Mapping[str, Setting]]]
    record: str
    answer: Callable[[Record], Record]
    many: bool = False


ABOUT = {
    "inspect": "What a model is: architecture, exact parameters, KV cache per token, memory of inference; with gpus,"
    " whether it fits them.",
    "fit": "Whether a model fits GPUs, with the margin, the longest context and what would make it fit; with engine"
    " vllm, sglang, llama.cpp or mlx by that server's own accounting. Name gpus, or ask for all_gpus.",
    "train": "The memory of a training step (full, LoRA, QLoRA): the peak, its phase and parts; with gpus, whether it"
    " fits.",
    "find": "Which models run on a GPU, each with the recipe, engine and context that give up least: of the Hub's"
    f" trending and most downloaded ones, or of a search. `models` has the first {MODELS_TOLD}, `found` tells how many"
    " there are.",
    "compare": "What differs between two models or revisions: config keys, tensors, parameters and memory.",
}
MODELS = {
    "author": "Models of this user or organization.",
    "search": "Words of their names.",
    "license": "apache-2.0, mit, ...",
    "pipeline_tag": "Their task; text-generation where left out.",
}


@cache
def tools() -> Mapping[str, Tool]:
    """The tools by name."""
    from inspector.api.training import TrainingQuestion
    from inspector.engines.settings import all_options
    from inspector.finding.settings import FindSettings
    from inspector.memory.training import Sharding
    from inspector.memory.training.zero_settings import ZeroSettings

    model, one = {"model": MODEL, "revision": "Branch, tag or commit; main where left out."}, ("model",)
    pair = {"before": MODEL, "after": MODEL}
    serving = {"serving": ("Options of the engine, by name.", all_options())}
    tuned = settings_of(ZeroSettings)  # DeepSpeed's sizes, which an agent has no use for
    spread = {name: each for name, each in settings_of(Sharding).items() if name not in tuned}
    sharding = {"sharding": ("Over several GPUs.", spread)}
    return {
        "inspect": Tool(ABOUT["inspect"], model, one, (Settings,), serving, "inspection", _inspect),
        "fit": Tool(ABOUT["fit"], model, one, (Settings,), serving, "inspection", _fit),
        "train": Tool(ABOUT["train"], model, one, (TrainingQuestion,), sharding, "inspection", _train),
        "find": Tool(ABOUT["find"], MODELS, ("gpu",), (FindSettings,), {}, "found", _find, many=True),
        "compare": Tool(ABOUT["compare"], pair, tuple(pair), (WorkloadSettings,), {}, "difference", _compare),
    }


def _inspect(given: Record) -> Record:
    from inspector.api.inspection import inspect
    from inspector.record import inspection_record

    return inspection_record(inspect(**given))


def _fit(given: Record) -> Record:
    if not given.get("gpus") and not given.get("all_gpus"):
        raise UsageError("fit needs a device", "Name one in gpus, e.g. 'RTX 4090' or 24GiB, or ask for all_gpus.")
    return _inspect(given)


def _train(given: Record) -> Record:
    from inspector.api.training import train
    from inspector.record import training_record

    return training_record(*train(**given))


def _find(given: Record) -> Record:
    from inspector.finding import find

    found = find(**given)
    return {
        "schema": 1,
        "gpu": found.gpu,
        "of": found.where,
        "found": len(found.models),
        "models": [each.to_dict() for each in found.models[:MODELS_TOLD]],
        "left_out": dict(found.left_out),
        "warnings": [*found.notes, *(f"{name}: {error.message}" for name, error in found.errors)],
    }


def _compare(given: Record) -> Record:
    from inspector.api.differences import compare, inspect_pair
    from inspector.report.differences import difference_record

    pair = inspect_pair(**given)
    return difference_record(*pair, compare(*pair))
