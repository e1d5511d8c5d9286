"""Weights as an engine loads them: bytes on each pipeline stage's ranks under tensor parallelism."""

from __future__ import annotations

from typing import Literal

from inspector.engines.common.served import MixtureFacts, ServedModel, Weights
from inspector.errors import UsageError

Mxfp4Kernel = Literal["marlin", "triton"]

MIB = 1024**2

VOCABULARY_MULTIPLE = 64
"""Rows of the embedding are padded to a multiple of this (vLLM's DEFAULT_VOCAB_PADDING_SIZE)."""


def check_degrees(model: ServedModel, *, tensor_parallel: int, pipeline_parallel: int) -> None:
    """Refuse degrees that the engine refuses.

    Raises:
        UsageError: a degree below 1, more stages than layers, heads that do not divide (vllm/config/model.py:
            verify_with_parallel_config; SGLang asserts it in each model's attention), or key/value heads that neither
            divide nor repeat (QKVParallelLinear).
    """
    if tensor_parallel < 1 or pipeline_parallel < 1:
        raise UsageError("the degrees of tensor and pipeline parallelism must be at least 1")
    if pipeline_parallel > len(model.layers):
        raise UsageError(f"{pipeline_parallel} pipeline stages are more than the model's {len(model.layers)} layers")
    heads = model.num_attention_heads
    if heads and heads % tensor_parallel:
        raise UsageError(
            f"Total number of attention heads ({heads}) must be divisible by tensor parallel size ({tensor_parallel})",
            f"It divides by {', '.join(str(n) for n in range(1, min(heads, 64) + 1) if heads % n == 0)}.",
        )
    for heads in sorted(set(_cached_heads(model))):
        if heads % tensor_parallel and tensor_parallel % heads:
            raise UsageError(
                f"{heads} key/value heads can't be laid over {tensor_parallel} ranks",
                "The degree of tensor parallelism must divide the heads, or be a multiple of them.",
            )


def _cached_heads(model: ServedModel) -> list[int]:
    """Key/value heads of each layer that has such."""
    heads = [layer.rows.key_value_heads for layer in model.layers if layer.rows is not None]
    return [count for count in heads if count is not None]


def ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def round_up(value: int, multiple: int) -> int:
    return ceil_div(value, multiple) * multiple


def stage_layers(layers: int, stages: int) -> tuple[int, ...]:
    """Layers of each pipeline stage: even, and the last stage never has one of those left over.

    vllm/distributed/utils.py: get_pp_indices gives the remainder to the stages before the last, from the back.

    >>> stage_layers(32, 4)
    (8, 8, 8, 8)
    >>> stage_layers(62, 4)
    (15, 16, 16, 15)
    """
    counts = [layers // stages] * stages
    for index in range(2, layers % stages + 2):
        counts[-index] += 1
    return tuple(counts)


def rank_weights(
    model: ServedModel, *, tensor_parallel: int = 1, pipeline_parallel: int = 1, mxfp4: Mxfp4Kernel = "triton"
) -> tuple[int, ...] | None:
    """Bytes on one rank of each pipeline stage, in order; None where the weights are not known."""
    stages = rank_shares(model, tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel, mxfp4=mxfp4)
    return None if stages is None else tuple(sum(shares.values()) for shares in stages)


def rank_shares(
    model: ServedModel,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    data_parallel: int = 1,
    whole_experts: bool = False,
    mxfp4: Mxfp4Kernel = "triton",
    copies: bool = False,
    workspace: int = 0,
    attention_ranks: int | None = None,
    whole_encoders: bool = False,
    spare_experts: int = 0,
) -> tuple[dict[str, int], ...] | None:
    """What `rank_weights` is made of, by share.

    weights = embedding/tp + head/tp + divided/tp + key_value/min(tp, KV heads) + experts/(tp * dp) + replicated
            + copies of the latents' up-projections/tp + rotary table + workspace + what the allocator rounds up

    Args:
        data_parallel: replicas of the attention; the routed experts are laid over all of their ranks.
        whole_experts: expert parallelism, which deals out experts instead of cutting each.
        copies: the engine keeps the latents' up-projections once more.
        attention_ranks: ranks that each layer's attention and the embedding are cut over, where that is fewer than the
            others are (SGLang's --enable-dp-attention).
        whole_encoders: every rank holds the encoders whole (vLLM's --mm-encoder-tp-mode data).
        spare_experts: copies of experts in each layer, where experts are dealt out whole (EPLB's redundant experts).
        workspace: bytes that every rank takes while it loads, whatever the model's size.
    """
    weights = model.weights
    if weights is None:
        return None
    check_degrees(model, tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel)
    layers, ranks = len(model.layers), attention_ranks or tensor_parallel
    attention = weights.attention if ranks != tensor_parallel else 0
    whole = weights.encoders if whole_encoders else 0
    inside = {
        "divided": ceil_div(weights.divided - attention - whole, tensor_parallel) + ceil_div(attention, ranks) + whole,
        "latent_copies": ceil_div(weights.copies, ranks) if copies else 0,
        "key_value": ceil_div(weights.key_value, key_value_ranks(model, ranks)),
        "experts": _experts(
            model, weights, tensor_parallel * data_parallel, mxfp4, whole=whole_experts, spare=spare_experts
        ),
        "replicated": weights.replicated,
        "allocator": layers * sum(map(unsplit_remainder, layer_matrices(model, tensor_parallel))),
    }
    embedding = _rows(weights.embedding, model.vocab_size, ranks)
    head = _rows(weights.head, model.vocab_size, tensor_parallel)
    stages = [
        {name: ceil_div(size * count, layers) for name, size in inside.items()}
        | {"rotary_table": model.rotary_bytes, "workspace": workspace}
        for count in stage_layers(layers, pipeline_parallel)
    ]
    stages[0]["embedding"] = embedding
    if pipeline_parallel > 1 and weights.head == 0:
        head = embedding  # tied: the last stage needs the matrix, too
    stages[-1]["head"] = head
    return tuple(stages)


def key_value_ranks(model: ServedModel, tensor_parallel: int) -> int:
    """Ranks that the key and value projections are divided over: never more than there are heads."""
    return min([tensor_parallel, *_cached_heads(model)])


def _rows(size: int, vocab_size: int, tensor_parallel: int) -> int:
    """Bytes of one rank's rows of the embedding or the head: the rows padded to 64, then divided.

    vllm/model_executor/layers/vocab_parallel_embedding.py: VocabParallelEmbedding.
    """
    if vocab_size < 1:  # a config that contradicts the file
        return ceil_div(size, tensor_parallel)
    padded = round_up(vocab_size, VOCABULARY_MULTIPLE)
    rows = ceil_div(size * padded, vocab_size * tensor_parallel)
    return rows + unsplit_remainder(rows)


def unsplit_remainder(size: int) -> int:
    """Bytes that torch's allocator counts beyond a large tensor's own.

    From 10 MiB on it takes whole multiples of 2 MiB from the driver, and cuts off what is left only where that is more
    than 1 MiB (c10/cuda/CUDACachingAllocator.cpp: kMinLargeAlloc, kRoundLarge, should_split). Worked example: a
    tensor of 175 MiB counts as 176, one of 24.5 MiB as it is.
    """
    if size < 10 * MIB:
        return 0
    left = round_up(size, 2 * MIB) - size
    return left if left <= MIB else 0


def layer_matrices(model: ServedModel, tensor_parallel: int) -> tuple[int, ...]:
    """Bytes of one layer's large weights on a rank, merged as vLLM merges them: q, k and v; o; gate and up; down; the
    experts' two stacks. What is not known is left out."""
    bytes_each = model.element_bytes if model.linear_bytes is None else model.linear_bytes
    sizes: list[float] = []
    rows = next((layer.rows for layer in model.layers if layer.rows is not None), None)
    if rows is not None and model.num_attention_heads is not None:
        heads = ceil_div(model.num_attention_heads, tensor_parallel)
        merged = rows.projections(heads, tensor_parallel).get("qkv_proj")
        if merged is not None:
            sizes += [model.hidden_size * sum(merged), model.hidden_size * merged[0]]
    if model.intermediate_size is not None:
        inner = ceil_div(model.intermediate_size, tensor_parallel)
        sizes += [(2 if model.mlp_gated else 1) * model.hidden_size * inner, model.hidden_size * inner]
    if model.mixture is not None and not model.padded_experts:
        inner = ceil_div(model.mixture.intermediate_size, tensor_parallel)
        stack = model.mixture.total * model.hidden_size * inner
        sizes += [2 * stack, stack]
    return tuple(int(size * bytes_each) for size in sizes)


def _experts(
    model: ServedModel, weights: Weights, ranks: int, mxfp4: Mxfp4Kernel, *, whole: bool, spare: int = 0
) -> int:
    """Bytes of one rank's routed experts: a slice of each, or so many whole; the MXFP4 kernels keep them padded."""
    mixture = model.mixture
    if mixture is None or not (mixture.total and mixture.intermediate_size):
        return ceil_div(weights.experts, ranks)
    cuts, held = (1, ceil_div(mixture.total + spare, ranks)) if whole else (ranks, mixture.total)
    if not model.padded_experts:
        return ceil_div(weights.experts * held, mixture.total * cuts)
    inner = ceil_div(mixture.intermediate_size, cuts)
    padded_hidden, padded_inner = mxfp4_padding(model.hidden_size, inner, mxfp4)
    size = model.hidden_size * mixture.intermediate_size * mixture.total
    return ceil_div(weights.experts * padded_hidden * padded_inner * held, size)


def mxfp4_padding(hidden_size: int, intermediate_size: int, kernel: Mxfp4Kernel) -> tuple[int, int]:
    """Hidden size and a rank's inner width as the kernel holds them.

    Marlin: multiples of 256 and 128 (vllm/model_executor/layers/fused_moe/oracle/mxfp4.py). Triton: the inner width a
    multiple of 64 (ibid.); its swizzled layout then pads what it multiplies over. That the sum comes to a hidden size
    padded to 256 is read off two logs of version 0.11 (gpt-oss 20B and 120B, within 0.3 %), not derived.
    """
    return round_up(hidden_size, 256), round_up(intermediate_size, 128 if kernel == "marlin" else 64)


def mixture_workspace(mixture: MixtureFacts, hidden_size: int, tokens: int, tensor_parallel: int, element: int) -> int:
    """Bytes of the workspace that the fused mixture keeps once it has run, for `tokens` tokens.

    tokens * active * (max(f, h) + max(2f, h)) * bytes, f the inner width on a rank.
    vllm/model_executor/layers/fused_moe/fused_moe.py: TritonExperts.workspace_shapes; the workspace manager
    (vllm/v1/worker/workspace.py) never gives it back, so it lies under every later peak.
    """
    inner = ceil_div(mixture.intermediate_size, tensor_parallel)
    return tokens * mixture.active * (max(inner, hidden_size) + max(2 * inner, hidden_size)) * element
