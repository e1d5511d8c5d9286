"""transformers as an engine: the estimate itself, and `device_map` over several devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.engines.engine import Answer, Engine, Planner

if TYPE_CHECKING:
    from inspector.devices.spec import GpuSpec
    from inspector.memory import Workload
    from inspector.model import Model


class Transformers(Engine):
    """No server: it takes what the model takes, on any device, and has no options of its own."""

    name = "transformers"
    title = "transformers"
    needs_device = False
    counts_images = True

    def planner(self, model: Model, workload: Workload, options: Any) -> Planner:
        """The estimate against the devices; each workload of the searches is sized once for all of them."""
        from inspector.verdict.fit import check_fit, memoized

        del options
        estimate = memoized()

        def answer(spec: GpuSpec, suggest: bool) -> Answer:
            return Answer(check_fit(model, workload, spec, estimate=estimate, suggest=suggest))

        return answer


ENGINE = Transformers()
