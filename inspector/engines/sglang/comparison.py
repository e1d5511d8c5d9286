"""An SGLang log beside the prediction: the same plan as `--engine sglang`, under the settings that the log names."""

from __future__ import annotations

from typing import Any

from inspector.devices.spec import GpuSpec
from inspector.engines.common.comparison import (
    MAX_GPUS,
    MAX_TOKENS,
    Comparison,
    Planned,
    cache_of,
    degrees_of,
    finished,
    gpu_of,
    note_settings,
    note_uncounted,
    predicted_parts,
    share,
    stand_in,
    whole,
    workload_of,
)
from inspector.engines.common.log import LoggedRun
from inspector.engines.sglang.cache_types import TYPES
from inspector.engines.sglang.loads import STRATEGIES
from inspector.engines.sglang.options import SglangOptions
from inspector.model import Model

_PARTS = ("weights", "non_torch", "graphs", "kv_pool")
"""Without activations: what the plan has there is what is left for them, and the log prints none."""


def compare_sglang(plan: Planned, run: LoggedRun, model: Model, spec: GpuSpec | None, *, dtype: str) -> Comparison:
    """Each printed part beside the predicted one.

    Args:
        plan: SGLang's plan for (model, workload, devices, options).

    Raises:
        UsageError: the log names settings that no plan can be made for.
    """
    notes = [*run.notes]
    tensor, pipeline = degrees_of(run, "tp_size", "pp_size")
    gpu = gpu_of(run, spec, tensor * pipeline, notes)
    workload = workload_of(run, model, dtype, ("context_length", "context_len"), notes)
    options = _options(run, tensor, pipeline, notes)
    note_uncounted(run, notes, ["max_total_tokens"])
    note_settings(run, model, notes, says_packing=False)
    serving = plan(model, workload, gpu or stand_in(tensor * pipeline), options)
    predicted = predicted_parts(serving, _PARTS, known_gpu=gpu is not None)
    return finished(run, predicted, serving, gpu, tensor * pipeline, notes)


def _options(run: LoggedRun, tensor: int, pipeline: int, notes: list[str]) -> SglangOptions:
    fraction = share(run.settings.get("mem_fraction_static"))
    if fraction is None or fraction >= 1:
        fraction = None
        notes.append("mem_fraction_static is not in the log: SGLang's default for the GPU is counted")
    free, memory = run.settings.get("free_before"), run.gpu_memory
    if type(free) is int and memory and free < 0.98 * memory:
        notes.append(f"{(memory - free) / 1024**3:.2f} GiB were in use before the weights were loaded")
    return SglangOptions(
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        mem_fraction_static=fraction,
        kv_cache_dtype=cache_of(run, TYPES, notes),
        **_given(run),
    )


_COUNTS = ("max_running_requests", "max_total_tokens", "page_size", "max_mamba_cache_size")
_RATIOS = ("mamba_full_memory_ratio", "swa_full_tokens_ratio")
_NAMES = {"mamba_ssm_dtype": ("float32", "bfloat16", "float16"), "mamba_radix_cache_strategy": tuple(STRATEGIES)}
_FLAGS = ("enable_dp_attention", "disable_radix_cache", "disable_cuda_graph")


def _given(run: LoggedRun) -> dict[str, Any]:
    """What else the log says of the pool; what is no value of an option is left out."""
    logged = run.settings
    found: dict[str, Any] = {name: whole(logged.get(name), MAX_TOKENS) for name in _COUNTS}
    found |= {name: value for name in _RATIOS if type(value := logged.get(name)) is float and 0 < value < 100}
    found |= {name: value for name, known in _NAMES.items() if (value := logged.get(name)) in known}
    found |= {name: logged.get(name) is True for name in _FLAGS}
    if found["enable_dp_attention"]:  # else the log is of one of several servers
        found["data_parallel"] = whole(logged.get("dp_size"), MAX_GPUS)
    return found
