"""Which tensors each quantization method stores for a parameter, and the rule that each follows.

Keys say how a stored name follows from the parameter's: "qweight" stands in place of "weight", ".absmax" comes after
the whole name, "_blocks" is added to its last part, "_*_qdata" is put around it, "meta.*" stands for any name inside
"meta"; "weight" is the parameter under its own name. What a table leaves out is a plain tensor that counts as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.model.packing import rules
from inspector.model.packing.rules import Parts, Rule, Scheme, overhead
from inspector.model.parameters.names import Group

Rules = Mapping[str, Rule]


def beside(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """Overhead where a packed weight is beside it; by itself, a name that models use for parameters, too."""
    return overhead(stored, parts, scheme)


def _all(rule: Rule, names: str) -> Rules:
    return dict.fromkeys(names.split(), rule)


SCALES: Rules = _all(
    overhead,
    "weight_scale_inv weight_scale weight_scale_2 input_scale activation_scale output_scale k_scale v_scale q_scale "
    "prob_scale scale_inv input_scale_ub weight_zero_point input_zero_point output_zero_point weight_global_scale "
    "input_global_scale k_zero_point v_zero_point k_cache_scale v_cache_scale",
)
"""Scales beside a weight and of the cache; they may come without a recipe, too."""

TAILS: Rules = _all(
    beside, "_scale_inv _scale _weight_scale _weight_scale_inv _weight_scale_2 _input_scale _input_scale_inv"
)
"""Scales of experts that are one stacked parameter."""

GPTQ: Rules = {
    "qweight": rules.gptq,
    "B": rules.marlin,
    "trellis": rules.exl3,
    **_all(beside, "qzeros scales g_idx s workspace suh svh su sv mcg mul1"),
}
FP8: Rules = {"weight": rules.fp8, **SCALES, **TAILS, **_all(beside, "scale qscale_weight qscale_act")}
MODELOPT: Rules = {
    "weight": rules.two_a_byte,
    **SCALES,
    **TAILS,
    **_all(overhead, "pre_quant_scale svdquant_lora_a svdquant_lora_b"),
    **_all(beside, "weight_sf weight_sf_rowmajor"),
}
MXFP4: Rules = {"_blocks": rules.two_a_byte, **_all(beside, "_scales"), **SCALES}
BLOBS = " ".join(f".quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4", "int8", "af4"))
BITSANDBYTES: Rules = {
    "weight": rules.bitsandbytes,
    **_all(beside, f".absmax .quant_map .nested_absmax .nested_quant_map {BLOBS}"),
    **_all(overhead, "SCB CB weight_format"),
}
COMPRESSED: Rules = {
    **MODELOPT,
    "weight_packed": rules.compressed,
    **_all(overhead, "weight_shape weight_g_idx scale_packed"),
    **_all(beside, "meta bitmask row_offsets shape .bitmask .row_offsets .shape"),
    "compressed": rules.kept_values,
    ".compressed": rules.kept_values,
}
TORCHAO: Rules = {
    "_*_qdata": rules.torchao,
    **_all(
        beside,
        "_*_scale _*_zero_point _*_scale_and_zero _*_per_tensor_scale _*_act_pre_scale _*_act_per_tensor_scale "
        "_*_act_quant_scale",
    ),
}
HQQ: Rules = {
    "W_q": rules.hqq,
    **_all(
        beside,
        "nbits group_size shape scale zero axis packing unpack_view_dtype view_as_float quant_scale quant_zero "
        "compute_dtype offload_meta encoded_state_dict stores_quant_config channel_wise optimize round_zero",
    ),
}
SINQ: Rules = {
    **HQQ,
    **_all(beside, "meta.*"),
}
AQLM: Rules = {"codes": rules.aqlm, **_all(beside, "codebooks scales")}
VPTQ: Rules = {
    "indices": rules.vptq,
    **_all(
        beside,
        "centroids.weight res_centroids.weight outlier_centroids.weight outlier_indices res_indices perm weight_scale "
        "weight_bias",
    ),
}
MLX: Rules = {"weight": rules.mlx, **_all(beside, "scales biases qbiases")}
FP_QUANT: Rules = {
    "qweight": rules.two_a_byte,
    "dqweight": rules.plain,
    **_all(beside, "scales"),
    **_all(overhead, "forward_hadamard_matrix backward_hadamard_matrix act_global_scale weight_global_scale"),
}
GEMMA: Rules = {
    "weight": rules.gemma,
    "embedding_quantized": rules.gemma,
    **SCALES,
    **_all(overhead, "input_activation_scale output_activation_scale embedding_scale"),
}

QUANTO: Rules = {
    "._data": rules.quanto,
    "._data._data": rules.quanto,
    **_all(beside, "._scale ._shift"),
    **_all(overhead, "input_scale output_scale"),
}

METHODS: dict[str, Rules] = {
    "gptq": GPTQ,
    "exl3": GPTQ,
    "awq": {**GPTQ, "qweight": rules.awq},
    "auto-round": {**COMPRESSED, **GPTQ, "qweight": rules.auto_round},
    "bitsandbytes": BITSANDBYTES,
    "compressed-tensors": COMPRESSED,
    "fp8": FP8,
    "mxfp8": FP8,
    "fbgemm_fp8": FP8,
    "modelopt": MODELOPT,
    "nvfp4": MODELOPT,
    "mxfp4": MXFP4,
    "torchao": TORCHAO,
    "hqq": HQQ,
    "sinq": SINQ,
    "quanto": QUANTO,
    "aqlm": AQLM,
    "vptq": VPTQ,
    "eetq": {"weight": rules.plain, **_all(beside, "weight_scales")},
    "bitnet": {"weight": rules.bitnet, **_all(beside, "weight_scale")},
    "higgs": {"weight": rules.higgs, **_all(beside, "scales tables tables2")},
    "spqr": {"dense_weights": rules.spqr, **_all(beside, "row_offsets col_vals in_perm")},
    "fp_quant": FP_QUANT,
    "fouroversix": {
        "quantized_weight_values": rules.two_a_byte,
        **_all(beside, "quantized_weight_scale_factors quantized_weight_amax quantized_weight_metadata"),
    },
    "quark": {"weight": rules.quark, **SCALES, **_all(overhead, "bias_scale bias_zero_point")},
    "gemma": GEMMA,
    "mlx": MLX,
    "metal": MLX,
    "": {**FP8, **MODELOPT, **MXFP4, **TORCHAO, **QUANTO, **GPTQ, **BITSANDBYTES, "weight": rules.no_recipe},
}
"""Method -> its table. "" is for files that hold packed weights and a config without a recipe."""

NOT_STORED = {
    "gguf": "GGUF files give unpacked shapes: the GGUF reader counts them",
}
"""Methods of transformers that no table covers, and why."""

ALIASES = {
    "gptqmodel": "gptq",
    "gptq_marlin": "gptq",
    "marlin": "gptq",
    "awq_marlin": "awq",
    "bnb": "bitsandbytes",
    "bitsandbytes_4bit": "bitsandbytes",
    "bitsandbytes_8bit": "bitsandbytes",
    "intel/auto-round": "auto-round",
    "autoround": "auto-round",
    "auto_round": "auto-round",
    "modelopt_fp4": "modelopt",
    "modelopt_mixed": "modelopt",
    "finegrained_fp8": "fp8",
    "compressed_tensors": "compressed-tensors",
}


def table_of(method: str) -> Rules | None:
    """The table of a method under any of its names; None where there is none."""
    return METHODS.get(ALIASES.get(method, method))
