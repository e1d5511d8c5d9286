"""Tensors that lie elsewhere than their layer: `--override-tensor`, `--cpu-moe`, `--n-cpu-moe`.

common/arg.cpp turns the last two into overrides that come after those given by hand; src/llama-model-loader.cpp takes
the first pattern that is found in a tensor's name (std::regex_search). The cache of a layer stays where the layer is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from inspector.errors import UsageError

EXPERTS = r"ffn_(up|down|gate|gate_up)_(ch|)exps"
"""common/common.h: LLM_FFN_EXPS_REGEX."""

MAX_PATTERN = 1000
_DEVICE = re.compile(r"(?:CUDA|ROCm|Vulkan|SYCL|Metal|MTL)(\d{0,3})")
_HOSTS = ("CPU", "CUDA_Host", "ROCm_Host", "Vulkan_Host", "SYCL_Host")


class Override(NamedTuple):
    """Tensors whose names have the pattern in them are on a device; on the CPU where that is None."""

    pattern: re.Pattern[str]
    device: int | None


def overrides_of(tensors: str | None, n_cpu_moe: int | None, *, cpu_moe: bool) -> tuple[Override, ...]:
    """The overrides in the order in which they count.

    Args:
        tensors: `PATTERN=BUFFER,...`, as `--override-tensor` takes it.
        n_cpu_moe: the experts of so many layers, the first ones, are on the CPU.
        cpu_moe: all experts are.

    Raises:
        UsageError: no such buffer, or a pattern that is none.
    """
    found = [_override(text) for text in (tensors or "").split(",") if text]
    if cpu_moe:
        found.append(Override(re.compile(rf"\.{EXPERTS}"), None))
    found += [Override(re.compile(rf"blk\.{layer}\.{EXPERTS}"), None) for layer in range(n_cpu_moe or 0)]
    return tuple(found)


def _override(text: str) -> Override:
    pattern, _, buffer = text.rpartition("=")
    device = _DEVICE.fullmatch(buffer)
    if not pattern or not (device or buffer in _HOSTS):
        raise UsageError(
            f"--override-tensor {text[:60]!r} is no PATTERN=BUFFER",
            "A buffer is CPU, or a GPU: exps=CPU, ffn_up=CUDA1.",
        )
    try:
        if len(pattern) > MAX_PATTERN:
            raise re.error("too long")
        return Override(re.compile(pattern), int(device[1] or 0) if device else None)
    except re.error as error:
        raise UsageError(f"--override-tensor {pattern[:60]!r} is no pattern: {error}") from None


def named_overrides(tensors: Mapping[str, str], gpus: int) -> tuple[Override, ...]:
    """The same of tensors that a log names, each with its buffer; what is no buffer of so many GPUs is left out."""
    found: dict[int | None, list[str]] = {}
    for name, buffer in tensors.items():
        device = _DEVICE.fullmatch(buffer)
        if buffer in _HOSTS or (device and int(device[1] or 0) < gpus):
            found.setdefault(int(device[1] or 0) if device else None, []).append(re.escape(name))
    return tuple(Override(re.compile(f"(?:{'|'.join(names)})$"), device) for device, names in found.items())


def overridden(
    layers: Sequence[Mapping[str, int]], overrides: Sequence[Override]
) -> tuple[Mapping[int | None, int], ...]:
    """Of each layer: device -> bytes of its tensors that an override puts there.

    Args:
        layers: of each the names of its tensors within it and their bytes.
    """
    if not overrides:
        return ()
    found = []
    for index, tensors in enumerate(layers):
        placed: dict[int | None, int] = {}
        for name, size in tensors.items():
            full = f"blk.{index}.{name}"
            for each in overrides:
                if each.pattern.search(full):
                    placed[each.device] = placed.get(each.device, 0) + size
                    break
        found.append(placed)
    return tuple(found)


def largest_on_cpu(layers: Sequence[Mapping[str, int]], overrides: Sequence[Override]) -> int:
    """Bytes of the largest tensor that an override leaves with the CPU: a prompt's step has a copy of it on the GPU,
    one tensor at a time (ggml-backend.cpp: ggml_backend_sched_split_graph, "by starting a new split, the memory of the
    previously offloaded weights can be reused")."""
    sizes = (
        size
        for index, tensors in enumerate(layers)
        for name, size in tensors.items()
        if next((each.device for each in overrides if each.pattern.search(f"blk.{index}.{name}")), 0) is None
    )
    return max(sizes, default=0)
