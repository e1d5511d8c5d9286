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
