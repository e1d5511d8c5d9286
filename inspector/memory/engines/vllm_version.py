"""What differs between vLLM's versions, as far as it changes an answer; each boundary read in the released sources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

NEWEST = (0, 33)
"""The newest version whose sources were read; a later one is taken to account alike."""


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

        vllm/envs.py: VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS turned to True; before, graphs came on top.
        """
        return self.release >= (0, 20)

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
        """Since 0.16 at the latest a mixture's workspace stays allocated (vllm/v1/worker/workspace.py; not in 0.10)."""
        return self.release >= (0, 16)

    @property
    def overlapped_batches(self) -> bool:
        """Since 0.26 at the latest (not in 0.24) windows reserve for every batch in flight, two with async scheduling.

        vllm/config/vllm.py: max_in_flight_tokens.
        """
        return self.release >= (0, 25)

    def mxfp4_kernel_is_marlin(self, compute_capability: tuple[int, int] | None) -> bool:
        """Marlin below Hopper (Mxfp4MoEMethod), and on Hopper while no Triton kernels came with vLLM (0.10)."""
        return self.release < (0, 11) or (compute_capability is not None and compute_capability < (9, 0))


def parse_version(text: str | None) -> VllmVersion:
    """A version as people write it: "0.19.0", ">=0.21 (V1)", "0.7.x (V0, Feb 2025)"; without a number the newest.

    >>> parse_version("0.8.5 (V0)")
    VllmVersion(release=(0, 8), v1=False)
    """
    match = re.search(r"(?<!\d)(\d)\.(\d+)", text or "")
    release = (int(match[1]), int(match[2])) if match else NEWEST
    named = re.search(r"\bV([01])\b", text or "")
    return VllmVersion(release, named[1] == "1" if named else release >= (0, 8))
