"""How the weights on a rank are made: their shares, with the equations, the numbers in them, and sources."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.engines.common.loaded_weights import key_value_ranks
from inspector.engines.common.served import ServedModel
from inspector.memory.estimate import Part


def weights_part(model: ServedModel, total: int, shares: Mapping[str, int], ranks: int, stages: int) -> Part:
    """The weights of a rank, share by share."""
    heads = key_value_ranks(model, ranks)
    whole = model.weights
    assert whole is not None  # there is no plan without
    over = f"over {ranks} rank{'s' if ranks > 1 else ''}"
    rows = f"rows of vocab_size {model.vocab_size:,} padded to a multiple of 64, {over}"
    layers = "vllm/model_executor/layers"
    texts = {
        "embedding": (f"{whole.embedding:,} B, {rows}", f"headers; {layers}/vocab_parallel_embedding.py"),
        "head": (f"{whole.head or whole.embedding:,} B, {rows}", f"headers; {layers}/vocab_parallel_embedding.py"),
        "divided": (
            f"{whole.divided:,} B of queries, outputs, MLPs and towers, {over}",
            f"headers; {layers}/linear.py: ColumnParallelLinear, RowParallelLinear",
        ),
        "key_value": (
            f"{whole.key_value:,} B of key and value projections, over {heads} rank{'s' if heads > 1 else ''}"
            f"{': there are no more heads' if heads < ranks else ''}",
            f"num_key_value_heads, head_dim, hidden_size; {layers}/linear.py: QKVParallelLinear",
        ),
        "experts": (f"{whole.experts:,} B of routed experts, over the ranks", f"headers; {layers}/fused_moe"),
        "replicated": ("norms, routers and latents' down-projections, whole on every rank", "headers"),
        "latent_copies": (
            f"{whole.copies:,} B: the latents' up-projections once more in 16 bits, {over}",
            "kv_lora_rank, qk_nope_head_dim, v_head_dim; vLLM's W_UK_T and W_UV, SGLang's w_kc and w_vc",
        ),
        "workspace": (
            "of backends for latent attention, taken as their modules are imported",
            "vllm/v1/attention/backends/mla: flashinfer_mla.py, cutlass_mla.py",
        ),
        "rotary_table": (
            "sines and cosines of every position, whole on every rank",
            f"max_position_embeddings, head_dim; {layers}/rotary_embedding",
        ),
        "draft": (
            "what drafts: its own weights, laid over as many ranks; its layers' caches lie in the same pool",
            "headers of the draft; vllm/v1/worker/gpu/spec_decode/, sglang/srt/speculative/eagle_worker_v2.py",
        ),
        "cpu_offload": (
            "parameters that stay in the CPU's memory, up to cpu_offload_gb",
            "vllm/model_executor/offloader/uva.py: UVAOffloader",
        ),
        "adapters": (
            "max_loras x max_lora_rank x (inputs + outputs) of the linear layers, each on the side that is cut over"
            " ranks, and of the ends that take adapters",
            "headers; vllm/lora/layers: create_lora_weights",
        ),
        "allocator": (
            "what torch's allocator rounds tensors of 10 MiB and more up by",
            "c10/cuda/CUDACachingAllocator.cpp: kMinLargeAlloc, kRoundLarge",
        ),
    }
    parts = tuple(Part(name, size, *texts[name]) for name, size in shares.items() if size)
    stage = f", the tightest of {stages} stages" if stages > 1 else ""
    return Part("weights", total, f"as loaded on one rank{stage}", "the sum of these", parts)
