"""What one step of mlx-lm takes beside weights and caches: the arrays of MLX's graph that are alive at once.

MLX encodes operations faster than a GPU runs them, and an array is freed when the command buffer of its last reader is
done. So the results of whole layers wait in memory. The rule, from mlx/transforms.cpp (MAX_ACTIVE_TASKS) and
mlx/backend/metal/device.cpp (max_ops_per_buffer, max_mb_per_buffer; the sum it compares is of elements, not bytes):

    a buffer is sent off once it has more than 50 operations or 50 Mi elements touched (40 and 40 on the smaller chips),
    and the encoder waits where more than 10 are under way.

`peak` plays that through for the operations of the first layers. Against Apple's own numbers see
tests/memory/data/mlx_metal.json.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from inspector.engines.mlx.cache import MlxSettings, Moment, cached_rows, is_quantized, row_bytes, rows_of
from inspector.model.layers.full import Attention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.sliding import SlidingAttention

FUSED_WIDTHS = (64, 72, 80, 96, 128)
"""Head widths with a fused attention kernel for prompts; for others the scores are whole in memory
(mlx/backend/metal/scaled_dot_product_attention.cpp: use_fallback). That for 256 on new chips is not counted on."""

LAYERS_PLAYED = 24
"""Layers that are played through: more operations than are ever under way."""


class Queue(NamedTuple):
    """How far the encoder runs ahead: operations and Mi elements of a command buffer, and buffers under way."""

    operations: int = 50
    elements_mi: int = 50
    under_way: int = 10


LARGE, SMALL, NONE = Queue(), Queue(40, 40), Queue(0, 0, 0)
"""Of Max and Ultra chips, of the others, and of an encoder that waits for each operation: the least that is needed."""


class Op(NamedTuple):
    """An operation: its result's name and elements, the results it reads, and elements of weights or caches it reads.

    `takes`: the input whose memory becomes its result's, where nothing else reads that later.
    """

    name: str
    size: int
    inputs: tuple[str, ...]
    reads: int = 0
    takes: str = ""
    item: int = 0
    """Bytes of an element; 0 for the run's own precision."""


class Widths(NamedTuple):
    """What the operations' sizes follow from, of one rank.

    Attributes:
        hidden / inner: hidden size, and the inner width of a dense MLP or of the shared experts; 0 for none.
        heads: query heads.
        vocab: vocabulary.
        routed / used / expert_inner: experts, those of a token, and the inner width of one; 0 without a mixture.
        latent_width: of queries and values of a head, where latents are expanded.
        weight_words: elements of a weight matrix per parameter: 1, or bits / 32 for packed ones.
        element: bytes of a value.
        gated: gate and up projections.
    """

    hidden: int
    inner: int
    heads: int
    vocab: int
    routed: int = 0
    used: int = 0
    expert_inner: int = 0
    latent_width: int = 128
    weight_words: float = 1.0
    element: int = 2
    gated: bool = True


def layer_ops(layer: Layer, tokens: int, settings: MlxSettings, widths: Widths) -> Iterator[Op]:
    """The operations of one decoder layer, in order; "x" is the residual it is given, "out" what it hands on.

    What the context decides is not in them: the scores, and the growth of the cache.
    """
    hidden = tokens * widths.hidden
    yield Op("norm", hidden, ("x",))
    if isinstance(layer, LinearAttention):
        yield from _linear(layer, tokens, widths)
    elif (rows := rows_of(layer)) is not None:
        yield from _rows(rows, tokens, settings, widths)
    else:
        yield Op("mixed", hidden, ("norm",))
    yield Op("h", hidden, ("x", "mixed"), takes="mixed")
    yield Op("norm2", hidden, ("h",))
    parts = []
    if widths.used:
        yield from _experts(tokens, widths)
        parts.append("sum")
    if widths.inner:
        yield from _mlp(tokens, widths)
        parts.append("down")
    if len(parts) == 2:
        yield Op("both", hidden, ("sum", "down"), takes="sum")
        parts = ["both"]
    yield Op("out", hidden, ("h", *parts), takes=parts[0] if parts else "")


def _weights(rows: int, columns: int, widths: Widths) -> int:
    return int(rows * columns * widths.weight_words)


def _mlp(tokens: int, widths: Widths) -> Iterator[Op]:
    size, weights = tokens * widths.inner, _weights(widths.inner, widths.hidden, widths)
    if widths.gated:
        yield Op("gate", size, ("norm2",), weights)
    yield Op("up", size, ("norm2",), weights)
    yield Op("act", size, ("gate", "up") if widths.gated else ("up",), takes="up")
    yield Op("down", tokens * widths.hidden, ("act",), weights)


def _experts(tokens: int, widths: Widths) -> Iterator[Op]:
    """mlx_lm/models/switch_layers.py: SwitchGLU with sorted tokens."""
    rows = tokens * widths.used
    weights = _weights(widths.routed * widths.expert_inner, widths.hidden, widths)
    yield Op("router", tokens * widths.routed, ("norm2",))
    yield Op("gates", tokens * widths.routed, ("router",), takes="router")
    yield Op("picked", tokens * widths.routed, ("gates",), item=4)
    yield Op("scores", rows, ("gates", "picked"))
    yield Op("order", rows, ("picked",), item=4)
    yield Op("inverse", rows, ("order",), item=4)
    yield Op("sorted", rows * widths.hidden, ("norm2", "order"))
    yield Op("e_up", rows * widths.expert_inner, ("sorted", "order"), weights)
    yield Op("e_gate", rows * widths.expert_inner, ("sorted", "order"), weights)
    yield Op("e_act", rows * widths.expert_inner, ("e_up", "e_gate"), takes="e_up")
    yield Op("e_down", rows * widths.hidden, ("e_act", "order"), weights)
    yield Op("unsorted", rows * widths.hidden, ("e_down", "inverse"))
    yield Op("weighted", rows * widths.hidden, ("unsorted", "scores"), takes="unsorted")
    yield Op("sum", tokens * widths.hidden, ("weighted",))


def _linear(layer: LinearAttention, tokens: int, widths: Widths) -> Iterator[Op]:
    """A recurrent layer by the widths of its states: channels of the convolution, and of the matrices' outputs."""
    channels = max((state.shape[0] for state in layer.states if len(state.shape) == 2), default=widths.hidden)
    inner = max(
        (state.shape[0] * min(state.shape[1:]) for state in layer.states if len(state.shape) == 3), default=channels
    )
    yield Op("qkv", tokens * channels, ("norm",), _weights(channels, widths.hidden, widths))
    yield Op("z", tokens * inner, ("norm",), _weights(inner, widths.hidden, widths))
    yield Op("joined", tokens * channels, ("qkv",))
    yield Op("conv", tokens * channels, ("joined",))
    yield Op("silu", tokens * channels, ("conv",), takes="conv")
    yield Op("queries", tokens * (channels - inner) // 2, ("silu",))
    yield Op("keys", tokens * (channels - inner) // 2, ("silu",))
    yield Op("mix", tokens * inner, ("queries", "keys", "silu"))
    yield Op("gated", tokens * inner, ("mix", "z"), takes="mix")
    yield Op("mixed", tokens * widths.hidden, ("gated",), _weights(inner, widths.hidden, widths))


def _rows(layer: Attention | LatentAttention, tokens: int, settings: MlxSettings, widths: Widths) -> Iterator[Op]:
    """Attention with a cache of rows, its scores apart (`score_bytes`)."""
    hidden = tokens * widths.hidden
    if isinstance(layer, LatentAttention):
        width, latent = widths.heads * widths.latent_width, layer.kv_lora_rank + layer.qk_rope_head_dim
        rotated = widths.heads * layer.qk_rope_head_dim
        yield Op("q", tokens * (width + rotated), ("norm",), _weights(width + rotated, widths.hidden, widths))
        yield Op("k", tokens * latent, ("norm",), _weights(latent, widths.hidden, widths))
        yield Op("q_rope", tokens * rotated, ("q",))
        yield Op("attended", tokens * width, ("q", "q_rope", "k"))
        yield Op("mixed", hidden, ("attended",), _weights(width, widths.hidden, widths))
        return
    query, output = widths.heads * layer.head_dim, widths.heads * layer.v_head_dim
    heads = layer.num_key_value_heads // settings.ranks
    keys, values = heads * layer.head_dim, heads * layer.v_head_dim
    yield Op("q", tokens * query, ("norm",), _weights(query, widths.hidden, widths))
    yield Op("k", tokens * keys, ("norm",), _weights(keys, widths.hidden, widths))
    yield Op("v", tokens * values, ("norm",), _weights(values, widths.hidden, widths))
    yield Op("q_rope", tokens * query, ("q",))
    yield Op("k_rope", tokens * keys, ("k",))
    yield Op("attended", tokens * output, ("q_rope", "k_rope", "v"))
    yield Op("mixed", hidden, ("attended",), _weights(output, widths.hidden, widths))


def score_bytes(layer: Attention | LatentAttention, moment: Moment, settings: MlxSettings, widths: Widths) -> int:
    """Bytes of a layer's scores and masks during a step, where they are whole in memory; 0 where a kernel fuses them.

    heads * tokens * rows, once where no kernel has the heads' width, or the cache is quantized
    (models/base.py: quantized_scaled_dot_product_attention); twice for latents, whose rotated parts are scored apart
    and whose keys and values are expanded for every head beside (models/deepseek_v3.py). A mask that is an array, for
    windows, batches and all of the above, has a byte a pair.
    """
    tokens, sequences = moment.tokens, moment.sequences
    seen = min(cached_rows(layer, moment, settings), moment.before + tokens)
    pairs = sequences * tokens * seen
    if isinstance(layer, LatentAttention):
        scores = (2 if tokens > 1 else 1) * widths.heads * pairs * widths.element
        expanded = 2 * sequences * seen * widths.heads * widths.latent_width * widths.element if tokens > 1 else 0
        return scores + expanded + pairs
    fused = layer.head_dim == layer.v_head_dim and layer.head_dim in FUSED_WIDTHS
    if is_quantized(layer, moment, settings) or not (fused or tokens == 1):
        return widths.heads * pairs * widths.element + pairs
    return pairs if sequences > 1 or (isinstance(layer, SlidingAttention) and tokens > 1) else 0


def overlapping(layers: Sequence[Layer], settings: MlxSettings, widths: Widths, queue: Queue) -> int:
    """How many layers' scores are in memory at once: 2 where all that is between two of them fits the encoder's run."""
    if queue.under_way == 0:
        return 1
    whole = Moment(settings.prefill_step_size, settings.prefill_step_size, 1)
    scored = [
        index
        for index, layer in enumerate(layers)
        if (rows := rows_of(layer)) is not None
        and score_bytes(rows, whole, settings, widths) > whole.tokens * whole.before
    ]
    gaps = [layers[start:end] for start, end in pairwise(scored[:LAYERS_PLAYED])]
    run = queue.under_way * (queue.elements_mi << 20)
    between = (sum(touched(layer, whole.tokens, settings, widths) for layer in gap) for gap in gaps)
    return 2 if any(elements < run for elements in between) else 1


def touched(layer: Layer, tokens: int, settings: MlxSettings, widths: Widths) -> int:
    """Elements that a layer's operations read and write, the rows of its latents expanded included."""
    sizes = {"x": tokens * widths.hidden}
    total = 0
    for op in layer_ops(layer, tokens, settings, widths):
        sizes[op.name] = op.size
        total += op.size + op.reads + sum(sizes.get(name, 0) for name in op.inputs)
    rows = rows_of(layer)
    return total + (4 * tokens * widths.heads * widths.latent_width if isinstance(rows, LatentAttention) else 0)


def grown_bytes(layer: Attention | LatentAttention, moment: Moment, settings: MlxSettings, element: int) -> int:
    """Bytes of the rows that a layer's cache held before a step: they stay until they are copied to where there is room
    for more, or to where a window's rows move up. Not every step copies; any may be one that does."""
    if not moment.before:
        return 0
    held = min(moment.before, cached_rows(layer, moment, settings))
    if moment.tokens > 1:
        start = max(0, moment.before - settings.prefill_step_size)
        held = cached_rows(layer, Moment(start, moment.before - start, moment.sequences), settings)
    quantized = is_quantized(layer, moment, settings)
    return moment.sequences * held * row_bytes(layer, element, settings, quantized=quantized)


def waiting_bytes(layers: Sequence[Layer], tokens: int, settings: MlxSettings, widths: Widths, queue: Queue) -> int:
    """Bytes of the layers' results that wait for the GPU in a step of `tokens`: never less for more of them.

    Worked out for powers of 2, the largest up to the next one: how operations fall into command buffers is no smooth
    thing.
    """
    powers = (2**exponent for exponent in range((tokens - 1).bit_length() + 1))
    played = tuple(layers[:LAYERS_PLAYED])
    return max(_waiting(played, power, replace(settings, context=1, batch=1), widths, queue) for power in powers)


@lru_cache(maxsize=1024)  # the searches for the longest context and the largest batch ask for the same ones
def _waiting(layers: tuple[Layer, ...], tokens: int, settings: MlxSettings, widths: Widths, queue: Queue) -> int:
    return peak([layer_ops(layer, tokens, settings, widths) for layer in layers], widths.element, queue)


def step_bytes(
    layers: Sequence[Layer], moment: Moment, settings: MlxSettings, widths: Widths, queue: Queue
) -> dict[str, int]:
    """What a step takes beside weights and caches, by part: results that wait, scores and masks, the cache's copy, and
    the last token's logits with their logarithms (of a prompt's chunks none are made: nothing reads them)."""
    rows = [row for row in map(rows_of, layers) if row is not None]
    scores = max((score_bytes(row, moment, settings, widths) for row in rows), default=0)
    parts = {
        "waiting": waiting_bytes(layers, moment.tokens * moment.sequences, settings, widths, queue),
        "scores": scores * (overlapping(layers, settings, widths, queue) if scores else 1),
        "grown": max((grown_bytes(row, moment, settings, widths.element) for row in rows), default=0),
        "logits": 2 * moment.sequences * widths.vocab * widths.element if moment.tokens == 1 else 0,
    }
    return {name: size for name, size in parts.items() if size}


def peak(layers: Iterable[Iterable[Op]], element: int, queue: Queue) -> int:
    """Bytes of the arrays alive at once, at most, where the encoder runs ahead of the GPU as far as `queue` lets it.

    >>> ops = [Op("a", 100, ("x",)), Op("b", 100, ("a",)), Op("out", 100, ("b",))]
    >>> peak([ops], 2, NONE), peak([ops], 2, LARGE)
    (400, 600)
    """
    alive = most = 0
    current: list[int] = []  # bytes that are freed when the buffer being filled is done
    sent: deque[int] = deque()
    operations = elements = 0
    given: list[int] = [0]  # the residual that a layer is given: its bytes, kept in a list to be handed on
    for ops in layers:
        listed = list(ops)
        last: dict[str, int] = {}
        for index, op in enumerate(listed):
            last.update(dict.fromkeys(op.inputs, index))
        held = {"x": given[0]}
        counted: set[tuple[str, int]] = set()
        for index, op in enumerate(listed):
            taken = op.takes in held and last[op.takes] == index and op.takes != "x"
            size = op.size * (op.item or element)
            if not taken:
                alive += size
                most = max(most, alive)
            operations += 1
            elements += op.size + op.reads
            elements += sum(held.get(name, 0) // element for name in op.inputs if (name, len(sent)) not in counted)
            counted.update((name, len(sent)) for name in (*op.inputs, op.name))
            done = sum(
                held.pop(name)
                for name in set(op.inputs)
                if name in held and last[name] == index and not (taken and name == op.takes)
            )
            if taken:
                held.pop(op.takes)
            if last.get(op.name) is None and op.name != "out":
                done += size
            else:
                held[op.name] = size
            current.append(done)
            if operations > queue.operations or elements >> 20 > queue.elements_mi or queue.under_way == 0:
                sent.append(sum(current))
                current, operations, elements = [], 0, 0
                counted = set()
                while len(sent) > queue.under_way:
                    alive -= sent.popleft()
        given[0] = held.get("out", 0)
    return most
