"""Which methods of quantization a server's own classes take on which GPUs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from inspector.devices.spec import GpuSpec
from inspector.engines.engine import CacheType
from inspector.engines.serving import CannotTell
from inspector.memory.precision import RECIPES, STORED
from inspector.model.model import Model, Quantization
from inspector.model.packing.registry import own_name, packing_of

WEIGHT_ONLY_FP8 = (8, 0)
"""From here on weights in 8-bit floating point are offered to GPUs that do not multiply them: Marlin's kernels unpack
them on the way. vLLM's run from 7.5 on, SGLang's from 8.0; Turing, which has no bfloat16 either, is left out. 4-bit
floating point is offered where it is multiplied alone: elsewhere AWQ and GPTQ do the same with as many bits."""

ARITHMETIC = {"fp8": "fp8", "mxfp4": "fp4", "modelopt_fp4": "fp4", "compressed-tensors": "int8"}
"""What the hardware multiplies for a method, where it does not unpack to 16 bits."""


def method_of(recipe: str) -> str:
    """The method of quantization that a recipe needs, as vLLM and SGLang name theirs; "" for what is none of theirs."""
    return RECIPES[recipe].method if recipe in RECIPES else "fp8" if recipe == "fp8" else ""


def why_not_on(recipe: str, spec: GpuSpec, minimum: Mapping[str, int], rocm: Collection[str]) -> str | None:
    """Why a server's class for a recipe does not run on these GPUs; None where nothing known stands against it.

    Args:
        minimum: method -> the least compute capability, as 75.
        rocm: methods that it has on ROCm.
    """
    method = method_of(recipe)
    arithmetic = ARITHMETIC.get(method)
    multiplies = spec.computes is None or arithmetic is None or arithmetic in spec.computes
    if spec.kind == "rocm":
        if method not in rocm:
            return f"it has no {recipe} on ROCm"
        return None if multiplies else f"{spec.name} does not multiply {arithmetic}"
    capability = spec.compute_capability
    if capability is None:
        return None
    least = divmod(minimum.get(method, 1000), 10)
    if arithmetic == "fp8" and not multiplies:
        least = max(least, WEIGHT_ONLY_FP8)
    elif not multiplies:
        return f"{spec.name} does not multiply {arithmetic}"
    if capability < least:
        return (
            f"{recipe} needs compute capability {least[0]}.{least[1]}, {spec.name} has {capability[0]}.{capability[1]}"
        )
    return None


def unheard_of(packing: Quantization, minimum: Mapping[str, int]) -> bool:
    """Whether a checkpoint names a method that neither the server (`minimum`) nor this package has."""
    return packing_of(packing.method) is None and packing.method not in {*minimum, "unknown"}


def why_not_widths(packing: Quantization, widths: Mapping[str, str]) -> str | None:
    """What of a recipe a server's class for its method refuses, after "does not load"; None where nothing known is.

    Args:
        widths: method -> the bits that its class takes, each with "a" where it takes zero points of any place, too.
    """
    taken = widths.get(own_name(packing.method), "").split()
    if not taken or packing.bits is None or f"{packing.bits}a" in taken:
        return None
    if str(packing.bits) not in taken:
        return f"{packing.method} of {packing.bits} bits"
    return f"{packing.method} with zero points of its own (sym: false)" if packing.asymmetric else None


def why_not_packed(
    packing: Quantization | None, spec: GpuSpec, minimum: Mapping[str, int], rocm: Collection[str]
) -> str | None:
    """Why a server's class for packed weights does not run on these GPUs; None where nothing known is against it."""
    if packing is None:
        return None
    method = packing.method
    least = minimum.get(method, minimum.get(method.replace("-", "_")))
    if least is None:
        return f"it has no class for {method}"
    if spec.kind == "rocm":
        return None if method in rocm else f"it has no {method} on ROCm"
    capability = spec.compute_capability
    if capability is not None and capability < divmod(least, 10):
        return f"{method} needs compute capability {least / 10:g}, {spec.name} has {capability[0]}.{capability[1]}"
    return None


def check_capability(model: Model, dtype: str, spec: GpuSpec, title: str, minimum: Mapping[str, int]) -> None:
    """Refuse GPUs that are older than a server's class for packed weights runs on.

    Args:
        dtype: the weights' precision, or "stored": then the files' own packing is what it loads.
        minimum: method -> the least compute capability, as 75.

    Raises:
        CannotTell: the GPUs are older.
    """
    packing, has = model.architecture.quantization, spec.compute_capability
    method = method_of(dtype)
    if dtype == STORED and packing is not None:
        method = packing.method
        if method == "modelopt":  # one of two classes, by its algorithm
            method = next((name for name in (f"modelopt_fp{packing.bits}", method) if name in minimum), method)
    least = minimum.get(method, minimum.get(method.replace("-", "_")))
    if has is not None and least is not None and has < divmod(least, 10):
        raise CannotTell(
            f"{title} loads {method} weights from compute capability {least // 10}.{least % 10} on, and {spec.name} has"
            f" {has[0]}.{has[1]}"
        )


def fp8_caches(spec: GpuSpec) -> tuple[CacheType, ...]:
    """A KV cache in fp8, where the hardware has fp8 at all."""
    return (CacheType(8, "fp8"),) if "fp8" in (spec.computes or ()) else ()
