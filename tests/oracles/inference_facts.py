"""The facts of an `Architecture` as a real transformers model has them, in a form that JSON can keep."""

from __future__ import annotations

from typing import Any

from transformers import DynamicCache


def facts_of(model: Any, cache: DynamicCache | None) -> dict[str, Any]:
    """What `inspector.model.Architecture` should say, read from the class's config and from a filled cache."""
    config = model.config
    heads = config.num_attention_heads
    layers = [layer_facts(config, layer) for layer in cache.layers] if cache else ["none"] * config.num_hidden_layers
    first = cache.layers[0].keys.shape if cache and not _latent_rank(config) else None
    width_keys = ("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner", "hidden_dim")
    activation_keys = ("hidden_activation", "hidden_act", "activation_function", "activation")
    moe_width = getattr(config, "moe_intermediate_size", None)
    expert_keys = ("num_local_experts", "num_experts", "n_routed_experts")
    experts = next((getattr(config, key) for key in expert_keys if getattr(config, key, None)), None)
    return {
        "model_type": config.model_type,
        "architecture": type(model).__name__,
        "num_hidden_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "num_attention_heads": heads,
        "num_key_value_heads": first[1] if first else heads,
        "head_dim": first[-1] if first else config.hidden_size // heads,
        "intermediate_size": next((getattr(config, key) for key in width_keys if getattr(config, key, None)), None),
        "vocab_size": config.vocab_size,
        "hidden_act": next((getattr(config, key) for key in activation_keys if getattr(config, key, None)), None),
        "is_decoder": cache is not None,
        "experts": [experts, config.num_experts_per_tok] if experts else None,
        "moe_intermediate_size": moe_width,
        "layers": layers,
    }


def layer_facts(config: Any, layer: Any) -> list[Any] | str:
    """The kind of one cache layer and the numbers that its dataclass of inspector.model.layers takes."""
    if rank := _latent_rank(config):
        return ["latent", rank, config.qk_rope_head_dim]
    sizes = [layer.keys.shape[1], layer.keys.shape[-1], layer.values.shape[-1]]
    return ["sliding", *sizes, layer.sliding_window] if layer.is_sliding else ["full", *sizes]


def _latent_rank(config: Any) -> int | None:
    return getattr(config, "kv_lora_rank", None)
