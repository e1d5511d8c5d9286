"""mlx-lm as an engine: its options, and where its plan is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.engines.engine import CacheType, Engine, Sizer
from inspector.engines.mlx.options import MlxOptions
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.engines.common.layer_rules import LayerRules
    from inspector.engines.launch import Launch, Verdict
    from inspector.engines.serving import Serving
    from inspector.memory import Workload
    from inspector.model import Model


class Mlx(Engine):
    """mlx-lm on Apple's devices."""

    name = "mlx"
    title = "MLX"
    options = MlxOptions
    emits = ("mlx",)
    device_kinds = ("metal",)
    formats = ("safetensors",)
    methods = ("mlx", "mxfp4", "awq", "gptq", "fp8")
    recipes = ("mlx-8bit", "mlx-6bit", "mlx-5bit", "mlx-4bit", "mlx-3bit")
    lighter = tuple(("prefill_step_size", size) for size in (1024, 512, 256))

    def cache_rules(self) -> LayerRules[..., Any]:
        """See cache.py: layer_cache_bytes."""
        from inspector.engines.mlx.cache import layer_cache_bytes

        return layer_cache_bytes

    def check_kind(self, spec: GpuSpec) -> None:
        """Apple's devices alone.

        Raises:
            UsageError: one that is none.
        """
        if spec.kind not in ("metal", None):
            raise UsageError(
                f"MLX is accounted for on Apple's devices; {spec.name} is none",
                "Name a Mac, e.g. --gpu 'M3 Max 64GB', or a size such as 48GiB. For this one: --engine vllm or"
                " llama.cpp.",
            )

    def cache_types(self, spec: GpuSpec) -> tuple[CacheType, ...]:
        """8.5 and 4.5 bits: a 16-bit scale and bias for each 64."""
        del spec
        return tuple(CacheType(bits + 0.5, options=(("kv_bits", bits),)) for bits in (8, 4))

    def sizer(self, model: Model) -> Sizer:
        """The plan without the searches for the longest context and the most sequences."""
        if model.architecture.layers_at_least:
            return super().sizer(model)
        from inspector.engines.mlx.plan import mlx_sizer

        return mlx_sizer(model)

    def account(
        self, model: Model, workload: Workload, spec: GpuSpec, options: MlxOptions, *, suggest: bool
    ) -> Serving:
        """See plan_mlx."""
        from inspector.engines.mlx.plan import plan_mlx

        return plan_mlx(model, workload, spec, options, suggest=suggest)

    def version_of(self, options: MlxOptions) -> str | None:
        """The release that was read: there is no other."""
        from inspector.engines.mlx.cache import VERSION

        del options
        return VERSION

    def launch(self, asked: Verdict, emit: str) -> Launch:
        """See launch_mlx."""
        from inspector.engines.mlx.launch import launch_mlx

        del emit
        return launch_mlx(asked)


ENGINE = Mlx()
