"""vLLM's accounting: from a model, a GPU and settings to what lies on each rank and what is left for the KV cache.

    pool = GPU's memory * gpu_memory_utilization - weights - activation peak - memory outside torch [- graphs]

vllm/v1/worker/gpu_worker.py: Worker.determine_available_memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from inspector.engines.common.cache_specs import CacheSettings, sparse_latents
from inspector.engines.common.heads import DRAFT_TOKENS
from inspector.engines.common.legal_layouts import LayoutRules, check_layout
from inspector.engines.common.loaded_weights import ceil_div, rank_shares, stage_layers
from inspector.engines.common.served import GIB, Gpu, ServedModel, has_latents
from inspector.engines.vllm.cache import Capacity, capacity, longest_context
from inspector.engines.vllm.cache_types import TYPES
from inspector.engines.vllm.loads import STATE_BYTES
from inspector.engines.vllm.profile import Sampler, activation_shares, captured_graphs, graph_bytes, non_torch_bytes
from inspector.engines.vllm.version import VllmVersion
from inspector.errors import UsageError, known_hint
from inspector.model.layers.layer import Layer

PADDING_RELEASE = (0, 22)
"""The first vLLM that may pad for Marlin: 0.24 does (marlin_utils.py: marlin_padded_nk), 0.21 does not."""

PREQUANTIZED_RELEASE = (0, 28)
"""bitsandbytes left vLLM's own tree between 0.26 and 0.28."""

_STATE_BYTES = {"auto": 0, **STATE_BYTES}


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """vLLM's own names. None takes vLLM's default for the version and the GPU.

    Attributes:
        max_model_len: tokens a request may have.
        data_parallel_size: replicas of the attention, each with a pool of its own; experts lie over all ranks.
        enable_expert_parallel: experts are dealt out whole.
        enable_prefix_caching: None: on, for models with states since 0.26 only.
        sampler: which sampler the profile runs; None for the version's.
        hybrid_kv_cache: the hybrid manager is on (not --disable-hybrid-kv-cache-manager).
        non_torch: bytes outside torch, where they are known better than the table has them.
        graphs: bytes of CUDA graphs, likewise.
        adapters: bytes of the buffers for adapters on a rank that holds all layers (lora.py).
        draft: a draft model, which every rank of the last stage holds beside the model; its layers share the pool.
        decode_context_parallel_size: ranks that the tokens of a request are dealt out to.
        cpu_offload: bytes of the weights on each rank that stay with the CPU.
        kv_cache_memory: bytes of the pool, where they are given: nothing else then decides it.
        language_model_only: the encoders are not loaded.
        whole_encoders: every rank holds the encoders whole (--mm-encoder-tp-mode data).
        redundant_experts: copies of experts that EPLB keeps, of each layer over all ranks.
        draft_tokens: that it drafts at once: of a state, a request keeps as many more (MambaSpec).
    """

    max_model_len: int
    version: VllmVersion = field(default_factory=VllmVersion)
    gpu_memory_utilization: float | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    kv_cache_dtype: str = "auto"
    mamba_ssm_cache_dtype: str = "auto"
    block_size: int = 16
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    enable_expert_parallel: bool = False
    enforce_eager: bool = False
    enable_prefix_caching: bool | None = None
    hybrid_kv_cache: bool = True
    sampler: Sampler | None = None
    non_torch: int | None = None
    graphs: int | None = None
    adapters: int = 0
    draft: ServedModel | None = None
    draft_tokens: int = DRAFT_TOKENS
    decode_context_parallel_size: int = 1
    cpu_offload: int = 0
    kv_cache_memory: int | None = None
    language_model_only: bool = False
    whole_encoders: bool = False
    redundant_experts: int = 0

    def cached_layers(self, model: ServedModel) -> tuple[Layer, ...]:
        """The layers whose caches lie in the pool."""
        return model.layers if self.draft is None else (*model.layers, *self.draft.layers)


@dataclass(frozen=True, slots=True)
class RankMemory:
    """Bytes on each rank of one pipeline stage. `kv_pool` is what is left: negative where nothing is; `unused`, where
    the layers cache nothing.

    `weight_shares` and `alive` say what the weights and the activations are the sums of.
    """

    requested: int
    weights: int
    activations: int
    non_torch: int
    graphs: int
    kv_pool: int
    weight_shares: Mapping[str, int]
    alive: Mapping[str, int]
    unused: int = 0

    @property
    def total(self) -> int:
        """All that the rank takes of the GPU, graphs included where they come on top of what was requested."""
        return self.weights + self.activations + self.non_torch + self.graphs + max(0, self.kv_pool)


@dataclass(frozen=True, slots=True)
class VllmPlan:
    """What vLLM would print.

    Attributes:
        stages: one entry a pipeline stage.
        capacity: of the KV cache; None where the layers cache nothing.
        fits: one request of max_model_len can be served; vLLM refuses to start where not.
        longest_context: tokens of the longest single request that could be, up to max_model_len.
    """

    stages: tuple[RankMemory, ...]
    capacity: Capacity | None
    fits: bool
    longest_context: int
    most_sequences: int | None = None

    @property
    def tightest(self) -> RankMemory:
        """The stage with the least room for the cache."""
        return min(self.stages, key=lambda stage: stage.kv_pool + stage.unused)


def batch_defaults(gpu: Gpu, version: VllmVersion) -> tuple[int, int]:
    """(max_num_batched_tokens, max_num_seqs) of `vllm serve` where neither is given.

    vllm/engine/arg_utils.py: get_batch_defaults. From 70 GiB on, A100 apart, 8192 and 1024; below, 2048 and 256; since
    0.28 (not in 0.27) 16384 from 160 GiB on.
    """
    if version.v1 and gpu.memory >= 160 * GIB and version.release >= (0, 28):
        return 16384, 1024
    if version.v1 and gpu.memory >= 70 * GIB and "a100" not in gpu.name.lower():
        return 8192, 1024
    return 2048, 256


def batch_sizes(gpu: Gpu, settings: VllmSettings) -> tuple[int, int]:
    """(tokens, sequences) of the largest step, settings before defaults.

    V0 (vllm/config.py: SchedulerConfig) takes a whole prompt in a step, and chunks it only from 32k on.
    """
    tokens, sequences = batch_defaults(gpu, settings.version)
    if not settings.version.v1 and settings.max_model_len <= 32768:
        tokens = max(settings.max_model_len, tokens)
    if settings.max_num_batched_tokens is not None:
        tokens = settings.max_num_batched_tokens
    if settings.max_num_seqs is not None:
        sequences = settings.max_num_seqs
    return tokens, min(sequences, tokens)


def cache_settings(model: ServedModel, gpu: Gpu, settings: VllmSettings) -> CacheSettings:
    """The planner's settings. V0 knows no groups: windows cost their full length.

    Raises:
        UsageError: a cache type that vLLM does not know.
    """
    if settings.kv_cache_dtype not in TYPES:
        named = settings.kv_cache_dtype
        raise UsageError(f"unknown kv_cache_dtype '{named}'", known_hint(named, sorted(TYPES)))
    if settings.mamba_ssm_cache_dtype not in _STATE_BYTES:
        raise UsageError(
            f"unknown mamba_ssm_cache_dtype '{settings.mamba_ssm_cache_dtype}'",
            known_hint(settings.mamba_ssm_cache_dtype, sorted(_STATE_BYTES)),
        )
    kept = TYPES[settings.kv_cache_dtype]
    tokens, _ = batch_sizes(gpu, settings)
    aligned = caches_prefixes(model, settings) and settings.version.aligned_states
    checkpoints = aligned and settings.version.checkpoint_blocks > 0 and model.checkpoint_alignment is not None
    stages, drafted = settings.pipeline_parallel_size, settings.draft_tokens if settings.draft is not None else 0
    batches = (2 if stages == 1 else stages) if settings.version.overlapped_batches else 1
    return CacheSettings(
        max_model_len=settings.max_model_len,
        in_flight_tokens=tokens * batches,
        block_size=settings.block_size,
        element_bytes=kept.element_bytes or model.element_bytes,
        head_bytes=kept.head,
        sparse_latents=sparse_latents(model.layers),
        latent_row=kept.latent,
        state_bytes=model.element_bytes,
        recurrent_bytes=_STATE_BYTES[settings.mamba_ssm_cache_dtype] or model.recurrent_bytes,
        tensor_parallel=settings.tensor_parallel_size,
        state_blocks=(2 if aligned else 1) + drafted,
        drafted=drafted,
        checkpoint_blocks=settings.version.checkpoint_blocks if checkpoints else 0,
        state_alignment=(model.checkpoint_alignment or 1) if checkpoints else 1,
        encoder_budget=tokens,
        hybrid=settings.hybrid_kv_cache and settings.version.v1,
        latent_block_multiple=settings.version.latent_block_multiple,
        packed_sparse_latents=settings.version.packs_sparse_latents(gpu.compute_capability),
        context_ranks=settings.decode_context_parallel_size,
    )


def caches_prefixes(model: ServedModel, settings: VllmSettings) -> bool:
    """Whether prefixes are cached: as set, else by default on, for models with states only in newer versions."""
    if settings.enable_prefix_caching is not None:
        return settings.enable_prefix_caching
    if not has_states(model):
        return True
    attends = any(layer.rows for layer in model.layers) or not model.attention_free
    return attends and settings.version.hybrids_cache_prefixes


def has_states(model: ServedModel) -> bool:
    """Whether a layer keeps a recurrent state, beside rows or instead of them."""
    return any(layer.states for layer in model.layers)


def graphs_in_budget(model: ServedModel, version: VllmVersion) -> bool:
    """Whether an estimate of the CUDA graphs is taken off the pool; else they come on top of what was requested."""
    quantized = model.quantization is not None or model.linear_bytes not in (None, model.element_bytes)
    return version.graphs_in_budget and not version.estimates_no_graphs(
        model.model_type, mixture=model.mixture is not None, hybrid=has_states(model), quantized=quantized
    )


def loaded_shares(model: ServedModel, gpu: Gpu, settings: VllmSettings) -> tuple[dict[str, int], ...] | None:
    """Bytes of the weights on a rank of each stage by share, which sum to what "Model loading took" prints; None
    where they are not known."""
    marlin = settings.version.mxfp4_kernel_is_marlin(gpu.compute_capability)
    if settings.language_model_only and model.weights is not None:
        own = model.weights
        model = replace(model, weights=replace(own, divided=own.divided - own.encoders, encoders=0))
    stages = rank_shares(
        model,
        tensor_parallel=settings.tensor_parallel_size,
        pipeline_parallel=settings.pipeline_parallel_size,
        data_parallel=settings.data_parallel_size,
        whole_experts=settings.enable_expert_parallel,
        mxfp4="marlin" if marlin else "triton",
        # process_weights_after_loading dequantizes kv_b_proj for W_UK_T and W_UV; of a plain one they are views.
        copies=model.latents_packed,
        workspace=settings.version.latent_workspace(gpu.compute_capability) if has_latents(model) else 0,
        whole_encoders=settings.whole_encoders,
        spare_experts=settings.redundant_experts,
    )
    if stages is not None and settings.cpu_offload:
        stages = tuple(shares | {"cpu_offload": -_offloaded(shares, settings)} for shares in stages)
    if stages is not None and settings.draft is not None:
        drafts = rank_shares(
            settings.draft,
            tensor_parallel=settings.tensor_parallel_size,
            data_parallel=settings.data_parallel_size,
            whole_experts=settings.enable_expert_parallel,
            mxfp4="marlin" if marlin else "triton",
            copies=settings.draft.latents_packed,
        )
        if drafts is None:
            return None
        stages = (*stages[:-1], stages[-1] | {"draft": sum(drafts[0].values())})
    if stages is None or not settings.adapters:
        return stages
    counts = stage_layers(len(model.layers), settings.pipeline_parallel_size)
    return tuple(
        shares | {"adapters": ceil_div(settings.adapters * count, len(model.layers))}
        for shares, count in zip(stages, counts, strict=True)
    )


def _offloaded(shares: Mapping[str, int], settings: VllmSettings) -> int:
    """Bytes of a rank's parameters that stay with the CPU: of layers and encoders alone (UVAOffloader.wrap_modules)."""
    outside = ("embedding", "head", "rotary_table", "workspace", "allocator", "latent_copies")
    return min(settings.cpu_offload, sum(size for name, size in shares.items() if name not in outside))


def loaded_weights(model: ServedModel, gpu: Gpu, settings: VllmSettings) -> tuple[int, ...] | None:
    """Their sums: bytes on a rank of each stage."""
    stages = loaded_shares(model, gpu, settings)
    return None if stages is None else tuple(sum(shares.values()) for shares in stages)


def rank_memory(
    model: ServedModel, gpu: Gpu, settings: VllmSettings, stage_memory: Sequence[int] = ()
) -> tuple[RankMemory, ...] | None:
    """The budget of one rank of each stage; None where the weights are not known.

    `stage_memory`: bytes of each stage's smallest GPU, where the GPUs are not alike.
    """
    weights = loaded_shares(model, gpu, settings)
    if weights is None:
        return None
    version, stages = settings.version, settings.pipeline_parallel_size
    utilization = settings.gpu_memory_utilization
    share = version.default_utilization if utilization is None else utilization
    requests = [int(memory * share) for memory in stage_memory or (gpu.memory,) * stages]
    tokens, sequences = batch_sizes(gpu, settings)
    sampler: Sampler = settings.sampler or version.sampler
    if not version.v1 and settings.max_model_len > 32768:
        sampler = "none"  # a chunk of a prompt yields no token, so V0's profile samples none
    outside = settings.non_torch
    if outside is None:
        ranks = settings.tensor_parallel_size * settings.data_parallel_size
        outside = non_torch_bytes(version, ranks, compute_capability=gpu.compute_capability)
    graphs = 0 if settings.enforce_eager else settings.graphs
    if graphs is None:
        drafted = settings.draft_tokens if settings.draft is not None else 0
        graphs = graph_bytes(-(-len(model.layers) // stages), captured_graphs(tokens, sequences, drafted))
    memory = []
    for stage, (shares, requested) in enumerate(zip(weights, requests, strict=True)):
        loaded = sum(shares.values())
        activations = activation_shares(
            model,
            version,
            tokens=tokens,
            sequences=sequences,
            sampler=sampler,
            tensor_parallel=settings.tensor_parallel_size,
            compute_capability=gpu.compute_capability,
            last_stage=stage == stages - 1,
            later_stage=stage > 0,
        )
        peak = sum(activations.values())
        pool = requested - loaded - peak - outside - (graphs if graphs_in_budget(model, version) else 0)
        if settings.kv_cache_memory is not None:
            pool = settings.kv_cache_memory
        memory.append(RankMemory(requested, loaded, peak, outside, graphs, pool, shares, activations))
    return tuple(memory)


def plan(model: ServedModel, gpu: Gpu, settings: VllmSettings, stage_memory: Sequence[int] = ()) -> VllmPlan | None:
    """The whole account; None where the weights are not known. `stage_memory` as for `rank_memory`.

    Raises:
        UsageError: settings that vLLM refuses.
        UnsupportedLayer: a layer without a cache rule.
    """
    check_settings(model, settings)
    stages = rank_memory(model, gpu, settings, stage_memory)
    if stages is None:
        return None
    cache = cache_settings(model, gpu, settings)
    pools = [stage.kv_pool for stage in stages]
    layers = settings.cached_layers(model)
    held = capacity(layers, cache, pools, printed_from_concurrency=settings.version.tokens_from_concurrency)
    room = all(stage.kv_pool > 0 for stage in stages)
    if held is None:  # encoders have no groups of caches, and so no pool
        stages = tuple(
            replace(stage, kv_pool=min(0, pool), unused=max(0, pool)) for stage, pool in zip(stages, pools, strict=True)
        )
    fits = room and (held is None or held.blocks >= held.blocks_per_request)
    if settings.kv_cache_memory is not None:  # no share of the GPU holds it back
        memory = stage_memory or (gpu.memory,) * len(stages)
        fits = fits and all(stage.total <= size for stage, size in zip(stages, memory, strict=True))
    longest = longest_context(layers, cache, pools, settings.max_model_len) if room else 0
    too_many = fits and held is not None and refuses_sequences(model, gpu, settings, held.blocks)
    most = 2 ** (held.blocks.bit_length() - 1) if held and too_many else None
    return VllmPlan(stages, held, fits and not too_many, longest, most)


def refuses_sequences(model: ServedModel, gpu: Gpu, settings: VllmSettings, blocks: int) -> bool:
    """Whether vLLM does not start with so few blocks for max_num_seqs: each sequence of a step that is captured whole
    in a CUDA graph needs a block of states. Pooling models, which sample nothing, have no such graphs.

    vllm/config/compilation.py: resolve_cudagraph_mode_and_sizes, "exceeds available Mamba cache blocks" (since 0.20;
    0.19 captured smaller graphs instead).
    """
    captured = not settings.enforce_eager and settings.sampler != "none"
    if not (captured and settings.version.refuses_sequences and has_states(model)):
        return False
    return batch_sizes(gpu, settings)[1] > blocks


def layout_rules(release: tuple[int, int]) -> LayoutRules:
    """What a release checks of the degrees."""
    return LayoutRules(
        "vllm",
        "--enable-expert-parallel",
        divides_vocabulary=True,
        pads_for_marlin=release >= PADDING_RELEASE,
        packed_on_one_rank=release < PREQUANTIZED_RELEASE,
    )


def check_settings(model: ServedModel, settings: VllmSettings) -> None:
    """Refuse what vLLM refuses.

    Raises:
        UsageError: a value out of range, or degrees that don't fit the heads.
    """
    counts = (settings.max_model_len, settings.block_size, settings.max_num_batched_tokens, settings.max_num_seqs)
    if any(count is not None and count < 1 for count in counts):
        raise UsageError("max_model_len, block_size, max_num_batched_tokens and max_num_seqs must be at least 1")
    utilization = settings.gpu_memory_utilization
    if utilization is not None and not 0 < utilization <= 1:
        raise UsageError(f"gpu_memory_utilization must be above 0 and at most 1, not {utilization:g}")
    _check_context_ranks(model, settings)
    if settings.redundant_experts and not settings.enable_expert_parallel:
        raise UsageError("redundant experts are dealt out whole: they need expert parallelism", "Add --ep.")
    if settings.enable_expert_parallel and model.mixture is None:
        raise UsageError("expert parallelism needs a model with routed experts")
    check_layout(
        model,
        layout_rules(settings.version.release),
        tensor_parallel=settings.tensor_parallel_size,
        pipeline_parallel=settings.pipeline_parallel_size,
        data_parallel=settings.data_parallel_size,
        whole_experts=settings.enable_expert_parallel,
    )


def _check_context_ranks(model: ServedModel, settings: VllmSettings) -> None:
    """vllm/config/parallel.py and model.py: verify_with_parallel_config.

    Raises:
        UsageError: the ranks are no part of those of tensor parallelism that hold the same heads.
    """
    ranks, tensor = settings.decode_context_parallel_size, settings.tensor_parallel_size
    if ranks == 1:
        return
    heads = [layer.rows.key_value_heads for layer in model.layers if layer.rows is not None]
    most = max(1, tensor // max((count for count in heads if count is not None), default=1))
    if ranks < 1 or tensor % ranks or ranks > most:
        raise UsageError(
            f"decode context parallelism of {ranks} needs ranks that hold the same heads of keys and values",
            f"Of {tensor} ranks of tensor parallelism up to {most} do.",
        )
