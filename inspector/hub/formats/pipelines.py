"""diffusers pipelines: the components that `model_index.json` names, each from its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from inspector.errors import FileMissing, UnreadableModel
from inspector.hub.checkpoint import MAX_PARTS, File, Weights
from inspector.hub.formats.documents import DIFFUSERS_INDEX, parse_config
from inspector.hub.formats.file_names import choose
from inspector.hub.formats.parts import Found, part_of, read_models, whole
from inspector.hub.formats.place import Place

WEIGHTLESS = re.compile(r"(Tokenizer(Fast)?|Scheduler|Processor(Fast|Pil)?|Extractor(Fast)?|Guider|Guidance)$")
"""Ends of the classes that a pipeline names beside its models."""
MODEL = re.compile(
    r"Model|Transformer|Autoencoder|VAE|VQ|Encoder|UNet|ControlNet|Prior|Adapter|Decoder|Vocoder|SafetyChecker|"
    r"WithProjection|Upsampler|Normalizer|For[A-Z]"
)
"""What is in the names of classes that have weights."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
MAX_SHOWN = 5


def read_pipeline(place: Place, by_name: Mapping[str, File], variant: str | None = None) -> Weights:
    """The weights of a pipeline, a part a component.

    Of a component that has files of several variants, the plain ones count, as diffusers loads them by default.

    Args:
        variant: the one to prefer.

    Raises:
        FileMissing: a model's component has no weights.
        UnreadableModel: model_index.json names no component with weights, or more than any pipeline has.
    """
    bodies, _ = place.gather([DIFFUSERS_INDEX], [])
    index = parse_config(bodies[0], place.where, DIFFUSERS_INDEX)
    classes = _components(index, place.where)
    folders: dict[str, dict[str, None]] = {}
    for name in by_name:
        folder, slash, rest = name.partition("/")
        if slash:
            folders.setdefault(folder, {})[rest] = None
    found: dict[str, Found] = {}
    for component, class_name in classes.items():
        choice = choose(folders.get(component, {}), variant)
        if choice is not None:
            found[component] = Found(f"{component}/", choice)
        elif MODEL.search(class_name) and not WEIGHTLESS.search(class_name):
            raise FileMissing(
                f"{place.where} has no weights for its {component} ({class_name[:80]}) that can be read",
                "The upload or download may be under way; one component alone: org/name:FOLDER.",
            )
    if not found:
        raise UnreadableModel(
            f"{DIFFUSERS_INDEX} of {place.where} names no component with weights", "Is this a diffusers pipeline?"
        )
    parts = [
        part_of(component, "component", classes[component], config, weights)
        for component, (config, weights) in zip(found, read_models(place, list(found.values()), by_name), strict=True)
    ]
    return whole(parts, index, _notes(found, folders, by_name, variant))


def _components(index: Mapping[str, Any], where: str) -> dict[str, str]:
    """Name -> class, of the entries `"name": ["library", "Class"]`; the others are settings, or not used (null)."""
    found = {}
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list) or len(value) != 2 or not _NAME.fullmatch(name):
            continue
        class_name = value[1]
        if isinstance(class_name, str) and isinstance(value[0], str):
            found[name] = class_name
    if len(found) > MAX_PARTS:
        raise UnreadableModel(f"{DIFFUSERS_INDEX} of {where} names {len(found):,} components, more than any pipeline")
    return found


def _notes(
    found: Mapping[str, Found],
    folders: Mapping[str, Mapping[str, None]],
    by_name: Mapping[str, File],
    variant: str | None,
) -> list[str]:
    """What the reader should know: variants that stand in for plain files, and weights that are of no component."""
    notes = []
    instead: dict[str, list[str]] = {}
    for component, each in found.items():
        if each.choice.variant is not None and each.choice.variant != variant:
            instead.setdefault(each.choice.variant, []).append(component)
    for name, components in instead.items():
        notes.append(f"{_listed(components)}: read from the {name} files, as there are no others")
    if variant is not None:
        plain = [component for component, each in found.items() if each.choice.variant is None]
        if plain:
            notes.append(f"{_listed(plain)}: no {variant} files, so the plain ones count")
    apart = [folder for folder, names in folders.items() if folder not in found and choose(names) is not None]
    if apart:
        notes.append(f"weights in folders that {DIFFUSERS_INDEX} does not use do not count: {_listed(apart)}")
    root = [name for name in by_name if "/" not in name and name.endswith((".safetensors", ".ckpt"))]
    if root:
        notes.append(f"single-file checkpoints beside the components do not count: {_listed(root)}")
    return notes


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:MAX_SHOWN])
    return shown + (f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else "")
