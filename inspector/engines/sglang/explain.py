"""How each number of SGLang's account is made. The bytes are the plan's own; only the words are made here."""

from __future__ import annotations

from inspector.engines.common.explain import weights_part
from inspector.engines.common.served import Gpu, ServedModel
from inspector.engines.sglang.budget import SglangPlan, SglangSettings
from inspector.memory.estimate import Part


def explain_sglang(model: ServedModel, gpu: Gpu, settings: SglangSettings, plan: SglangPlan) -> tuple[Part, ...]:
    """The fullest rank's parts. SGLang measures no activations: what its share leaves is for them and the graphs."""
    fraction, free = plan.mem_fraction_static, gpu.memory - plan.reserved
    return (
        weights_part(model, plan.weights, plan.weight_shares, settings.tp_size, settings.pp_size),
        Part(
            "non_torch",
            plan.reserved,
            "in use before the weights are loaded: CUDA's context, and NCCL's buffers of several ranks",
            'published start-up logs: "Load weight begin. avail mem"',
        ),
        Part(
            "activations",
            plan.slack,
            f"left free: {free:,} B x (1 - mem_fraction_static {fraction:g})",
            "sglang/srt/mem_cache/kv_cache_configurator.py: _profile_available_bytes",
        ),
        Part(
            "kv_pool",
            plan.kv_pool,
            f"{free:,} B x {fraction:g} - weights; holds"
            f" {'an unknown number of' if plan.kv_tokens is None else format(plan.kv_tokens, ',')} tokens",
            "sglang/srt/mem_cache/pool_configurator.py",
        ),
    )
