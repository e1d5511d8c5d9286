"""From an inspection to the entry of a manifest that expects it."""

from __future__ import annotations

from dataclasses import replace

from inspector.api.inspection import Inspection
from inspector.api.settings import Settings
from inspector.hub.repo_id import DEFAULT_REVISION, RepoId, parse_model
from inspector.manifest.form import Entry, Expected


def lock(model: str, revision: str | None, settings: Settings, inspection: Inspection, tolerance: float = 0.0) -> Entry:
    """The entry that `verify` passes as long as nothing changes.

    Args:
        model: as the user named it.
        revision: as the user named it beside the model, or None.
        settings: what was asked.
        inspection: what was found.
        tolerance: the share of the bytes that may change later.
    """
    target = parse_model(model, revision)
    name, watched = model, None
    if isinstance(target, RepoId):
        name, watched = target.selected_name, None if target.revision == DEFAULT_REVISION else target.revision
    workload, fits = inspection.estimate.workload, inspection.fits
    # The defaults that were filled in are written out: they may change with the tool.
    asked = replace(settings, context=workload.context)
    served = bool(inspection.servings)
    return Entry(
        name,
        asked,
        Expected(
            parameters=inspection.model.parameters.total,
            tensor_bytes=None if inspection.checkpoint.design else inspection.checkpoint.tensor_bytes,
            total=None if served else inspection.estimate.total,
            fits={gpu: fit.fits for gpu, fit in zip(settings.gpus, fits, strict=True)},
            needed={
                gpu: fit.needed
                for gpu, fit in zip(settings.gpus, fits, strict=True)
                if served and fit.needed is not None
            },
        ),
        watched,
        inspection.checkpoint.revision,
        tolerance,
    )
