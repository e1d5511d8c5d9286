"""A checkpoint of a config alone, with the tensors that its class would write."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from inspector.errors import InvalidConfig, UnreadableModel, UsageError
from inspector.hub.cache.snapshot import split_name
from inspector.hub.checkpoint import Checkpoint, Design, Tensor, config_alone
from inspector.hub.dtypes import plain_dtype
from inspector.model.config.expressions import key_of
from inspector.model.config.light import installed
from inspector.model.config.read import check_layer_counts, find_recipe
from inspector.model.design.by_class import WORKER, ask_class
from inspector.model.design.by_tables import Made, by_tables, class_of_config, read_as
from inspector.model.design.changes import Change, changed
from inspector.model.design.full import full_config
from inspector.model.design.packed import packed

DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64", "float": "F32", "half": "F16"}
ASSUMED_DTYPE, BESIDE_PACKED = "F32", "BF16"
"""What a class is made in where nothing is said: torch's default; and what stands beside packed weights."""
MADE_IN = "F32"


def designed(checkpoint: Checkpoint, changes: Sequence[Change] = (), *, ask: bool = True) -> Checkpoint:
    """The checkpoint with the tensors that the class of its config would write, the config changed first.

    Where the weights were read, their dtypes are kept. A recipe in the config packs them; where it is not known how,
    they are plain, which a note says.

    Args:
        ask: whether the class itself may be asked (inspector.model.design.by_class): else the tables tell, as where
            transformers is not installed.

    Raises:
        UsageError: a change of a key that the config's class does not know, or to a value that it refuses.
        UnreadableModel: the config does not tell its tensors, or is one that no model can have.
    """
    if checkpoint.parts:
        raise UsageError(
            f"{checkpoint.repo_id} is made of parts, each with its own config", "Name the part, or its base model."
        )
    config = changed(checkpoint.config, changes)
    try:
        return _designed(checkpoint, config, changes, ask)
    except InvalidConfig as error:
        if not changes:
            raise
        what = ", ".join(f"{change.key}={change.value!r}"[:80] for change in changes)
        raise UsageError(
            f"--set {what}: {error.message}", _hint(checkpoint.config, config, changes) or error.hint
        ) from None


def _designed(checkpoint: Checkpoint, config: dict[str, Any], changes: Sequence[Change], ask: bool) -> Checkpoint:
    check_layer_counts(config)
    made = _made(config, changes, checkpoint.config, ask)
    dtype, kept, of_dtype = _dtypes(config, checkpoint, changes)
    tensors, assumed = tuple(_stored(made.tensors, dtype, kept)), made.assumed
    recipe = find_recipe(config)
    if recipe is not None:
        method = str(recipe[0].get("quant_method", "quantization"))[:40]
        stored = packed(tensors, recipe[0], mlx=recipe[1])
        if stored is None:
            assumed += (f"its quantization ({method}) is not applied: sizes are of weights in {dtype}; see --dtype",)
            config = _without_recipe(config)
        else:
            assumed += (f"its weights are packed as its recipe says ({method}); tools differ in what they leave plain",)
            tensors = stored
    assumed += of_dtype
    found = Design(
        made.class_name,
        dtype,
        {change.key: change.value for change in changes},
        exact=not made.doubts and not any("no class" in each for each in assumed),
        assumed=(*assumed, *made.doubts),
        held=made.held,
    )
    note = f"from the config alone: the tensors are those that {made.class_name} of {made.source}"
    return replace(
        config_alone(checkpoint),
        config=config,
        tensors=tensors,
        design=found,
        warnings=(*checkpoint.warnings, note, *found.assumed),
    )


def _made(config: dict[str, Any], changes: Sequence[Change], before: Mapping[str, Any], ask: bool) -> Made:
    """By the class itself; where it cannot be built here, by the tables.

    Raises:
        UsageError: a change of a key that the class does not know.
        InvalidConfig: the class refuses the config.
        UnreadableModel: neither tells them.
    """
    here = installed()
    if not ask or here is None:
        return by_tables(config, changes, before)
    name, config_type, assumed = class_of_config(config)
    with ThreadPoolExecutor(1) as beside:  # the process starts while transformers is loaded here
        try:
            answer = beside.submit(ask_class, name, config)
            if changes:
                full_config(config, config_type, changes, before)  # for the keys that it does not know
            asked = answer.result()
        except KeyboardInterrupt:
            WORKER.end()  # or its answer would be waited for
            raise
    if asked.refused:
        raise InvalidConfig(f"{name} of transformers refuses this config: {asked.error}", "Check its values.")
    if asked.tensors is None:
        try:
            made = by_tables(config, changes, before)
        except UnreadableModel as error:
            why = f"cannot tell the parameters of {name[:80]!r} from its config alone: {asked.error}"
            raise UnreadableModel(why, error.hint) from None
        doubts = (f"{name} could not be built, which may be the config's fault: {asked.error}",) * asked.unclear
        return made._replace(doubts=(*made.doubts, *doubts))
    doubts = read_as(config, asked.model_type, name)
    return Made(name, asked.tensors, f"transformers {here.release} writes", assumed, doubts, asked.held)


def _stored(tensors: Iterable[Tensor], dtype: str, kept: Mapping[str, str]) -> Iterator[Tensor]:
    """Tensors in the dtypes in which they are stored: others only of what is made in 32 bits.

    Args:
        kept: dtypes by name, with `{}` for its numbers.
    """
    for tensor in tensors:
        own = kept.get(split_name(tensor.name)[0], dtype) if kept else dtype
        yield tensor._replace(dtype=own) if tensor.dtype == MADE_IN else tensor


def _dtypes(
    config: Mapping[str, Any], checkpoint: Checkpoint, changes: Iterable[Change]
) -> tuple[str, Mapping[str, str], tuple[str, ...]]:
    """The dtype of the weights, those of some of them by their names, and what was assumed."""
    kept: dict[str, str] = {}
    sizes = Counter[str]()
    for name, dtype, shape in checkpoint.tensors:
        if plain_dtype(dtype) == dtype and dtype in DTYPES.values():
            kept[split_name(name)[0]] = dtype
            sizes[dtype] += math.prod(shape)  # of packed weights the many scales are small
    if sizes and not any(change.path[-1] in ("dtype", "torch_dtype") for change in changes):
        return sizes.most_common(1)[0][0], kept, ()
    unknown = None
    for part in (config, *(value for value in config.values() if isinstance(value, Mapping))):
        for key in ("dtype", "torch_dtype"):
            named = part.get(key)
            found = DTYPES.get(named.removeprefix("torch.")) if isinstance(named, str) else None
            if found is not None:
                return found, {}, ()
            unknown = named if isinstance(named, str) else unknown
    why = "the config names no dtype" if unknown is None else f"the config's dtype {unknown[:40]!r} is not known"
    if find_recipe(config) is not None:
        return BESIDE_PACKED, {}, (f"{why}: bfloat16 assumed for what is not packed",)
    return ASSUMED_DTYPE, {}, (f"{why}: 32 bits assumed, as its class is made; --set dtype=bfloat16",)


def _without_recipe(config: dict[str, Any]) -> dict[str, Any]:
    keys = ("quantization_config", "compression_config", "quantization")
    return {
        key: _without_recipe(value) if isinstance(value, dict) and key.endswith("_config") else value
        for key, value in config.items()
        if key not in keys
    }


def _hint(before: Mapping[str, Any], after: Mapping[str, Any], changes: Iterable[Change]) -> str:
    """What to do where a list has an entry a layer and the number of layers was changed."""
    for change in changes:
        old = key_of(before, change.key)
        *parts, _ = change.path
        where = key_of(after, ".".join(parts)) if parts else after
        if type(old) is not int or not isinstance(where, Mapping):
            continue
        prefix = ".".join((*parts, ""))
        for key, value in where.items():
            if isinstance(value, list) and len(value) == old != change.value and "layer" in key:
                return (
                    f"{prefix}{key} has {old} entries, one a layer, which transformers does not change by itself:"
                    f" --set {prefix}{key}=null has its class make them anew, or give as many as there are layers."
                )
    return ""
