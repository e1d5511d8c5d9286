"""`fit MODEL --published`: the quantized checkpoints of a model that the Hub lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.cli.options import with_serving
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.batch.published import Published
    from inspector.engines.launch import Launch


def refuse_beside_published(settings: Mapping[str, Any], *others: object) -> None:
    """Raises:
    UsageError: --published beside options that ask for another kind of answer.
    """
    if settings["all_gpus"] or any(others):
        raise UsageError("--published answers for one --gpu", "Leave out --together, --draft and --all-gpus.")
    if settings["set"]:
        raise UsageError("nobody has published a model with another config", "Leave out --set, or --published.")


class Launched(NamedTuple):
    """What launches a checkpoint, and which."""

    launch: Launch
    repo_id: str


def find_published(model: str, token: str | None, offline: bool, settings: Mapping[str, Any]) -> Published:
    """What others made of a model.

    Raises:
        InspectError: the Hub was not reached, or the model is a local one.
    """
    from inspector.batch.published import published

    return published(model, token=token, offline=offline or None, **with_serving(dict(settings)))


def launch_published(
    found: Published, emit: str, token: str | None, offline: bool, settings: Mapping[str, Any]
) -> Launched | None:
    """What launches the first of them that fits and that the engine of `settings` runs; None where none does.

    Raises:
        UsageError: the engine has no such launch of it.
    """
    from inspector.api.launching import launch
    from inspector.api.settings import EngineSettings, Settings, chosen

    own = chosen(EngineSettings, Settings(**with_serving(dict(settings)))) | {"dtype": "stored"}
    for row in found.rows:
        if row.get("fits") and row["engine"] == settings["engine"]:
            made = launch(row["id"], settings["gpus"][0], emit, token=token, offline=offline or None, **own)
            return None if made is None else Launched(made, row["id"])
    return None
