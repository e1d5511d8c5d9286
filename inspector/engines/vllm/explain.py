"""How each number of vLLM's account is made. The bytes are the plan's own; only the words are made here."""

from __future__ import annotations

from inspector.engines.common.cache_specs import CacheSettings
from inspector.engines.common.explain import weights_part
from inspector.engines.common.served import Gpu, ServedModel
from inspector.engines.vllm.budget import (
    RankMemory,
    VllmPlan,
    VllmSettings,
    batch_sizes,
    cache_settings,
    graphs_in_budget,
)
from inspector.engines.vllm.cache import group_layers
from inspector.engines.vllm.profile import (
    GRAPH_SPREAD,
    LAYER_HIDDEN_COPIES,
    buffer_rows,
    logit_bytes,
    non_torch_range,
    version_class,
)
from inspector.memory.estimate import Part

_MEASURED = "measured; see benchmarks/fitted.json"


def explain_vllm(model: ServedModel, gpu: Gpu, settings: VllmSettings, plan: VllmPlan) -> tuple[Part, ...]:
    """The tightest rank's parts, in the order in which vLLM fills the GPU; the pool ends with what it holds."""
    rank = plan.tightest
    ranks = settings.tensor_parallel_size
    outside = non_torch_range(settings.version, ranks, gpu.compute_capability) or (None, None)
    return (
        weights_part(model, rank.weights, rank.weight_shares, ranks, settings.pipeline_parallel_size),
        _activations(model, gpu, settings, rank),
        Part(
            "non_torch",
            rank.non_torch,
            f"CUDA context, kernels{', NCCL of ' + str(ranks) + ' ranks' if ranks > 1 else ''}: the median of the logs"
            f" of version class {version_class(settings.version)}",
            f"vllm_profile.NON_TORCH_GIB, {_MEASURED}",
            low=outside[0],
            high=outside[1],
        ),
        Part(
            "graphs",
            rank.graphs,
            "none under enforce_eager" if settings.enforce_eager else _graphs_text(model, settings),
            f"vllm_profile.graph_bytes, {_MEASURED}",
            low=max(0, rank.graphs - GRAPH_SPREAD) if rank.graphs else None,
            high=rank.graphs + GRAPH_SPREAD if rank.graphs else None,
        ),
        _pool(model, gpu, settings, plan),
    )


def _activations(model: ServedModel, gpu: Gpu, settings: VllmSettings, rank: RankMemory) -> Part:
    tokens, sequences = batch_sizes(gpu, settings)
    width, bytes_ = model.hidden_size, model.element_bytes
    inner = -(-(model.intermediate_size or 0) // settings.tensor_parallel_size)
    sampler = settings.sampler or settings.version.sampler
    rows = buffer_rows(sampler, sequences)
    buffer = f" + {rows} rows x {model.vocab_size:,} x 4 B" if rows else ""
    texts = {
        "workspace": ("cuBLAS's workspace in torch's allocator", "aten/src/ATen/cuda/CublasHandlePool.cpp"),
        "images": (
            "images that the profile encodes first: pixels and tokens",
            "vllm/multimodal/encoder_budget.py",
        ),
        "encoder": (
            "the largest block of the encoder's layer over those images, more than a step of the language model",
            "vllm_profile.encoder_peak_bytes: read in vLLM's classes, not measured",
        ),
        "earlier_stage": (
            f"hidden states and residual: 2 x {tokens:,} tokens x {width:,} x {bytes_} B",
            "vllm/v1/worker/gpu_model_runner.py",
        ),
        "mixture_workspace": (
            f"the fused mixture's workspace for {tokens:,} tokens",
            "vllm/model_executor/layers/fused_moe/fused_moe.py: workspace_shapes",
        ),
        "layer": (
            f"{tokens:,} tokens x ({3 if model.mlp_gated else 2} x {inner:,} + {LAYER_HIDDEN_COPIES} x {width:,})"
            f" x {bytes_} B, more than the sampler",
            f"the widths of a layer; copies of the hidden states: {_MEASURED}",
        ),
        "sampler": (
            f"{min(tokens, sequences):,} sequences x {model.vocab_size:,} logits x {logit_bytes(model, sampler)} B"
            f"{buffer} + ({tokens:,} + 2 x {min(tokens, sequences):,}) x {width:,} x {bytes_} B of hidden states, more"
            " than a layer",
            f"vllm/v1/sample/sampler.py; bytes a logit where it sorts: {_MEASURED}",
        ),
    }
    parts = tuple(Part(name, size, *texts[name]) for name, size in rank.alive.items())
    return Part(
        "activations",
        rank.activations,
        f"the peak of a dummy step of {tokens:,} tokens and {sequences:,} sequences",
        "vllm/v1/worker/gpu_model_runner.py: profile_run",
        parts,
    )


def _graphs_text(model: ServedModel, settings: VllmSettings) -> str:
    layers = -(-len(model.layers) // settings.pipeline_parallel_size)
    where = "taken from the pool" if graphs_in_budget(model, settings.version) else "on top of what was requested"
    return f"CUDA graphs of {layers} layers, {where}"


def _pool(model: ServedModel, gpu: Gpu, settings: VllmSettings, plan: VllmPlan) -> Part:
    rank, held, version = plan.tightest, plan.capacity, settings.version
    share = settings.gpu_memory_utilization
    share = version.default_utilization if share is None else share
    less = "weights - activations - non torch" + (" - graphs" if graphs_in_budget(model, version) else "")
    cache = cache_settings(model, gpu, settings)
    parts = [] if held is None else _capacity(model, settings, cache, plan)
    return Part(
        "kv_pool",
        rank.kv_pool,
        f"{gpu.memory:,} B x gpu_memory_utilization {share:g} - {less}",
        "vllm/v1/worker/gpu_worker.py: determine_available_memory",
        tuple(parts),
    )


def _capacity(model: ServedModel, settings: VllmSettings, cache: CacheSettings, plan: VllmPlan) -> list[Part]:
    held = plan.capacity
    assert held is not None
    groups = group_layers(settings.cached_layers(model), cache)
    each = ", ".join(
        dict.fromkeys(
            f"{type(group.spec).__name__.removesuffix('Spec').lower()} {group.spec.blocks(cache):,}" for group in groups
        )
    )
    source = "vllm/v1/core/kv_cache_utils.py"
    return [
        Part(
            "blocks",
            held.blocks * held.block_bytes,
            f"{held.blocks:,} blocks of {held.block_bytes:,} B ({groups[0].spec.block_size} tokens in"
            f" {len(groups)} group{'s' if len(groups) > 1 else ''} of layers)",
            source,
        ),
        Part(
            "request",
            held.blocks_per_request * held.block_bytes,
            f"one of max_model_len {cache.max_model_len:,}: {held.blocks_per_request:,} blocks ({each} a group), so"
            f" {held.max_concurrency:,.2f} at once",
            source,
        ),
    ]
