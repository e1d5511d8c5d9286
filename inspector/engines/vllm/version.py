"""What differs between vLLM's versions, as far as it changes an answer; each boundary read in the released sources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from inspector.model.config.light import by_hand

NEWEST = (0, 33)
"""The newest version whose sources were read; a later one is taken to account alike."""


LATENT_WORKSPACE = 128 * 1024**2
"""Bytes of one buffer of a backend for latent attention (FLASHINFER_MLA_WORKSPACE_BUFFER_SIZE)."""


@dataclass(frozen=True, slots=True, order=True)
class VllmVersion:
    """A release.

    Attributes:
        release: (0, 19) for 0.19.x.
        v1: the V1 engine, the default since 0.8.
    """

    release: tuple[int, int] = NEWEST
    v1: bool = True

    @property
    def default_utilization(self) -> float:
        """0.92 since 0.20 (vllm/config/cache.py: CacheConfig.gpu_memory_utilization)."""
        return 0.92 if self.release >= (0, 20) else 0.9

    @property
    def graphs_in_budget(self) -> bool:
        """Since 0.20 an estimate of the CUDA graphs is taken off the pool before it is made.

        vllm/envs.py: VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS turned to True; before, graphs came on top. Models of the
        second model runner were an exception for a while (`estimates_no_graphs`).
        """
        return self.release >= (0, 20)

    def estimates_no_graphs(self, model_type: str | None, *, mixture: bool, hybrid: bool, quantized: bool) -> bool:
        """Whether the second model runner serves such a model by default and still estimates 0 for its graphs.

        vllm/v1/worker/gpu/model_runner.py: profile_cudagraph_memory returns 0 up to 0.28; vllm/config/vllm.py:
        _is_default_v2_model_runner_model. 0.22 takes it for Qwen3, 0.23 for Llama and Mistral too, neither packed;
        0.24 for those and three mixtures, packed or not; from 0.25 on for the mixtures and every other model without
        experts and states.
        """
        if not (0, 22) <= self.release <= (0, 28):
            return False
        since = by_hand("vllm_second_runner").get(model_type or "")
        if since is not None and self.release >= parse_version(since).release:
            return not (quantized and self.release < (0, 24))
        return self.release >= (0, 25) and not mixture and not hybrid

    @property
    def refuses_sequences(self) -> bool:
        """Since 0.20 (not in 0.19) more sequences than blocks are an error for models with states."""
        return self.release >= (0, 20)

    @property
    def least_capability(self) -> tuple[int, int]:
        """CUDA's compute capability of the oldest GPUs that the wheel has kernels for: 7.5 in 0.24, 0.30 and 0.33 (the
        architectures named in its libraries), 7.0 by the installation pages of 0.7 to 0.10. Between those nothing was
        read, and nothing of 7.0 is refused."""
        return (7, 5) if self.release >= (0, 24) else (7, 0)

    @property
    def hybrids_cache_prefixes(self) -> bool:
        """Since 0.26 prefix caching is on by default for models with states, too.

        vllm/config/model.py: is_prefix_caching_supported; vllm/engine/arg_utils.py before 0.13.
        """
        return self.release >= (0, 26)

    @property
    def aligned_states(self) -> bool:
        """Since 0.16 at the latest (not in 0.14) states are kept at block boundaries where prefixes are cached.

        vllm/v1/kv_cache_interface.py: MambaSpec.max_memory_usage_bytes, mamba_cache_mode "align": two blocks a request
        instead of one. Up to 0.27 Mamba models took a mode "all" there, with a state a block, which has no rule here.
        """
        return self.release >= (0, 15)

    @property
    def checkpoint_blocks(self) -> int:
        """Blocks of a state of heads that a prefill leaves its checkpoint in: 1, read in 0.33 alone.

        vllm/v1/kv_cache_interface.py: MambaSpec.num_prefill_checkpoint_blocks.
        """
        return 1 if self.release >= (0, 33) else 0

    @property
    def latent_block_multiple(self) -> int:
        """Tokens that the block of latents beside states is a multiple of: 16 to 0.10, 64 to 0.26, then 128.

        vllm/model_executor/models/config.py: HybridAttentionMambaModelConfig (kernel_block_alignment_size), since 0.20
        vllm/platforms/interface.py.
        """
        if self.release < (0, 11):
            return 16
        return 64 if self.release < (0, 27) else 128

    def packs_sparse_latents(self, compute_capability: tuple[int, int] | None) -> bool:
        """Whether an FP8 cache of sparse latent attention has DeepSeek's layout: yes, but on Blackwell's data-center
        GPUs since 0.18 (not in 0.17), where FlashInfer keeps plain FP8 rows.

        vllm/model_executor/layers/attention/mla_attention.py; vllm/platforms/cuda.py: the backends by capability.
        """
        return self.release < (0, 18) or compute_capability is None or compute_capability[0] != 10

    @property
    def sampler(self) -> Literal["sort", "triton", "flashinfer"]:
        """The sampler that the profile runs: "sort" to 0.16, "triton" to 0.20, "flashinfer" since 0.21.

        vllm/v1/sample/ops/topk_topp_sampler.py. Versions before 0.11 took FlashInfer where it was installed; the wheel
        alone did not bring it, so that is a setting (`VllmSettings.sampler`).
        """
        if self.release < (0, 17):
            return "sort"
        return "triton" if self.release < (0, 21) else "flashinfer"

    @property
    def tokens_from_concurrency(self) -> bool:
        """Since 0.21 the log's token count is max_concurrency * max_model_len (update_kv_cache_capacity)."""
        return self.release >= (0, 21)

    @property
    def kept_workspaces(self) -> bool:
        """Since 0.13 a mixture's workspace stays allocated (vllm/v1/worker/workspace.py; not in 0.12)."""
        return self.release >= (0, 13)

    @property
    def overlapped_batches(self) -> bool:
        """Since 0.26 (not in 0.25.1) windows reserve for every batch in flight, two with async scheduling.

        vllm/config/vllm.py: max_in_flight_tokens.
        """
        return self.release >= (0, 26)

    def latent_workspace(self, compute_capability: tuple[int, int] | None) -> int:
        """Bytes that choosing a backend for latent attention takes: modules that allocate as they are imported.

        vllm/v1/attention/backends/mla/flashinfer_mla.py: g_fi_workspace, 128 MiB, where a GPU's list of backends
        (vllm/platforms/cuda.py) names FLASHINFER_MLA; since 0.26 at the latest (not in 0.24) it is made when it is
        used, and 0.10 imports no more than it uses. cutlass_mla.py: g_sm100_workspace, as much, on Blackwell's
        data-center GPUs in all versions. The log of DeepSeek-V2-Lite (0.19, H100) is met to 0.01 % with it.
        """
        major = compute_capability[0] if compute_capability else 9
        cutlass = LATENT_WORKSPACE if major == 10 else 0
        listed = (0, 11) <= self.release < (0, 25) and not (major == 12 and self.release >= (0, 24))
        return cutlass + (LATENT_WORKSPACE if listed else 0)

    def mxfp4_kernel_is_marlin(self, compute_capability: tuple[int, int] | None) -> bool:
        """Marlin below Hopper (Mxfp4MoEMethod), and on Hopper while no Triton kernels came with vLLM (0.10)."""
        return self.release < (0, 11) or (compute_capability is not None and compute_capability < (9, 0))


@lru_cache(maxsize=256)
def parse_version(text: str | None) -> VllmVersion:
    """A version as people write it: "0.19.0", ">=0.21 (V1)", "0.7.x (V0, Feb 2025)"; without a number the newest.

    >>> parse_version("0.8.5 (V0)")
    VllmVersion(release=(0, 8), v1=False)
    """
    match = re.search(r"(?<!\d)(\d)\.(\d+)", text or "")
    release = (int(match[1]), int(match[2])) if match else NEWEST
    named = re.search(r"\bV([01])\b", text or "")
    return VllmVersion(release, named[1] == "1" if named else release >= (0, 8))
