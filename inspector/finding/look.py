"""One model on the device: the best way to run it there, or why it is left out."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from inspector.advice.longest import longest_context
from inspector.advice.search import best_whole_option
from inspector.api.advised import command_of
from inspector.devices.forecast import Forecast, forecast
from inspector.devices.speed import token_cost
from inspector.errors import InspectError
from inspector.finding.settings import FindQuestion
from inspector.hub.checkpoint import Checkpoint, ListedModel
from inspector.model import build_model

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.hub.checkpoint import Tensor
    from inspector.verdict.changes import Option

SAYS_NOTHING = frozenset(("_name_or_path", "transformers_version", "bos_token_id", "eos_token_id", "pad_token_id"))
"""Keys of a config that change nothing of what is told here."""

DOES_NOT_FIT = "does not fit"
TOO_SHORT = "made for a shorter context"
TOO_SLOW = "slower than asked, or not known how fast"


@dataclass(frozen=True)
class Found:
    """A model that runs on the device, and the best way to run it there.

    Attributes:
        listed: what the list says of it.
        checkpoint: what was read: where from, at which commit.
        parameters / active: how many, and how many of them a token uses.
        option: the option that gives up least, with its engine, recipe, bytes and headroom.
        max_context: tokens per sequence that still fit so, up to the model's own maximum.
        decode_cost: US dollars per million tokens, at least; None without a price or a bound.
        decode_forecast: what published measurements reach of the option's bound; None where too few are alike.
        command: the command line of `fit` for it.
        rank: its place, from 1.
    """

    listed: ListedModel
    checkpoint: Checkpoint
    parameters: int
    active: int
    option: Option
    max_context: int | None
    decode_cost: float | None
    command: str
    decode_forecast: Forecast | None = None
    rank: int = 0

    @property
    def repo_id(self) -> str:
        """Its name."""
        return self.listed.name

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `find --json`: sizes in bytes, unknown values None."""
        option, listed = self.option, self.listed
        return {
            "schema": 1,
            "rank": self.rank,
            "repo_id": self.repo_id,
            "revision": self.checkpoint.revision,
            "source": self.checkpoint.source,
            "license": listed.license,
            "pipeline_tag": listed.pipeline_tag,
            "downloads": listed.downloads,
            "likes": listed.likes,
            "parameters": {"total": self.parameters, "active": self.active},
            "gpu": option.gpu,
            "count": option.count,
            "engine": option.engine,
            "dtype": option.dtype,
            "weight_bits": option.weight_bits,
            "cache_bits": option.cache_bits,
            "context": option.context,
            "batch": option.batch,
            "needed": option.needed,
            "usable": option.usable,
            "headroom": option.headroom,
            "max_context": self.max_context,
            "decode_bound": option.decode_bound,
            "decode_cost": self.decode_cost,
            "decode_forecast": None if self.decode_forecast is None else asdict(self.decode_forecast),
            "gives_up": option.text,
            "command": self.command,
        }


Outcome = Found | str | tuple[str, InspectError]
"""A model that runs, why one is left out, or its error."""


@dataclass(frozen=True)
class _Likeness:
    """What says all of a model that is told here; tensors are compared, but not hashed, as those of rows are not made
    for that."""

    config: str
    format: str
    tensors: Sequence[Tensor]

    def __hash__(self) -> int:
        return hash((self.config, self.format, len(self.tensors)))


def same_as(checkpoint: Checkpoint) -> Hashable | None:
    """What two models share whose answers are the same, as a fine-tune and its base; None where that is not known."""
    if checkpoint.parts:
        return None
    config = {name: value for name, value in checkpoint.config.items() if name not in SAYS_NOTHING}
    try:
        return _Likeness(json.dumps(config, sort_keys=True), checkpoint.format, checkpoint.tensors)
    except (TypeError, ValueError, RecursionError):
        return None


def renamed(outcome: Outcome, model: ListedModel, question: FindQuestion, checkpoint: Checkpoint | None) -> Outcome:
    """What is known of a model whose config and headers are the same as this one's; its own checkpoint, where it was
    read."""
    if isinstance(outcome, Found):
        checkpoint = checkpoint or replace(outcome.checkpoint, repo_id=model.name)
        command = command_of(model.name, question.asked, outcome.option.settings, question.gpu)
        return replace(outcome, listed=model, checkpoint=checkpoint, command=command)
    return outcome if isinstance(outcome, str) else (model.name, outcome[1])


def look_at(checkpoint: Checkpoint, listed: ListedModel, question: FindQuestion, spec: GpuSpec) -> Outcome:
    """The best way to run one model on the device."""
    model = build_model(checkpoint)
    maximum = model.architecture.max_position_embeddings
    if question.context is not None and maximum is not None and maximum < question.context:
        return TOO_SHORT
    asked = question.asked
    workload = asked.workload(model)
    engines = None if question.engine is None else (question.engine,)
    option = best_whole_option(model, spec, workload=workload, engines=engines)
    if option is None:
        return DOES_NOT_FIT
    least = question.min_tokens_per_second
    if least is not None and (option.decode_bound is None or option.decode_bound < least):
        return TOO_SLOW
    price = question.price
    cost = None if price is None else token_cost(price, option.count, option.decode_bound)
    return Found(
        listed,
        checkpoint,
        model.parameters.total,
        model.parameters.active,
        option,
        longest_context(model, spec, workload, option),
        cost,
        command_of(listed.name, asked, option.settings, question.gpu),
        forecast("decode", option.engine, spec, model, option.decode_bound, batch=option.batch),
    )
