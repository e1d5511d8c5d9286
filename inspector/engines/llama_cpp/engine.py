"""llama.cpp as an engine: its options, and where its plan, its log reader and its comparison are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from inspector.engines.engine import CacheType, Engine, LogReader, Sizer
from inspector.engines.llama_cpp.options import LlamaCppOptions

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

_WHOLE_LAYERS = "llama.cpp lays whole layers over all GPUs of --gpu."


class LlamaCpp(Engine):
    """Buffers for the weights, the whole context's cache and a step, over GPUs and the CPU."""

    name = "llama.cpp"
    title = "llama.cpp"
    options = LlamaCppOptions
    emits = ("llama-server", "ollama")
    log_line = "buffer size"
    formats = ("gguf",)
    keeping: ClassVar[Mapping[str, str]] = {"mxfp4": "MXFP4_MOE"}
    offload = "n_gpu_layers"
    offload_experts = "n_cpu_moe"
    recipes = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "MXFP4_MOE", "IQ4_XS", "Q3_K_M", "Q2_K")
    part_names: ClassVar[Mapping[str, str]] = {
        "activations": "compute buffer",
        "kv_pool": "KV cache",
        "cpu_weights": "CPU: weights",
        "cpu_kv_pool": "CPU: KV cache",
        "cpu_activations": "CPU: compute buffer",
    }
    foreign_options = dict.fromkeys(
        ("tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel"), _WHOLE_LAYERS
    )

    def cache_rules(self) -> LayerRules[..., Any]:
        """See cache.py: layer_cache_bytes."""
        from inspector.engines.llama_cpp.cache import layer_cache_bytes

        return layer_cache_bytes

    def cache_types(self, spec: GpuSpec) -> tuple[CacheType, ...]:
        """8.5 and 4.5 bits: 32 values and a 16-bit scale a block."""
        del spec
        types = (("q8_0", 8.5), ("q4_0", 4.5))
        return tuple(CacheType(bits, options=(("cache_type_k", kind), ("cache_type_v", kind))) for kind, bits in types)

    def sizer(self, model: Model) -> Sizer:
        """The plan without the searches for the longest context and the most sequences."""
        if model.architecture.layers_at_least:
            return super().sizer(model)
        from inspector.engines.llama_cpp.plan import llama_cpp_sizer

        return llama_cpp_sizer(model)

    def account(
        self, model: Model, workload: Workload, spec: GpuSpec, options: LlamaCppOptions, *, suggest: bool
    ) -> Serving:
        """See plan_llama_cpp."""
        from inspector.engines.llama_cpp.plan import plan_llama_cpp

        return plan_llama_cpp(model, workload, spec, options, suggest=suggest)

    def version_of(self, options: LlamaCppOptions) -> str | None:
        """The build that the user named."""
        return options.version

    def log_reader(self) -> LogReader:
        """A reader of llama.cpp's start-up log."""
        from inspector.engines.llama_cpp.log import LlamaCppLog

        return LlamaCppLog()

    def compare(
        self, run: LoggedRun, model: Model, spec: GpuSpec | None, *, dtype: str, draft: Model | DraftHead | None = None
    ) -> Comparison:
        """See compare_llama_cpp."""
        from inspector.engines.llama_cpp.comparison import compare_llama_cpp

        del draft
        return compare_llama_cpp(run, model, spec, dtype=dtype)

    def commands(self) -> Commands:
        """See command.py."""
        from inspector.engines.llama_cpp.command import COMMANDS

        return COMMANDS

    def launch(self, asked: Verdict, emit: str) -> Launch:
        """See launch_llama_cpp."""
        from inspector.engines.llama_cpp.launch import launch_llama_cpp

        return launch_llama_cpp(asked, emit)

    def container(self, kind: str | None, version: str | None) -> Container:
        """See llama_cpp_container."""
        from inspector.engines.llama_cpp.launch import llama_cpp_container

        return llama_cpp_container(kind, version)


ENGINE = LlamaCpp()
