"""mlx-lm on given Macs: its plan, turned into the bytes of one machine and a verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from inspector.devices.spec import GpuSpec
from inspector.devices.speed import decode_bound, prefill_bound
from inspector.devices.table import GIB, MIB
from inspector.engines.engine import Sized, Sizer
from inspector.engines.mlx.buffers import MlxFacts, MlxPlan, assumed_latents, mlx_facts, plan
from inspector.engines.mlx.cache import VERSION, MlxSettings, last_chunk, layer_cache_bytes
from inspector.engines.mlx.graph import LARGE, SMALL, Queue
from inspector.engines.mlx.options import MlxOptions
from inspector.engines.serving import AllocatedServing, CannotTell, Serving, needed_parts
from inspector.errors import UsageError
from inspector.memory import Part, Workload, estimated_cache
from inspector.model import Model
from inspector.verdict.changes import Change
from inspector.verdict.fit import largest_that_fits

MAX_BATCH = 1024
"""Sequences that the search for the most of them tries."""

DECODE_CONCURRENCY = 32
"""mlx_lm.server's --decode-concurrency where it is not set: further requests wait."""

LEFT_TO_MACOS = 4 * GIB
"""What a raised wired limit must leave of the machine's memory: a choice, not a measurement."""

_BITS = {"int4": 4, "int8": 8}
"""This library's precisions under --kv-bits."""


def plan_mlx(model: Model, workload: Workload, spec: GpuSpec, options: MlxOptions, *, suggest: bool = True) -> Serving:
    """mlx-lm's account of `workload.batch` sequences of `workload.context` tokens.

    Raises:
        UsageError: options that mlx-lm refuses, or devices that are no Macs.
        CannotTell: mlx-lm has no class for the model, or it is not known how it holds the weights.
    """
    chosen = mlx_settings(workload, spec, options)
    facts = mlx_facts(model, workload.dtype)
    if isinstance(facts, str):
        raise CannotTell(facts)
    queue = _queue(spec)
    result = plan(facts, chosen, queue)
    total = result.total
    longest = many = None
    if total is not None:
        most = max(workload.context, model.architecture.longest_context or 0)
        longest, many = _searched(facts, chosen, queue, spec.capacity, most)
    verdict = None if total is None else total <= spec.capacity
    named = next((name for name, bits in _BITS.items() if bits == chosen.kv_bits), workload.kv_dtype)
    cached = dataclasses.replace(workload, kv_dtype=named)  # what a step reads of it
    return AllocatedServing(
        engine="mlx",
        engine_version=VERSION,
        gpu=spec.name,
        count=spec.count,
        capacity=spec.capacity,
        settings=_shown(chosen),
        per_gpu=_per_gpu(result),
        kv_tokens=chosen.context * chosen.batch,
        max_concurrency=None if many is None else float(many),
        longest_context=longest,
        request_bytes=None if result.kv_cache is None else -(-result.kv_cache // chosen.batch),
        fits=verdict,
        decode_bound=decode_bound(model, cached, estimated_cache(model, cached).bytes, spec, chosen.ranks),
        prefill_bound=prefill_bound(model, spec, chosen.ranks),
        changes=_raised_limit(spec, total) if verdict is False and suggest and total is not None else (),
        notes=(*_notes(facts, chosen, result, spec, many), *spec.notes),
    ).explained_by(lambda: explain_mlx(facts, chosen, result))


def mlx_sizer(model: Model) -> Sizer:
    """Whether one workload after another fits; the facts of each precision are worked out once."""
    facts = cache(partial(mlx_facts, model))

    def sized(workload: Workload, spec: GpuSpec, options: MlxOptions) -> Sized:
        found = facts(workload.dtype)
        if isinstance(found, str):
            return Sized()
        chosen = mlx_settings(workload, spec, options)
        result = plan(found, chosen, _queue(spec))
        total, parts = result.total, needed_parts(_per_gpu(result), result.kv_cache)
        return Sized(None if total is None else total <= spec.capacity, total, spec.capacity, chosen.ranks, parts)

    return sized


def _per_gpu(result: MlxPlan) -> dict[str, int | None]:
    return {
        "weights": result.weights,
        "activations": sum(result.activations.values()),
        "kv_pool": result.kv_cache,
        "total": result.total,
    }


def _queue(spec: GpuSpec) -> Queue:
    return LARGE if spec.device is None or spec.device.name.split()[1:2] in (["Max"], ["Ultra"]) else SMALL


def _searched(facts: MlxFacts, chosen: MlxSettings, queue: Queue, capacity: int, most: int) -> tuple[int, int]:
    """(tokens of the longest context up to `most`, the most sequences at once) that fit."""

    @cache
    def sized(changed: MlxSettings) -> int | None:
        return plan(facts, changed, queue).total

    def fits(changed: MlxSettings) -> bool:
        size = sized(changed)
        return size is not None and size <= capacity

    longest = _largest(lambda tokens: _allowed(fits, dataclasses.replace(chosen, context=tokens)), most)
    most_sequences = MAX_BATCH if chosen.kv_bits is None else 1
    return longest, _largest(lambda count: _allowed(fits, dataclasses.replace(chosen, batch=count)), most_sequences)


def _shown(chosen: MlxSettings) -> dict[str, Any]:
    """The settings as the account shows them, defaults filled in."""
    return {
        "context": chosen.context,
        "batch": chosen.batch,
        "prefill_step_size": chosen.prefill_step_size,
        **({} if chosen.kv_bits is None else _quantized(chosen)),
        "tensor_parallel_size": chosen.ranks,
    }


def mlx_settings(workload: Workload, spec: GpuSpec, settings: MlxOptions) -> MlxSettings:
    """mlx-lm's own settings for a workload.

    Raises:
        UsageError: a cache that mlx-lm does not have, or ranks that are not the machines of --gpu.
    """
    bits = settings.kv_bits
    if workload.kv_dtype is not None:
        if bits is not None:
            raise UsageError("--kv-dtype and --kv-bits name the same thing", "Give one of them.")
        bits = _BITS.get(workload.kv_dtype)
        if bits is None and workload.kv_dtype not in ("bf16", "fp16"):
            raise UsageError(
                f"mlx-lm has no KV cache of type {workload.kv_dtype}", "Its own name: --kv-bits 8 or 4, or none."
            )
    if settings.tensor_parallel not in (None, spec.count):
        raise UsageError(
            f"tensor parallel {settings.tensor_parallel} is not the {spec.count} machines of --gpu",
            "Name as many as take part."
            if spec.mixed
            else f"Name as many as take part: --gpu '{settings.tensor_parallel}x{spec.name}'.",
        )
    if bits is None and (settings.kv_group_size, settings.quantized_kv_start) != (None, None):
        raise UsageError("--kv-group-size and --quantized-kv-start are of a quantized cache", "Add --kv-bits 8.")
    usual = MlxSettings(1)
    start = settings.quantized_kv_start
    return MlxSettings(
        context=workload.context,
        batch=workload.batch,
        prefill_step_size=settings.prefill_step_size or usual.prefill_step_size,
        kv_bits=bits,
        kv_group_size=settings.kv_group_size or usual.kv_group_size,
        quantized_kv_start=usual.quantized_kv_start if start is None else start,
        ranks=spec.count,
    )


def _quantized(settings: MlxSettings) -> dict[str, int | None]:
    return {
        "kv_bits": settings.kv_bits,
        "kv_group_size": settings.kv_group_size,
        "quantized_kv_start": settings.quantized_kv_start,
    }


def _largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that fits; 0 where not even 1 does."""
    return largest_that_fits(lambda number: (fits(number), None), limit) or 0


def _allowed(fits: Callable[[MlxSettings], bool], settings: MlxSettings) -> bool:
    """What mlx-lm refuses does not fit: a context at which a cache can't be quantized, a second sequence."""
    try:
        return fits(settings)
    except UsageError:
        return False


def _raised_limit(spec: GpuSpec, total: int) -> tuple[Change, ...]:
    """The change that no option states: more of the machine's memory for the GPU."""
    limit, memory = -(-total // MIB), spec.device.memory_mib * MIB if spec.device else 0
    if limit * MIB + LEFT_TO_MACOS > memory:
        return ()
    left = (memory - limit * MIB) / GIB
    text = f"sudo sysctl iogpu.wired_limit_mb={limit}, which leaves {left:.1f} GiB of the machine's memory to all else"
    return (Change("", text, total),)


def _notes(facts: MlxFacts, settings: MlxSettings, result: MlxPlan, spec: GpuSpec, many: int | None) -> tuple[str, ...]:
    moment, element = result.moment, facts.widths.element
    notes = [*layer_cache_bytes.why_not(facts.layers, moment, settings, element), *facts.weights.notes]
    if settings.ranks > 1:
        notes.append(f"cut over {settings.ranks} machines with mlx.launch; embedding, head and norms are whole on each")
    if 10 * result.weights > 9 * spec.capacity:
        notes.append("mlx-lm warns: the weights are over 0.9 of the recommended working set, which can be slow")
    if many is not None and many > DECODE_CONCURRENCY:
        notes.append(f"mlx_lm.server runs {DECODE_CONCURRENCY} sequences at once unless --decode-concurrency says more")
    if assumed_latents(facts.layers):
        notes.append("the heads that latents expand to are taken to be 128 wide")
    if settings.kv_bits is not None and settings.context > settings.quantized_kv_start:
        notes.append("a quantized cache has its scores whole in memory: short prompts in large chunks may take more")
    notes.append("buffers that MLX keeps for reuse are not counted: they are given back before the limit is reached")
    return tuple(notes)


def explain_mlx(facts: MlxFacts, settings: MlxSettings, result: MlxPlan) -> tuple[Part, ...]:
    """The parts of one machine, with their equations and sources."""
    moment, widths = result.moment, facts.widths
    one = moment.tokens == 1
    step = (
        f"a token after {moment.before:,}, {moment.sequences} at once"
        if one
        else f"a chunk of {moment.tokens:,} tokens after {moment.before:,}, {moment.sequences} prompts at once"
    )
    shares = tuple(Part(name, size, "as loaded", "headers") for name, size in facts.weights.shares.items() if size)
    texts = {
        "waiting": (
            "results of the layers' operations that the GPU has not come to: 10 command buffers of 50 operations or"
            " 50 Mi elements each (40 and 40 on chips that are no Max or Ultra)",
            "mlx/transforms.cpp: MAX_ACTIVE_TASKS; mlx/backend/metal/device.cpp: max_ops_per_buffer",
        ),
        "scores": (
            f"scores, masks and expanded latents of a layer: {widths.heads} heads x {moment.tokens:,} x"
            f" {moment.before + moment.tokens:,} where no kernel fuses them",
            "mlx/backend/metal/scaled_dot_product_attention.cpp: use_fallback; mlx_lm/models/base.py",
        ),
        "grown": ("a layer's rows while they are copied to more room", "mlx_lm/models/cache.py: update_and_fetch"),
        "logits": (
            f"{moment.sequences:,} x {widths.vocab:,} logits and their logarithms, x {widths.element} B",
            "mlx_lm/generate.py: generate_step",
        ),
    }
    kept = (
        f"{settings.kv_bits} bits" if settings.kv_bits and moment.before >= settings.quantized_kv_start else "unpacked"
    )
    cached = (
        moment.before + moment.tokens if one else last_chunk(moment._replace(before=moment.before + 1), settings).before
    )
    return (
        Part("weights", result.weights, facts.weights.formula, f"mlx_lm/utils.py: load_model ({VERSION})", shares),
        Part(
            "activations",
            sum(result.activations.values()),
            f"the step that takes most: {step}",
            "mlx_lm/generate.py: generate_step",
            tuple(Part(name, size, *texts[name]) for name, size in result.activations.items()),
            low=result.low,
            high=result.high,
        ),
        Part(
            "kv_pool",
            result.kv_cache,
            f"{settings.batch} x {cached + (0 if one else moment.tokens):,} tokens ({kept}), in steps of 256"
            " rows; windows keep a chunk and the window before it",
            "mlx_lm/models/cache.py: KVCache, RotatingKVCache, QuantizedKVCache, ArraysCache",
        ),
    )
