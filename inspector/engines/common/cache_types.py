"""How a server keeps the values of a KV cache type: so many bytes each, or packed with their scales."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from inspector.errors import UsageError, known_hint
from inspector.memory import Workload
from inspector.model import Model

HeadBytes = Callable[[int, int], int]
"""(key width, value width) -> bytes of one token in one KV head."""


@dataclass(frozen=True, slots=True)
class KeptAs:
    """One type of a KV cache.

    Attributes:
        element_bytes: of a value; 0: of the precision that the model computes in.
        head: bytes of a token in one head, where values are packed with their scales; None: `element_bytes` each.
        latent: bytes of a token's packed row of sparse latent attention.
        latents: it can keep latents.
        rows: it can keep keys and values of heads.
        majors: CUDA's compute capabilities, by their first number, that have kernels for it; empty for all.
    """

    element_bytes: int = 1
    head: HeadBytes | None = None
    latent: int | None = None
    latents: bool = True
    rows: bool = True
    majors: Collection[int] = ()


def fp4_head(key: int, value: int) -> int:
    """4-bit values, two a byte, and an 8-bit scale for each 16 (vllm/utils/torch_utils.py: nvfp4_kv_cache_full_dim;
    sglang/srt/layers/quantization/fp4_kv_cache_quant_method.py: compute_cell_size)."""
    return key // 2 + key // 16 + value // 2 + value // 16


_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp8": "fp8"}
"""This library's precisions under the servers' names."""


def cache_name(
    workload: Workload, model: Model, asked: str | None, types: Mapping[str, KeptAs], stored: Collection[str]
) -> str:
    """The type of the cache under the server's own name: as asked for, else the checkpoint's own, else "auto".

    Args:
        asked: `--kv-cache-dtype`, a name of the server's own.
        stored: what the server takes of a checkpoint that says what its cache was calibrated for.

    Raises:
        UsageError: it has no such cache, or two settings ask for one.
    """
    if asked is not None:
        if workload.kv_dtype is not None:
            raise UsageError("--kv-dtype and --kv-cache-dtype name the same thing", "Give one of them.")
        if asked not in types:
            raise UsageError(f"unknown kv_cache_dtype '{asked}'", known_hint(asked, sorted(types)))
        return asked
    if workload.kv_dtype is None:
        packing = model.architecture.quantization
        own = None if packing is None else packing.kv_dtype
        return own if own is not None and own in stored else "auto"
    if workload.kv_dtype not in _NAMES:
        raise UsageError(
            f"serving engines have no KV cache of type {workload.kv_dtype}", known_hint(workload.kv_dtype, _NAMES)
        )
    return _NAMES[workload.kv_dtype]
