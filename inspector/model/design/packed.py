"""A design's plain weights as the recipe in its config would store them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from inspector.hub.cache.snapshot import split_name
from inspector.hub.checkpoint import Tensor
from inspector.model.packing.packing import MAX_LISTED, Packing
from inspector.model.packing.patterns import Matching, as_glob
from inspector.model.packing.recipe import method_of
from inspector.model.packing.registry import packing_of
from inspector.model.parameters.names import component

MAX_COMPARISONS = 3_000_000
"""Of a name with a pattern: a hostile recipe has thousands for each of a model's 90,000 weights."""


def packed(tensors: Sequence[Tensor], recipe: Mapping[str, Any], *, mlx: bool = False) -> tuple[Tensor, ...] | None:
    """The tensors that the method's own tool would store; None where it is not known how, of all or of some, and
    where the recipe is of nothing in it.

    Args:
        tensors: plain, as `made_tensors` has them.
        recipe: the config's quantization_config.
        mlx: it is MLX's own.
    """
    packing = packing_of(method_of(recipe, mlx=mlx))
    if packing is None:
        return None
    schemes, left_out, found = packing.schemes(recipe), _left_out(packing, recipe), list[Tensor]()
    converts = lru_cache(maxsize=None)(lambda name: packing.converts(component(name)))
    for tensor in tensors:
        name = split_name(tensor.name)[0]
        module = tensor.name.removesuffix(".weight")
        if not _is_matrix(tensor, name) or not converts(name):
            found.append(tensor)
            continue
        skipped = left_out(module)
        if skipped:
            found.append(tensor)
            continue
        scheme = (schemes.find(module) if schemes.find else None) or schemes.default
        known = skipped is not None and (len(tensor.shape) == 3) == packing.stacks
        stored = packing.stored(tensor, scheme, recipe) if known else None
        if stored is None:
            return None
        found += [Tensor(_stored_name(tensor.name, key), *each) for key, each in stored.items()]
    return tuple(found) if len(found) != len(tensors) else None


def _is_matrix(tensor: Tensor, name: str) -> bool:
    """Whether it is a linear layer's weight, or a stack of experts."""
    stack = len(tensor.shape) == 3 and component(name) == "experts" and not name.endswith("bias")
    return stack or (len(tensor.shape) == 2 and name.endswith(".weight"))


def _stored_name(name: str, key: str) -> str:
    """The name of one of a weight's tensors, by the key of its packing's table (`Packing.tensors`)."""
    if key[0] in "._":
        return name + key
    return f"{name.rpartition('.')[0]}.{key}"


def _left_out(packing: Packing, recipe: Mapping[str, Any]) -> Callable[[str], bool | None]:
    """Whether a recipe leaves a module as it is, by its name; None where that cannot be told.

    Its words are modules' names, or their beginnings or ends, of whole components (transformers'
    `should_convert_module`), globs (modelopt), or patterns ("re:" of compressed-tensors, "-:" of GPTQModel).
    """
    plain, globs, patterns = set[str](), list[str](), list[str]()
    match, left = Matching(), MAX_COMPARISONS
    by_name = packing.by_name(recipe)
    for text in islice(packing.left_plain(recipe), MAX_LISTED):
        marked = next((mark for mark in ("re:", "-:") if text.startswith(mark)), None)
        if marked:
            patterns.append(text.removeprefix(marked))
        elif "*" in text:
            globs.append(text)
        else:
            plain.add(text.strip(".").removesuffix(".weight"))

    def is_left_out(module: str) -> bool | None:
        nonlocal left
        if by_name.get(module) is False or not plain.isdisjoint(_inner_names(module)):
            return True
        left -= len(globs) + len(patterns)
        if left < 0:
            return None
        if any(as_glob(glob, module) or as_glob(f"{glob}.*", module) for glob in globs):
            return True
        matched = [match.matches(pattern, module) for pattern in patterns]
        return True if any(matched) else None if None in matched else False

    return is_left_out


def _inner_names(module: str) -> Iterator[str]:
    """A name's runs of whole components: "a.b.c" -> "a", "a.b", "a.b.c", "b", "b.c", "c"."""
    parts = module.split(".")
    for start in range(len(parts)):
        for end in range(start + 1, len(parts) + 1):
            yield ".".join(parts[start:end])
