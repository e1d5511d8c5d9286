"""`fit MODEL --published`: the quantized checkpoints of a model that the Hub lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.cli.options import with_serving
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.batch.published import Published


def refuse_beside_published(settings: Mapping[str, Any], *others: object) -> None:
    """Raises:
    UsageError: --published beside options that ask for another kind of answer.
    """
    if settings["all_gpus"] or any(others):
        raise UsageError("--published answers for one --gpu", "Leave out --emit, --together, --draft and --all-gpus.")
    if settings["set"]:
        raise UsageError("nobody has published a model with another config", "Leave out --set, or --published.")


def find_published(model: str, token: str | None, offline: bool, settings: Mapping[str, Any]) -> Published:
    """What others made of a model.

    Raises:
        InspectError: the Hub was not reached, or the model is a local one.
    """
    from inspector.batch.published import published

    return published(model, token=token, offline=offline or None, **with_serving(dict(settings)))
