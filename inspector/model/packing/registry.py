"""The ways of packing weights: one line each, with all names that recipes have for it.

To add a quantization is to write its file here and its line in `PACKINGS`. Each is imported when a config names it.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from inspector.model.packing.packing import Packing

PACKINGS = {
    "modelopt modelopt_fp4 modelopt_mixed": "modelopt:Modelopt",
    "gptq gptqmodel gptq_marlin marlin": "gptq:Gptq",
    "bitsandbytes bnb bitsandbytes_4bit bitsandbytes_8bit": "bitsandbytes:Bitsandbytes",
    "torchao": "torchao:Torchao",
    "mxfp4": "mxfp4:Mxfp4",
    "fp8 finegrained_fp8": "fp8:Fp8",
    "exl2": "exl2:Exl2",
    "exl3": "gptq:Exl3",
    "awq awq_marlin": "awq:Awq",
    "auto-round intel/auto-round autoround auto_round": "auto_round:AutoRound",
    "compressed-tensors compressed_tensors": "compressed_tensors:CompressedTensors",
    "mxfp8": "fp8:Mxfp8",
    "fbgemm_fp8": "fp8:FbgemmFp8",
    "nvfp4": "modelopt:Nvfp4",
    "hqq": "hqq:Hqq",
    "sinq": "hqq:Sinq",
    "quanto": "quanto:Quanto",
    "aqlm": "codebooks:Aqlm",
    "vptq": "codebooks:Vptq",
    "eetq": "eetq:Eetq",
    "bitnet": "bitnet:Bitnet",
    "higgs": "codebooks:Higgs",
    "spqr": "spqr:Spqr",
    "fp_quant": "fp_quant:FpQuant",
    "fouroversix": "fp_quant:FourOverSix",
    "quark": "quark:Quark",
    "gemma": "gemma:Gemma",
    "mlx": "mlx:Mlx",
    "metal": "mlx:Mlx",
    "": "no_recipe:NoRecipe",
}
"""A method's names, its own first -> "module:class" in this folder. Where a config has no recipe, the first whose signs
a file has is taken for its method. "" is for files that hold packed weights and a config without a recipe."""

METHODS = {names.partition(" ")[0]: reference for names, reference in PACKINGS.items()}

ALIASES = {alias: names.split()[0] for names in PACKINGS for alias in names.split()[1:]}

NOT_STORED = {
    "gguf": "GGUF files give unpacked shapes: the GGUF reader counts them",
}
"""Methods of transformers that nothing here covers, and why."""


@cache
def _load(reference: str) -> Packing:
    module, _, name = reference.partition(":")
    found: type[Packing] = getattr(import_module(f"inspector.model.packing.{module}"), name)
    return found()


def packing_of(method: str) -> Packing | None:
    """The packing of a method under any of its names; None where there is none."""
    reference = METHODS.get(ALIASES.get(method, method))
    return None if reference is None else _load(reference)


def facts_of(method: str | None) -> Packing:
    """What engines ask of a method by its own name; of any other name, and of None, nothing is known."""
    return _load(METHODS[method]) if method and method in METHODS else Packing()


def all_packings() -> dict[str, Packing]:
    """Every packing by its method's own name, the one without a recipe aside."""
    return {method: _load(reference) for method, reference in METHODS.items() if method}
