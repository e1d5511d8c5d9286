"""What a user may tell SGLang. None takes its own default for the device."""

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
class SglangOptions:
    """SGLang's options, under this library's names; each says of itself what it is.

    Attributes:
        draft: what drafts in speculative decoding, read: a model of its own, or a head of the model.
    """

    version: str | None = version()
    tensor_parallel: int | None = tensor_parallel()
    pipeline_parallel: int | None = pipeline_parallel()
    data_parallel: int | None = data_parallel()
    enable_dp_attention: bool = setting(
        False,
        help="SGLang's --dp replicas of the attention share the experts.",
        docs="the replicas of `--dp` are of the attention alone, within the GPUs of `--tp`",
    )
    expert_parallel: int | None = expert_parallel()
    mem_fraction_static: float | None = setting(None, help="SGLang's static share of the GPU.", metavar="SHARE")
    kv_cache_dtype: str | None = kv_cache_dtype()
    max_running_requests: int | None = setting(
        None, help="SGLang's requests at once.", docs="requests at once, of all replicas", metavar="N", least=1
    )
    max_total_tokens: int | None = setting(
        None, help="The most tokens of SGLang's pool.", unit="tokens", metavar="N", least=1
    )
    chunked_prefill_size: int | None = setting(
        None,
        help="SGLang's tokens of a prefill's chunk; -1: whole prompts.",
        docs="tokens of a prefill's chunk, which the default of `--mem-fraction-static` follows; -1: whole prompts",
        unit="tokens",
        metavar="N",
        least=-1,
    )
    cuda_graph_max_bs: int | None = setting(
        None,
        help="Sequences of SGLang's largest CUDA graph.",
        docs="sequences of the largest CUDA graph, likewise",
        metavar="N",
        least=1,
    )
    disable_cuda_graph: bool = setting(False, help="SGLang without CUDA graphs.")
    page_size: int | None = setting(
        None, help="Tokens of a page of SGLang's pool.", unit="tokens", metavar="N", least=1, most=65536
    )
    disable_radix_cache: bool = setting(
        False,
        help="SGLang caches no prefixes.",
        docs="no prefixes are cached: a request of a model with states keeps one slot of them",
    )
    mamba_full_memory_ratio: float | None = setting(
        None,
        help="SGLang's bytes of states per byte of rows. Default: 0.9.",
        docs="bytes of states for each byte of rows, of models with both; default 0.9",
        metavar="RATIO",
    )
    max_mamba_cache_size: int | None = setting(
        None,
        help="SGLang's slots of states.",
        docs="slots of states, instead of a share of the pool",
        metavar="N",
        least=1,
    )
    mamba_ssm_dtype: str | None = setting(
        None,
        help="Type of SGLang's recurrent states: float32, bfloat16, float16.",
        docs="type of recurrent states: `float32`, `bfloat16`, `float16`; default as the model has it",
        choices=("float32", "bfloat16", "float16"),
        metavar="TYPE",
    )
    mamba_radix_cache_strategy: str | None = setting(
        None,
        help="How SGLang caches states of prefixes: no_buffer, ...",
        docs="slots of states that a request keeps: `no_buffer` (3), `extra_buffer` (5), `extra_buffer_lazy` (4)",
        choices=("auto", "no_buffer", "extra_buffer", "extra_buffer_lazy"),
        metavar="NAME",
    )
    swa_full_tokens_ratio: float | None = setting(
        None,
        help="SGLang's window tokens per full one. Default: 0.8.",
        docs="window tokens for each full one, of models with both; default 0.8",
        metavar="RATIO",
    )
    speculative_num_draft_tokens: int | None = setting(
        None,
        help="Tokens that SGLang drafts at once. Default: 4.",
        docs="tokens that `--draft` drafts at once; default 4",
        metavar="N",
        least=2,
        most=256,
    )
    draft: Model | DraftHead | None = None
