"""vLLM as an engine: its options, and where its plan, its log reader and its comparison are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.engines.engine import CacheType, Engine, LogReader
from inspector.engines.vllm.options import VllmOptions

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.engines.common.commands import Commands
    from inspector.engines.common.comparison import Comparison
    from inspector.engines.common.heads import DraftHead
    from inspector.engines.common.layer_rules import LayerRules
    from inspector.engines.common.log import LoggedRun
    from inspector.engines.launch import Container, Launch, Verdict
    from inspector.engines.serving import Serving
    from inspector.memory import Workload
    from inspector.model import Model


class Vllm(Engine):
    """A profiling run decides what the KV cache gets of a share of the device."""

    name = "vllm"
    title = "vLLM"
    options = VllmOptions
    emits = ("vllm",)
    share_option = "gpu_memory_utilization"
    log_line = "Model loading took"
    device_kinds = ("cuda", "rocm")
    counts_images = True
    makes_file_types = False
    recipes = ("fp8", "w8a8", "nvfp4", "nf4", "mxfp4", "awq", "gptq")
    lighter = (("enforce_eager", True),)

    def cache_rules(self) -> LayerRules[..., Any]:
        """See cache_specs.py: specs_of."""
        from inspector.engines.common.cache_specs import specs_of

        return specs_of

    def why_not_recipe(self, recipe: str, spec: GpuSpec, options: VllmOptions) -> str | None:
        """By its classes' own least compute capability, and ROCm's list (data/engines/vllm.json)."""
        from inspector.engines.vllm.loads import why_not_recipe

        return super().why_not_recipe(recipe, spec, options) or why_not_recipe(recipe, spec, options.version)

    def why_not_stored(self, model: Model, stored_as: str, spec: GpuSpec, options: VllmOptions) -> str | None:
        """By its classes' own least compute capability."""
        from inspector.engines.common.recipes import why_not_packed
        from inspector.engines.vllm.loads import table

        refused = super().why_not_stored(model, stored_as, spec, options)
        return refused or why_not_packed(
            model.architecture.quantization, spec, table()["min_capability"], table()["rocm"]
        )

    def cache_types(self, spec: GpuSpec) -> tuple[CacheType, ...]:
        """fp8, where the hardware has it."""
        from inspector.engines.common.recipes import fp8_caches

        return fp8_caches(spec)

    def account(
        self, model: Model, workload: Workload, spec: GpuSpec, options: VllmOptions, *, suggest: bool
    ) -> Serving:
        """See plan_vllm; none of GPUs older than `least_capability` of the version, or than its class for the weights.

        vllm/config/vllm.py: "is not supported for the current GPU. Minimum capability".
        """
        from inspector.engines.common.recipes import check_capability
        from inspector.engines.vllm.loads import table
        from inspector.engines.vllm.plan import plan_vllm
        from inspector.engines.vllm.version import NEWEST, parse_version

        version = parse_version(options.version)
        label = ".".join(map(str, min(version.release, NEWEST)))
        self.check_capability(spec, version.least_capability, f"vLLM {label}")
        check_capability(model, workload.dtype, spec, f"vLLM {label}", table()["min_capability"])
        return plan_vllm(model, workload, spec, options, suggest=suggest)

    def log_reader(self) -> LogReader:
        """A reader of vLLM's start-up log."""
        from inspector.engines.vllm.log import VllmLog

        return VllmLog()

    def compare(
        self, run: LoggedRun, model: Model, spec: GpuSpec | None, *, dtype: str, draft: Model | DraftHead | None = None
    ) -> Comparison:
        """See compare_vllm."""
        from inspector.engines.vllm.comparison import compare_vllm

        return compare_vllm(self.planned, run, model, spec, dtype=dtype, draft=draft)

    def commands(self) -> Commands:
        """See command.py."""
        from inspector.engines.vllm.command import COMMANDS

        return COMMANDS

    def launch(self, asked: Verdict, emit: str) -> Launch:
        """See launch_vllm."""
        from inspector.engines.vllm.launch import launch_vllm

        del emit
        return launch_vllm(asked)

    def asleep(self, serving: Serving) -> int | None:
        """What `--enable-sleep-mode` does not give back: all but the weights, the pool and a step's activations.

        vllm/device_allocator/cumem.py: the tags "weights" and "kv_cache" alone are its allocator's; v1/worker/
        gpu_worker.py: sleep.
        """
        kept = [serving.per_gpu.get(name) for name in ("non_torch", "graphs")]
        return None if None in kept else sum(size or 0 for size in kept)

    def container(self, kind: str | None, version: str | None) -> Container:
        """See vllm_container."""
        from inspector.engines.vllm.launch import vllm_container

        return vllm_container(kind, version)


ENGINE = Vllm()
