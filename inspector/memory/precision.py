"""Precisions: their names, and the bits that one value takes."""

from __future__ import annotations

from inspector.errors import UsageError
from inspector.model.model import Model

PRECISION_BITS: dict[str, int] = {"fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4}
"""Bits a value. int8 and int4 count every weight at that width and no scales: a floor, since real recipes keep
embeddings and norms at 16 bits and add scales."""

RECIPE_NAMES = ("nf4", "nf4-dq", "fp4", "awq", "gptq", "mxfp4", "nvfp4")
"""What weights, and nothing else, can be quantized by at load: see `inspector.memory.quantization.recipes`."""

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
        raise UsageError(f"unknown precision '{name}'", f"Known: {', '.join(known)}.")
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
