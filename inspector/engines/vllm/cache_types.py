"""vLLM's types of a KV cache (`--kv-cache-dtype`): their bytes, and where there are kernels for them.

vllm/config/cache.py: CacheDType, of 0.33. Left out are those of ROCm's own backends (octave, ultraquant), whose bytes
follow the rotary width. 0.24 has the same but int4_per_token_head, nvfp4_4over6 and nvfp4_ds_mla.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.engines.common.cache_types import HeadBytes, KeptAs, fp4_head
from inspector.engines.common.loaded_weights import ceil_div
from inspector.engines.common.served import Gpu, ServedModel
from inspector.engines.serving import CannotTell
from inspector.model.layers.full import Attention

STORED = ("fp8", "nvfp4")
"""What it takes of a checkpoint's own cache (vllm/utils/torch_utils.py: MODELOPT_TO_VLLM_KV_CACHE_DTYPE_MAP)."""

FP4_HEAD_DIMS = (64, 128, 256, 512)
"""Of FlashInfer, the one backend that reads plain NVFP4 rows (flashinfer.py: get_supported_head_sizes)."""

NEWER_MAJORS = (10,)
"""Blackwell's data-center GPUs. On others 0.31 and older read no NVFP4 rows at all; 0.32 does, by FlashInfer's older
kernels, but for heads of 64 (flashinfer.py: supports_kv_cache_dtype, supports_combination)."""

OTHERS_SINCE = (0, 32)


def _with_scales(divisor: int) -> HeadBytes:
    """A float32 scale for each key and each value (v1/attention/backends/triton_attn.py: customize_spec)."""
    return lambda key, value: key // divisor + value // divisor + 2 * 4


def _turbo(key_bits: int, value_bits: int) -> HeadBytes:
    """Keys in 8 bits, or fewer with a 16-bit norm; values with a 16-bit scale and zero point; an even number in all
    (model_executor/layers/quantization/turboquant/config.py: slot_size_aligned)."""

    def head(key: int, value: int) -> int:
        keys = key if key_bits == 8 else ceil_div(key * key_bits, 8) + 2
        return (keys + ceil_div(value * value_bits, 8) + 4 + 1) // 2 * 2

    return head


TURBO = {
    "turboquant_k8v4": KeptAs(head=_turbo(8, 4), latents=False),
    "turboquant_4bit_nc": KeptAs(head=_turbo(4, 4), latents=False),
    "turboquant_k3v4_nc": KeptAs(head=_turbo(3, 4), latents=False),
    "turboquant_3bit_nc": KeptAs(head=_turbo(3, 3), latents=False),
}

FP4 = {
    "nvfp4": KeptAs(head=fp4_head, latents=False, majors=(8, 9, 10, 12)),
    "nvfp4_4over6": KeptAs(head=fp4_head, latents=False, majors=NEWER_MAJORS),
}

TYPES: Mapping[str, KeptAs] = {
    "auto": KeptAs(0),
    **dict.fromkeys(("bfloat16", "float16"), KeptAs(2)),
    **dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2"), KeptAs(1)),
    "fp8_ds_mla": KeptAs(1, latent=656, rows=False),
    "nvfp4_ds_mla": KeptAs(1, latent=352, rows=False, majors=NEWER_MAJORS),
    "int8_per_token_head": KeptAs(head=_with_scales(1), latents=False),
    "fp8_per_token_head": KeptAs(head=_with_scales(1), latents=False),
    "int4_per_token_head": KeptAs(head=_with_scales(2), latents=False),
    **FP4,
    **TURBO,
}
"""The bytes of `fp8_ds_mla` and `nvfp4_ds_mla` are those of DeepSeek's 512 and 64 (mla_attention.py:
get_kv_cache_spec)."""


def check_cache(name: str, model: ServedModel, gpu: Gpu, release: tuple[int, int]) -> None:
    """Refuse a type that vLLM does not serve this model with on this GPU.

    Raises:
        CannotTell: why not.
    """
    kept, rows = TYPES[name], [layer.rows for layer in model.layers if layer.rows is not None]
    latents = any(row.widths for row in rows)
    if (latents and not kept.latents) or (rows and not latents and not kept.rows):
        raise CannotTell(f"vLLM has no KV cache of type {name} for {'latent' if latents else 'this kind of'} attention")
    major = None if gpu.compute_capability is None else gpu.compute_capability[0]
    older = name in FP4 and release < OTHERS_SINCE
    majors = NEWER_MAJORS if older else kept.majors
    if major is not None and majors and major not in majors:
        raise CannotTell(f"vLLM has no kernels for a KV cache of type {name} on {gpu.name}")
    heads = [row for row in rows if isinstance(row, Attention)]
    if name in FP4:
        for row in heads:
            width = row.head_dim
            narrow = width == 64 and major not in (None, *NEWER_MAJORS)
            if narrow or width not in FP4_HEAD_DIMS or width != row.v_head_dim:
                where = f"with heads of {width} on {gpu.name}"
                raise CannotTell(f"vLLM has no kernels for a KV cache of type {name} {where}")
    if name in TURBO and rows and not any(layer.states for layer in model.layers):
        raise CannotTell(f"vLLM keeps the first and last two layers unpacked beside {name}, which has no rule here")
