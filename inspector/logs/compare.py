"""A logged run beside the prediction for it, by the engine whose log it is."""

from __future__ import annotations

from inspector.devices.spec import GpuSpec
from inspector.engines.common.comparison import Comparison
from inspector.engines.common.heads import DraftHead
from inspector.engines.common.log import LoggedRun
from inspector.engines.registry import engine_named
from inspector.model import Model


def compare(
    run: LoggedRun,
    model: Model,
    spec: GpuSpec | None = None,
    *,
    dtype: str = "stored",
    draft: Model | DraftHead | None = None,
) -> Comparison:
    """Each printed part beside the predicted one.

    Args:
        spec: one device of those that the log is of, where the user named it; else it is read off the log.
        dtype: the weights' precision, where it is not that of the files.
        draft: what drafted in the run (`LoggedRun.settings`), read; without it a draft is not counted.

    Raises:
        UsageError: the log names settings that no plan can be made for.
    """
    return engine_named(run.engine).compare(run, model, spec, dtype=dtype, draft=draft)
