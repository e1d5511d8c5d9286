"""What a user may tell vLLM. None takes its own default for the version and the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.engines.common.options import (
    data_parallel,
    expert_parallel,
    kv_cache_dtype,
    pipeline_parallel,
    tensor_parallel,
    version,
)
from inspector.settings import setting

if TYPE_CHECKING:
    from inspector.engines.common.heads import DraftHead
    from inspector.model import Model


@dataclass(frozen=True)
class VllmOptions:
    """vLLM's options, under this library's names; each says of itself what it is.

    Attributes:
        draft: what drafts in speculative decoding, read: a model of its own, or a head of the model.
    """

    version: str | None = version()
    tensor_parallel: int | None = tensor_parallel()
    pipeline_parallel: int | None = pipeline_parallel()
    data_parallel: int | None = data_parallel()
    expert_parallel: int | None = expert_parallel()
    gpu_memory_utilization: float | None = setting(
        None,
        help="vLLM's share of the GPU.",
        docs="vLLM's share of the GPU; default as vLLM's, by version",
        metavar="SHARE",
    )
    max_num_batched_tokens: int | None = setting(
        None,
        help="vLLM's tokens per step.",
        docs="vLLM's tokens per step; default as vLLM's, by version and GPU",
        unit="tokens",
        metavar="N",
        least=1,
    )
    max_num_seqs: int | None = setting(
        None,
        help="vLLM's sequences per step.",
        docs="vLLM's sequences per step; default as vLLM's, by version and GPU",
        metavar="N",
        least=1,
    )
    enforce_eager: bool = setting(False, help="vLLM without CUDA graphs.")
    kv_cache_dtype: str | None = kv_cache_dtype()
    block_size: int | None = setting(
        None, help="Tokens of a block of vLLM's cache. Default: 16.", unit="tokens", metavar="N", least=1, most=65536
    )
    enable_prefix_caching: bool = setting(
        False,
        help="vLLM caches prefixes, of models with states, too.",
        docs="prefixes are cached, of models with states, too; default by version",
    )
    no_enable_prefix_caching: bool = setting(
        False,
        help="vLLM caches no prefixes.",
        docs="no prefixes are cached: a request of a model with states keeps one block of them less",
    )
    mamba_ssm_cache_dtype: str | None = setting(
        None,
        help="Type of vLLM's recurrent states: float32, float16, ...",
        docs="type of recurrent states: `float32`, `float16`, `bfloat16`; default as the model has it",
        metavar="TYPE",
    )
    disable_hybrid_kv_cache_manager: bool = setting(
        False,
        help="vLLM's windows get full-size caches.",
        docs="layers with a sliding window cache as those without",
    )
    decode_context_parallel: int | None = setting(
        None,
        help="vLLM's ranks that a request's tokens are dealt out to. Default: 1.",
        docs="ranks, of those of `--tp`, that the tokens of a request are dealt out to; default 1",
        option="--decode-context-parallel-size",
        metavar="N",
        least=1,
    )
    cpu_offload_gb: float | None = setting(
        None,
        help="GiB of each GPU's weights that vLLM leaves with the CPU.",
        docs="GiB of the weights on each GPU that stay with the CPU",
        metavar="GIB",
    )
    kv_cache_memory_bytes: str | None = setting(
        None,
        help="Size of vLLM's KV pool, whatever its share: 8G (GiB).",
        docs="bytes of the KV pool, whatever the share: `8000000000`, `8G` (GiB)",
        metavar="SIZE",
    )
    language_model_only: bool = setting(
        False,
        help="vLLM without encoders for images and sound.",
        docs="encoders for images and sound are not loaded, and no image is profiled",
    )
    mm_encoder_tp_mode: str = setting(
        "weights",
        help="How vLLM's ranks share encoders: weights, data (whole on each).",
        docs="`data`: every rank holds the encoders whole; default `weights`",
        choices=("weights", "data"),
        metavar="MODE",
    )
    num_redundant_experts: int | None = setting(
        None,
        help="Copies of experts that vLLM's EPLB keeps.",
        docs="copies of experts that EPLB keeps, of each layer over all ranks (`--ep`)",
        metavar="N",
        least=0,
        most=4096,
    )
    num_speculative_tokens: int | None = setting(
        None,
        help="Tokens that vLLM drafts at once. Default: 3.",
        docs="tokens that `--draft` drafts at once; default 3",
        metavar="N",
        least=1,
        most=256,
    )
    draft: Model | DraftHead | None = None
    max_loras: int | None = setting(
        None,
        help="Adapters that vLLM serves at once.",
        docs="LoRA adapters that vLLM serves in one step; with `--max-lora-rank` alone 1",
        metavar="K",
        least=1,
        most=1024,
    )
    max_lora_rank: int | None = setting(
        None,
        help="The largest rank of them. Default: 16.",
        docs="their largest rank: 1, 8, 16 (default), 32, 64, 128, 256, 320, 512",
        metavar="N",
        least=1,
        most=512,
    )
