"""Models on this disk: a folder, a single weights file, or a repo in huggingface_hub's cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from inspector.errors import FileMissing, UnreadableModel
from inspector.hub.checkpoint import NO_WEIGHTS, Checkpoint, Design, File, Source, Weights
from inspector.hub.formats.contents import unsupported
from inspector.hub.formats.documents import (
    ADAPTER_CONFIG,
    CONFIG_FILE,
    DIFFUSERS_INDEX,
    INDEX_FILE,
    MAX_CONFIG_BYTES,
    MAX_INDEX_BYTES,
    MODULES_FILE,
    NO_CONFIG,
    PARAMS_FILE,
    QUANT_CONFIG_FILE,
    WEIGHTS_FILE,
    Index,
    has_own_weights,
    is_config,
    lacks_recipe,
    parse_config,
    parse_index,
    with_recipe,
)
from inspector.hub.formats.safetensors import single
from inspector.hub.formats.weights import knows_more, set_aside, sharded
from inspector.hub.repo.local_place import LocalPlace, exists, file_size, read_header, read_start, unreadable
from inspector.hub.repo_id import DEFAULT_REVISION, LocalPath, RepoId, is_commit


def read_local(target: LocalPath, *, config_only: bool = False) -> Checkpoint:
    """The checkpoint of a folder or a file.

    Args:
        config_only: leave out the weights: the folder's config.json, or that beside the file.

    Raises:
        FileMissing: it, or a shard, is not there.
        UnreadableModel: what is there cannot be read.
    """
    try:
        if config_only and os.path.lexists(target.path):
            return _read_config_alone(target.path, target.given)
        return _read_path(target.path, target.given)
    except OSError as error:
        raise unreadable(target.given, error) from None


def _read_path(path: Path, given: str) -> Checkpoint:
    if not os.path.lexists(path):
        raise FileMissing(f"{given} does not exist", "Give a folder with a config.json, or a weights file.")
    if path.is_dir():
        commit, folder = _snapshot(path)
        return _read_folder(folder, given, given, "local", commit)
    if path.name.endswith(".safetensors") and not path.name.startswith("consolidated"):
        return _checkpoint(
            path.parent, given, given, "local", None, single(read_header(path, given), File(path.name, None), given)
        )
    size = file_size(path, given)
    from inspector.hub.formats.registry import is_readable

    if not is_readable(path.name):
        return _read_config_file(path, given, size)
    from inspector.hub.repo.selectors import read_formats

    place = LocalPlace(path.parent, given, deep=False)
    weights = read_formats(place, _config(path.parent, given), path.name)
    return _checkpoint(path.parent, given, given, "local", None, weights)


def _read_config_alone(path: Path, given: str) -> Checkpoint:
    from inspector.hub.formats.registry import is_readable

    if path.is_dir():
        commit, folder = _snapshot(path)
    elif is_readable(path.name):
        commit, folder = None, path.parent
    else:
        return _read_config_file(path, given, file_size(path, given))
    if not exists(folder / CONFIG_FILE):
        raise FileMissing(f"{given} has no {CONFIG_FILE}", "Leave out --config-only.")
    return _checkpoint(folder, given, given, "local", commit, NO_WEIGHTS)


def _read_config_file(path: Path, given: str, size: int) -> Checkpoint:
    """A lone file that holds a config, whatever it is called. Raises UnsupportedFormat where it holds none."""
    start = read_start(path, 64, given)
    if path.suffix == ".json" or start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
        config = parse_config(read_start(path, MAX_CONFIG_BYTES + 1, given), given, path.name)
        if is_config(config):
            return Checkpoint(given, None, "local", config, (), design=Design())
    raise unsupported([File(path.name, size)], given)


def read_hub_cache(hub_cache: Path, repo: RepoId, commit: str | None) -> Checkpoint | None:
    """A repo that huggingface_hub has downloaded, None unless config and weights are all there.

    Args:
        commit: the one that is wanted; None takes the one that the revision stood for last.
    """
    folder = hub_cache / ("models--" + repo.name.replace("/", "--"))
    commit = commit or (repo.revision if repo.is_commit else _ref(folder, repo.revision))
    if commit is None:
        return None
    snapshot = folder / "snapshots" / commit
    try:
        known = (CONFIG_FILE, PARAMS_FILE, ADAPTER_CONFIG, DIFFUSERS_INDEX, MODULES_FILE)
        if not snapshot.is_dir() or (repo.selector is None and not any((snapshot / name).is_file() for name in known)):
            return None
        where = f"{repo} in the Hugging Face cache"
        found = _read_folder(snapshot, repo.selected_name, where, "cache", commit, repo.selector)
        return None if repo.selector is None and _may_be_part(found) else found
    except (UnreadableModel, FileMissing, OSError):
        return None  # only a part of it was downloaded; the Hub has the rest


def _may_be_part(found: Checkpoint) -> bool:
    """Whether one of several models may have been downloaded; which others the repo has cannot be told from here."""
    if found.format == "gguf":
        return True
    names = [file.name for file in found.files]
    if names in ([WEIGHTS_FILE], ["adapter_model.safetensors"], ["adapter_model.bin"]):
        return False
    from inspector.hub.formats.file_names import stands_in

    return stands_in(names)


def _read_folder(
    folder: Path, repo_id: str, where: str, source: Source, commit: str | None, selector: str | None = None
) -> Checkpoint:
    weights = None if selector is not None else _weights(folder, where)
    if weights is not None and not exists(folder / MODULES_FILE):
        if exists(folder / ADAPTER_CONFIG):
            weights = _noted(weights, f"a whole model: the adapter beside it ({ADAPTER_CONFIG}) does not count")
        return _checkpoint(folder, repo_id, where, source, commit, weights)
    place, config = LocalPlace(folder, where), _config(folder, where)
    if weights is None:
        from inspector.hub.repo.selectors import read_formats

        weights = read_formats(place, config, selector)
    else:
        from inspector.hub.formats.modules import read_modules

        weights = read_modules(place, {file.name: file for file in place.files()}, config, weights) or weights
    return _checkpoint(folder, repo_id, where, source, commit, weights)


def _weights(folder: Path, where: str) -> Weights | None:
    """The weights of model.safetensors, or of an index where it tells of more and all of it is there; None without
    either.

    Raises:
        FileMissing: a shard that the index names, and there is nothing instead.
        UnreadableModel: what is there cannot be read.
    """
    alone: Weights | None = None
    header = None
    if exists(folder / WEIGHTS_FILE):
        header = read_header(folder / WEIGHTS_FILE, f"{WEIGHTS_FILE} of {where}")
        alone = single(header, File(WEIGHTS_FILE, None), where)
    if not exists(folder / INDEX_FILE):
        return alone
    try:
        index = parse_index(read_start(folder / INDEX_FILE, MAX_INDEX_BYTES + 1, where), where)
    except UnreadableModel:
        if alone is None:
            raise
        return set_aside(alone, INDEX_FILE, WEIGHTS_FILE)
    if alone is not None and header is not None and not knows_more(index, index.weight_map or (), WEIGHTS_FILE, header):
        return set_aside(alone, INDEX_FILE, WEIGHTS_FILE)
    try:
        index = _whole_index(folder, where, index)
    except FileMissing as error:
        if alone is None:
            raise
        return set_aside(alone, INDEX_FILE, WEIGHTS_FILE, error.message)
    headers = {shard: read_header(folder / shard, f"{shard} of {where}") for shard in index.shards}
    listed = [File(path.name, path.stat().st_size) for path in folder.glob("*.safetensors") if path.is_file()]
    return sharded(index, headers, listed=listed)


def _whole_index(folder: Path, where: str, index: Index) -> Index:
    """The index; where it is out of date, what names the whole set of shards that is there. Raises FileMissing."""
    missing = next((shard for shard in index.shards if not exists(folder / shard)), None)
    if missing is None:
        return index
    from inspector.hub.formats.parts import instead_of

    instead = instead_of(index, missing, [path.name for path in folder.iterdir()], INDEX_FILE)
    if instead is None:
        raise FileMissing(
            f"{where} has no {missing}, which its index names",
            f"Of {len(index.shards)} shards all must be there; was the download cut short?",
        )
    return instead


def _noted(weights: Weights, note: str) -> Weights:
    return weights._replace(warnings=(*weights.warnings, note))


def _checkpoint(
    folder: Path, repo_id: str, where: str, source: Source, commit: str | None, weights: Weights
) -> Checkpoint:
    config = _config(folder, where) if weights.config is None else weights.config
    if lacks_recipe(config) and weights.format == "safetensors" and exists(folder / QUANT_CONFIG_FILE):
        config = with_recipe(config, read_start(folder / QUANT_CONFIG_FILE, MAX_CONFIG_BYTES + 1, where), where)
    if config is not None and weights.config is None and exists(folder / PARAMS_FILE):
        from inspector.hub.formats.params import beside_config

        if has_own_weights(path.name for path in folder.iterdir()):
            data = read_start(folder / PARAMS_FILE, MAX_CONFIG_BYTES + 1, where)
            config = beside_config(config, data, where)
    parts = weights.parts
    if parts:
        from inspector.hub.formats.parts import placed

        parts = placed(parts, repo_id, commit, source)
    return Checkpoint(
        repo_id=repo_id,
        revision=commit,
        source=source,
        config=config or {},
        tensors=weights.tensors,
        format=weights.format,
        files=weights.files,
        metadata=weights.metadata,
        warnings=weights.warnings if config is not None else (NO_CONFIG, *weights.warnings),
        parts=parts,
        design=Design() if weights.is_design else None,
    )


def _config(folder: Path, where: str) -> dict[str, Any] | None:
    """config.json, None where there is none."""
    if not exists(folder / CONFIG_FILE):
        return None
    return parse_config(read_start(folder / CONFIG_FILE, MAX_CONFIG_BYTES + 1, where), where)


def _snapshot(path: Path) -> tuple[str | None, Path]:
    """The folder that has the files: of a repo's folder in huggingface_hub's cache, the snapshot of `main`."""
    if not path.name.startswith("models--") or not (path / "snapshots").is_dir():
        return None, path
    commit = _ref(path, DEFAULT_REVISION)
    if commit is None or not (path / "snapshots" / commit).is_dir():
        held = sorted(entry.name for entry in (path / "snapshots").iterdir() if is_commit(entry.name))
        if len(held) != 1:
            raise FileMissing(f"{path.name} has no snapshot of main", "Give the folder below snapshots/.")
        commit = held[0]
    return commit, path / "snapshots" / commit


def _ref(folder: Path, revision: str) -> str | None:
    """What a revision stood for when it was last downloaded."""
    try:
        commit = (folder / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if is_commit(commit) else None
