"""The ways of packing weights: one line each, with all names that recipes have for it.

To add a quantization is to write its file here and its line in `PACKINGS`. Each is imported when a config names it.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from inspector.model.packing.packing import Packing

PACKINGS = {
    "modelopt modelopt_fp4 modelopt_fp8 modelopt_mxfp8 modelopt_mixed petit_nvfp4": "modelopt:Modelopt",
    "gptq gptqmodel auto_gptq gptq_marlin marlin": "gptq:Gptq",
    "bitsandbytes bnb bitsandbytes_4bit bitsandbytes_8bit": "bitsandbytes:Bitsandbytes",
    "torchao": "torchao:Torchao",
    "mxfp4 gpt_oss_mxfp4": "mxfp4:Mxfp4",
    "fp8 finegrained_fp8 deepseek_v4_fp8 blockwise_int8 w8a8_fp8 w8a8_int8 auto-round-int8": "fp8:Fp8",
    "w4afp8": "fp8:W4AFp8",
    "exl2": "exl2:Exl2",
    "exl3": "gptq:Exl3",
    "awq auto_awq awq_marlin": "awq:Awq",
    "auto-round intel/auto-round autoround auto_round inc": "auto_round:AutoRound",
    "compressed-tensors compressed_tensors minimax_m3_nvfp4": "compressed_tensors:CompressedTensors",
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
    "quark quark_mxfp4 quark_int4fp8_moe": "quark:Quark",
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


ONLINE = {
    "vLLM": "online experts_int8 fp8_per_tensor fp8_per_block fp8_per_channel int8_per_channel_weight_only "
    "nvfp4_per_token",
    "SGLang": "nvfp4_online mxfp_w4a8",
    "either": "moe_wna16 humming",
}
"""Names of an engine's own for what it makes of plain weights, or of another method's, while it loads them: no
checkpoint has them. tests/oracles/config_keys.py compares all names with the engines'."""
NOT_KNOWN = {"modelslim": "Ascend's: its recipe is in quant_model_description.json, which is not read"}


def own_name(method: str) -> str:
    """A method's own name for any of its names; another name as it is."""
    return ALIASES.get(method, method)


def packing_of(method: str) -> Packing | None:
    """The packing of a method under any of its names; None where there is none."""
    reference = METHODS.get(own_name(method))
    return None if reference is None else _load(reference)


def facts_of(method: str | None) -> Packing:
    """What engines ask of a method under any of its names; of any other name, and of None, nothing is known."""
    return (packing_of(method) if method else None) or Packing()


def all_packings() -> dict[str, Packing]:
    """Every packing by its method's own name, the one without a recipe aside."""
    return {method: _load(reference) for method, reference in METHODS.items() if method}
