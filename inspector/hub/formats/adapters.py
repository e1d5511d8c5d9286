"""PEFT adapters: adapter_config.json and the adapter's own weights, and the base model that they are for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from inspector.errors import FileMissing, InspectError, UnreadableModel, UnsupportedFormat, UsageError
from inspector.hub.checkpoint import Checkpoint, File, Network, Part, Weights
from inspector.hub.formats.documents import ADAPTER_CONFIG, parse_config
from inspector.hub.formats.parts import one_file, part_of, whole
from inspector.hub.formats.place import Place
from inspector.hub.formats.registry import FORMATS
from inspector.hub.repo_id import LocalPath, RepoId, parse_model, parse_repo

ADAPTER_STEM = "adapter_model"
MAX_SHOWN = 100


def is_adapter(names: Mapping[str, File]) -> bool:
    """Whether these are the files of an adapter."""
    return ADAPTER_CONFIG in names and _weights_file(names) is not None


def read_adapter(place: Place, by_name: Mapping[str, File]) -> Weights:
    """The adapter's own weights. `with_base` adds the base model.

    Raises:
        InspectError: adapter_config.json or the weights cannot be read.
    """
    name = _weights_file(by_name)
    assert name is not None  # `is_adapter`
    file = by_name[name]
    bodies, headers = place.gather([ADAPTER_CONFIG], [file])
    config = parse_config(bodies[0], place.where, ADAPTER_CONFIG)
    weights = one_file(file, headers[0], place.where)
    return whole([part_of("adapter", "adapter", peft_type(config), config, weights)], config)


def _weights_file(names: Mapping[str, File]) -> str | None:
    """The strongest first, as `PeftModel.from_pretrained` has it: the registry's order."""
    return next((name for each in FORMATS if (name := each.file_name(ADAPTER_STEM)) in names), None)


def needs_base(checkpoint: Checkpoint) -> bool:
    """Whether this is an adapter that is still without its base."""
    return len(checkpoint.parts) == 1 and checkpoint.parts[0].kind == "adapter"


def with_base(checkpoint: Checkpoint, resolve: Callable[[RepoId | LocalPath], Checkpoint]) -> Checkpoint:
    """An adapter together with its base model: `config` is then the base's.

    A base on this disk is only looked for where the adapter lies on it, too.

    Args:
        checkpoint: the adapter's.
        resolve: reads the base.

    Raises:
        InspectError: the base's own error, with what it is the base of.
        UnreadableModel: adapter_config.json names no base, or none that can be asked for.
        UnsupportedFormat: the base is an adapter itself, or a pipeline.
    """
    adapter = checkpoint.parts[0]
    config = adapter.checkpoint.config
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    described = f"{checkpoint.repo_id} is {describe(adapter)}"
    if not isinstance(name, str) or not name:
        raise UnreadableModel(f"{described}; {ADAPTER_CONFIG} names no base model", "Ask for its base model itself.")
    shown = name[:MAX_SHOWN] if name.isprintable() else repr(name)[:MAX_SHOWN]
    try:
        target = _target(name, revision if isinstance(revision, str) and revision else None, checkpoint)
        base = resolve(target)
    except UsageError:
        raise UnreadableModel(
            f"{described}; its base model {shown!r} is no repo of the Hub, but a path of its author's",
            "Ask for the base model itself, or put its repo ID into a local copy of adapter_config.json.",
        ) from None
    except InspectError as error:
        raise type(error)(f"{described}; its base model {shown} cannot be read: {error.message}", error.hint) from None
    if any(part.kind in ("adapter", "component") for part in base.parts):
        kind = "an adapter itself" if base.parts[0].kind != "component" else "a pipeline of several models"
        raise UnsupportedFormat(f"{described}; its base {shown} is {kind}", "Ask for that base alone.")
    own = [warning for warning in checkpoint.warnings if warning not in base.warnings]
    return replace(
        checkpoint,
        config=base.config,
        format=base.format,
        files=(*base.files, *checkpoint.files),
        warnings=(*own, *(f"base model: {warning}" for warning in base.warnings)),
        network=Network(
            base.network.requests + checkpoint.network.requests,
            base.network.bytes + checkpoint.network.bytes,
            base.network.cached and checkpoint.network.cached,
        ),
        parts=(Part("base", "base", None, base), adapter),
    )


def peft_type(config: Mapping[str, Any]) -> str:
    """ "LORA" and the like; older files leave it out."""
    value = config.get("peft_type")
    return value.upper()[:40] if isinstance(value, str) and value.isprintable() and value else "LORA"


def describe(adapter: Part) -> str:
    """ "a LORA adapter (rank 16, 41,943,040 parameters)"."""
    rank = adapter.checkpoint.config.get("r")
    stored = sum(tensor.numel for tensor in adapter.checkpoint.tensors)
    words = [str(adapter.class_name)]
    words += [f"rank {rank}"] if type(rank) is int and 0 < rank < 10**6 else []
    words.append(f"{stored:,} parameters in its file")
    return f"a PEFT adapter ({', '.join(words)})"


def _target(name: str, revision: str | None, checkpoint: Checkpoint) -> RepoId | LocalPath:
    """Where the base is. Raises UsageError where a repo on the Hub names a path."""
    if checkpoint.source != "local":
        return parse_repo(name, revision)
    try:
        target = parse_model(name)
    except UsageError:
        if "/" in name or "\\" in name:
            raise FileMissing(f"{name[:MAX_SHOWN]} does not exist") from None
        raise
    return target if isinstance(target, LocalPath) else parse_repo(name, revision)
