"""How fast at most: what the memory's bandwidth and the arithmetic of a device allow (the roofline).

Williams, Waterman and Patterson, 2009 ("Roofline: an insightful visual performance model"). Upper bounds: no kernel
reaches them, and nothing of latency, scheduling or communication between GPUs is in them.
"""

from __future__ import annotations

from inspector.devices.spec import GpuSpec
from inspector.memory import STORED, Workload
from inspector.memory.quantization.recipes import weight_bytes
from inspector.model import Model

NOT_READ = ("vision", "audio", "projector")
"""Components that a token of text does not touch."""


def decode_bound(model: Model, workload: Workload, cached: int | None, spec: GpuSpec, split: int = 1) -> float | None:
    """Tokens a second of all sequences together when each step makes one for each.

    batch * bandwidth * split / (bytes of the weights that one token uses + the whole cache)

    Args:
        cached: bytes of the workload's cache, which is read whole in every step; None where not known.
        split: GPUs that work on one step at the same time: the ranks of tensor parallelism, 1 for whole layers.

    Returns:
        None where the bandwidth, the cache or the weights are not known, or the model does not decode.
    """
    return bound_of_reading(model, spec, workload.batch, active_bytes(model, workload.dtype), cached, split)


def bound_of_reading(
    model: Model, spec: GpuSpec, batch: int, weights: int, cache: int | None, split: int
) -> float | None:
    """`decode_bound` of bytes that are known: of the weights that one token uses, and of the whole cache."""
    bandwidth = spec.device.memory_bandwidth if spec.device else None
    if bandwidth is None or cache is None or not weights or not model.architecture.is_decoder:
        return None
    return batch * bandwidth * split / (weights + cache)


def token_cost(price: float, count: int, bound: float | None) -> float | None:
    """US dollars per million tokens, at least: price * count / 3600 * 1e6 / (tokens per second at most).

    Args:
        price: US dollars per GPU-hour.
        count: GPUs.
    """
    return price * count / 3600 * 1e6 / bound if bound else None


def prefill_bound(model: Model, spec: GpuSpec, split: int = 1) -> float | None:
    """Prompt tokens a second: arithmetic * split / (2 * active parameters); attention's own products are left out.

    None where the arithmetic is not known: of devices without it in data/gpus.json.
    """
    arithmetic = spec.device.arithmetic if spec.device else None
    used = active_matrices(model)
    return None if arithmetic is None or not used else arithmetic * split / (2 * used)


def active_bytes(model: Model, dtype: str) -> int:
    """Bytes of the weights that one token reads: of the routed experts those it is sent to, of the embedding no more
    than a row, unless the embedding is the head, too."""
    return _active(model, dict(model.parameters.bytes_by_component if dtype == STORED else weight_bytes(model, dtype)))


def active_matrices(model: Model) -> int:
    """Parameters that one token of text is multiplied with."""
    return _active(model, dict(model.parameters.by_component))


def _active(model: Model, shares: dict[str, int]) -> int:
    experts = model.architecture.experts
    routed = shares.pop("experts", 0)
    if experts is not None and 0 < experts.active <= experts.total:
        routed = routed * experts.active // experts.total
    if shares.get("head"):
        shares.pop("embedding", None)
    return routed + sum(size for name, size in shares.items() if name not in NOT_READ)
