"""An engine's plan by its name, with the options that it has of those given."""

from __future__ import annotations

from typing import Any

from inspector.devices.spec import GpuSpec
from inspector.engines.registry import engine_named
from inspector.engines.serving import Serving
from inspector.memory import Workload
from inspector.model import Model
from inspector.settings import settings_of


def plan_serving(model: Model, workload: Workload, spec: GpuSpec, engine: str, **given: Any) -> Serving:
    chosen = engine_named(engine)
    own = {name: value for name, value in given.items() if name in settings_of(chosen.options)}
    return chosen.plan(model, workload, spec, chosen.options(**own))
