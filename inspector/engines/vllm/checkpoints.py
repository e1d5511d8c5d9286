"""Packed checkpoints that vLLM does not load: methods that it has not, and recipes that their classes refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.engines.common.recipes import unheard_of, why_not_widths
from inspector.engines.vllm.version import NEWEST, parse_version
from inspector.model.model import Quantization
from inspector.model.packing.registry import own_name

METHODS_SINCE = (0, 13)
"""The last release that was not read: what no later one has is refused after it."""

CLASSES_SINCE = (0, 24)
"""The oldest release whose classes were run on recipes."""


def why_not_unpacked(
    packing: Quantization, release: tuple[int, int], label: str, facts: Mapping[str, Any]
) -> str | None:
    """Why this release does not load a checkpoint's packing; None where nothing known stands against it.

    Args:
        label: the release, as a person writes it.
        facts: the table of inspector/engines/vllm/loads.py.
    """
    method = own_name(packing.method)
    last = facts["quantizations"].get(method)
    since = METHODS_SINCE if last is None else parse_version(last).release
    unheard = unheard_of(packing, facts["min_capability"])
    if (method in facts["no_quantizations"] and release > since) or (unheard and release <= NEWEST):
        return f"vLLM {label} does not load {packing.method} checkpoints" + (f": {last} was the last" if last else "")
    if packing.act_order and release >= NEWEST:
        return f"vLLM {label} does not load GPTQ in the order of activations (desc_act)"
    refused = _refused(packing, method, facts) if CLASSES_SINCE <= release <= NEWEST else None
    return None if refused is None else f"vLLM {label} does not load {refused}"


def _refused(packing: Quantization, method: str, facts: Mapping[str, Any]) -> str | None:
    """What of a recipe the method's class refuses: deprecated methods, other bits, zero points, 2:4 sparsity.

    vllm/config/model.py: _verify_quantization; quantization/auto_gptq.py and auto_awq.py: TYPE_MAP;
    quantization/compressed_tensors/compressed_tensors.py: _parse_sparsity_config.
    """
    if method in facts["deprecated"]:
        return f"{packing.method} checkpoints without --allow-deprecated-quantization"
    if packing.sparse:
        return f"{packing.method} checkpoints with 2:4 sparsity"
    return why_not_widths(packing, facts["widths"])
