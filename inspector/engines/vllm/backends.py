"""What vLLM's attention backends ask of a GPU, and what they make of a KV cache whose type nobody asked for.

vllm/platforms/cuda.py: _get_backend_priorities; each backend's supports_compute_capability. Attention that is not
sparse has a backend of Triton's on every GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

from inspector.engines.common.cache_specs import sparse_latents
from inspector.engines.common.cache_types import cache_name
from inspector.engines.common.served import Gpu
from inspector.engines.serving import CannotTell
from inspector.engines.vllm.cache_types import STORED, TYPES
from inspector.memory import Workload
from inspector.model import Model
from inspector.model.config.light import by_hand
from inspector.model.layers.compressed_sparse import CompressedAttention
from inspector.model.layers.layer import Layer

SPARSE_MAJORS = (9, 10, 12)
"""Compute capabilities, by their first number, with kernels for sparse latent attention."""

SPARSE_12_SINCE = (0, 24)
"""FLASHINFER_MLA_SPARSE_SM120: not in 0.23. It keeps DeepSeek's 656 bytes, whatever was asked for
(mla_attention.py: _canonicalize_sparse_mla_kv_cache_dtype)."""


def check_backends(layers: Sequence[Layer], gpu: Gpu, release: tuple[int, int]) -> None:
    """Refuse a GPU that has no kernels for a model's attention.

    Raises:
        CannotTell: that it has none.
    """
    if gpu.compute_capability is None:
        return
    major, minor = gpu.compute_capability
    sparse = sparse_latents(layers)
    if not sparse and not any(isinstance(layer, CompressedAttention) for layer in layers):
        return
    if major not in SPARSE_MAJORS or (sparse and major == 12 and release < SPARSE_12_SINCE):
        version = ".".join(map(str, release))
        raise CannotTell(
            f"vLLM {version} has no kernels for sparse latent attention on {gpu.name} (compute capability"
            f" {major}.{minor})"
        )


def cache_type(workload: Workload, model: Model, gpu: Gpu, release: tuple[int, int], asked: str | None = None) -> str:
    """The type of the KV cache: as asked for, else the checkpoint's own, else what backends and classes make of "auto",
    which is the precision that the model computes in.

    Raises:
        UsageError: vLLM has no such cache.
    """
    named, shape = cache_name(workload, model, asked, TYPES, STORED), model.architecture
    if named != "auto" or gpu.compute_capability is None:
        return named
    major, since = gpu.compute_capability[0], by_hand("vllm_fp8_caches").get(shape.architecture or "")
    if major == 12 and sparse_latents(shape.layers) and release >= SPARSE_12_SINCE:
        return "fp8_ds_mla"
    return "fp8" if since is not None and major == 10 and release >= tuple(since) else "auto"
