"""transformers as an engine: the estimate itself, and `device_map` over several devices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inspector.engines.engine import Answer, Engine, Planner, Sized, Sizer

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.memory import Workload
    from inspector.model import Model


LEAST = {"nf4": (6, 0), "nf4-dq": (6, 0)}
"""Compute capability that a recipe needs; 7.5 where nothing stands here."""


KERNELS = ("awq", "gptq", "bitsandbytes", "compressed-tensors", "mxfp4")
"""Methods of packed weights that run on NVIDIA's GPUs from 7.5 on."""


class Transformers(Engine):
    """No server: it takes what the model takes, on any device, and has no options of its own."""

    name = "transformers"
    title = "transformers"
    needs_device = False
    counts_images = True
    recipes = ("bnb-int8", "nf4", "nf4-dq", "awq", "gptq")

    def why_not_stored(self, model: Model, stored_as: str, spec: GpuSpec, options: Any) -> str | None:
        """Packed weights need kernels for NVIDIA's GPUs, fp8 those that multiply it; GGUF files it unpacks: not counted
        here."""
        refused, packing = super().why_not_stored(model, stored_as, spec, options), model.architecture.quantization
        if refused or packing is None or spec.kind is None:
            return refused
        if packing.method == "fp8":
            return None if "fp8" in (spec.computes or ()) else f"{spec.name} does not multiply fp8"
        capability = spec.compute_capability
        if packing.method not in KERNELS or capability is None or capability < (7, 5):
            return f"transformers has no kernels for {packing.method} on {spec.name}"
        return None

    def why_not_recipe(self, recipe: str, spec: GpuSpec, options: Any) -> str | None:
        """bitsandbytes (docs, "Hardware Compatibility") and GPTQModel, which loads AWQ and GPTQ, on NVIDIA's GPUs."""
        refused = super().why_not_recipe(recipe, spec, options)
        if refused or spec.kind is None:
            return refused
        least, capability = LEAST.get(recipe, (7, 5)), spec.compute_capability
        if capability is None or capability < least:
            return f"{recipe} needs CUDA and compute capability {least[0]}.{least[1]}"
        return None

    def sizer(self, model: Model) -> Sizer:
        """The estimate against the devices, without the searches."""
        from inspector.verdict.fit import check_fit, memoized

        estimate = memoized()

        def sized(workload: Workload, spec: GpuSpec, options: Any) -> Sized:
            del options
            fit = check_fit(model, workload, spec, estimate=estimate, suggest=False, searches=False)
            return Sized(fit.fits, fit.needed, fit.usable)

        return sized

    def planner(self, model: Model, workload: Workload, options: Any) -> Planner:
        """The estimate against the devices; each workload of the searches is sized once for all of them."""
        from inspector.verdict.fit import check_fit, memoized

        del options
        estimate, more = memoized(), _unpacked(model, workload)

        def answer(spec: GpuSpec, suggest: bool) -> Answer:
            fit = check_fit(model, workload, spec, estimate=estimate, suggest=suggest)
            return Answer(replace(fit, notes=(*fit.notes, *more)) if more else fit)

        return answer


def _unpacked(model: Model, workload: Workload) -> tuple[str, ...]:
    """What becomes of a GGUF file's weights: transformers 5.24 (quantizers/quantizer_gguf.py, integrations/gguf) keeps
    the blocks of three archs (GGUF_ARCHS) where the kernels package has a kernel; all others are unpacked."""
    from inspector.memory.precision import FILE_TYPE_NAMES

    if workload.dtype not in FILE_TYPE_NAMES and model.parameters.stack != "blk":
        return ()
    size = 2 * model.parameters.total / 1024**3
    return (
        f"counted as the GGUF file is; transformers unpacks nearly all such files as it loads them, to {size:.2f} GiB"
        " in 16 bits: --engine llama.cpp runs them as they are",
    )


ENGINE = Transformers()
