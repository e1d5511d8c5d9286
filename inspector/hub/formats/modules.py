"""sentence-transformers models: the modules beside the transformer that `modules.json` names and that hold weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from inspector.errors import FileMissing, UnreadableModel, UnsupportedFormat
from inspector.hub.checkpoint import MAX_PARTS, File, Part, Weights
from inspector.hub.formats.documents import MODULES_FILE, parse_json
from inspector.hub.formats.file_names import choose
from inspector.hub.formats.parts import Found, part_of, read_models, whole
from inspector.hub.formats.place import Place
from inspector.hub.formats.registry import FORMATS

_WEIGHTED = frozenset({"CNN", "Dense", "LSTM", "LayerNorm", "StaticEmbedding", "Transformer", "WordEmbeddings"})
"""Classes that never come without weights."""
_ROUTERS = ("Router", "Asym")


def has_modules(names: Iterable[str]) -> bool:
    """Whether some module of a sentence-transformers model may hold weights of its own."""
    listed = set(names)
    # What sentence-transformers writes into a module's folder.
    usual = {each.file_name(each.stems[0]) for each in FORMATS} | {each.index_name(each.stems[0]) for each in FORMATS}
    return MODULES_FILE in listed and any(name.count("/") == 1 and name.partition("/")[2] in usual for name in listed)


def read_modules(
    place: Place, by_name: Mapping[str, File], config: Mapping[str, Any] | None, root: Weights | None
) -> Weights | None:
    """The weights of all modules, a part a module that has any.

    Args:
        config: config.json of the root.
        root: the root's weights, where they were read already.

    Returns:
        None where only the root holds weights: then it is an ordinary model.

    Raises:
        InvalidConfig: modules.json is no JSON.
        UnreadableModel: it names what cannot be a folder of this place, or more modules than any model has.
        UnsupportedFormat: a router, whose modules lie deeper.
    """
    if not has_modules(by_name):
        return None
    bodies, _ = place.gather([MODULES_FILE], [])
    modules = _modules(parse_json(bodies[0], place.where, MODULES_FILE), place.where)
    found: dict[str, Found] = {}
    for folder in modules:
        if folder == "" and root is not None:
            continue
        names = {name[len(folder) :]: None for name in by_name if name.startswith(folder)}
        choice = choose(names)
        if choice is not None:
            found[folder] = Found(folder, choice)
    if not [folder for folder in found if folder]:
        return None
    read = dict(zip(found, read_models(place, list(found.values()), by_name), strict=True))
    if "" in modules and root is not None:
        read[""] = dict(config or {}), root
    parts: list[Part] = []
    taken: dict[str, int] = {}
    for folder, class_name in modules.items():
        if folder in read:
            own, weights = read[folder]
            name = _part_name(class_name, is_transformer="model_type" in own)
            taken[name] = taken.get(name, 0) + 1
            name = name if taken[name] == 1 else f"{name}_{taken[name]}"
            parts.append(part_of(name, "module", class_name, own, weights))
    main = next((part.checkpoint.config for part in parts if part.name == "transformer"), None)
    for folder, class_name in modules.items():
        if folder not in read and class_name in _WEIGHTED:
            raise FileMissing(
                f"{place.where} has no weights for its {class_name}" + (f" in {folder[:80]}" if folder else ""),
                "The upload or download may be under way or incomplete.",
            )
    return whole(parts, dict(config or {}) if main is None else main)


def _modules(document: Any, where: str) -> dict[str, str]:
    """Folder ("" or with a slash at its end) -> class of each module, in their order."""
    if not isinstance(document, list) or len(document) > MAX_PARTS:
        raise UnreadableModel(f"{MODULES_FILE} of {where} is no list of a few modules")
    modules: dict[str, str] = {}
    for item in document:
        path = item.get("path") if isinstance(item, dict) else None
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(path, str) or not isinstance(kind, str):
            raise UnreadableModel(f"{MODULES_FILE} of {where} has a module without path or type")
        path = path.removesuffix("/")
        if path and (
            not path.isprintable() or "\\" in path or any(step in ("", ".", "..") for step in path.split("/"))
        ):
            raise UnreadableModel(f"{MODULES_FILE} of {where} names a folder outside of it: {path[:80]!r}")
        class_name = kind.rpartition(".")[2][:80]
        if class_name in _ROUTERS:
            raise UnsupportedFormat(
                f"{where} has a {class_name} of several models, which is not read yet",
                "Name one of its folders: org/name:FOLDER.",
            )
        modules[f"{path}/" if path else ""] = class_name
    return modules


def _part_name(class_name: str, *, is_transformer: bool) -> str:
    """ "Dense" -> "dense", "WeightedLayerPooling" -> "weighted_layer_pooling"."""
    if is_transformer or class_name.endswith("Transformer"):
        return "transformer"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", class_name).lower()
