"""SGLang's types of a KV cache (`--kv-cache-dtype`) and their bytes.

sglang/srt/mem_cache/kv_cache_dtype.py and model_executor/pool_configurator.py: _compute_cell_size, of 0.5.23.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.engines.common.cache_specs import sparse_latents
from inspector.engines.common.cache_types import KeptAs, cache_name, fp4_head
from inspector.engines.common.served import Gpu, ServedModel
from inspector.engines.serving import CannotTell
from inspector.memory import Workload
from inspector.model import Model
from inspector.model.config.light import by_hand
from inspector.model.layers.full import Attention
from inspector.model.layers.sliding import SlidingAttention

STORED = ("fp8",)
"""What it takes of a checkpoint's own cache."""

FP4 = ("nvfp4", "fp4_mx_block16")

TYPES: Mapping[str, KeptAs] = {
    "auto": KeptAs(0),
    **dict.fromkeys(("bfloat16", "bf16", "float16"), KeptAs(2)),
    **dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2"), KeptAs(1)),
    "mxfp8": KeptAs(head=lambda key, value: key + value + (key + value) // 32, latents=False, majors=(10, 12)),
    "nvfp4": KeptAs(head=fp4_head, latents=False, majors=(10, 12)),
    "fp4_mx_block16": KeptAs(head=fp4_head, latents=False),
}


def cache_type(workload: Workload, model: Model, gpu: Gpu, asked: str | None) -> str:
    """The type of the KV cache: as asked for, else the checkpoint's own, else what classes make of "auto": FP8 for
    sparse latents on Blackwell, and for what by_hand.json names (arg_groups/overrides.py: _dsa_kv_cache_dtype_default).

    Raises:
        UsageError: SGLang has no such cache.
    """
    named, shape = cache_name(workload, model, asked, TYPES, STORED), model.architecture
    if named != "auto":
        return {"fp8": "fp8_e5m2"}.get(named, named)
    newer = gpu.compute_capability is not None and gpu.compute_capability >= (10, 0)
    if (newer and sparse_latents(shape.layers)) or shape.architecture in by_hand("sglang_fp8_caches"):
        return "fp8_e4m3"
    return "auto"


def packs_sparse_latents(gpu: Gpu | None) -> bool:
    """Whether FP8 latents of sparse attention have DeepSeek's layout: not on Blackwell's data-center GPUs, whose
    backend reads plain rows (mem_cache/kv_cache_configurator.py: calculate_mla_kv_cache_dim)."""
    return gpu is None or gpu.compute_capability is None or gpu.compute_capability[0] != 10


def check_cache(name: str, model: ServedModel, gpu: Gpu) -> None:
    """Refuse a type that SGLang does not serve this model with on this GPU, or that has no rule here.

    Raises:
        CannotTell: why not.
    """
    kept, capability = TYPES[name], gpu.compute_capability
    if capability is not None and kept.majors and capability[0] not in kept.majors:
        raise CannotTell(f"SGLang has no kernels for a KV cache of type {name} on {gpu.name}")
    rows = [layer.rows for layer in model.layers if layer.rows is not None]
    if kept.head is not None and not all(
        type(row) is not SlidingAttention and isinstance(row, Attention) for row in rows
    ):
        raise CannotTell(f"a KV cache of type {name} has no rule here beside windows or latents")


def workspace_bytes(name: str, model: ServedModel, gpu: Gpu, ranks: int) -> int:
    """Bytes of each token in a workspace of 8-bit rows that all layers share: where a prefill cannot read NVFP4, on
    any but Blackwell's data-center GPUs (layers/quantization/fp4_kv_cache_quant_method.py: NVFP4KVCacheMethod)."""
    if name != "nvfp4" or gpu.compute_capability is None or gpu.compute_capability[0] == 10:
        return 0
    rows = next((layer.rows for layer in model.layers if isinstance(layer.rows, Attention)), None)
    if rows is None:
        return 0
    return max(1, rows.num_key_value_heads // ranks) * (rows.head_dim + rows.v_head_dim)
