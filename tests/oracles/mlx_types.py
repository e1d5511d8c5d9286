"""mlx-lm's own classes, every file of mlx_lm/models: a small model each, its caches after a prompt and a token.

    python -m venv FOLDER && FOLDER/bin/pip install "mlx[cpu]" mlx-lm
    PYTHONPATH=. FOLDER/bin/python -m tests.oracles.mlx_types [NAMES] [--write]

A config is made from the file's ModelArgs: a small size for each field by its name, else its default. It is built by
mlx-lm's own class, filled at random, saved, read by the library, and run through its make_prompt_cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib
import inspect
import json
import pkgutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm.models
from mlx.utils import tree_map
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import save_config, save_model

import inspector
from inspector.engines.mlx.buffers import mlx_facts
from inspector.engines.mlx.cache import VERSION, MlxSettings, Moment, cache_bytes
from inspector.errors import InspectError
from tests.oracles.cache_configs import TINY
from tests.oracles.table import FOLDER, render

LAYERS, PROMPT, LONG = 6, 300, 700

SMALL: dict[str, Any] = {
    **{key: value for key, value in TINY.items() if "token_id" not in key},
    "num_hidden_layers": LAYERS,
    "num_layers": LAYERS,
    "n_layer": LAYERS,
    "n_layers": LAYERS,
    "num_transformer_layers": LAYERS,
    "hidden_size": 128,
    "hidden_dim": 128,
    "n_embd": 128,
    "d_model": 128,
    "model_dim": 128,
    "dim": 128,
    "num_attention_heads": 4,
    "num_heads": 4,
    "n_heads": 4,
    "n_head": 4,
    "num_query_heads": [4] * LAYERS,
    "num_key_value_heads": 2,
    "num_kv_heads": 2,
    "n_kv_heads": 2,
    "num_attention_groups": 2,
    "head_dim": 32,
    "sliding_window": 64,
    "sliding_window_size": 64,
    "attention_window_size": 64,
    "attention_chunk_size": 64,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "partial_rotary_factor": 0.5,
    "routed_scaling_factor": 1.0,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
    "num_shared_experts": 1,
    "num_shared_expert": 1,
    "moe_layer_freq": 1,
    "moe_topk": 2,
    "moe_num_experts": 4,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "norm_topk_prob": True,
    "ffn_hidden_size": 48,
    "expert_ffn_hidden_size": 32,
    "ff_intermediate_size": 48,
    "conv_kernel": 4,
    "conv_L_cache": 3,
    "conv_window": 2,
    "conv1d_width": 4,
    "linear_conv_kernel_dim": 4,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_num_heads": 8,
    "mamba_head_dim": 32,
    "mamba_n_heads": 8,
    "mamba_d_head": 32,
    "mamba_n_groups": 1,
    "mamba_d_ssm": 256,
    "state_size": 16,
    "ssm_state_size": 16,
    "n_groups": 1,
    "time_step_rank": 8,
    "time_step_limit": [0.0, 100.0],
    "block_dim": 128,
    "block_multiple_of": 16,
    "block_ffn_dim_multiplier": 1.0,
    "layer_group_size": 3,
    "group_norm_size": 1,
    "full_attention_interval": 3,
    "kv_lora_rank": 48,
    "q_lora_rank": 64,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "index_head_dim": 32,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "attention_method": "MLA",
    "zero_expert_type": "identity",
    "zero_expert_num": 1,
    "block_size": 64,
    "hidden_act": "silu",
    "intermediate_size_mlp": 48,
    "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
}
OTHERS = ("linear_attention", "sliding_attention", "conv", "mamba")
"""Kinds of layers beside full attention, of which a file's own is taken."""

HALF = {"num_nextn_predict_layers": 0, "rope_scaling": None, "quantization": None, "architectures": None}


def arguments(module: Any, kinds: Any = None, *, vocabulary: int = 128) -> dict[str, Any]:
    """A small config for a file's ModelArgs, or for another of its dataclasses."""
    kinds = kinds or module.ModelArgs
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kinds):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        name = field.name
        if name in HALF:
            found[name] = HALF[name]
        elif name in ("text_config", "llm_config"):
            found[name] = None
        elif name in SMALL:
            found[name] = SMALL[name]
        elif required:
            kind = str(field.type)
            guess = 0.1 if "float" in kind else 4 if "int" in kind else False if "bool" in kind else ""
            found[name] = {} if "ict" in kind else [] if "ist" in kind else guess
    if "layer_types" in {field.name for field in dataclasses.fields(kinds)}:
        source = inspect.getsource(module)
        other = next((kind for kind in OTHERS if f'"{kind}"' in source), None)
        if other is not None:
            found["layer_types"] = [other, "full_attention", other] * (LAYERS // 3)
        else:
            found.pop("layer_types", None)
    found["vocab_size"] = vocabulary
    return found


def config_of(name: str, module: Any) -> dict[str, Any]:
    """The file's config, its language part's within where it has one."""
    found = arguments(module) | OWN.get(name, {}) | {"model_type": PUBLISHED.get(name, name), "torch_dtype": "bfloat16"}
    if "text_config" in found and found["text_config"] is None:
        inner_name, file = INNER.get(name, (f"{name}_text", f"{name}_text"))
        inner = module if part_of(module) else importlib.import_module(f"mlx_lm.models.{file}")
        found["text_config"] = {
            **arguments(inner, part_of(inner)),
            **OWN.get(inner_name, {}),
            **OWN.get(f"{name} text", {}),
        }
        found["text_config"]["model_type"] = inner_name
    return found


def part_of(module: Any) -> Any:
    """A file's dataclass of a language part; None where it has none."""
    kinds = (getattr(module, name, None) for name in PARTS)
    return next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)


PUBLISHED = {"minimax": "minimax_m2"}
"""File -> the type of the models that are published for it."""

PARTS = ("TextConfig", "TextArgs", "TextModelArgs", "LanguageConfig")
INNER: dict[str, tuple[str, str]] = {
    "kimi_k25": ("deepseek_v3", "deepseek_v3"),
    "kimi_k3": ("kimi_linear", "kimi_linear"),
    "kimi_vl": ("deepseek_v3", "deepseek_v3"),
    "lfm2-vl": ("lfm2", "lfm2"),
    "mistral3": ("ministral3", "ministral3"),
    "pixtral": ("mistral", "llama"),
    "qwen2_vl": ("qwen2_vl_text", "qwen2"),
    "qwen3_vl": ("qwen3_vl_text", "qwen3"),
    "qwen3_vl_moe": ("qwen3_vl_moe_text", "qwen3_moe"),
    "minimax_m3_vl": ("minimax_m3_vl_text", "minimax_m3"),
    "muse_spark": ("muse_spark_text", "muse_glimmer"),
    "qwen3_5_moe": ("qwen3_5_moe_text", "qwen3_5"),
    "prism_hadamard_qwen35": ("qwen3_5_text", "qwen3_5"),
}
"""File -> its language part's model type and file, where the file has no dataclass for it."""

YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, "mscale_all_dim": 1.0, "mscale": 1.0}
KDA = {
    "kda_layers": [1, 2, 4, 5],
    "full_attn_layers": [3, 6],
    "num_heads": 4,
    "head_dim": 32,
    "short_conv_kernel_size": 4,
}
WINDOWS = (["sliding_attention"] * 2 + ["full_attention"]) * 2
NO_ROPE = [1, 1, 1, 0, 1, 1]
"""Llama 4's fourth layers see everything, in all its published configs."""
LONG_ROPE = {"type": "longrope", "long_factor": [1.0] * 8, "short_factor": [1.0] * 8} | {
    "original_max_position_embeddings": 4096
}
SPARSE = {
    "sparse_num_index_heads": 2,
    "sparse_index_dim": 32,
    "sparse_block_size": 64,
    "sparse_topk_blocks": 2,
    "sparse_local_block": 1,
    "sparse_attention_freq": [0, *[1] * (LAYERS - 1)],
}
BLOCKS = [
    {"attention": {"no_op": index == 1, "n_heads_in_group": None if index == 1 else 2}, "ffn": {"ffn_mult": 1.0}}
    for index in range(LAYERS)
]
LFM = ["conv", "full_attention", "conv"] * 2
SCALED = {
    "rope_type": "default",
    "rope_theta": 1e4,
    "llama_4_scaling_beta": 0.1,
    "original_max_position_embeddings": 64,
}
MELLUM = ("sliding_attention", "full_attention")
OWN: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"rope_scaling": YARN, "topk_method": "greedy", "scoring_func": "softmax"},
    "exaone4": {"sliding_window_pattern": "LLLG"},
    "gpt_neox": {"rotary_pct": 0.5, "num_key_value_heads": 4},
    "gptj": {"rotary_dim": 16, "n_embd": 256, "n_head": 4},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention", "mamba"] * 2,
        "shared_intermediate_size": 48,
        "intermediate_size": 32,
        "mamba_n_heads": 8,
        "mamba_d_head": 32,
        "mamba_d_state": 16,
        "mamba_n_groups": 1,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    "hunyuan": {"rope_scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0, "beta_fast": 32, "beta_slow": 1}},
    "hunyuan_v1_dense": {"rope_scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0}},
    "exaone_moe": {"is_moe_layer": [False, *[True] * (LAYERS - 1)]},
    "kimi_linear": {"linear_attn_config": KDA, "num_key_value_heads": 4},
    "kimi_k3 text": {
        "hidden_act": "situ",
        "linear_attn_config": KDA,
        "num_key_value_heads": 4,
        "num_experts_per_token": 2,
    },
    "lfm2": {"full_attn_idxs": [1, 4], "layer_types": LFM},
    "lfm2_moe": {"full_attn_idxs": [1, 4], "layer_types": LFM, "num_dense_layers": 1},
    "llama4_text": {"num_experts_per_tok": 1, "no_rope_layers": NO_ROPE},
    "longcat_flash": {"mla_scale_q_lora": True, "mla_scale_kv_lora": True},
    "longcat_flash_ngram": {"mla_scale_q_lora": True, "mla_scale_kv_lora": True, "emb_neighbor_num": 4},
    "mamba": {"intermediate_size": 256},
    "falcon_mamba": {"intermediate_size": 256},
    "ministral3": {"rope_parameters": SCALED},
    "mistral4": {"rope_parameters": SCALED},
    "step3p5": {"moe_top_k": 2},
    "plamo": {"n_shared_head": 2},
    "recurrent_gemma": {"block_types": ["recurrent", "recurrent", "attention"], "num_key_value_heads": 1},
    "spark2_5": {
        "hidden_act": "gelu",
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": 1e4} for kind in MELLUM},
    },
    "mellum": {"rope_parameters": {kind: {"rope_type": "default", "rope_theta": 1e4} for kind in MELLUM}},
    "gemma3n text": {
        "layer_types": WINDOWS,
        "num_kv_shared_layers": 2,
        "activation_sparsity_pattern": [0.0] * LAYERS,
        "altup_active_idx": 0,
        "laurel_rank": 8,
    },
    "gemma4_text": {"layer_types": WINDOWS, "num_kv_shared_layers": 2},
    "minicpm3": {"rope_scaling": LONG_ROPE, "num_key_value_heads": 4},
    "minimax_m3_vl text": {"sparse_attention_config": SPARSE, "moe_layer_freq": [0, *[1] * (LAYERS - 1)]},
    "muse_spark text": {"num_shared_experts": 0, "layer_types": WINDOWS, "layer_rope_theta": [1e4, 1e4, 0] * 2},
    "nemotron-nas": {"block_configs": BLOCKS, "num_key_value_heads": None},
    "prism_hadamard_qwen35": {
        "tensor_namespace": "mlx-vlm-qwen3_5",
        "quantization": {"bits": 2, "group_size": 128, "mode": "affine"},
        "modules": [{"path": "lm_head", "embedding": False, "dtype": "float16", "block": 0}],
    },
    "qwen": {"kv_channels": 32, "intermediate_size": 96},
    "plamo3": {"window_size": 64, "sliding_window_pattern": 3},
    "baichuan_m1": {"sliding_window_layers": [1, 3, 5], "num_swa_attention_heads": 2, "num_swa_key_value_heads": 1},
    "deepseek_v41": {"compress_ratios": [0, 4, 8] * 2},
    "jamba": {"attn_layer_offset": 1, "attn_layer_period": 3, "expert_layer_offset": 1, "expert_layer_period": 2},
    "mimo_v2_flash": {
        "hybrid_layer_pattern": [1, 0, 1] * 2,
        "moe_layer_freq": [0, *[1] * (LAYERS - 1)],
        "swa_num_key_value_heads": 4,
        "swa_head_dim": 32,
        "swa_v_head_dim": 16,
        "v_head_dim": 16,
    },
    "iquestloopcoder": {"loop_num": 2, "loop_window_size": 64},
    "nemotron_h": {"hybrid_override_pattern": "M*M-M*", "layer_types": None},
    "llama4": {"no_rope_layers": NO_ROPE},
    "openelm": {"num_query_heads": [4] * LAYERS, "num_kv_heads": [2] * LAYERS, "ffn_multipliers": [1.0] * LAYERS},
}
"""What one file alone asks for."""


def no_kernel(**_: Any) -> Any:
    """In place of a kernel for Metal, which a CPU has not: zeros of the shapes that it is asked for."""

    def zeros(*, output_shapes: Any, output_dtypes: Any, **_: Any) -> list[Any]:
        return [mx.zeros(shape, dtype) for shape, dtype in zip(output_shapes, output_dtypes, strict=True)]

    return zeros


def build(module: Any, config: dict[str, Any], dtype: Any) -> Any:
    """mlx-lm's model, random."""
    model = module.Model(module.ModelArgs.from_dict(config))
    floats = tree_map(lambda a: a.astype(dtype) if mx.issubdtype(a.dtype, mx.floating) else a, model.parameters())
    model.update(floats)
    mx.eval(model.parameters())
    return model


def measured(model: Any, tokens: int) -> list[int]:
    """Bytes of the cache after a prompt of one chunk, and after a token."""
    cache = make_prompt_cache(model)
    found = []
    prompt = mx.random.randint(0, 100, (1, tokens))
    for piece in (prompt, prompt[:, :1]):
        model(piece, cache=cache)
        mx.eval([layer.state for layer in cache])
        found.append(sum(layer.nbytes for layer in cache))
    return found


def told(folder: Path, tokens: int, element: int) -> list[int | None] | str:
    """The library's bytes at the same moments; a sentence where it does not tell."""
    try:
        facts = mlx_facts(inspector.load(str(folder)).model, "stored")
    except InspectError as error:
        return error.message
    if isinstance(facts, str):
        return facts
    settings = MlxSettings(context=tokens + 1, prefill_step_size=2048)
    moments = (Moment(0, tokens, 1), Moment(tokens, 1, 1))
    return [cache_bytes(facts.layers, moment, settings, element) for moment in moments]


def compared(name: str) -> dict[str, Any]:
    """One file's answer, in this process."""
    module = importlib.import_module(f"mlx_lm.models.{name}")
    try:
        config = config_of(name, module)
    except Exception as error:
        return {"not_built": f"{type(error).__name__}: {error}"[:160]}
    for dtype, element in ((mx.bfloat16, 2), (mx.float32, 4)):  # on a CPU, MLX multiplies with experts in float32 alone
        try:
            model = build(module, config, dtype)
            real = {tokens: measured(model, tokens) for tokens in (PROMPT, LONG)}
            break
        except Exception as error:
            if element == 4 or "float32" not in str(error):
                return {"not_built": f"{type(error).__name__}: {error}"[:160]}
    config["torch_dtype"] = "bfloat16" if element == 2 else "float32"
    with tempfile.TemporaryDirectory() as folder:
        save_model(folder, model)
        save_config(dict(config), Path(folder) / "config.json")
        mine = {tokens: told(Path(folder), tokens, element) for tokens in real}
    if isinstance(mine[PROMPT], str):
        return {"refused": mine[PROMPT][:160]}
    wrong = [f"{mine[n]} told, {real[n]} by mlx-lm after {n}" for n in real if mine[n] != real[n]]
    return {"bytes_differ": wrong[0]} if wrong else {"equal": True}


def names() -> list[str]:
    """The files with a class."""
    found = []
    for each in pkgutil.iter_modules(mlx_lm.models.__path__):
        try:
            module = importlib.import_module(f"mlx_lm.models.{each.name}")
        except (Exception, SystemExit):
            continue
        if hasattr(module, "Model") and hasattr(module, "ModelArgs"):
            found.append(each.name)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    if not mx.metal.is_available():
        mx.fast.metal_kernel = no_kernel
    chosen = asked.names or names()
    found: dict[str, Any] = {"files": len(chosen), "built": 0, "equal": 0}
    found |= {key: {} for key in ("refused", "bytes_differ", "not_built")}
    for name in chosen:
        answer = compared(name)
        found["built"] += "not_built" not in answer
        found["equal"] += "equal" in answer
        for key in ("refused", "bytes_differ", "not_built"):
            if key in answer:
                found[key][name] = answer[key]
                print(name, key, answer[key], flush=True)
    print(json.dumps(found, indent=1))
    if asked.write:
        head = {"command": "make oracle-mlx", "transformers": f"mlx-lm {VERSION}"}
        head["date"] = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        FOLDER.joinpath("mlx.json").write_text(json.dumps({**head, **found}, indent=1) + "\n", "utf-8")
        render()
    return 0


if __name__ == "__main__":
    sys.exit(main())
