"""What to say of a quantized checkpoint: effective bits, the modules left plain, where the recipe is contradicted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from inspector.hub.cache.snapshot import format_indices
from inspector.hub.checkpoint import PLACEHOLDER
from inspector.model.config.read import find_recipe, read_quantization
from inspector.model.model import Quantization
from inspector.model.packing.packing import PLAIN, Packing
from inspector.model.packing.patterns import Matching, as_glob
from inspector.model.packing.recipe import read_recipe
from inspector.model.packing.registry import all_packings, packing_of
from inspector.model.parameters.names import TensorGroup, component, stack

MAX_NAMES = 12
"""So many modules are named; the rest is counted."""

MAX_TEXTS, MAX_LENGTH, MAX_MODULES, MAX_CHECKS = 2_000, 300, 1_000, 500
"""Bounds on what a hostile recipe can make the tool compare."""


def describe(
    tensor_groups: Iterable[TensorGroup], config: Mapping[str, Any], told: Mapping[str, Any] | None = None
) -> tuple[Quantization | None, list[str], bool]:
    """The checkpoint's quantization as its tensors have it, and what to note of it.

    Args:
        told: a recipe that the tensors themselves tell, where the config has none.

    Returns:
        None where no parameter is packed; notes on where the tensors contradict the recipe; whether the parameters that
        packed weights stand for are certain.
    """
    tensor_groups = [tensor_group for tensor_group in tensor_groups if tensor_group.role in ("parameter", "overhead")]
    held = [tensor_group for tensor_group in tensor_groups if tensor_group.role == "parameter"]
    packed = [tensor_group for tensor_group in held if tensor_group.packed]
    total, inner = sum(tensor_group.total for tensor_group in held), sum(tensor_group.total for tensor_group in packed)
    if not inner:
        return None, [], True
    inner_bytes = sum(tensor_group.nbytes for tensor_group in tensor_groups if tensor_group.packed)
    recipe = read_quantization(config) or (
        _guessed(packed, tensor_groups) if told is None else read_recipe(told, mlx=False)
    )
    weights = [tensor_group for tensor_group in held if _is_matrix(tensor_group)]
    quantization = replace(
        recipe,
        effective_bits=8 * sum(tensor_group.nbytes for tensor_group in tensor_groups) / total,
        packed_bits=8 * inner_bytes / inner,
        packed_parameters=inner,
        plain=_bounded(
            plain_modules([tensor_group for tensor_group in weights if not _is_plain_embedding(tensor_group)])
        ),
        plain_embeddings=_bounded(
            list(dict.fromkeys(_module(tensor_group) for tensor_group in weights if _is_plain_embedding(tensor_group)))
        ),
    )
    found = find_recipe(config)
    notes = [] if found is None else list(contradictions(weights, found[0], quantization.method))
    tiled = any(tensor_group.group.dtype == "I32" and len(tensor_group.group.shape) == 4 for tensor_group in packed)
    if tiled:
        notes.append(
            "torchao's tiled int4 pads inputs to 1024: of weights whose width that does not divide, too many count"
        )
    return quantization, notes, not tiled


def _guessed(packed: Iterable[TensorGroup], tensor_groups: Iterable[TensorGroup]) -> Quantization:
    ends = [tensor_group.group.template for tensor_group in tensor_groups]
    signs = {name: packing.signs for name, packing in all_packings().items() if packing.signs}
    method = next((name for name, marks in signs.items() if any(end.endswith(marks) for end in ends)), "unknown")
    bits = {tensor_group.group.nbytes * 8 // tensor_group.numel for tensor_group in packed}
    return Quantization(method, bits.pop() if len(bits) == 1 else None, None)


def _is_matrix(tensor_group: TensorGroup) -> bool:
    """Whether a tensor group holds a weight of two or more dimensions, packed or not."""
    if tensor_group.packed:
        return True
    return (
        tensor_group.group.dtype in PLAIN
        and len([n for n in tensor_group.group.shape if n > 1]) > 1
        and not tensor_group.name.endswith("bias")
    )


def _is_plain_embedding(tensor_group: TensorGroup) -> bool:
    return not tensor_group.packed and component(tensor_group.name) == "embedding"


def _module(tensor_group: TensorGroup) -> str:
    """What holds the weight, as the file spells it: experts that are one stacked parameter keep its name."""
    module, _, last = tensor_group.group.template.rpartition(".")
    if tensor_group.packed:
        module, _, last = _stored_name(tensor_group).rpartition(".")
    return module if last == "weight" else f"{module}.{last}" if module else last


def _stored_name(tensor_group: TensorGroup) -> str:
    """A packed tensor group's parameter under the file's own prefix."""
    module, _, last = tensor_group.group.template.rpartition(".")
    name = tensor_group.name.rpartition(".")[2]
    if name == "weight" and last != "weight" and module.endswith(".weight"):
        return module  # bitsandbytes' and quanto's parts come after the whole name
    return f"{module}.{name}"


def plain_modules(tensor_groups: Iterable[TensorGroup]) -> list[str]:
    """The outermost modules inside which no weight is packed, and those packed in some layers only.

    "model.visual" stands for all of its weights; "mlp.down_proj (layers 0-2)" is packed in all other layers.
    """
    plain: dict[str, dict[int, int]] = {}
    packed: set[str] = set()
    above: set[str] = set()
    for tensor_group in tensor_groups:
        module = _module(tensor_group)
        if tensor_group.packed:
            packed.add(module)
            above.update(_outer(module))
        else:
            layers = plain.setdefault(module, {})
            layers.update(tensor_group.layers)
    found: dict[str, None] = {}
    for module, layers in plain.items():
        if module in packed:
            found[f"{module} (layers {format_indices(sorted(layers))})" if layers else module] = None
            continue
        outermost = next((front for front in _outer(module) if front not in above), module)
        found[outermost.removesuffix(f".{PLACEHOLDER}")] = None
    return list(found)


def _outer(module: str) -> Iterator[str]:
    """A module's parents from the outside in, and itself: "a.b" -> "a", "a.b"."""
    parts = module.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _bounded(names: list[str]) -> tuple[str, ...]:
    if len(names) <= MAX_NAMES:
        return tuple(names)
    return (*names[: MAX_NAMES - 1], f"{len(names) - MAX_NAMES + 1} more")


def contradictions(tensor_groups: Iterable[TensorGroup], recipe: Mapping[str, Any], method: str) -> Iterator[str]:
    """Where the recipe's list of what is left out and the tensors disagree, as far as that is certain.

    Packed although listed: the list has the module's whole name, or its end. Plain although not listed: the same
    matrix is packed in most other layers, and no text of the recipe could mean the module.
    """
    listed = (packing_of(method) or Packing()).left_plain(recipe)
    texts = [text for text in listed if len(text) <= MAX_LENGTH][:MAX_TEXTS]
    by_module: dict[str, dict[bool, set[int]]] = {}
    for tensor_group in tensor_groups:
        layers = by_module.setdefault(_module(tensor_group), {})
        layers.setdefault(tensor_group.packed, set()).update(tensor_group.layers)
    packed = [module for module, kinds in by_module.items() if True in kinds][:MAX_MODULES]
    wrong = [text for text in texts if any(_is_named(text, name, by_module[name][True]) for name in packed)]
    if wrong:
        more = f" (and {len(wrong) - 1} more of its entries)" if len(wrong) > 1 else ""
        yield f"the recipe ({method}) lists {wrong[0][:80]}{more} as left unquantized, but the file holds it packed"
    everything, match = list(_texts(recipe)), Matching()
    odd: list[str] = []
    checks = 0
    for module, kinds in by_module.items():
        plain, others = kinds.get(False, set()) - kinds.get(True, set()), kinds.get(True, set())
        if not plain or len(plain) >= len(others) or stack(f"{module}.weight") is None:
            continue
        checks += len(plain)
        if checks > MAX_CHECKS:
            break
        unlisted = [layer for layer in sorted(plain) if not _may_mean(everything, module, layer, match)]
        if unlisted:
            odd.append(f"{module} is not packed in layers {format_indices(unlisted)}, but in {len(others)} others")
    if odd:
        more = f" (and {len(odd) - 1} more modules)" if len(odd) > 1 else ""
        yield f"{odd[0]}{more}; the recipe ({method}) does not list that"


def _is_named(text: str, module: str, layers: set[int]) -> bool:
    """Whether a list's entry is certainly this module: its whole name, or the end of it, components whole."""
    text = text.removeprefix("-:")
    if text.rpartition(".")[2] != module.rpartition(".")[2] or any(c in text for c in "*^$|()[]\\+?"):
        return False
    if PLACEHOLDER not in module:
        return module == text or module.endswith(f".{text}")
    if not any(char.isdigit() for char in text):
        return module.endswith(f".{text}") and PLACEHOLDER not in text
    if module.count(PLACEHOLDER) != 1:
        return False
    front, _, end = module.partition(PLACEHOLDER)
    number = text.removeprefix(front).removesuffix(end) if text.startswith(front) and text.endswith(end) else ""
    return number.isdecimal() and len(number) < 10 and int(number) in layers and f"{front}{int(number)}{end}" == text


def _may_mean(everything: Iterable[str], module: str, layer: int, match: Matching) -> bool:
    """Whether any text of the recipe could mean this module of this layer: by name, glob, regex, or any part of it."""
    name = module.replace(PLACEHOLDER, str(layer))
    last = name.rpartition(".")[2]
    for text in everything:
        bare = text.removeprefix("-:").removeprefix("+:").removeprefix("re:")
        if bare in name or name in bare or last in bare or re.sub(r"\W", "", last) in bare:
            return True
        if re.search(rf"(?<!\d){layer}(?!\d)", bare):
            return True
        if ("*" in bare and as_glob(bare, name)) or match.finds(bare, name) is not False:
            return True
    return False


def _texts(recipe: Mapping[str, Any]) -> Iterator[str]:
    """The strings in a recipe's lists and the keys of its objects, where modules are named."""
    waiting: list[Any] = [value for value in recipe.values() if isinstance(value, (list, Mapping))]
    waiting += [key for key, value in recipe.items() if isinstance(value, (Mapping, bool)) and "." in key]
    count = 0
    while waiting and count < MAX_TEXTS:
        item = waiting.pop()
        count += 1
        if isinstance(item, str):
            yield item[:MAX_LENGTH]
        elif isinstance(item, Mapping):
            waiting += item.keys()
            waiting += [value for value in item.values() if isinstance(value, (list, Mapping))]
        elif isinstance(item, list):
            waiting += item
