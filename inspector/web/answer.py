"""`answer`: what the page asks, as a JSON object, answered with the library. Nothing is worked out here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from inspector.api.settings import Settings
from inspector.api.training import TrainingQuestion
from inspector.errors import InspectError, UsageError, known_hint
from inspector.record import Record, error_record
from inspector.settings import settings_of, tuples
from inspector.web import files, parts, plots
from inspector.web.asked import Asked
from inspector.web.models import Models

KEYS = ("model", "revision", "task", "settings", "over", "want")
TASKS = ("inference", "training")
USUAL = ("report",)
PARTS: Mapping[str, Callable[[Asked], Any]] = {
    "report": parts.report,
    "layers": parts.layers,
    "command": parts.command,
    "launch": parts.launch,
    "devices": parts.devices,
    "curve": plots.curve,
    "bars": plots.bars,
    "article": parts.article,
    "csv": files.csv,
    "html": files.html,
}
"""What a page may want, each with what answers it."""


def answer(request: Any, models: Models | None = None) -> Record:
    """What the page asks of one model.

    Args:
        request: an object with the keys

            - `model`: its repo ID, its address on the Hub, a folder that `models` may read, or a config as parsed;
              `revision`;
            - `task`: "inference" (where it is left out) or "training";
            - `settings`: the keywords of `inspector.inspect`, or of `inspector.train`, but for where a model is read;
            - `over`: what curves are over: "context" (where it is left out) or "batch";
            - `want`: what to answer, names of `PARTS`; the report where it is left out.
        models: those that are kept between calls; None for one call, without a network.

    Returns:
        An object with a key for each part that was wanted; or the object of `--json` for a model that could not be
        read, or a setting that cannot be: {schema, repo_id, error {kind, message, exit_code}}. Never raises.
    """
    name = request.get("model") if isinstance(request, Mapping) else None
    name = name.encode(errors="replace").decode() if isinstance(name, str) else None
    try:
        asked, want = _looked_at(request, models or Models())
        return {part: _part(part, asked) for part in want}
    except InspectError as error:
        return error_record(name, error)
    except TypeError as error:  # a value that is not of its setting's type
        told = re.sub(r"^\w+\(\): ", "", str(error))  # the function is no name that the page has
        return error_record(name, UsageError(told))
    except Exception as error:
        return error_record(name, InspectError(f"a bug in llm-inspect: {type(error).__name__}: {error}"))


def _part(name: str, asked: Asked) -> Any:
    """A part of the answer; one of several that has none is an error object in its place, and the others stand."""
    if name == "report":
        return PARTS[name](asked)
    try:
        return PARTS[name](asked)
    except InspectError as error:
        return error_record(asked.name, error)


def _looked_at(request: Any, models: Models) -> tuple[Asked, tuple[str, ...]]:
    """What is asked, and the parts that are wanted.

    Raises:
        UsageError: it is no request.
    """
    if not isinstance(request, Mapping):
        raise UsageError("a request is an object", f"Its keys: {', '.join(KEYS)}.")
    if not _is_text(request):
        raise UsageError("the request has a character that is half of a pair")
    given, model = tuples({**request, "model": None}), request.get("model")  # a config stays as it was parsed
    _check("key of a request", request, KEYS)
    revision = given.get("revision")
    if not isinstance(model, str | Mapping) or not isinstance(revision, str | None):
        raise UsageError("a request names a model", "Give a repo ID such as org/name, or a config.")
    task, settings, want = given.get("task", TASKS[0]), given.get("settings", {}), given.get("want", USUAL)
    if not isinstance(settings, Mapping) or not isinstance(want, tuple):
        raise UsageError("settings are an object, and what is wanted is a list")
    _check("task", (task,), TASKS)
    _check("part of an answer", want, PARTS)
    training = task == "training"
    own = (*settings_of(TrainingQuestion), "sharding", "trainable_parameters") if training else settings_of(Settings)
    _check(f"setting of {task}", settings, own)
    return Asked(model, revision, training, settings, given.get("over", "context"), models), want


def _is_text(request: Any) -> bool:
    """Whether UTF-8 has all of its characters: JSON can name half of a surrogate pair."""
    try:
        json.dumps(request, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(what: str, names: Iterable[Any], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"there is no {what} '{name!s:.80}'", known_hint(name, known))
