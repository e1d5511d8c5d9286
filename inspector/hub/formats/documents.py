"""The JSON documents of a repo, parsed at the door: config.json, the index of the shards, the Hub's listing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from inspector.errors import InspectError, InvalidConfig, InvalidHeader, UnreadableModel
from inspector.hub.checkpoint import File
from inspector.hub.repo_id import is_commit

CONFIG_FILE = "config.json"
QUANT_CONFIG_FILE = "hf_quant_config.json"
PARAMS_FILE = "params.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MODULES_FILE = "modules.json"
ADAPTER_CONFIG = "adapter_config.json"
DIFFUSERS_INDEX = "model_index.json"

NO_CONFIG = "there is no config.json: what the model is can only be told from its tensors"
"""A warning."""

MAX_CONFIG_BYTES = 16 * 1024 * 1024
"""The largest published configs have a few hundred kilobytes (label maps)."""
MAX_INDEX_BYTES = 48 * 1024 * 1024
"""DeepSeek-V3's has 9 MB for 92,000 tensors."""
MAX_HEADERS_BYTES = 64 * 1024 * 1024
"""All shard headers in one answer: 12 MB for DeepSeek-V3. Where it is more, the shards are read one by one."""
MAX_LISTING_BYTES = 48 * 1024 * 1024
"""A repo of 100,000 files takes about 30 MB."""
MAX_DEPTH = 100
"""Levels of a config: real ones have about six, and what reads them recurses."""
MAX_NAME_CHARACTERS = 1024


class Index(NamedTuple):
    """What `model.safetensors.index.json` says.

    Attributes:
        shards: file names, sorted.
        weight_map: each tensor's shard; None where the index came without it.
    """

    shards: tuple[str, ...]
    weight_map: dict[str, str] | None
    metadata: dict[str, Any]
    warnings: tuple[str, ...] = ()


def too_large(name: str, where: str) -> UnreadableModel:
    """The error for a document over its limit."""
    kind = InvalidConfig if name == CONFIG_FILE else UnreadableModel
    return kind(f"{name} of {where} is larger than that of any model")


def parse_config(data: bytes, where: str, name: str = CONFIG_FILE) -> dict[str, Any]:
    """A config.json, or another JSON object of that `name`.

    Args:
        where: whose it is, for errors.

    Raises:
        InvalidConfig: no JSON object.
    """
    value = parse_json(data, where, name)
    if not isinstance(value, dict):
        raise InvalidConfig(f"{name} of {where} is no JSON object", "Is this a model's folder?")
    return value


def is_config(value: Mapping[str, Any]) -> bool:
    """Whether a JSON object says which model it is of, as a config.json does."""
    return any(isinstance(value.get(key), kind) for key, kind in (("model_type", str), ("architectures", list)))


def with_recipe(config: dict[str, Any] | None, data: bytes, where: str) -> dict[str, Any] | None:
    """A config with ModelOpt's hf_quant_config.json as its `quantization_config`; as it was where that is no object.

    Older exports have the recipe in this file alone, and servers read it where config.json has none.
    """
    try:
        recipe = parse_config(data, where, QUANT_CONFIG_FILE)
    except InvalidConfig:
        return config
    return {**config, "quantization_config": recipe} if lacks_recipe(config) and config is not None else config


def has_own_weights(names: Iterable[str]) -> bool:
    """Whether Mistral's own files are among those of a repo that has a config.json, too."""
    names = list(names)
    own = [name for name in names if name.startswith("consolidated") and name.endswith(".safetensors")]
    return PARAMS_FILE in names and bool(own)


def lacks_recipe(config: Mapping[str, Any] | None) -> bool:
    """Whether a config says nothing of a quantization."""
    keys = ("quantization_config", "compression_config", "quantization")
    return config is not None and all(config.get(key) is None for key in keys)


def parse_json(data: bytes, where: str, name: str) -> Any:
    """A small JSON document that describes a model.

    Raises:
        InvalidConfig: no JSON, or larger or deeper than that of any model.
    """
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidConfig(f"{name} of {where} is larger than that of any model")
    value = _load(data, InvalidConfig(f"{name} of {where} is not valid JSON"))
    _check_depth(value, where, name)
    return value


def parse_index(data: bytes, where: str, name: str = INDEX_FILE) -> Index:
    """A `model.safetensors.index.json`, or the index of that `name`.

    Some repos have one with a second copy after it: the first counts.

    Raises:
        UnreadableModel: no index, or one that names files outside the repo.
    """
    error = UnreadableModel(f"{name} of {where} is not valid JSON")
    if len(data) > MAX_INDEX_BYTES:
        raise too_large(name, where)
    warnings: list[str] = []
    try:
        value = _load(data, error)
    except UnreadableModel:
        value = _first_document(data, error)
        warnings.append(f"{name} holds something after its JSON, which was left out")
    weight_map = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise UnreadableModel(f"{name} of {where} has no weight_map")
    shards = weight_map.values()
    if not all(isinstance(shard, str) for shard in shards):
        raise UnreadableModel(f"{name} of {where} maps a tensor to no file name")
    metadata, odd = _metadata(value, name)
    return Index(_checked_names(set(shards), where, name), weight_map, metadata, (*warnings, *odd))


def parse_headers(data: bytes, where: str) -> tuple[Index, dict[str, Any]]:
    """The Hub's answer with the index and all shards' headers; the headers are not checked yet.

    Raises:
        InvalidHeader: it is not in the form that the endpoint has today.
    """
    error = InvalidHeader(f"the headers of {where} in one answer are not in the form that is known")
    value = _load(data, error)
    headers = value.get("headers") if isinstance(value, dict) else None
    index = value.get("index") if isinstance(value, dict) else None
    if not isinstance(headers, dict) or not headers or not isinstance(index, dict):
        raise error
    metadata, odd = _metadata(index)
    return Index(_checked_names(set(headers), where), None, metadata, odd), headers


def parse_listing(data: bytes, where: str) -> tuple[str | None, tuple[File, ...]]:
    """The commit and the files of the Hub's `/api/models/...` answer.

    Raises:
        UnreadableModel: it has none.
    """
    error = UnreadableModel(f"the list of {where}'s files cannot be read")
    value = _load(data, error)
    siblings = value.get("siblings") if isinstance(value, dict) else None
    if not isinstance(siblings, list):
        raise error
    files = []
    for item in siblings:
        name = item.get("rfilename") if isinstance(item, dict) else None
        if not isinstance(name, str):
            raise error
        size = item.get("size")
        files.append(File(name, size if type(size) is int and size >= 0 else None))
    commit = value.get("sha")
    return commit if is_commit(commit) else None, tuple(files)


def _load(data: bytes, error: InspectError) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise error from None


def _first_document(data: bytes, error: InspectError) -> Any:
    try:
        return json.JSONDecoder().raw_decode(data.decode("utf-8-sig").lstrip())[0]
    except (ValueError, RecursionError):
        raise error from None


def _metadata(index: dict[str, Any], name: str = INDEX_FILE) -> tuple[dict[str, Any], tuple[str, ...]]:
    metadata = index.get("metadata")
    if metadata is None:
        return {}, ()
    if not isinstance(metadata, dict):
        return {}, (f"{name}: its metadata is no object and was left out",)
    return metadata, ()


def _checked_names(names: set[str], where: str, index: str = INDEX_FILE) -> tuple[str, ...]:
    """Shard names that stay within the repo: they become part of a URL, or of a path on this disk."""
    for name in names:
        parts = name.split("/")
        if (
            not name.isprintable()
            or len(name) > MAX_NAME_CHARACTERS
            or any(part in ("", ".", "..") for part in parts)
            or any(character in name for character in "\\:?#%")
        ):
            raise UnreadableModel(f"{index} of {where} names a file that cannot be one of the repo: {name[:80]!r}")
    return tuple(sorted(names))


def _check_depth(root: Any, where: str, name: str) -> None:
    level = [root] if isinstance(root, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, dict) else value)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise InvalidConfig(f"{name} of {where} nests deeper than {MAX_DEPTH} levels")
