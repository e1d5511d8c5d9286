"""mlx-lm on a Mac: weights, the cache, and what a step takes beside them, at the step that takes most.

    peak = weights + cache + results that wait for the GPU + scores + the cache's copy while it grows + logits

as `mx.get_peak_memory()` counts it, which mlx_lm.generate prints as "Peak memory". Buffers that MLX keeps for reuse
come on top in the system's own count; they are given back before the limit is reached, so they decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from inspector.engines.mlx.cache import MlxSettings, Moment, cache_bytes, check_settings, moments, rows_of
from inspector.engines.mlx.graph import NONE, Queue, Widths, step_bytes
from inspector.engines.mlx.types import OWN_ATTENTION, OWN_CACHE, SHARDED, STATEFUL, WINDOWED, mlx_type
from inspector.engines.mlx.weights import LoadedWeights, loaded_weights, mlx_layers
from inspector.errors import UsageError
from inspector.model.layers.full import Attention
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.no_cache import NoCache
from inspector.model.model import Architecture, Model

WAITING_SPREAD = 3, 2
"""How much more than worked out the waiting results took at most, as a fraction: of the published peaks in
tests/memory/data/mlx_metal.json, whatever else was off counted in."""

_WHOLE_ON_EVERY_RANK = frozenset({"embedding", "head", "norm", "router"})


class MlxFacts(NamedTuple):
    """What the sizes follow from: layers as mlx-lm's class has them, weights, widths of the operations."""

    layers: tuple[Layer, ...]
    weights: LoadedWeights
    widths: Widths
    model_type: str


class MlxPlan(NamedTuple):
    """Bytes on one rank at the step `moment`. `kv_cache` is None where a layer's kind has no rule; `low` and `high` are
    of the step's own bytes, `activations`."""

    weights: int
    kv_cache: int | None
    activations: dict[str, int]
    low: int
    high: int
    moment: Moment

    @property
    def total(self) -> int | None:
        return None if self.kv_cache is None else self.weights + self.kv_cache + sum(self.activations.values())


def mlx_facts(model: Model, dtype: str) -> MlxFacts | str:
    """A `Model`'s facts for mlx-lm; a sentence where they cannot be told."""
    shape = model.architecture
    if shape.hidden_size is None or shape.vocab_size is None or not shape.layers:
        return "config.json does not tell the layers, the hidden size or the vocabulary"
    weights = loaded_weights(model, dtype)
    if isinstance(weights, str):
        return weights
    if not (shape.is_decoder or shape.exact):
        return "config.json tells an encoder, and mlx-lm's class of that type decodes"
    experts = shape.experts
    inner = shape.moe_intermediate_size or shape.intermediate_size or 0
    layers = mlx_layers(model)
    if why := _unknown_cache(shape, layers):
        return why
    rows = next((row for row in map(rows_of, layers) if row is not None), None)
    heads = shape.num_attention_heads or 0
    if not heads and isinstance(rows, Attention):
        return "config.json does not tell the attention heads"
    parameters = max(1, model.parameters.total)
    packed = weights.total * 8 < 15 * parameters
    return MlxFacts(
        layers=layers,
        weights=weights,
        widths=Widths(
            hidden=shape.hidden_size,
            inner=(experts.shared * inner if experts else shape.intermediate_size) or 0,
            heads=heads,
            vocab=shape.vocab_size,
            routed=experts.total if experts else 0,
            used=experts.active if experts else 0,
            expert_inner=inner if experts else 0,
            latent_width=_latent_width(rows),
            weight_words=weights.total / (4 * parameters) if packed else 1.0,
            element=weights.element,
            gated=shape.mlp_gated is not False,
        ),
        model_type=mlx_type(shape),
    )


def _unknown_cache(shape: Architecture, layers: Sequence[Layer]) -> str | None:
    """Why the caches of mlx-lm's class are not told by these layers; None where nothing is known against them."""
    model_type = mlx_type(shape)
    if model_type in OWN_CACHE:
        return f"mlx-lm keeps a cache of {model_type}'s own, which has no rule here"
    kinds = shape.written.get("layer_types")
    if isinstance(kinds, list) and len(kinds) == len(layers):  # the config says it of each
        return None
    stateless = all(isinstance(layer, Attention | LatentAttention | IndexedAttention | NoCache) for layer in layers)
    if model_type in STATEFUL and stateless and not shape.exact:
        return f"mlx-lm's class for {model_type} keeps states, which its config does not tell"
    if model_type in WINDOWED and not shape.exact and all((layer.rows or layer).window is None for layer in layers):
        return f"mlx-lm's class for {model_type} has windows, which its config does not tell"
    return None


def check_facts(facts: MlxFacts, settings: MlxSettings) -> None:
    """Refuse what mlx-lm refuses for this model.

    Raises:
        UsageError: its class has no shard() for so many machines, or its heads do not divide; its cache cannot be
            quantized; what `check_settings` refuses.
    """
    ranks = settings.ranks
    if ranks > 1 and facts.model_type not in SHARDED:
        raise UsageError(f"mlx-lm's class for {facts.model_type} has no shard()", "It runs on one machine: name one.")
    if facts.widths.heads % ranks:
        raise UsageError(
            f"{facts.widths.heads} heads can't be cut over {ranks} machines", "mlx-lm's shard() divides them evenly."
        )
    if facts.model_type in OWN_ATTENTION:
        if settings.kv_bits is not None:
            raise UsageError(f"mlx-lm can't quantize the cache of {facts.model_type}", "Leave --kv-bits out.")
        if settings.batch > 1:
            raise UsageError(f"mlx-lm runs one sequence of {facts.model_type} at a time", "Leave --batch out.")
    check_settings(facts.layers, settings)


def rank_weights(facts: MlxFacts, ranks: int) -> int:
    """Bytes on each rank: linear maps are cut, the embedding, the head, norms and routers are whole on all.

    models/llama.py: Model.shard and its like. Biases of row-parallel maps are not told apart.
    """
    shares = facts.weights.shares
    return sum(size if name in _WHOLE_ON_EVERY_RANK else -(-size // ranks) for name, size in shares.items())


def plan(facts: MlxFacts, settings: MlxSettings, queue: Queue) -> MlxPlan:
    """The account of the step that takes most.

    Raises:
        UsageError: settings that mlx-lm refuses.
    """
    check_facts(facts, settings)
    widths, ranks = facts.widths, settings.ranks
    cut = widths._replace(
        inner=-(-widths.inner // ranks), heads=-(-widths.heads // ranks), expert_inner=-(-widths.expert_inner // ranks)
    )
    weights = rank_weights(facts, ranks)
    steps = [_step(facts.layers, weights, moment, settings, cut, queue) for moment in moments(settings)]
    return max(steps, key=lambda step: (step.total or 0) or sum(step.activations.values()))


def _step(
    layers: Sequence[Layer], weights: int, moment: Moment, settings: MlxSettings, widths: Widths, queue: Queue
) -> MlxPlan:
    parts = step_bytes(layers, moment, settings, widths, queue)
    waiting, (numerator, denominator) = parts.get("waiting", 0), WAITING_SPREAD
    return MlxPlan(
        weights=weights,
        kv_cache=cache_bytes(layers, moment, settings, widths.element),
        activations=parts,
        low=sum(step_bytes(layers, moment, settings, widths, NONE).values()),
        high=sum(parts.values()) - waiting + waiting * numerator // denominator,
        moment=moment,
    )


def _latent_width(rows: Attention | LatentAttention | None) -> int:
    """Width of the heads that latents expand to, the mean of keys and values."""
    if not isinstance(rows, LatentAttention) or rows.qk_nope_head_dim is None or rows.v_head_dim is None:
        return Widths(0, 0, 0, 0).latent_width
    return (rows.qk_nope_head_dim + rows.v_head_dim) // 2


def assumed_latents(layers: Sequence[Layer]) -> bool:
    """Whether the widths of the heads that latents expand to had to be taken for granted."""
    rows = [row for row in map(rows_of, layers) if isinstance(row, LatentAttention)]
    return any(row.qk_nope_head_dim is None or row.v_head_dim is None for row in rows)
