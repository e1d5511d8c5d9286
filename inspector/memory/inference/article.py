"""The formulas of the article that started this project, exactly as it prints them (`--formulas article`).

"LLM System Requirements" (manuelescobar-dev): kept for comparison, faults included. It ignores grouped heads, windows
and the logits, leaves the number of layers out of the activations, and serves training and inference with one formula.
"""

from __future__ import annotations

from inspector.memory.estimate import Estimate, Part, Workload
from inspector.memory.precision import PRECISION_BITS, STORED
from inspector.model.layers.layer import size_in_bytes
from inspector.model.model import Model

SOURCE = "the article (LLM System Requirements)"

OPTIMIZER_BYTES = {"adamw": 8, "adamw-8bit": 2, "sgd": 4}
"""Bytes of optimizer state a trainable parameter: AdamW, 8-bit AdamW of bitsandbytes, SGD."""

GRADIENT_BYTES = 4
"""Bytes of gradient a trainable parameter."""

_MISSING = "unknown: config.json does not tell "


def article_estimate(model: Model, workload: Workload, compute: str, warnings: tuple[str, ...]) -> Estimate:
    """The article's inference total; its one precision is the weights' (`compute` for stored weights)."""
    precision = compute if workload.dtype == STORED else workload.dtype
    bits = PRECISION_BITS[precision]
    kv_dtype = workload.kv_dtype or precision
    cache = article_kv_cache(model, workload, kv_dtype, PRECISION_BITS[kv_dtype])
    return Estimate(
        workload,
        weights=article_weights(model, precision, bits),
        kv_cache=cache,
        activations=article_activations(model, workload),
        overhead=Part("overhead", 0, "none in the article", SOURCE),
        kv_bytes_per_token=None if cache.bytes is None else cache.bytes // (workload.batch * workload.context),
        kv_dtype=kv_dtype,
        warnings=warnings,
    )


def article_weights(model: Model, precision: str, bits: int) -> Part:
    """parameters x precision."""
    total = model.parameters.total
    return Part("weights", size_in_bytes(total, bits), f"{total:,} parameters x {bits / 8:g} B ({precision})", SOURCE)


def article_kv_cache(model: Model, workload: Workload, precision: str, bits: int) -> Part:
    """2 x batch x tokens x layers x hidden size x precision."""
    layers, hidden = model.architecture.num_hidden_layers, model.architecture.hidden_size
    if layers is None or hidden is None:
        return Part("kv_cache", None, _MISSING + "layers or hidden size", SOURCE)
    values = 2 * workload.batch * workload.context * layers * hidden
    formula = (
        f"2 x batch {workload.batch} x {workload.context:,} tokens x {layers} layers x {hidden:,} hidden"
        f" x {bits / 8:g} B ({precision})"
    )
    return Part("kv_cache", size_in_bytes(values, bits), formula, SOURCE)


def article_activations(model: Model, workload: Workload) -> Part:
    """batch x tokens x hidden size x (34 + 5 x tokens x heads / hidden size), taken as bytes.

    The calculator page beside the article multiplies that by the 4 bytes of FP32 (its get_activation_memory): the text
    of the formula names its number, too.
    """
    hidden, heads = model.architecture.hidden_size, model.architecture.num_attention_heads
    if not hidden or heads is None:
        return Part("activations", None, _MISSING + "hidden size or attention heads", SOURCE)
    tokens = workload.batch * workload.context
    formula = (
        f"batch {workload.batch} x {workload.context:,} tokens x {hidden:,} hidden"
        f" x (34 + 5 x {workload.context:,} x {heads} heads / {hidden:,}) B"
    )
    size = tokens * (34 * hidden + 5 * workload.context * heads)
    page = f"; the article's own page takes 4 B (FP32) for each of these: {4 * size:,} B"
    return Part("activations", size, formula + page, SOURCE)
