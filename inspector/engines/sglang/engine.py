"""SGLang as an engine: its options, and where its plan, its log reader and its comparison are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.engines.engine import CacheType, Engine, LogReader
from inspector.engines.sglang.options import SglangOptions

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


class Sglang(Engine):
    """A static share of the device, of which the KV cache gets what the weights leave."""

    name = "sglang"
    title = "SGLang"
    options = SglangOptions
    emits = ("sglang",)
    share_option = "mem_fraction_static"
    share_is_of_free = True
    log_line = "Load weight end"
    device_kinds = ("cuda", "rocm")
    makes_file_types = False
    recipes = ("fp8", "w8a8", "nvfp4", "nf4", "mxfp4", "awq", "gptq")

    def cache_rules(self) -> LayerRules[..., Any]:
        """See cache_specs.py: specs_of."""
        from inspector.engines.common.cache_specs import specs_of

        return specs_of

    def why_not_recipe(self, recipe: str, spec: GpuSpec, options: SglangOptions) -> str | None:
        """By its classes' own least compute capability (data/engines/sglang.json); of ROCm fp8 alone is known here."""
        from inspector.engines.common.recipes import why_not_on
        from inspector.engines.sglang.loads import table

        refused = super().why_not_recipe(recipe, spec, options)
        least = table()["min_capability"] | {"compressed-tensors": 80}  # its scheme for int8: CompressedTensorsW8A8Int8
        return refused or why_not_on(recipe, spec, least, ("fp8",))

    def why_not_stored(self, model: Model, stored_as: str, spec: GpuSpec, options: SglangOptions) -> str | None:
        """By its classes' own least compute capability."""
        from inspector.engines.common.recipes import why_not_packed
        from inspector.engines.sglang.loads import table

        refused = super().why_not_stored(model, stored_as, spec, options)
        return refused or why_not_packed(model.architecture.quantization, spec, table()["min_capability"], ("fp8",))

    def cache_types(self, spec: GpuSpec) -> tuple[CacheType, ...]:
        """fp8, where the hardware has it."""
        from inspector.engines.common.recipes import fp8_caches

        return fp8_caches(spec)

    def account(
        self, model: Model, workload: Workload, spec: GpuSpec, options: SglangOptions, *, suggest: bool
    ) -> Serving:
        """See plan_sglang. Versions 0.4 and 0.5 raise "SGLang only supports sm75 and above"
        (sglang/srt/model_executor/model_runner_components/load_model_utils.py)."""
        from inspector.engines.common.recipes import check_capability
        from inspector.engines.sglang.loads import table
        from inspector.engines.sglang.plan import plan_sglang

        self.check_capability(spec, (7, 5), "SGLang")
        check_capability(model, workload.dtype, spec, "SGLang", table()["min_capability"])
        return plan_sglang(model, workload, spec, options, suggest=suggest)

    def log_reader(self) -> LogReader:
        """A reader of SGLang's start-up log."""
        from inspector.engines.sglang.log import SglangLog

        return SglangLog()

    def compare(
        self, run: LoggedRun, model: Model, spec: GpuSpec | None, *, dtype: str, draft: Model | DraftHead | None = None
    ) -> Comparison:
        """See compare_sglang."""
        from inspector.engines.sglang.comparison import compare_sglang

        del draft
        return compare_sglang(self.planned, run, model, spec, dtype=dtype)

    def commands(self) -> Commands:
        """See command.py."""
        from inspector.engines.sglang.command import COMMANDS

        return COMMANDS

    def launch(self, asked: Verdict, emit: str) -> Launch:
        """See launch_sglang."""
        from inspector.engines.sglang.launch import launch_sglang

        del emit
        return launch_sglang(asked)

    def container(self, kind: str | None, version: str | None) -> Container:
        """See sglang_container."""
        from inspector.engines.sglang.launch import sglang_container

        return sglang_container(kind, version)


ENGINE = Sglang()
