"""What a recipe says: its bits and group size, module by module where it says so, and what it leaves unquantized."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from inspector.model.model import Quantization
from inspector.model.packing.methods import ALIASES
from inspector.model.packing.patterns import Matching, as_glob
from inspector.model.packing.rules import Scheme

BITS = ("bits", "w_bit", "nbits", "num_bits", "wbits")
SIZES = ("group_size", "q_group_size", "weight_block_size")
IGNORED = (
    "modules_to_not_convert",
    "ignore",
    "ignored_layers",
    "exclude",
    "exclude_modules",
    "llm_int8_skip_modules",
    "skip_modules",
    "linear_weights_not_to_quantize",
)
FIXED = {"mxfp4": (4, 32), "fouroversix": (4, 16), "fp8": (8, None), "fbgemm_fp8": (8, None), "mxfp8": (8, 32)}
"""Method -> bits and group size of all of its checkpoints; FP8's blocks are in two dimensions."""

MAX_LISTED = 10_000
MAX_WHOLE = 2**31
"""No width, group or length of a layer is as large; the product of two still fits 64 bits."""
GAPLESS_SINCE = (0, 18)
"""compressed-tensors packs 3, 5, 6 and 7 bits without gaps from this version on: 0.17.0 does not, 0.18.0 does."""


class Schemes(NamedTuple):
    """What a recipe says of its modules. Single ones are only asked for where what all share leaves a number open.

    Attributes:
        shared: of all of them.
        find: a module's name in the file -> what is said of it in particular; None for nothing.
        default: of a module of which nothing is said in particular.
    """

    shared: Scheme
    default: Scheme
    find: Callable[[str], Scheme | None] | None = None


def read_recipe(recipe: Mapping[str, Any], *, mlx: bool = False) -> Quantization:
    """Method, bits and group size; None where they are not said or not whole numbers.

    Args:
        recipe: a config's quantization_config.
        mlx: it is MLX's own, whose recipes name no method.
    """
    method = method_of(recipe, mlx=mlx)
    scheme = default_scheme(recipe, method)
    return Quantization(method, scheme.bits, scheme.group_size, block=_block(recipe))


def _block(recipe: Mapping[str, Any]) -> tuple[int, int] | None:
    """Outputs and inputs under one scale: `weight_block_size`, or compressed-tensors' `block_structure`."""
    found = [recipe.get("weight_block_size")]
    found += [_mapping(group.get("weights")).get("block_structure") for group in _groups(recipe)]
    for entry in found:
        if isinstance(entry, list) and len(entry) == 2:
            out, into = whole(entry[0]), whole(entry[1])
            return (out, into) if out and into else None
    return None


def method_of(recipe: Mapping[str, Any], *, mlx: bool = False) -> str:
    """The method's name, in small letters, as the recipe has it; "unknown" where it has none."""
    named = recipe.get("quant_method")
    if isinstance(named, str) and named:
        named = named.lower()
        return "bitsandbytes" if named.startswith("bitsandbytes") or named == "bnb" else named
    if recipe.get("load_in_4bit") or recipe.get("load_in_8bit"):
        return "bitsandbytes"
    producer = recipe.get("producer")
    if "quant_algo" in recipe or (isinstance(producer, Mapping) and producer.get("name") == "modelopt"):
        return "modelopt"
    if mlx and whole(recipe.get("bits")):
        return "mlx"
    return "unknown"


def default_scheme(recipe: Mapping[str, Any], method: str) -> Scheme:
    """What the recipe says of all modules."""
    method = ALIASES.get(method, method)
    if method in FIXED:
        bits, size = FIXED[method]
        return Scheme(_first(recipe, BITS) or bits, _first(recipe, SIZES) or size)
    if method == "bitsandbytes":
        return Scheme(4 if recipe.get("load_in_4bit") else 8 if recipe.get("load_in_8bit") else _first(recipe, BITS))
    if method == "compressed-tensors":
        return _shared([_group(group, recipe) for group in _groups(recipe)])
    if method in ("modelopt", "nvfp4"):
        return _modelopt(recipe, method)
    if method == "quark":
        found = _mapping(recipe.get("global_quant_config"))
        return _quark(found)
    if method == "quanto":
        weights = recipe.get("weights")
        return Scheme({"int2": 2, "int4": 4, "int8": 8, "float8": 8}.get(weights) if isinstance(weights, str) else None)
    if method == "hqq":
        return _own(_mapping(_mapping(recipe.get("quant_config")).get("weight_quant_params")) or recipe)
    if method in ("fp_quant", "eetq", "bitnet"):
        kind = recipe.get("forward_dtype")
        size = {"mxfp4": 32, "nvfp4": 16}.get(kind) if isinstance(kind, str) else None
        return Scheme({"fp_quant": 4, "eetq": 8, "bitnet": 2}[method], size)
    return _own(recipe)


def schemes_of(recipe: Mapping[str, Any], method: str) -> Schemes:
    """What the recipe says of all modules, and of single ones."""
    method = ALIASES.get(method, method)
    default = default_scheme(recipe, method)
    match = Matching()
    if method == "gptq" and (dynamic := _mapping(recipe.get("dynamic"))):
        own = {key.removeprefix("+:"): _own(value, default) for key, value in dynamic.items() if key[:2] != "-:"}
        return _by_pattern(default, own, match.matches)
    if method == "gemma" and (modules := _mapping(recipe.get("module_quant_configs"))):
        own = {pattern: _own(value, default) for pattern, value in modules.items()}
        return _by_pattern(default, own, match.finds)
    if method == "quark" and (layers := _mapping(recipe.get("layer_quant_config"))):
        own = {pattern: _quark(_mapping(value)) for pattern, value in layers.items()}
        return _by_pattern(default, own, as_glob)
    if method == "hqq" and (tags := _hqq_tags(recipe, default)):
        return _by_pattern(default, tags, lambda tag, name: name == tag or name.endswith(f".{tag}"))
    if method == "compressed-tensors" and len(_groups(recipe)) > 1:
        return Schemes(default, default, _by_target(recipe, match))
    named = {
        "auto-round": _mapping(recipe.get("extra_config")),
        "mlx": recipe,
        "metal": recipe,
        "vptq": _mapping(recipe.get("config_for_layers")),
    }.get(method, {})
    exact = {name: _own(value, default) for name, value in named.items() if isinstance(value, Mapping)}
    if not exact:
        return Schemes(default, default)
    return Schemes(_shared([default, *exact.values()]), default, exact.get)


def _by_pattern(default: Scheme, own: Mapping[str, Scheme], matches: Callable[[str, str], bool | None]) -> Schemes:
    """The first pattern that matches decides; one that cannot be understood might have, and so leaves it open."""

    def find(name: str) -> Scheme | None:
        for pattern, scheme in own.items():
            matched = matches(pattern, name)
            if matched is None:
                return Scheme()
            if matched:
                return scheme
        return None

    return Schemes(_shared([default, *own.values()]), default, find)


def listed(recipe: Mapping[str, Any]) -> Iterator[str]:
    """The recipe's own words for what it leaves unquantized."""
    for key in IGNORED:
        entries = recipe.get(key)
        for entry in entries[:MAX_LISTED] if isinstance(entries, list) else ():
            if isinstance(entry, str) and entry:
                yield entry
    for pattern in _mapping(recipe.get("dynamic")):
        if pattern.startswith("-:"):
            yield pattern
    for name, value in _mapping(recipe.get("extra_config")).items():
        if isinstance(value, Mapping) and (whole(value.get("bits")) or 0) >= 16:
            yield name


def whole(value: Any) -> int | None:
    """A positive whole number that a layer can have, or None for anything else."""
    return value if type(value) is int and 0 < value < MAX_WHOLE else None


def _own(found: Mapping[str, Any] | Any, default: Scheme | None = None) -> Scheme:
    found = _mapping(found)
    default = default or Scheme()
    lengths = found.get("vector_lens")
    into, out = whole(found.get("in_features")), whole(found.get("out_features"))
    return Scheme(
        _first(found, BITS) or default.bits,
        _first(found, SIZES) or default.group_size,
        whole(lengths[1]) if isinstance(lengths, list) and len(lengths) == 2 else default.vector,
        default.gapless,
        (into, out) if into and out else None,
    )


def _first(found: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((value for key in keys if (value := whole(found.get(key)))), None)


def _mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object with names for keys, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def _shared(schemes: list[Scheme]) -> Scheme:
    """What all schemes agree on."""
    if not schemes:
        return Scheme()
    return Scheme(*(values[0] if len(set(values)) == 1 else None for values in zip(*schemes, strict=True)))


def _groups(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = _mapping(recipe.get("config_groups")).values()
    return [group for group in found if isinstance(group, Mapping) and isinstance(group.get("weights"), Mapping)]


def _group(group: Mapping[str, Any], recipe: Mapping[str, Any]) -> Scheme:
    weights = _mapping(group.get("weights"))
    return Scheme(whole(weights.get("num_bits")), whole(weights.get("group_size")), gapless=_gapless(recipe))


def _gapless(recipe: Mapping[str, Any]) -> bool | None:
    """Whether compressed-tensors of the recipe's version packs without gaps."""
    version = recipe.get("version")
    if not isinstance(version, str):
        return None
    numbers = version.split(".")[:2]
    if len(numbers) < 2 or not all(part.isdecimal() and len(part) < 5 for part in numbers):
        return None
    return (int(numbers[0]), int(numbers[1])) >= GAPLESS_SINCE


def _by_target(recipe: Mapping[str, Any], match: Matching) -> Callable[[str], Scheme | None]:
    """compressed-tensors' targets: a module's name or "re:" and a pattern come before a class's name."""
    named: list[tuple[str, Scheme]] = []
    for group in _groups(recipe):
        targets = group.get("targets")
        for target in targets[:MAX_LISTED] if isinstance(targets, list) else ():
            if isinstance(target, str):
                named.append((target, _group(group, recipe)))

    def find(name: str) -> Scheme | None:
        for target, scheme in named:
            if target == name or (target.startswith("re:") and match.matches(target.removeprefix("re:"), name)):
                return scheme
        return next((scheme for target, scheme in named if target == "Linear"), None)

    return find


def _modelopt(recipe: Mapping[str, Any], method: str) -> Scheme:
    """modelopt names its algorithm: NVFP4, FP8, W4A16_AWQ, W4A8_AWQ, MXFP4, FP8_PB_WO, MIXED_PRECISION, ..."""
    inner = _mapping(recipe.get("quantization")) or recipe
    algorithm = inner.get("quant_algo", method)
    algorithm = algorithm.upper() if isinstance(algorithm, str) else ""
    size = _first(inner, SIZES) or (16 if "NVFP4" in algorithm else 32 if "MXFP" in algorithm else None)
    bits = next((n for mark, n in (("FP4", 4), ("W4", 4), ("INT4", 4), ("8", 8)) if mark in algorithm), None)
    if bits is None and _groups(recipe):
        return _shared([_group(group, recipe) for group in _groups(recipe)])
    return Scheme(bits, size)


def _quark(found: Mapping[str, Any]) -> Scheme:
    weight = found.get("weight")
    if isinstance(weight, list) and weight:
        weight = weight[0]
    weight = _mapping(weight)
    kind = weight.get("dtype")
    digits = next((c for c in kind if c in "12345678"), "") if isinstance(kind, str) else ""
    return Scheme(int(digits) if digits else None, whole(weight.get("group_size")))


def _hqq_tags(recipe: Mapping[str, Any], default: Scheme) -> dict[str, Scheme]:
    found = _mapping(recipe.get("quant_config")) or _mapping(recipe.get("dynamic_config"))
    inner = {tag: _mapping(value) for tag, value in found.items() if "." in tag}
    return {tag: _own(value.get("weight_quant_params", value), default) for tag, value in inner.items()}
