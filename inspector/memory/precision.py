"""Precisions: their names, and the bits that one value takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inspector.errors import UsageError, known_hint

if TYPE_CHECKING:  # the help of a command needs names alone
    from fractions import Fraction

    from inspector.model.model import Model

PRECISION_BITS: dict[str, int] = {"fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4}
"""Bits a value. int8 and int4 count every weight at that width and no scales: a floor, since real recipes keep
embeddings and norms at 16 bits and add scales."""

_OUTSIDE = frozenset({"embedding", "head", "norm", "router", "other"})
_TOWERS = frozenset({"vision", "audio", "projector"})
_BNB = "bitsandbytes"
_NO_LINEAR = _OUTSIDE | {"experts"}
"""bitsandbytes replaces nn.Linear modules; transformers 5 stacks a mixture's routed experts in one parameter."""


class Recipe(NamedTuple):
    """What a recipe does.

    Attributes:
        width: bits of a quantized weight, with its share of scales and zero points: a sum of powers of two, so exact.
        keeps: components that stay at the precision the model computes in.
        source: where the layout is from.
        method: the method of quantization that an engine must have for it, as vLLM and SGLang name theirs.
    """

    width: float
    keeps: frozenset[str]
    source: str
    method: str = ""

    @property
    def bits(self) -> Fraction:
        """`width`, to multiply exactly."""
        from fractions import Fraction

        return Fraction(self.width)


RECIPES: dict[str, Recipe] = {
    # 4 bits, and a float32 absmax for each 64; doubly quantized: a byte for each 64, and a float32 for 256 of those
    "nf4": Recipe(4.5, _NO_LINEAR, "bitsandbytes quantize_4bit, blocks of 64; transformers skips the head", _BNB),
    "nf4-dq": Recipe(
        4 + 8 / 64 + 32 / (64 * 256), _NO_LINEAR, "bitsandbytes quantize_4bit with compress_statistics", _BNB
    ),
    "fp4": Recipe(4.5, _NO_LINEAR, "bitsandbytes quantize_4bit, blocks of 64; transformers skips the head", _BNB),
    # 4 bits; for each 128 a float16 scale and a 4-bit zero point
    "awq": Recipe(4 + 20 / 128, _OUTSIDE | _TOWERS, "AutoAWQ WQLinear_GEMM, groups of 128", "awq"),
    "gptq": Recipe(4 + 20 / 128, _OUTSIDE | _TOWERS, "GPTQModel's QuantLinear, groups of 128; without g_idx", "gptq"),
    "mxfp4": Recipe(4.25, _OUTSIDE | _TOWERS, "OCP Microscaling Formats v1.0: an 8-bit scale for each 32", "mxfp4"),
    "nvfp4": Recipe(4.5, _OUTSIDE | _TOWERS, "modelopt NVFP4: an 8-bit scale for each 16", "modelopt_fp4"),
    # 8 bits, and a scale for each row, which is too little to count
    "w8a8": Recipe(
        8.0,
        _OUTSIDE | _TOWERS,
        "compressed-tensors int-quantized: a scale for each output channel",
        "compressed-tensors",
    ),
    "bnb-int8": Recipe(8.0, _NO_LINEAR, "bitsandbytes Linear8bitLt; transformers skips the head", _BNB),
    # a 16-bit scale and bias for each 64, of every matrix
    **{
        f"mlx-{bits}bit": Recipe(bits + 0.5, frozenset({"norm", "other"}), "mlx_lm.convert -q, groups of 64", "mlx")
        for bits in (8, 6, 5, 4, 3)
    },
}
"""What weights, and nothing else, can be quantized by at load, beside `PRECISION_BITS`, which count every weight alike.
Help and docs list them in this order. Zero points, biases and rows that don't fill a group are left out: within 0.2 %
of Llama 2 7B's published layouts (tests/memory/test_recipes.py)."""

RECIPE_NAMES = tuple(RECIPES)

FILE_TYPE_NAMES = (
    *("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS"),
    *("Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "Q2_K", "Q2_K_S", "IQ2_M", "IQ2_S"),
    *("IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "TQ2_0", "TQ1_0", "Q1_0", "MXFP4_MOE"),
)
"""What llama.cpp's `llama-quantize` makes (tools/quantize/quantize.cpp), F32, F16 and BF16 aside, which are precisions:
see `inspector.memory.quantization.ggml_recipes`."""

STORED = "stored"
"""The weights' precision "as the files have it"."""

COMPUTE_PRECISIONS = ("fp32", "fp16", "bf16")
"""Those that a model can compute in, so that its activations and its cache have them, too."""

_ALIASES = {
    "float32": "fp32",
    "float": "fp32",
    "f32": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "f16": "fp16",
    "bfloat16": "bf16",
    "float8": "fp8",
    "f8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "f8_e4m3": "fp8",
    "f8_e5m2": "fp8",
    "i8": "int8",
    "i4": "int4",
    "auto": STORED,
    "q3_k": "q3_k_m",
    "q4_k": "q4_k_m",
    "q5_k": "q5_k_m",
}


def parse_precision(name: str, *, recipes: bool = False) -> str:
    """A precision's one name ("bfloat16" -> "bf16", "auto" -> "stored").

    `recipes`: the name may be one of `RECIPE_NAMES` or `FILE_TYPE_NAMES`.

    Raises:
        UsageError: the name is none that is known.
    """
    lowered = name.strip().lower()
    precision = _ALIASES.get(lowered, lowered)
    if recipes and precision.upper() in FILE_TYPE_NAMES:
        return precision.upper()
    known = (STORED, *PRECISION_BITS, *((*RECIPE_NAMES, *FILE_TYPE_NAMES) if recipes else ()))
    if precision not in known:
        raise UsageError(f"unknown precision '{name}'", known_hint(precision, known))
    return precision


def compute_precision(model: Model, dtype: str) -> tuple[str, str]:
    """The precision that the model computes in when its weights have `dtype`, and where that is known from.

    Mirrors transformers' `from_pretrained(dtype="auto")`, the default of its version 5: the config's dtype, else the
    one that the files hold. Weights of 8 bits and less are unpacked to it for every product.
    """
    if dtype in COMPUTE_PRECISIONS:
        return dtype, "--dtype"
    if model.architecture.dtype:
        named = _ALIASES.get(model.architecture.dtype, model.architecture.dtype)
        if named in COMPUTE_PRECISIONS:
            return named, "dtype in config.json"
    stored = _ALIASES.get((model.stored_dtype or "").lower(), (model.stored_dtype or "").lower())
    if stored in COMPUTE_PRECISIONS:
        return stored, "the stored tensors"
    return "bf16", "assumed: neither config.json nor the stored tensors say"
