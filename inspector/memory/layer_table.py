"""The layer table: what each layer is, holds and caches, and where each of these numbers comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from inspector.hub.cache.snapshot import format_indices
from inspector.memory.estimate import Workload
from inspector.memory.precision import PRECISION_BITS
from inspector.model.config.read import read_config
from inspector.model.config.text import TextConfig
from inspector.model.layers.layer import CacheRequest, Layer, size_in_bytes
from inspector.model.model import Model, Share
from inspector.model.provenance import value_and_origin


@dataclass(frozen=True, slots=True)
class LayerRow:
    """Equal layers, or a part outside of them. Sizes are of one layer; None where they are not known.

    Attributes:
        name: "layers", or the part's: a component ("embedding"), another list of layers ("encoder.block").
        layers: the layers' indices, none for a part outside of them.
        kind: the layer kind, "" for a part outside.
        parameters: what it holds.
        bytes: as stored, scales and zero points included.
        kv_bytes_per_token: what a token adds to its cache until a window is full.
        kv_bytes: its cache and fixed states, for the whole workload.
        tensors: the files' tensors that the parameters were counted from, in words.
        config: config key -> (value, where it was found), of what sizes its cache.
    """

    name: str
    layers: tuple[int, ...]
    kind: str
    parameters: int | None
    bytes: int | None
    kv_bytes_per_token: int | None
    kv_bytes: int | None
    tensors: str
    config: Mapping[str, tuple[Any, str]]

    @property
    def count(self) -> int:
        """How many there are of it."""
        return len(self.layers) or 1


def build_layer_table(
    model: Model, config: Mapping[str, Any], workload: Workload, kv_dtype: str | None, container: str
) -> tuple[LayerRow, ...]:
    """One row for all layers that are equal in kind, parameters and bytes, then the parts outside of the layers.

    The rows' parameters and bytes, times their counts, add up to the model's; so do the caches. Where the files do not
    tell the layers apart, their parameters are None, and a row outside holds them all.

    Args:
        config: config.json, or what stands for it.
        kv_dtype: the cache's precision; 16 bits a value where None.
        container: the checkpoint's format.
    """
    kv_bits = PRECISION_BITS[kv_dtype or "bf16"]
    parameters, layers = model.parameters, model.architecture.layers
    shares: tuple[Share | None, ...] = parameters.layers or (None,) * len(layers)
    text = read_config(config)
    runs: dict[tuple[Layer | None, Share | None], list[int]] = {}
    for index, share in enumerate(shares):
        runs.setdefault((layers[index] if index < len(layers) else None, share), []).append(index)
    rows, kinds = [], len(model.architecture.layer_kinds)
    for (layer, share), indices in runs.items():
        keys = _keys(layer, text, config, container, kinds)
        rows.append(_layer_row(layer, share, tuple(indices), parameters.stack, workload, kv_bits, keys))
    for name, share in parameters.outside.items():
        rows.append(LayerRow(name, (), "", share.parameters, share.bytes, 0, 0, _tensors_text(share), {}))
    missing = parameters.total - sum((row.parameters or 0) * row.count for row in rows)
    if missing > 0:
        rows.append(LayerRow("made anew", (), "", missing, 0, 0, 0, "in no file: the class makes it", {}))
    return tuple(rows)


def indices_text(indices: tuple[int, ...]) -> str:
    """Sorted numbers in short: (0, 1, 2, 5) is "0-2,5", and (0, 2, 4, 6) "0-6 by 2"."""
    steps = {after - before for before, after in pairwise(indices)}
    if len(indices) > 2 and len(steps) == 1 and steps != {1}:
        return f"{indices[0]}-{indices[-1]} by {steps.pop()}"
    return format_indices(list(indices))


def _layer_row(
    layer: Layer | None,
    share: Share | None,
    indices: tuple[int, ...],
    stack: str | None,
    workload: Workload,
    kv_bits: int,
    config: Mapping[str, tuple[Any, str]],
) -> LayerRow:
    request = CacheRequest(workload.context, workload.batch, kv_bits)
    per_token = None if layer is None else layer.values_per_token
    return LayerRow(
        "layers",
        indices,
        "unknown" if layer is None else layer.title,
        None if share is None else share.parameters,
        None if share is None else share.bytes,
        None if per_token is None else size_in_bytes(per_token, kv_bits),
        None if layer is None else layer.cache_bytes(request),
        "" if share is None else f"{_tensors_text(share)} each of {stack}",
        config,
    )


def _keys(
    layer: Layer | None, text: TextConfig, config: Mapping[str, Any], container: str, kinds: int
) -> dict[str, tuple[Any, str]]:
    """The config keys that decide a layer's kind and size its cache."""
    if layer is None:
        return {}
    found: dict[str, tuple[Any, str]] = {}
    for key in (*(("layer_types",) if kinds > 1 else ()), *layer.config_keys):
        value, where = value_and_origin(config, text, key)
        if value is not None:
            found[key] = (value, "the file's metadata" if container == "gguf" else where)
    return found


def _tensors_text(share: Share) -> str:
    count = "1 tensor" if share.tensors == 1 else f"{share.tensors:,} tensors"
    if not share.first:
        return count
    return f"{count}: {share.first}" if share.tensors == 1 else f"{count}, the first {share.first}"
