"""Which settings belong to which serving engine, and the refusal of those that belong to another."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.errors import UsageError

_RANKS = ("tensor_parallel", "pipeline_parallel")
_REPLICAS = ("data_parallel", "expert_parallel")

ENGINE_SETTINGS: dict[str, tuple[str, ...]] = {
    "vllm": (
        "version",
        *_RANKS,
        *_REPLICAS,
        "gpu_memory_utilization",
        "max_num_batched_tokens",
        "max_num_seqs",
        "enforce_eager",
    ),
    "sglang": ("version", *_RANKS, "expert_parallel", "mem_fraction_static"),
    "llama.cpp": ("version", "n_gpu_layers", "n_ubatch", "cache_type_k", "cache_type_v"),
    "mlx": ("tensor_parallel", "prefill_step_size", "kv_bits", "kv_group_size", "quantized_kv_start"),
}
"""Engine -> the fields of `ServingSettings` that it has."""

_OPTIONS = {
    "version": "--engine-version",
    "tensor_parallel": "--tp",
    "pipeline_parallel": "--pp",
    "data_parallel": "--dp",
    "expert_parallel": "--ep",
}


def option_of(name: str) -> str:
    """A setting as the command line writes it: "n_ubatch" -> "--n-ubatch"."""
    return _OPTIONS.get(name, f"--{name.replace('_', '-')}")


def owners_of(names: Iterable[str]) -> tuple[str, str]:
    """What to say of settings that were given without an engine: what is wrong, and which engines have them all."""
    given = tuple(names)
    fitting = [engine for engine, settings in ENGINE_SETTINGS.items() if all(name in settings for name in given)]
    are = "is a setting" if len(given) == 1 else "are settings"
    return (
        f"{', '.join(map(option_of, given))} {are} of serving engines, not of transformers",
        f"Add --engine {' or '.join(fitting or ENGINE_SETTINGS)}.",
    )


def check_engine_settings(engine: str, names: Iterable[str]) -> None:
    """Refuse settings that this engine does not have.

    Raises:
        UsageError: one of them belongs to another engine, or to none.
    """
    for name in names:
        if name in ENGINE_SETTINGS[engine]:
            continue
        owners = [other for other, settings in ENGINE_SETTINGS.items() if name in settings]
        if not owners:
            raise UsageError(f"'{name}' is no setting of a serving engine", f"{engine} has: {_names(engine)}.")
        hint = f"{engine} has: {_names(engine)}."
        if engine == "llama.cpp" and name in (*_RANKS, *_REPLICAS):
            hint = "llama.cpp lays whole layers over all cards of --gpu."
        raise UsageError(f"{option_of(name)} is a setting of {' and '.join(owners)}, not of {engine}", hint)


def _names(engine: str) -> str:
    return ", ".join(map(option_of, ENGINE_SETTINGS[engine]))
