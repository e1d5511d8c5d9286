"""A checkpoint of a config alone, with the tensors that its class would write."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from inspector.errors import InvalidConfig, UnreadableModel, UsageError
from inspector.hub.cache.snapshot import MAX_TENSORS, split_name
from inspector.hub.checkpoint import PLACEHOLDER, Checkpoint, Design, Tensor, config_alone
from inspector.hub.dtypes import plain_dtype
from inspector.model.config.expressions import holds, size_of
from inspector.model.config.light import release
from inspector.model.config.read import check_layer_counts, find_recipe
from inspector.model.design.changes import Change, changed, old_value
from inspector.model.design.full import full_config
from inspector.model.design.packed import packed
from inspector.model.design.tables import Cases, ClassDesign, Row, class_design, classes_of
from inspector.model.parameters.classes import class_of, find_class

DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64", "float": "F32", "half": "F16"}
ASSUMED_DTYPE, BESIDE_PACKED = "F32", "BF16"
"""What a class is made in where nothing is said: torch's default; and what stands beside packed weights."""
MAX_RANK = 8
NUMBER = re.compile(r"\.\d+(?=\.)\.")
"""A number in a tensor's name."""


def designed(checkpoint: Checkpoint, changes: Sequence[Change] = ()) -> Checkpoint:
    """The checkpoint with the tensors that the class of its config would write, the config changed first.

    Where the weights were read, their dtypes are kept. A recipe in the config packs them; where it is not known how,
    they are plain, which a note says.

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
        return _designed(checkpoint, config, changes)
    except InvalidConfig as error:
        if not changes:
            raise
        what = ", ".join(f"{change.key}={change.value!r}"[:80] for change in changes)
        raise UsageError(
            f"--set {what}: {error.message}", _hint(checkpoint.config, config, changes) or error.hint
        ) from None


def _designed(checkpoint: Checkpoint, config: dict[str, Any], changes: Sequence[Change]) -> Checkpoint:
    check_layer_counts(config)
    design, assumed = _class_of(config)
    model_type = config.get("model_type")
    full = full_config(config, design.model_type, changes, checkpoint.config)
    full = {**full, "class_name": design.name}
    _check_parts(design, full)
    exact, doubts = _exact(design, full)
    doubts += _never_seen(design, full)
    if isinstance(model_type, str) and model_type != design.model_type:
        doubts += (f"{model_type[:80]!r} is read as {design.model_type!r}, the type of {design.name}",)
    dtype, kept, of_dtype = _dtypes(config, checkpoint, changes)
    tensors = tuple(made_tensors(design, full, dtype, kept))
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
        design.name,
        dtype,
        {change.key: change.value for change in changes},
        exact=exact and not doubts and not any("no class" in each for each in assumed),
        assumed=(*assumed, *doubts),
    )
    note = f"from the config alone: the tensors are those that {design.name} of transformers {release()} would write"
    return replace(
        config_alone(checkpoint),
        config=config,
        tensors=tensors,
        design=found,
        warnings=(*checkpoint.warnings, note, *found.assumed),
    )


def _class_of(config: Mapping[str, Any]) -> tuple[ClassDesign, tuple[str, ...]]:
    """The class that a config names, and what had to be assumed of it.

    Raises:
        UnreadableModel: the tables do not have it, or several would do.
    """
    names, model_type = config.get("architectures"), config.get("model_type")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    kind = model_type if isinstance(model_type, str) else None
    if name is not None:
        known = class_of(name, kind)
        design = class_design(known.name) if known is not None else None
        if design is not None:
            return design, ()
        raise UnreadableModel(
            f"cannot tell the parameters of {name[:80]!r} from its config alone: the tables do not have this class",
            "They have those of transformers that can be built; a model with weights is counted from their headers.",
        )
    if kind is None:
        raise UnreadableModel(
            "the config names neither a class (architectures) nor a model_type", "Is this a model's config.json?"
        )
    for each in classes_of(kind):
        design = class_design(each)
        if design is not None:
            return design, (f"the config names no class (architectures): taken for {each}, as is usual of {kind!r}",)
    raise UnreadableModel(
        f"the config names no class (architectures), and the tables have none for model type {kind[:80]!r}",
        "Name it: --set 'architectures=[\"LlamaForCausalLM\"]'.",
    )


def _check_parts(design: ClassDesign, full: Mapping[str, Any]) -> None:
    """Refuses a part of another type than the tables are of: its tensors are others.

    Raises:
        UnreadableModel: with the part.
    """
    for part, model_type in design.parts.items():
        found = old_value(full, f"{part}.model_type")
        if found is not None and found != model_type:
            raise UnreadableModel(
                f"cannot tell the parameters from the config alone: its {part} is of type {str(found)[:80]!r}, and the"
                f" tables have {design.name} with {model_type!r}",
                "A model with weights is counted from their headers.",
            )


def _exact(design: ClassDesign, full: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Whether the tables answer for such a config, and why not."""
    doubts = []
    if design.wrong:
        doubts.append(f"the tables of {design.name} are not right for every config: parameters may differ")
    for path, value in design.fixed.items():
        found = size_of(path, full) if path.startswith("len(") else old_value(full, path)
        if found != value and not (found is None and "." in path):
            doubts.append(f"config.json: {path} is {str(found)[:40]}; the tables know {str(value)[:40]} alone")
    return not doubts, tuple(doubts[:3])


def _never_seen(design: ClassDesign, full: Mapping[str, Any]) -> tuple[str, ...]:
    """A tensor that the class has with such a config, by the class tables, and had in no build of the designs."""
    known = find_class(design.name)
    if known is None:
        return ()
    names = {NUMBER.sub(".{}.", row.name.removeprefix(f"{known.base}.")) for row in design.rows}
    for tensor in sorted(frozenset().union(*known.optional.values()) - names):
        if known.switched_on(tensor, full):
            return (f"the tables do not know the sizes of {tensor[:80]}",)
    return ()


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


def made_tensors(
    design: ClassDesign, full: Mapping[str, Any], dtype: str = "F32", kept: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Tensor]:
    """The tensors of a class with such a config, in the tables' order.

    Args:
        full: the config with all that its class has, and `class_name`.
        kept: dtypes by name, with `{}` for its numbers.

    Raises:
        InvalidConfig: a size that the config does not tell, or more tensors than any model has.
    """
    total = 0
    for row in design.rows:
        own = dtype if row.dtype == "F32" else row.dtype
        own = kept.get(row.name, own) if row.dtype == "F32" else own
        if not row.lists and not holds(row.condition, full):
            continue
        for indices in _indices(row, full):
            if row.lists and not holds(row.condition, full, indices):
                continue
            total += 1
            if total > MAX_TENSORS:
                raise InvalidConfig("the config asks for more tensors than any model has")
            shape = tuple(_size(cases, full, indices, row) for cases in row.shape)
            yield Tensor(_name(row.name, indices), own, shape)


def _indices(row: Row, full: Mapping[str, Any]) -> Iterator[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for cases in row.lists:
        longer: list[tuple[int, ...]] = []
        for outer in found:
            count = _size(cases, full, outer, row, missing=0)
            if len(longer) + count > MAX_TENSORS:
                raise InvalidConfig("the config asks for more tensors than any model has")
            longer += [(*outer, index) for index in range(count)]
        found = longer
    return iter(found)


def _size(cases: Cases, full: Mapping[str, Any], indices: tuple[int, ...], row: Row, missing: int | None = None) -> int:
    for text, condition in cases:
        if holds(condition, full, indices):
            size = size_of(text, full, indices)
            if size is not None:
                return size
            break
    if missing is not None:
        return missing
    raise InvalidConfig(
        f"config.json does not tell the sizes of {row.name[:80]}: {cases[0][0]} has no value that a size can have"
    )


def _name(template: str, indices: tuple[int, ...]) -> str:
    parts = template.split(PLACEHOLDER)
    return parts[0] + "".join(f"{index}{part}" for index, part in zip(indices, parts[1:], strict=True))


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
        old = old_value(before, change.key)
        *parts, _ = change.path
        where = old_value(after, ".".join(parts)) if parts else after
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
