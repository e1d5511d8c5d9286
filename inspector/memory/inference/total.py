"""Memory of inference: weights + KV cache + activations + overhead, by either set of formulas."""

from __future__ import annotations

from inspector.errors import UsageError
from inspector.memory.estimate import Estimate, Part, Workload
from inspector.memory.inference.activations import prefill_activations
from inspector.memory.inference.kv_cache import kv_bytes_per_token, kv_cache, kv_cache_allocated
from inspector.memory.precision import (
    FILE_TYPE_NAMES,
    PRECISION_BITS,
    RECIPE_NAMES,
    STORED,
    compute_precision,
)
from inspector.model.layers.layer import size_in_bytes
from inspector.model.model import Model

OVERHEAD_BYTES = 256 * 1024**2
"""What a process takes on the GPU beside torch's tensors: context, kernels, libraries. vLLM's start-up logs print
0.24-0.26 GiB for it on one H100 (19 of 22 runs of version 0.19); older drivers that load every kernel took up to
1.3 GiB. With several GPUs NCCL's buffers add to it."""

OVERHEAD_RANGE = (int(0.24 * 1024**3), int(1.3 * 1024**3))

DEFAULT_CONTEXT = 4096


def default_context(model: Model) -> int:
    """Tokens a sequence where none are asked for: 4,096, or the model's own maximum where that is smaller."""
    return min(DEFAULT_CONTEXT, model.architecture.longest_context or DEFAULT_CONTEXT)


def estimate(model: Model, workload: Workload) -> Estimate:
    """Bytes that `model` takes on one device under transformers, at the peak of a prompt that fills the context.

    Raises:
        UsageError: a context or batch below 1.
    """
    if workload.context < 1 or workload.batch < 1:
        raise UsageError("context and batch must be at least 1")
    compute, _ = compute_precision(model, workload.dtype)
    if workload.formulas == "article":
        from inspector.memory.inference.article import article_estimate

        return article_estimate(model, workload, compute, _context_warnings(model, workload))
    kv_dtype = workload.kv_dtype or compute
    kv_bits = PRECISION_BITS[kv_dtype]
    architecture = model.architecture
    cache, element_bytes = estimated_cache(model, workload), PRECISION_BITS[compute] // 8
    activations = prefill_activations(
        architecture, context=workload.context, batch=workload.batch, element_bytes=element_bytes
    )
    notes, image_tokens = _context_warnings(model, workload), None
    if architecture.vision or architecture.audio:
        from inspector.memory.inference.encoders import with_media

        activations, image_tokens, more = with_media(architecture, workload, activations, cache.bytes, element_bytes)
        notes += more
    if workload.dtype in FILE_TYPE_NAMES:
        from inspector.memory.quantization.ggml_recipes import file_type_notes

        notes += file_type_notes(model, workload.dtype)
    if (workload.images or workload.image_size) and not architecture.vision:
        notes += ("no image is counted: the model takes none",)
    return Estimate(
        workload,
        weights=weights(model, workload.dtype),
        kv_cache=cache,
        activations=activations,
        overhead=Part(
            "overhead",
            OVERHEAD_BYTES,
            "0.25 GiB: CUDA context, kernels and libraries",
            "vLLM 0.19 logs on one H100: 0.24-0.26 GiB outside torch",
            low=OVERHEAD_RANGE[0],
            high=OVERHEAD_RANGE[1],
        ),
        kv_bytes_per_token=kv_bytes_per_token(architecture, kv_bits) if architecture.is_decoder else 0,
        kv_dtype=kv_dtype,
        warnings=notes,
        kv_cache_allocated=kv_cache_allocated(architecture, workload, kv_dtype, kv_bits, PRECISION_BITS[compute]),
        image_tokens=image_tokens,
    )


def estimated_cache(model: Model, workload: Workload) -> Part:
    """The KV cache of `estimate`, by itself: all that a bound of decoding wants of it."""
    if workload.formulas == "article":
        return estimate(model, workload).kv_cache
    kv_dtype = workload.kv_dtype or compute_precision(model, workload.dtype)[0]
    return kv_cache(model.architecture, workload, kv_dtype, PRECISION_BITS[kv_dtype])


def weights(model: Model, dtype: str) -> Part:
    """Bytes of the weights as the files have them (`dtype` "stored"), or with every parameter at one precision."""
    parameters = model.parameters
    if dtype == STORED:
        name = model.architecture.architecture or "the model class"
        overhead = f", {parameters.overhead_bytes:,} B of them scales" if parameters.overhead_bytes else ""
        return Part(
            "weights",
            parameters.stored_bytes,
            f"stored bytes of {name}'s {parameters.total:,} parameters{overhead}",
            "the safetensors headers",
        )
    if dtype in RECIPE_NAMES:
        from inspector.memory.quantization.recipes import recipe_weights

        return recipe_weights(model, dtype)
    if dtype in FILE_TYPE_NAMES:
        from inspector.memory.quantization.ggml_recipes import file_type_weights

        return file_type_weights(model, dtype)
    bits = PRECISION_BITS[dtype]
    return Part(
        "weights",
        size_in_bytes(parameters.total, bits),
        f"{parameters.total:,} parameters x {bits / 8:g} B ({dtype})",
        "parameter count from the safetensors headers",
    )


def _context_warnings(model: Model, workload: Workload) -> tuple[str, ...]:
    longest = model.architecture.longest_context
    if longest is not None and workload.context > longest:
        return (f"{workload.context:,} tokens are more than the model's maximum of {longest:,}",)
    return ()
