"""Checkpoints that are made of several: their parts, read at the same time, each from a folder of the same place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from inspector.errors import FileMissing, UnreadableModel
from inspector.hub.checkpoint import Checkpoint, File, Source
from inspector.hub.formats.safetensors import Header
from inspector.hub.formats.weights import Weights, WeightsFile, sharded, single
from inspector.hub.repo.choice import Choice
from inspector.hub.repo.documents import CONFIG_FILE, parse_config, parse_index

if TYPE_CHECKING:
    from inspector.hub.formats.places import Place

PartKind = Literal["component", "module", "base", "adapter"]
MAX_PARTS = 64
"""Pipelines have about ten components; a document that names more is hostile."""
MAX_SHARDS = 10_000
"""Of all parts together: the largest models have a few hundred."""


class Part(NamedTuple):
    """One of the checkpoints that a checkpoint is made of.

    Attributes:
        name: a pipeline's own name for it ("unet", "text_encoder_2"), "transformer", "dense", "base", "adapter".
        kind: "component" of a diffusers pipeline, "module" of a sentence-transformers model, "adapter" (PEFT) and the
            "base" that it is for.
        class_name: the class that its document names; of an adapter its type ("LORA").
        checkpoint: what it holds; its files are named from the repo's root.
    """

    name: str
    kind: PartKind
    class_name: str | None
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Found:
    """A folder that holds a model: its path with a slash at the end ("" for the root) and its weights."""

    folder: str
    choice: Choice


def read_models(
    place: Place, found: Sequence[Found], by_name: Mapping[str, File], *, with_configs: bool = True
) -> list[tuple[dict[str, Any], Weights]]:
    """Each folder's config.json (empty where it has none) and weights: all in one round, shards in a second one.

    Args:
        with_configs: False where the config.json are known already; then all are left empty.

    Raises:
        FileMissing: a shard that an index names.
        InspectError: something cannot be read.
    """
    from inspector.hub.formats.places import Shard, join_pytorch

    configs = [name for each in found if (name := each.folder + CONFIG_FILE) in by_name and with_configs]
    indexes = [each.folder + each.choice.name for each in found if each.choice.is_index]
    files = [by_name[each.folder + each.choice.name] for each in found if not each.choice.is_index]
    bodies, headers = place.gather([*configs, *indexes], files)
    documents = dict(zip([*configs, *indexes], bodies, strict=True))
    read = {file.name: header for file, header in zip(files, headers, strict=True)}
    parsed = {name: parse_index(documents[name], place.where, name) for name in indexes}
    shards: list[File] = []
    for each in found:
        if each.choice.is_index:
            for shard in parsed[each.folder + each.choice.name].shards:
                file = by_name.get(each.folder + shard)
                if file is None:
                    raise FileMissing(
                        f"{place.where} has no {each.folder}{shard}, which its index names",
                        "The upload or download may be under way or incomplete.",
                    )
                shards.append(file)
    if len(shards) > MAX_SHARDS:
        raise UnreadableModel(f"{place.where} names {len(shards):,} shards, more than any model has")
    if shards:
        _, headers = place.gather([], shards)
        read |= {file.name: header for file, header in zip(shards, headers, strict=True)}

    results = []
    for each in found:
        name = each.folder + each.choice.name
        where = f"{each.folder.rstrip('/')} of {place.where}" if each.folder else place.where
        body = documents.get(each.folder + CONFIG_FILE)
        config = {} if body is None else parse_config(body, where)
        if each.choice.is_index:
            index = parsed[name]
            own = {shard: read[each.folder + shard] for shard in index.shards}
            torch = {shard: header for shard, header in own.items() if isinstance(header, Shard)}
            join = join_pytorch(index, torch, where) if len(torch) == len(own) else sharded(index, own)
            sizes = {shard: by_name[each.folder + shard].size for shard in index.shards}
            named = tuple(File(each.folder + file.name, file.size or sizes[file.name]) for file in join.files)
            results.append((config, join._replace(files=named)))
        else:
            results.append((config, one_file(by_name[name], read[name], where)))
    return results


def one_file(file: File, header: WeightsFile, where: str) -> Weights:
    """The weights of one file. Raises UnreadableModel where it holds what cannot be counted."""
    from inspector.hub.formats.places import Shard, single_pytorch

    if isinstance(header, Shard):
        return single_pytorch(header, file, where)
    assert isinstance(header, Header)  # there are these two kinds
    return single(file.name, header)


def part_of(name: str, kind: PartKind, class_name: str | None, config: dict[str, Any], weights: Weights) -> Part:
    """A part whose place is not known yet: see `placed`."""
    checkpoint = Checkpoint(
        name, None, "hub", config, weights.tensors, weights.format, weights.files, weights.metadata, weights.warnings
    )
    return Part(name, kind, class_name, checkpoint)


def placed(parts: Iterable[Part], repo_id: str, revision: str | None, source: Source) -> tuple[Part, ...]:
    """The parts with the name, commit and source of the place that they came from."""
    return tuple(
        part._replace(checkpoint=replace(part.checkpoint, repo_id=repo_id, revision=revision, source=source))
        for part in parts
    )


def whole(parts: Sequence[Part], config: dict[str, Any], warnings: Iterable[str] = ()) -> Weights:
    """The weights of a checkpoint that is made of these parts, whose warnings become its own."""
    formats = {part.checkpoint.format for part in parts}
    said = [f"{part.name}: {warning}" for part in parts for warning in part.checkpoint.warnings]
    return Weights(
        (),
        tuple(file for part in parts for file in part.checkpoint.files),
        {},
        (*warnings, *said),
        formats.pop() if len(formats) == 1 else "mixed",
        config,
        tuple(parts),
    )


def decode_parts(data: Any) -> tuple[Part, ...]:
    """The parts that `snapshot.encode` wrote.

    Raises:
        ValueError: anything else.
    """
    from inspector.hub.cache.snapshot import decode

    if not isinstance(data, list) or not 0 < len(data) <= MAX_PARTS:
        raise ValueError("parts: not a list of a few")
    parts = []
    for item in data:
        if not isinstance(item, list) or len(item) != 4:
            raise ValueError("a part is a name, a kind, a class and a checkpoint")
        name, kind, class_name, checkpoint = item
        if not isinstance(name, str) or kind not in get_args(PartKind) or not isinstance(class_name, str | None):
            raise ValueError("a part's name, kind and class are text")
        if isinstance(checkpoint, dict) and "parts" in checkpoint:
            raise ValueError("a part of a part")
        parts.append(Part(name, kind, class_name, decode(checkpoint)))
    return tuple(parts)
