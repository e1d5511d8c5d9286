"""Checkpoints that are made of several: their parts, read at the same time, each from a folder of the same place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inspector.errors import FileMissing, UnreadableModel
from inspector.hub.checkpoint import Checkpoint, File, Part, PartKind, Source, Weights
from inspector.hub.formats.documents import CONFIG_FILE, Index, parse_config, parse_index
from inspector.hub.formats.file_names import Choice, whole_set
from inspector.hub.formats.place import Place
from inspector.hub.formats.registry import format_of
from inspector.hub.formats.weights import WeightsFile, knows_more, sharded

MAX_SHARDS = 10_000
"""Of all parts together: the largest models have a few hundred."""


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
    configs = [name for each in found if (name := each.folder + CONFIG_FILE) in by_name and with_configs]
    indexes = [each.folder + each.choice.name for each in found if each.choice.is_index]
    beside = {each: index_name for each in found if (index_name := _index_beside(each, by_name)) is not None}
    indexes += beside.values()
    alone = [each for each in found if not each.choice.is_index and not each.choice.shards]
    files = [by_name[each.folder + each.choice.name] for each in alone]
    bodies, headers = place.gather([*configs, *indexes], files)
    documents = dict(zip([*configs, *indexes], bodies, strict=True))
    read = {file.name: header for file, header in zip(files, headers, strict=True)}
    parsed = {each: _index_of(each, documents, by_name, place.where) for each in found if each not in alone}
    for each, index_name in beside.items():
        better = _better_index(each, documents[index_name], by_name, read[each.folder + each.choice.name], place.where)
        parsed |= {} if better is None else {each: better}
    shards = [by_name[each.folder + shard] for each, index in parsed.items() for shard in index.shards]
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
        index = parsed.get(each)
        if index is not None:
            own = {shard: read[each.folder + shard] for shard in index.shards}
            join = _joined(index, own, where)
            sizes = {shard: by_name[each.folder + shard].size for shard in index.shards}
            named = tuple(File(each.folder + file.name, file.size or sizes[file.name]) for file in join.files)
            results.append((config, join._replace(files=named)))
        else:
            results.append((config, one_file(by_name[name], read[name], where)))
    return results


def _index_of(each: Found, documents: Mapping[str, bytes], by_name: Mapping[str, File], where: str) -> Index:
    """The index of a folder's shards; of a whole set that no index names, or names otherwise, one with a warning.

    Raises:
        FileMissing: a shard that the index names, and there is no whole set instead.
    """
    name = each.folder + each.choice.name
    if each.choice.shards:
        return Index(each.choice.shards, None, {}, (f"{len(each.choice.shards)} shards, which no index names",))
    index = parse_index(documents[name], where, name)
    missing = next((shard for shard in index.shards if each.folder + shard not in by_name), None)
    if missing is None:
        return index
    beside = [file.removeprefix(each.folder) for file in by_name if file.startswith(each.folder)]
    instead = instead_of(index, missing, beside, name)
    if instead is None:
        raise FileMissing(
            f"{where} has no {each.folder}{missing}, which its index names",
            "The upload or download may be under way or incomplete.",
        )
    return instead


def _index_beside(each: Found, by_name: Mapping[str, File]) -> str | None:
    """The index of the same usual name beside a single file, None where there is none."""
    form = format_of(each.choice.name)
    if form is None or each.choice.is_index or each.choice.shards or each.choice.alone:
        return None
    stem = next((stem for stem in form.stems if form.file_name(stem, each.choice.variant) == each.choice.name), None)
    name = None if stem is None else each.folder + form.index_name(stem, each.choice.variant)
    return name if name in by_name else None


def _better_index(
    each: Found, data: bytes, by_name: Mapping[str, File], header: WeightsFile, where: str
) -> Index | None:
    """An index beside a single file where it tells of more and all of it is there, else None."""
    try:
        index = parse_index(data, where)
    except UnreadableModel:
        return None
    there = all(each.folder + shard in by_name for shard in index.shards)
    return index if there and knows_more(index, index.weight_map or (), each.choice.name, header) else None


def instead_of(index: Index, missing: str, names: Iterable[str], index_name: str) -> Index | None:
    """What to read where an index names a shard that is not there: a whole set of shards of other numbers.

    The set must be another than the index's own, so that a set cut short is not taken for a smaller one.
    """
    found = format_of(missing)
    shards = whole_set(names, found.ending) if found is not None else ()
    if not shards or set(shards) & set(index.shards):
        return None
    note = f"{index_name} is out of date: it names {missing[:100]}, which is not there; read from the {len(shards)}"
    return Index(shards, None, {}, (f"{note} shards that are",))


def one_file(file: File, header: WeightsFile, where: str) -> Weights:
    """The weights of one file. Raises UnreadableModel where it holds what cannot be counted."""
    found = format_of(file.name)
    assert found is not None  # its header was read
    return found.reader.single(header, file, where)


def _joined(index: Index, headers: Mapping[str, WeightsFile], where: str) -> Weights:
    """The weights of an index's shards; of shards of several formats what is common to all."""
    formats = {format_of(shard) for shard in headers}
    found = formats.pop() if len(formats) == 1 else None
    return sharded(index, headers) if found is None else found.reader.joined(index, headers, where)


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
