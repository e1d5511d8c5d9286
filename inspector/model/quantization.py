"""Packed weights: what a quantization recipe stores for a weight, and how many parameters that stands for.

One small function a way of packing, and one table: method -> last part of the name -> function. What the table leaves
out is a plain tensor that counts as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from inspector.hub.checkpoint import DTYPE_BITS
from inspector.model.model import Quantization

LANGUAGE_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
FLOATS = frozenset(dtype for dtype in DTYPE_BITS if dtype.startswith(("F", "BF")) and dtype != "F4")


@dataclass(frozen=True, slots=True)
class Packing:
    """What one packed tensor stands for.

    Attributes:
        suffix: the parameter's name in the model, in place of the stored one's last part ("qweight" -> "weight").
        numel: parameters; 0 for scales, zero points and the like; None where that cannot be told.
    """

    suffix: str
    numel: int | None


Unpack = Callable[[tuple[int, ...], str, Quantization], Packing]
"""(stored shape, safetensors dtype, recipe) -> what it stands for."""


def overhead(shape: tuple[int, ...], dtype: str, recipe: Quantization) -> Packing:
    """Scales, zero points, group indices, codebooks: no parameters."""
    del shape, dtype, recipe
    return Packing("", 0)


def plain(shape: tuple[int, ...], dtype: str, recipe: Quantization) -> Packing:
    """One stored element a parameter: FP8, int8 and what was left unquantized."""
    del dtype, recipe
    return Packing("weight", _product(shape))


def words(shape: tuple[int, ...], dtype: str, recipe: Quantization) -> Packing:
    """GPTQ and AWQ: `bits` a value, packed without gaps in words; at 3 bits, 32 values fill 3 int32.

    GPTQ (in * bits / 32, out), AWQ (in, out * bits / 32): parameters = elements * word size / bits in both.
    """
    size = {"I32": 32, "U32": 32, "I16": 16, "I64": 64, "U8": 8, "I8": 8}.get(dtype)
    if size is None or not recipe.bits or recipe.bits > size:
        return Packing("weight", None)
    return Packing("weight", _product(shape) * size // recipe.bits)


def whole_words(shape: tuple[int, ...], dtype: str, recipe: Quantization) -> Packing:
    """compressed-tensors' pack-quantized: 32 // bits values an int32; nvfp4-pack-quantized: 2 a byte."""
    size = {"I32": 32, "U8": 8}.get(dtype)
    if size is None or recipe.bits is None or not 1 <= recipe.bits <= size:
        return Packing("weight", None)
    return Packing("weight", _product(shape) * (size // recipe.bits))


def bitsandbytes_weight(shape: tuple[int, ...], dtype: str, recipe: Quantization) -> Packing:
    """nf4 and fp4: two values a byte, stored as a column of bytes; int8 and the rest: one value an element."""
    if dtype == "U8" and len(shape) == 2 and shape[1] == 1 and recipe.bits != 8:
        return Packing("weight", 2 * _product(shape))
    return Packing("weight", _product(shape) if dtype in FLOATS or dtype == "I8" else None)


def nibbles(shape: tuple[int, ...], dtype: str, recipe: Quantization) -> Packing:
    """MXFP4 blocks (..., 16 bytes): two values a byte. Source: OCP Microscaling Formats v1.0, 5.3.3."""
    del recipe
    return Packing("", 2 * _product(shape) if dtype == "U8" else None)


def _product(shape: tuple[int, ...]) -> int:
    numel = 1
    for n in shape:
        numel *= n
    return numel


Rules = Mapping[str, Unpack]


def _overheads(names: str) -> Rules:
    return dict.fromkeys(names.split(), overhead)


SCALES: Rules = _overheads(
    "weight_scale_inv weight_scale input_scale activation_scale output_scale k_scale v_scale q_scale prob_scale "
    "weight_scale_2 scale_inv input_scale_ub"
)
"""FP8 and the like: the weight is stored as it is, with scales beside it; they may come without a recipe, too."""

WORDS: Rules = {"qweight": words, **_overheads("qzeros scales g_idx")}

METHODS: dict[str, Rules] = {
    "gptq": WORDS,
    "awq": WORDS,
    "fp8": SCALES,
    "fbgemm_fp8": SCALES,
    "mxfp4": {"_blocks": nibbles, "_scales": overhead},
    "bitsandbytes": {
        "weight": bitsandbytes_weight,
        **_overheads(
            "absmax quant_map nested_absmax nested_quant_map SCB CB weight_format bitsandbytes__nf4 bitsandbytes__fp4"
        ),
    },
    "compressed-tensors": {
        **SCALES,
        "weight_packed": whole_words,
        **_overheads(
            "weight_shape weight_zero_point weight_g_idx weight_global_scale input_global_scale input_zero_point "
            "k_zero_point v_zero_point output_zero_point"
        ),
    },
}
"""Last part of the name (or its end, for keys that start with "_") -> what the tensor stands for."""

ALIASES = {"gptqmodel": "gptq", "gptq_marlin": "gptq", "awq_marlin": "awq", "bnb": "bitsandbytes"}


def unpack(template: str, shape: tuple[int, ...], dtype: str, recipe: Quantization | None) -> tuple[str, int | None]:
    """The name under which the model knows a stored tensor, and the parameters it stands for.

    Returns:
        The template, with the packed suffix put right, and one tensor's parameters: 0 for overhead, None where the
        recipe is unknown and the tensor is no plain float.
    """
    method = ALIASES.get(recipe.method, recipe.method) if recipe else ""
    rules = METHODS.get(method, SCALES)
    module, dot, last = template.rpartition(".")
    recipe = recipe or Quantization("", None, None)
    rule = rules.get(last)
    if rule is not None:
        packing = rule(shape, dtype, recipe)
        return f"{module}{dot}{packing.suffix or last}", packing.numel
    for end, other in rules.items():
        if end.startswith("_") and last.endswith(end):
            return f"{module}{dot}{last.removesuffix(end)}", other(shape, dtype, recipe).numel
    if method and method not in METHODS and dtype not in FLOATS:
        return template, None
    return template, _product(shape)


def understood(recipe: Quantization | None) -> bool:
    """Whether this version knows how the recipe packs its weights."""
    return recipe is None or ALIASES.get(recipe.method, recipe.method) in METHODS


def read_quantization(config: Mapping[str, Any]) -> Quantization | None:
    """The recipe in a config's quantization_config, also where that sits in the language part; None without one."""
    for part in (config, *(config.get(key) for key in LANGUAGE_PARTS)):
        if not isinstance(part, Mapping):
            continue
        for key in ("quantization_config", "compression_config"):
            recipe = part.get(key)
            if isinstance(recipe, Mapping) and recipe:
                return _read(recipe)
        if isinstance(mlx := part.get("quantization"), Mapping) and mlx:
            return Quantization("mlx", _whole(mlx.get("bits")), _whole(mlx.get("group_size")))
    return None


def _read(recipe: Mapping[str, Any]) -> Quantization:
    named = recipe.get("quant_method")
    if isinstance(named, str) and named:
        method = named.lower()
    elif recipe.get("load_in_4bit") or recipe.get("load_in_8bit"):
        method = "bitsandbytes"
    else:
        method = "unknown"
    bits = _whole(recipe.get("bits")) or _whole(recipe.get("w_bit")) or _whole(recipe.get("nbits"))
    group_size = _whole(recipe.get("group_size")) or _whole(recipe.get("q_group_size"))
    if method.startswith("bitsandbytes") or method == "bnb":
        method = "bitsandbytes"
        bits = 4 if recipe.get("load_in_4bit") else 8 if recipe.get("load_in_8bit") else bits
    elif method in ("fp8", "fbgemm_fp8"):
        bits = bits or 8
    elif method == "mxfp4":
        bits, group_size = 4, 32
    elif method == "compressed-tensors":
        bits, group_size = _compressed(recipe)
    return Quantization(method, bits, group_size)


def _compressed(recipe: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Bits and group size that all of the recipe's groups share; None where they differ or are not said."""
    groups = recipe.get("config_groups")
    schemes = (
        [g.get("weights") for g in groups.values() if isinstance(g, Mapping)] if isinstance(groups, Mapping) else []
    )
    found = [scheme for scheme in schemes if isinstance(scheme, Mapping)]
    bits = {_whole(scheme.get("num_bits")) for scheme in found}
    sizes = {_whole(scheme.get("group_size")) for scheme in found}
    return (bits.pop() if len(bits) == 1 else None), (sizes.pop() if len(sizes) == 1 else None)


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
