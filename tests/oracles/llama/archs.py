"""Metadata of a small model of each of llama.cpp's architectures: unequal sizes wherever the architecture allows them.

    python -m tests.oracles.llama.archs NAMES > JOBS.jsonl      # for tests/oracles/llama/real.py

An architecture is tried with the most unequal metadata first: heads by layer, keys wider than values, windows beside
full layers. What llama.cpp's graph of it asserts (keys as wide as values, one count of heads) is given way to in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspector.hub.formats.gguf.kept import llama_cpp_table

Metadata = dict[str, Any]

ARCHITECTURES = list(llama_cpp_table()["architectures"])
"""Those of LLM_ARCH_NAMES (src/llama-arch.cpp). A new build's are named to tests/oracles/llama/rules.py."""

RUNS: tuple[dict[str, Any], ...] = (
    {"n_ctx": 5000, "n_ubatch": 512, "swa_full": False},
    {"n_ctx": 6144, "n_ubatch": 256, "n_seq_max": 3, "kv_unified": False, "swa_full": False},
    {"n_ctx": 6144, "n_ubatch": 512, "n_seq_max": 3, "kv_unified": True, "swa_full": False},
    {"n_ctx": 4096, "n_ubatch": 512, "swa_full": True},
    {"n_ctx": 4096, "n_ubatch": 512, "swa_full": False, "type_k": 8, "type_v": 8},
)
"""One sequence, three with caches of their own, three with one cache, windows of full size, and a cache of q8_0."""

VOCABULARY = 128
XIELU = dict.fromkeys(("xielu.alpha_n", "xielu.alpha_p", "xielu.beta", "xielu.eps"), 1.0)
LATENT = {
    "attention.key_length": 576,
    "attention.value_length": 512,
    "rope.dimension_count": 64,
    "attention.key_length_mla": 192,
    "attention.value_length_mla": 128,
    "attention.head_count_kv": 1,
}
"""Latents as newer files have them: one head for all."""

INTERNAL = {
    "attention.q_lora_rank": 96,
    "attention.kv_lora_rank": 512,
    "attention.layer_norm_epsilon": 1e-5,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.group_norm_epsilon": 1e-5,
    "attention.group_norm_groups": 8,
    "attention.relative_buckets_count": 8,
    "attention.clamp_kqv": 1.0,
    "attention.max_alibi_bias": 8.0,
    "attention.indexer.head_count": 4,
    "attention.indexer.key_length": 64,
    "attention.indexer.top_k": 128,
    "attention.indexer.block_size": 4,
    "attention.indexer.local_blocks": 1,
    "attention.indexer.kpool": 4,
    "use_parallel_residual": False,
    "logit_scale": 1.0,
    "residual_scale": 3.5,
    "leading_dense_block_count": 1,
    "time_mix_extra_dim": 32,
    "time_decay_extra_dim": 64,
    "token_shift_count": 2,
    "wkv.head_size": 64,
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 512,
    "ssm.state_size": 32,
    "ssm.time_step_rank": 16,
    "ssm.group_count": 2,
    "kda.head_dim": 32,
    "kda.safe_gate": True,
    "kda.gate_lower_bound": -5.0,
    "shortconv.l_cache": 3,
    "attn_res.block_size": 12,
    "activation.situ_beta": 4.0,
    "activation.situ_linear_beta": 25.0,
    "full_attention_interval": 3,
    "posnet.embedding_length": 256,
    "posnet.block_count": 6,
    "convnext.embedding_length": 256,
    "convnext.block_count": 6,
    "features_length": 256,
    "rope.dimension_sections": [8, 4, 4, 0],
    "attention.decay_lora_rank": 32,
    "attention.iclr_lora_rank": 32,
    "attention.value_residual_mix_lora_rank": 32,
    "attention.gate_lora_rank": 32,
    "hyper_connection.count": 4,
    "hyper_connection.sinkhorn_iterations": 2,
    "hyper_connection.epsilon": 1e-6,
    "hyper_connection.magnitude": 2.0,
    "hyper_connection.low_rank": 8,
    "swiglu_clamp_exp": 7.0,
    "swiglu_clamp_shexp": 7.0,
    "hash_layer_count": 0,
}
MIXTURE = {
    "expert_count": 4,
    "expert_used_count": 2,
    "expert_shared_count": 1,
    "expert_feed_forward_length": 96,
    "expert_shared_feed_forward_length": 48,
    "expert_latent_length": 96,
    "expert_gating_func": 2,
    "expert_group_scale": 1.0,
    "experts_per_group": 1,
    "expert_weights_scale": 1.0,
    "expert_weights_norm": True,
    "moe_every_n_layers": 2,
    "interleave_moe_layer_step": 2,
}


LISTED = [True, True, False, True, False, False]
OWN: dict[str, Metadata] = {
    "gemma4": {
        "embedding_length_per_layer_input": 32,
        "attention.key_length_swa": 32,
        "attention.value_length_swa": 32,
        "attention.key_length": 64,
        "attention.value_length": 64,
        "rope.dimension_count": 64,
        "attention.shared_kv_layers": 2,
        "attention.sliding_window_pattern": [True, False, True, False, True, False],
    },
    "deepseek4": {
        "embedding_length": 512,
        "attention.q_lora_rank": 64,
        "attention.indexer.head_count": 64,
        "attention.indexer.key_length": 128,
        "expert_count": 2,
        "attention.head_count_kv": 1,
        "attention.key_length": 64,
        "attention.value_length": 64,
        "rope.dimension_count": 32,
        "attention.output_group_count": 8,
        "attention.output_lora_rank": 32,
        "attention.compress_ratios": [0, 0, 4, 128, 4, 128],
        "attention.compress_rope_freq_base": 160000.0,
        "expert_gating_func": 4,
    },
    "dots3note": {
        **LATENT,
        "attention.indexer.head_count": 64,
        "attention.indexer.key_length": 128,
        "attention.sliding_window_pattern": [1, 1, 0, 1, 0, 1],
        "attention.kv_lora_rank_swa": 512,
        "attention.key_length_swa": 576,
        "attention.value_length_swa": 512,
        "attention.key_length_mla_swa": 192,
        "attention.value_length_mla_swa": 128,
        "rope.freq_base_swa": 10000.0,
        "attention.indexer.types": [0, 0, 1, 0, 1, 0],
    },
    "hrm_text": {"hrm.layers_per_stack": 1, "hrm.h_cycles": 2, "hrm.l_cycles": 2},
    "nanbeige": {"num_loops": 2},
    "hy_v4": {**LATENT, "attention.indexer.types": [1, 0, 1, 0, 0, 1], "attention.indexer.key_length": 128},
    "kimi-linear": {**LATENT, "attention.head_count_kv": [0, 1, 0, 0, 1, 0]},
    "bailingmoe3": {**LATENT, "attention.head_count_kv": [0, 1, 0, 0, 1, 0]},
    "kimi-k3": {**LATENT, "attention.head_count_kv": [0, 1, 0, 0, 1, 0]},
    "glm5-next": {
        **LATENT,
        "attention.key_length": 512,
        "rope.dimension_count": 0,
        "attention.head_count_kv": [0, 1, 0, 0, 1, 0],
        "attention.indexer.types": [1, 1, 0, 1, 0, 1],
    },
    "rwkv6qwen2": {
        "token_shift_count": 1,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.key_length": 64,
    },
    "arwkv7": {"token_shift_count": 1, "attention.head_count": 4, "attention.key_length": 64},
    "rwkv6": {"attention.head_count": 0, "attention.head_count_kv": 0},
    "plm": {
        "attention.key_length": 48,
        "attention.value_length": 32,
        "rope.dimension_count": 16,
        "attention.head_count_kv": 8,
    },
    "minimax-m3": {"attention.indexer.head_count": 2, "rope.dimension_count": 32, "leading_dense_block_count": 2},
    "chameleon": {"vocab_size": 10240},
    "eagle3": {"target_layers": [1, 2, 3], "target_hidden_size": 256},
    "dflash": {"target_layers": [1, 2, 3], "target_hidden_size": 256, "block_size": 8, "hyper_connection.count": None},
    "graniteswitch": {
        "adapters.count": 2,
        "adapters.lora_rank": 8,
        "adapters.token_ids_activate": [1, 2],
        "adapters.token_ids_substitute": [3, 4],
        "adapters.router_gain": 1.0,
    },
    "qwen4exp": {
        "attention.compress_ratios": [4] * 6,
        "ple.layers": [0],
        "ple.ngram_size": 3,
        "ple.heads_per_ngram": 2,
        "ple.conv_kernel": 4,
        "ple.eos_token_id": 0,
        "embedding_length_per_layer_input": 64,
        "ple.layer_multipliers": [1, 3, 5],
        "ple.head_offsets": [0, 128, 256, 384],
        "ple.head_vocab_sizes": [128] * 4,
    },
}
"""Keys that one architecture alone asks for."""


def variants(count: int = 6) -> Iterator[Metadata]:
    """Sizes from the most unequal to the plainest: heads, their widths, and windows."""
    listed = [2, 4, 1, 2, 1, 4] * (count // 6 + 1)
    none = [0, 2, 0, 0, 2, 0] * (count // 6 + 1)
    heads = (
        {"attention.head_count_kv": none[:count]},
        {"attention.head_count_kv": listed[:count]},
        {"attention.head_count_kv": 2},
    )
    both = {"attention.head_count_kv": none[:count], "attention.head_count": [4 * bool(n) for n in none[:count]]}
    equal = {"attention.head_count_kv": 8}
    widths = (
        {"attention.key_length": 48, "attention.value_length": 32, "rope.dimension_count": 48},
        {"attention.key_length": 48, "attention.value_length": 48, "rope.dimension_count": 48},
        {"attention.key_length": 32, "attention.value_length": 32, "rope.dimension_count": 32},
        LATENT,
        {},
    )
    patterns = ([True, True, False, True, False, False] * (count // 6 + 1), 3)
    for pattern in patterns:
        window = {
            "attention.sliding_window": 700,
            "attention.sliding_window_pattern": pattern[:count] if isinstance(pattern, list) else pattern,
        }
        for kept in (*heads, both, equal):
            for width in widths:
                yield {**window, **kept, **width}
    yield {"attention.head_count_kv": 2}


def metadata(arch: str, sizes: Metadata, *, layers: int = 6, mixture: bool = False) -> Metadata:
    """All of a model's metadata; keys that an architecture does not know do no harm."""
    own: Metadata = {
        "context_length": 8192,
        "vocab_size": VOCABULARY,
        "embedding_length": 256,
        "block_count": layers,
        "feed_forward_length": 384,
        "attention.head_count": 8,
        **INTERNAL,
        **(MIXTURE if mixture else {}),
        **sizes,
        **OWN.get(arch, {}),
    }
    for key, value in own.items():
        if type(value) is list and len(value) == 6 != layers:  # one a layer
            own[key] = (value * layers)[:layers]
    named = {f"{arch}.{key}": value for key, value in own.items() if value is not None}
    words = [f"t{index}" for index in range(VOCABULARY)]
    return {
        "general.architecture": arch,
        **named,
        "tokenizer.ggml.token_type_count": 2,
        **XIELU,
        "tokenizer.ggml.model": "test",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.scores": [0.0] * VOCABULARY,
    }
