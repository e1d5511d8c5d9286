"""Places that hold no model of their own but the parts of one: adapters, pipelines, sentence-transformers models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.hub.checkpoint import File, Weights
from inspector.hub.formats.documents import DIFFUSERS_INDEX
from inspector.hub.formats.place import Place


def read_composite(
    place: Place, by_name: Mapping[str, File], config: Mapping[str, Any] | None, variant: str | None = None
) -> Weights | None:
    """The weights of all parts, None where the place is made of none.

    Args:
        config: config.json of the root, None where there is none.
        variant: of the files, to be preferred.

    Raises:
        InspectError: a part cannot be read.
    """
    from inspector.hub.formats.adapters import is_adapter, read_adapter
    from inspector.hub.formats.modules import has_modules, read_modules

    if is_adapter(by_name):
        return read_adapter(place, by_name)
    if DIFFUSERS_INDEX in by_name:
        from inspector.hub.formats.pipelines import read_pipeline

        return read_pipeline(place, by_name, variant)
    return read_modules(place, by_name, config, None) if has_modules(by_name) else None
