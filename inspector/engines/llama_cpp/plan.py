"""llama.cpp on given GPUs: its plan, turned into the bytes of the fullest GPU, the CPU's share and a verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

from inspector.devices.spec import GpuSpec
from inspector.devices.speed import decode_bound, prefill_bound
from inspector.engines.common.heads import DraftHead
from inspector.engines.engine import Sized, Sizer
from inspector.engines.llama_cpp.buffers import DeviceMemory, GgufFacts, LlamaCppPlan, gguf_facts, plan
from inspector.engines.llama_cpp.cache import CACHE_TYPES, LlamaCppSettings, layer_cache_bytes
from inspector.engines.llama_cpp.options import LlamaCppOptions
from inspector.engines.llama_cpp.placement import overrides_of
from inspector.engines.llama_cpp.unequal import place, shares_of, split_note
from inspector.engines.serving import AllocatedServing, CannotTell, Serving, needed_parts
from inspector.errors import UsageError, known_hint
from inspector.memory import STORED, Part, Workload, estimated_cache
from inspector.model import Model
from inspector.verdict.fit import GpuShare, largest_that_fits

CONTEXT_BYTES = 512 * 1024**2
"""What a CUDA or ROCm process takes of a GPU beside llama.cpp's buffers, about: context, kernels, cuBLAS. Its own
breakdown prints 133 to 978 MiB as "unaccounted" on GPUs that show no desktop; on Metal there is no such thing."""

MAX_PARALLEL = 1024
"""Sequences that the search for the most of them tries (llama.cpp's LLAMA_MAX_SEQ is 256; a bound for the search)."""

_CACHE_TYPES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
"""This library's precisions under ggml's names."""


class _Taken(NamedTuple):
    """A plan on these devices: of the one that decides its memory, its capacity, and all that is taken of it."""

    plan: LlamaCppPlan
    device: DeviceMemory
    capacity: int
    total: int | None
    fits: bool | None
    shares: tuple[GpuShare, ...] = ()
    notes: tuple[str, ...] = ()
    tensor_split: str | None = None


class _Devices(NamedTuple):
    """The model's facts on these devices: the sizing function of the verdict, of both searches and of the changes.

    `outside`: bytes of each that a process takes beside llama.cpp's buffers. `draft`: of a draft model, which has a
    context of its own, as long, with keys and values as f16 (common/speculative.cpp). `projector`: bytes of an
    encoder's tensors, all on the first GPU (tools/mtmd/clip.cpp: clip_ctx); of several, as if that were the fullest.
    """

    facts: GgufFacts
    spec: GpuSpec
    outside: int
    draft: GgufFacts | None = None
    projector: int | None = None

    def taken(self, settings: LlamaCppSettings) -> _Taken:
        """The whole plan; layers on unequal devices lie by `unequal.place`."""
        spec = self.spec
        if spec.mixed:
            placed = place(self.facts, settings, spec, self.outside)
            shares = shares_of(placed, spec, self.outside)
            total, capacity = self._whole(placed.device), spec.capacities[placed.tightest]
            asked = settings.tensor_split
            split = ",".join(map(str, placed.shares)) if placed.given and asked is None else None
            notes = (split_note(placed, asked),)
            return _Taken(placed.plan, placed.device, capacity, total, placed.fits, shares, notes, split)
        result = plan(self.facts, settings, self._shares(settings))
        total = self._with_more(self._whole(result.fullest), settings, spec.count)
        return _Taken(result, result.fullest, spec.capacity, total, None if total is None else total <= spec.capacity)

    def needed(self, settings: LlamaCppSettings) -> int | None:
        """Bytes on the fullest device; of unequal ones on the tightest, None where one is overfull."""
        if self.spec.mixed:
            placed = place(self.facts, settings, self.spec, self.outside)
            return self._whole(placed.device) if placed.fits else None
        count = self.spec.count
        return self._with_more(self._whole(plan(self.facts, settings, self._shares(settings)).fullest), settings, count)

    def _shares(self, settings: LlamaCppSettings) -> int | tuple[int, ...]:
        """Of like devices: how many there are, or the shares that were given."""
        return self.spec.count if settings.tensor_split is None else settings.tensor_split

    def draft_bytes(self, settings: LlamaCppSettings, count: int) -> int | None:
        """What the draft model's weights, cache and compute buffer take of the fullest GPU; 0 without one."""
        if self.draft is None:
            return 0
        own = replace(
            settings,
            n_gpu_layers=None,
            cache_type_k="f16",
            cache_type_v="f16",
            kv_offload=True,
            overrides=(),
            tensor_split=None,
        )
        return plan(self.draft, own, count).fullest.total

    def more(self, settings: LlamaCppSettings) -> dict[str, int | None]:
        """The parts beside the model's own."""
        drafts = {} if self.draft is None else {"draft": self.draft_bytes(settings, self.spec.count)}
        return drafts if self.projector is None else {**drafts, "projector": self.projector}

    def _with_more(self, size: int | None, settings: LlamaCppSettings, count: int) -> int | None:
        more = self.draft_bytes(settings, count)
        return None if size is None or more is None else size + more + (self.projector or 0)

    def fits(self, settings: LlamaCppSettings) -> bool:
        """Whether that is no more than there is."""
        size = self.needed(settings)
        return size is not None and size <= max(self.spec.capacities)

    def _whole(self, device: DeviceMemory) -> int | None:
        return None if device.total is None else device.total + self.outside


def plan_llama_cpp(
    model: Model, workload: Workload, spec: GpuSpec, options: LlamaCppOptions, *, suggest: bool = True
) -> Serving:
    """llama.cpp's account of `workload.batch` sequences of `workload.context` tokens, each with a cache of its own.

    Raises:
        UsageError: options that llama.cpp refuses.
        CannotTell: it is not known what a GGUF file of the model holds.
    """
    del suggest  # every change has an option: inspector/advice finds them
    chosen = llama_cpp_settings(workload, options)
    facts = gguf_facts(model, workload.dtype)
    if isinstance(facts, str):
        raise CannotTell(facts)
    _check_placement(facts, chosen, spec)
    outside = _outside(spec)
    devices = _Devices(facts, spec, outside, _draft_facts(options, workload, spec), _projector(options, spec))
    taken = devices.taken(chosen)
    result, fullest = taken.plan, taken.device
    longest = many = None
    if taken.total is not None:
        most = max(workload.context, model.architecture.longest_context or 0)
        each = chosen.n_ctx // workload.context
        longest = _largest(lambda tokens: devices.fits(replace(chosen, n_ctx=tokens * each)), most)
        many = _largest(lambda count: devices.fits(_with_sequences(chosen, workload.context, count)), MAX_PARALLEL)
    return AllocatedServing(
        engine="llama.cpp",
        engine_version=options.version,
        gpu=spec.name,
        count=spec.count,
        capacity=taken.capacity,
        settings=chosen.shown(f"{result.n_gpu_layers}/{len(facts.layers) + 1}") | _shown(options, taken),
        per_gpu=_per_gpu(taken, outside, devices.more(chosen)),
        cpu={"weights": result.cpu.weights, "kv_cache": result.cpu.kv_cache, "activations": result.cpu.compute},
        kv_tokens=chosen.n_ctx,
        max_concurrency=None if many is None else float(many),
        longest_context=longest,
        request_bytes=None if fullest.kv_cache is None else -(-fullest.kv_cache // chosen.n_parallel),
        fits=taken.fits,
        decode_bound=decode_bound(model, workload, estimated_cache(model, workload).bytes, spec),
        prefill_bound=prefill_bound(model, spec),
        cards=taken.shares,
        notes=(
            *(layer_cache_bytes.why_not(facts.layers, chosen) if taken.fits is None else ()),
            *(*taken.notes, *_notes(model, workload, options, result), *spec.notes),
        ),
    ).explained_by(lambda: (*_explain(facts, chosen, result, fullest, outside), *_explain_more(devices, chosen)))


def _check_placement(facts: GgufFacts, settings: LlamaCppSettings, spec: GpuSpec) -> None:
    """Refuse what names other GPUs than there are.

    Raises:
        UsageError: shares, or tensors, of a GPU that is not there.
        CannotTell: it is not known what the tensors are.
    """
    if settings.tensor_split is not None and len(settings.tensor_split) != spec.count:
        raise UsageError(f"--tensor-split has {len(settings.tensor_split)} shares, --gpu {spec.count}", "One per GPU.")
    beyond = next((each for each in settings.overrides if each.device is not None and each.device >= spec.count), None)
    if beyond is not None:
        raise UsageError(f"--override-tensor names GPU {beyond.device}, and --gpu has {spec.count}", "The first is 0.")
    if settings.overrides and not facts.tensors:
        raise CannotTell("the tensors' names do not tell what --override-tensor and --n-cpu-moe move")


def llama_cpp_sizer(model: Model) -> Sizer:
    """Whether one workload after another fits; the facts of each type of file are worked out once."""
    facts = cache(partial(gguf_facts, model))

    def sized(workload: Workload, spec: GpuSpec, options: LlamaCppOptions) -> Sized:
        found = facts(workload.dtype)
        if isinstance(found, str):
            return Sized()
        outside = _outside(spec)
        taken = _Devices(found, spec, outside).taken(llama_cpp_settings(workload, options))
        parts = needed_parts(_per_gpu(taken, outside, {}), taken.device.kv_cache)
        return Sized(taken.fits, taken.total, taken.capacity, parts=parts)

    return sized


def _per_gpu(taken: _Taken, outside: int, more: Mapping[str, int | None]) -> dict[str, int | None]:
    device = taken.device
    return {
        "weights": device.weights,
        "activations": device.compute,
        "non_torch": outside,
        "kv_pool": device.kv_cache,
        **more,
        "total": taken.total,
    }


def _outside(spec: GpuSpec) -> int:
    return 0 if spec.kind == "metal" else CONTEXT_BYTES


def _projector(options: LlamaCppOptions, spec: GpuSpec) -> int | None:
    """An encoder's bytes; None without one.

    Raises:
        UsageError: unlike GPUs.
    """
    if options.projector is not None and spec.mixed:
        raise UsageError("a projector is counted on like GPUs", "Name one kind: --gpu 'RTX 4090'.")
    return options.projector


def _draft_facts(options: LlamaCppOptions, workload: Workload, spec: GpuSpec) -> GgufFacts | None:
    """A draft model's facts; None without one. Of a repo of safetensors the file that is made as the model's is.

    Raises:
        UsageError: unlike GPUs.
        CannotTell: it is not known what a GGUF file of it holds.
    """
    if options.draft is None:
        return None
    if spec.mixed:
        raise UsageError("a draft model is counted on like GPUs", "Name one kind: --gpu 'RTX 4090'.")
    if isinstance(options.draft, DraftHead):
        raise CannotTell("heads that draft (EAGLE, multi-token prediction) are accounted for under vLLM alone")
    facts = gguf_facts(options.draft, STORED if options.draft.parameters.stack == "blk" else workload.dtype)
    if isinstance(facts, str):
        raise CannotTell(f"the draft model: {facts}")
    return facts


def llama_cpp_settings(workload: Workload, settings: LlamaCppOptions) -> LlamaCppSettings:
    """llama.cpp's own settings for a workload.

    Raises:
        UsageError: a cache type or a version that llama.cpp does not have, or two names for one setting.
    """
    types = (settings.cache_type_k, settings.cache_type_v)
    usual = "f16"
    if workload.kv_dtype is not None:
        if any(types):
            raise UsageError("--kv-dtype and --cache-type-k or -v name the same thing", "Give one of them.")
        if workload.kv_dtype not in _CACHE_TYPES:
            raise UsageError(
                f"llama.cpp has no KV cache of type {workload.kv_dtype}",
                f"Its own names: --cache-type-k and --cache-type-v, each one of {', '.join(CACHE_TYPES)}.",
            )
        usual = _CACHE_TYPES[workload.kv_dtype]
    for kind in types:
        if kind is not None and kind not in CACHE_TYPES:
            raise UsageError(f"unknown cache type '{kind}'", known_hint(kind, CACHE_TYPES))
    if settings.n_gpu_layers is not None and settings.n_gpu_layers < 0:
        raise UsageError("n_gpu_layers must be at least 0")
    if settings.flash_attn == "off" and (settings.cache_type_v or usual) not in ("f16", "bf16", "f32"):
        raise UsageError(
            f"llama.cpp keeps values as {settings.cache_type_v} under flash attention alone",
            "Leave out --flash-attn off.",
        )
    if settings.n_ubatch is not None and settings.n_ubatch < 1:
        raise UsageError("n_ubatch must be at least 1")
    return LlamaCppSettings(
        n_ctx=workload.context * (1 if settings.kv_unified else workload.batch),
        n_ubatch=settings.n_ubatch or LlamaCppSettings(1).n_ubatch,
        n_parallel=workload.batch,
        cache_type_k=settings.cache_type_k or usual,
        cache_type_v=settings.cache_type_v or usual,
        kv_unified=settings.kv_unified or workload.batch == 1,
        swa_full=settings.swa_full,
        flash_attn=settings.flash_attn != "off",
        n_gpu_layers=settings.n_gpu_layers,
        build=parse_build(settings.version),
        kv_offload=not settings.no_kv_offload,
        overrides=overrides_of(settings.override_tensor, settings.n_cpu_moe, cpu_moe=settings.cpu_moe),
        tensor_split=parse_split(settings.tensor_split),
    )


def parse_split(text: str | None) -> tuple[int, ...] | None:
    """ "3,1" -> (3, 1); fractions as whole numbers, "0.5,0.5" -> (500, 500).

    Raises:
        UsageError: no list of shares.
    """
    if text is None:
        return None
    parts = re.split(r"[,/]", text)
    if not all(re.fullmatch(r"\d{1,6}(\.\d{1,6})?", part.strip()) for part in parts):
        raise UsageError(f"--tensor-split {text[:60]!r} is no list of shares", "One number per GPU: 3,1.")
    shares = tuple(round(1000 * float(part)) for part in parts)
    if not any(shares):
        raise UsageError("--tensor-split needs a share that is not 0")
    return shares


def parse_build(version: str | None) -> int | None:
    """ "b9525" or "9525" -> 9525; None for None.

    Raises:
        UsageError: no build number.
    """
    if version is None:
        return None
    match = re.fullmatch(r"b?([1-9]\d{0,6})", version.strip())
    if match is None:
        raise UsageError(f"'{version}' is no build of llama.cpp", "Its releases are numbers: --engine-version b9525.")
    return int(match[1])


def _shown(options: LlamaCppOptions, taken: _Taken) -> dict[str, Any]:
    """The settings that few give, as the account shows them where they were given."""
    names = ("n_cpu_moe", "cpu_moe", "override_tensor", "tensor_split", "kv_unified", "swa_full", "no_kv_offload")
    given = {name: value for name in names if (value := getattr(options, name))}
    return given if taken.tensor_split is None else {**given, "tensor_split": taken.tensor_split}


def _with_sequences(settings: LlamaCppSettings, context: int, count: int) -> LlamaCppSettings:
    if settings.kv_unified and settings.n_parallel > 1:
        return replace(settings, n_parallel=count)
    return replace(settings, n_ctx=context * count, n_parallel=count, kv_unified=count == 1)


def _largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that fits; 0 where not even 1 does."""
    return largest_that_fits(lambda number: (fits(number), None), limit) or 0


def _notes(model: Model, workload: Workload, options: LlamaCppOptions, result: LlamaCppPlan) -> tuple[str, ...]:
    notes = []
    if model.parameters.stack != "blk":
        packing = model.architecture.quantization
        stored = packing.method.upper() if packing else model.stored_dtype or "stored"
        kind = workload.dtype if workload.dtype != STORED else stored
        notes.append(f"counted as converted to GGUF with its weights as {kind}")
    if options.projector is not None:
        notes.append("the buffer that an image or sound is encoded in is not counted: it grows with the image")
    elif model.architecture.vision or model.architecture.audio:
        notes.append("the encoder for images or sound is a file of its own (mmproj) and is not counted")
    if result.cpu.layers and result.n_gpu_layers:
        notes.append("with layers on the CPU the GPUs' compute buffer is approximate: it takes copies of their weights")
    if set(model.architecture.layer_kinds) - {"full_attention", "sliding_attention", "no_cache"}:
        notes.append("the compute buffer is approximate: it was measured for plain attention")
    return tuple(notes)


def _explain(
    facts: GgufFacts, settings: LlamaCppSettings, result: LlamaCppPlan, gpu: DeviceMemory, outside: int
) -> tuple[Part, ...]:
    """The parts of the GPU that decides and of the CPU, with their equations and sources."""
    cpu = result.cpu
    source = "llama.cpp: src/llama-model.cpp (load_tensors)"
    cells = f"{settings.n_ctx:,} cells, K {settings.cache_type_k}, V {settings.cache_type_v}"
    return (
        Part(
            "weights",
            gpu.weights,
            f"the tensors of {gpu.layers} of {len(facts.layers)} layers, output included",
            source,
        ),
        Part(
            "activations",
            gpu.compute,
            f"the graph's largest step for {settings.n_ubatch} tokens",
            "measured, build 11549",
        ),
        Part("non_torch", outside, "context and kernels, about", "llama.cpp's own breakdowns: 133 to 978 MiB"),
        Part("kv_pool", gpu.kv_cache, f"{cells} of {gpu.layers} layers", "llama.cpp: src/llama-kv-cache.cpp"),
        Part("cpu_weights", cpu.weights, f"token embedding and {cpu.layers} layers", source),
        Part("cpu_kv_cache", cpu.kv_cache, f"{cells} of {cpu.layers} layers", "llama.cpp: src/llama-kv-cache.cpp"),
    )


def _explain_more(devices: _Devices, settings: LlamaCppSettings) -> tuple[Part, ...]:
    """What is loaded beside the model."""
    about = {
        "draft": (
            f"the draft model's weights, {settings.n_ctx:,} cells of f16 and compute buffer",
            "llama.cpp: common/speculative.cpp",
        ),
        "projector": ("the tensors of the encoder and its projector, as stored", "llama.cpp: tools/mtmd/clip.cpp"),
    }
    return tuple(Part(name, size, *about[name]) for name, size in devices.more(settings).items())
