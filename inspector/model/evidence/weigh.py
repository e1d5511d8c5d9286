"""Weighs a config against the files' tensors: hidden size, vocabulary, layers and what each layer keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inspector.model.architecture import architecture_of
from inspector.model.config.common import read_common
from inspector.model.config.read import read_config
from inspector.model.config.text import TextConfig, language_part
from inspector.model.evidence.layers import Found, find_layers, weigh_layers
from inspector.model.layers.no_cache import NoCache
from inspector.model.layers.unknown import UnknownLayer
from inspector.model.model import Architecture

if TYPE_CHECKING:
    from inspector.model.parameters.names import TensorGroup


def weighed(
    config: Mapping[str, Any], architecture: Architecture, groups: list[TensorGroup], stack: str | None
) -> tuple[Architecture, bool]:
    """The architecture as the tensors show it, and whether its layers are now other ones to count by.

    Args:
        config: config.json as parsed.
        architecture: what was read of it.
        groups: the checkpoint's tensors, sorted.
        stack: the name of the list of layers in the files.
    """
    if stack is None:
        return architecture, False
    text = read_config(config)
    found = find_layers(groups, stack, _keys(config, text))
    if not config and found.told:
        seen = weigh_layers(found, _of_files(architecture, found), _keys(config, text))
        return (seen if (seen.num_key_value_heads or 1) > 1 else _without_heads(seen)), True
    flat = _flat(config, architecture, text, found)
    if flat is not None:
        text, architecture = flat
        found = find_layers(groups, stack, _keys(config, text))
        return weigh_layers(found, architecture, _keys(config, text)), True
    if not architecture.exact:
        found = _spread(_renumbered(found, len(architecture.layers)), architecture, text.runs)
    elif len(found.mechanisms) > (count := architecture.num_hidden_layers or 0):
        found = _renumbered(found, count)
    if text.runs:
        found = replace(found, mechanisms={run: found.mechanisms.get(index) for run, index in enumerate(text.runs)})
    return weigh_layers(found, architecture, _keys(config, text)), False


def _renumbered(found: Found, count: int) -> Found:
    """The layers that show what they keep, numbered from 0, where the list of modules has others between them: Phi-1's
    first code begins with the embedding, Dory's files have each layer's attention and MLP as two blocks."""
    told = [index for index, one in sorted(found.mechanisms.items()) if one is not None and one.told]
    if len(told) != count or told == list(range(count)):
        return found
    return replace(found, mechanisms={new: found.mechanisms[old] for new, old in enumerate(told)})


def _spread(found: Found, architecture: Architecture, runs: tuple[int, ...]) -> Found:
    """The layers that the files hold at the places of those that keep something, where they number no others: Dory's
    config lists a layer's MLP beside its attention, and some of its files have both in one layer."""
    places = runs or range(len(architecture.layers))
    pairs = zip(places, architecture.layers, strict=False)
    keepers = sorted({place for place, layer in pairs if not isinstance(layer, NoCache)})
    if list(found.mechanisms) != list(range(len(keepers))) or keepers == list(found.mechanisms):
        return found
    return replace(found, mechanisms=dict(zip(keepers, found.mechanisms.values(), strict=True)))


def _of_files(architecture: Architecture, found: Found) -> Architecture:
    """The architecture of files without a config: as many layers as they hold."""
    count = 1 + max(found.mechanisms)
    note = f"the {count} layers of the files count, and the heads of each are taken as one"
    return replace(
        architecture,
        num_hidden_layers=count,
        hidden_size=architecture.hidden_size or found.hidden,
        layers=(UnknownLayer("full_attention"),) * count,
        notes=(*architecture.notes, note),
    )


def _without_heads(architecture: Architecture) -> Architecture:
    """The facts without the heads, which the widths alone do not tell: one of all keys is only how a row is written."""
    return replace(architecture, num_key_value_heads=None, head_dim=None)


def _keys(config: Mapping[str, Any], text: TextConfig) -> dict[str, Any]:
    """The language part's keys: as the file has them, and under the standard names."""
    part = {"is_encoder_decoder": config.get("is_encoder_decoder"), **(language_part(config) or config)}
    return {**part, **{key: value for key, value in text.values.items() if value is not None}}


def _flat(
    config: Mapping[str, Any], architecture: Architecture, text: TextConfig, found: Found
) -> tuple[TextConfig, Architecture] | None:
    """The config read by its own keys, where its type's class finds none of them and the tensors have their sizes:
    LLaVA-1.5's first files keep the language part's keys at the top, where transformers does not look."""
    if not text.exact or found.hidden in (None, architecture.hidden_size):
        return None
    reason = (
        f"the layers' hidden size is {found.hidden:,} in the files, {architecture.hidden_size} by {text.model_type}'s"
        " class: the keys at the top of config.json count"
    )
    again = read_common(config, text.model_type, reason)
    if again.get("hidden_size") != found.hidden:
        return None
    new = architecture_of(again, config, architecture.quantization)
    return again, replace(new, vision=architecture.vision or new.vision, audio=architecture.audio or new.audio)
