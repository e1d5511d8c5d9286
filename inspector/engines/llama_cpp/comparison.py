"""A llama.cpp log beside the prediction: sums over the GPUs, and over what stays with the CPU."""

from __future__ import annotations

from typing import Any

from inspector.devices.spec import GpuSpec
from inspector.engines.common.comparison import MAX_GPUS, MAX_TOKENS, Comparison, make_rows, whole
from inspector.engines.common.log import LoggedRun, Number
from inspector.engines.llama_cpp.buffers import LIMITED_OUTPUTS_BUILD, DeviceMemory, gguf_facts, plan
from inspector.engines.llama_cpp.cache import CACHE_TYPES, LlamaCppSettings
from inspector.engines.llama_cpp.placement import named_overrides
from inspector.errors import UsageError
from inspector.model import Model

_CONVERTIBLE = ("F16", "BF16", "F32", "Q8_0")
"""File types that a safetensors model counts as converted to."""

_OFF = ("0", "disabled", "false", 0)


def compare_llama_cpp(
    run: LoggedRun, model: Model, spec: GpuSpec | None = None, *, dtype: str = "stored"
) -> Comparison:
    """Weights and cache of all GPUs together and of the CPU, and the largest GPU's compute buffer.

    Raises:
        UsageError: settings that llama.cpp refuses.
    """
    notes = [*run.notes]
    kind = str(run.settings.get("file_type", ""))
    if model.parameters.stack != "blk" and kind and not any(plain in kind for plain in _CONVERTIBLE):
        notes.append(f"the log's file is {kind[:40]}, and the model named is no GGUF: name the GGUF repo or file")
    gpus = _gpus(run)
    facts = gguf_facts(model, dtype)
    predicted: dict[str, Number | None] = {}
    if isinstance(facts, str):
        notes.append(f"nothing is predicted: {facts}")
        settings: dict[str, Any] = {}
    else:
        chosen = _settings(run, notes, gpus)
        result = plan(facts, chosen, max(1, gpus))
        on_gpus, rest = result.cards if gpus else (), result.cpu
        predicted = {
            "weights": sum(gpu.weights for gpu in on_gpus) if gpus else None,
            "activations": max((gpu.compute for gpu in on_gpus), default=None),
            "kv_pool": _caches(on_gpus) if gpus else None,
            "cpu_weights": rest.weights,
            "cpu_kv_pool": rest.kv_cache or None,
            "cpu_activations": rest.compute,
        }
        settings = chosen.shown(result.n_gpu_layers)
        if gpus and rest.layers:
            notes.append(
                "the CPU's weights are printed as the span of the file that holds them, which is more than they are"
            )
    name = spec.name if spec else run.gpu
    return Comparison(
        run, make_rows(run, predicted), gpu=name, count=max(1, gpus), settings=settings, notes=tuple(notes)
    )


def _gpus(run: LoggedRun) -> int:
    """GPUs that hold weights."""
    return whole(run.settings.get("cards"), MAX_GPUS) or 0


def _caches(gpus: tuple[DeviceMemory, ...]) -> int | None:
    sizes = [gpu.kv_cache for gpu in gpus]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _settings(run: LoggedRun, notes: list[str], gpus: int) -> LlamaCppSettings:
    logged = run.settings
    context = whole(logged.get("n_ctx"), MAX_TOKENS)
    if context is None:
        raise UsageError("the log does not tell the context", "Its line 'llama_context: n_ctx = ...' is missing.")
    sequences = whole(logged.get("n_seq_max"), MAX_TOKENS) or 1
    unified = logged.get("kv_unified")
    streams = whole(logged.get("streams"), MAX_TOKENS)
    build = _build(run, notes)
    kinds = {name: str(logged.get(name, "f16")).lower() for name in ("cache_type_k", "cache_type_v")}
    for name, kind in kinds.items():
        if kind not in CACHE_TYPES:
            notes.append(f"a cache of type {kind[:20]} is not known here: counted as f16")
            kinds[name] = "f16"
    offloaded = logged.get("offloaded") if gpus else 0
    if logged.get("flash_attn") == "auto":
        notes.append("flash attention is automatic, and the log does not say what came of it: counted as on")
    return LlamaCppSettings(
        n_ctx=context,
        n_ubatch=whole(logged.get("n_ubatch"), MAX_TOKENS) or 512,
        n_parallel=sequences,
        kv_unified=streams == 1 if streams else unified != "false",
        cache_type_k=kinds["cache_type_k"],
        cache_type_v=kinds["cache_type_v"],
        flash_attn=logged.get("flash_attn", 0) not in _OFF,
        n_gpu_layers=offloaded if type(offloaded) is int and offloaded >= 0 else None,
        build=build,
        overrides=named_overrides(logged.get("overridden", {}), gpus),
    )


def _build(run: LoggedRun, notes: list[str]) -> int:
    """The build of the log, as far as it matters here: whether outputs are limited shows in a line of its own."""
    build = int(run.version) if run.version and run.version.isdigit() else None
    limited = whole(run.settings.get("n_outputs_max"), MAX_TOKENS)
    if limited is not None:
        few = limited <= max(1, whole(run.settings.get("n_seq_max"), MAX_TOKENS) or 1)
        return max(build or 0, LIMITED_OUTPUTS_BUILD) if few else LIMITED_OUTPUTS_BUILD - 1
    if build is None:
        notes.append("the build is not in the log: counted as one that reserves logits for a whole batch")
    return min(build or LIMITED_OUTPUTS_BUILD, LIMITED_OUTPUTS_BUILD - 1)
