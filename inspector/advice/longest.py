"""How far one option reaches: the longest context with all else as it has it; and what no option reaches below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inspector.devices.spec import GpuSpec
from inspector.engines.registry import engine_named, names
from inspector.memory import Workload
from inspector.memory.quantization.recipes import bits_of
from inspector.model import Model
from inspector.verdict.changes import Option
from inspector.verdict.fit import largest_that_fits

UNNAMED_CONTEXT = 2**20
"""Tokens that the longest context is looked for up to where the model names no maximum."""


def longest_context(model: Model, spec: GpuSpec, workload: Workload, option: Option) -> int | None:
    """Tokens per sequence that still fit, up to the model's own maximum; None where that cannot be told.

    Args:
        workload: what the option was looked for.
        option: of `best_options` for these devices.
    """
    engine = engine_named(option.engine)
    size, own = engine.sizer(model), engine.options(**option.settings["serving"])
    asked = replace(workload, dtype=option.dtype, kv_dtype=option.settings["kv_dtype"], batch=option.batch)

    def room(context: int) -> tuple[bool | None, int | None]:
        if context <= option.context:
            return True, option.headroom  # of its own context: a guide for the search, and shorter ones have more
        sized = size(replace(asked, context=context), spec, own)
        return sized.fits, sized.left

    limit = model.architecture.max_position_embeddings or UNNAMED_CONTEXT
    return largest_that_fits(room, max(limit, option.context))


def fewest_bits(engines: Sequence[str] | None = None) -> float:
    """Bits of a weight below which none of the engines (None: of all) has a recipe."""
    chosen = map(engine_named, names() if engines is None else engines)
    return min((bits_of(recipe) for each in chosen for recipe in each.recipes), default=4)
