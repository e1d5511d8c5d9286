"""Working memory of transformers' inference: what `generate` needs above the weights and the steady key/value cache.

Nothing but the cache is kept layer by layer, so the peak is the largest working set of one block. Each function below
is one block: it counts the tensors that live at once at that block's worst moment, read from the classes of
transformers 5.23 and checked against peaks measured under fake tensors (tests/oracles/inference.py).

Letters: h hidden size, f intermediate size, a heads, q = a * head dimension, k = key/value heads * head dimension,
e bytes of the compute precision, T = batch * context tokens. Assumed: sdpa attention where the class has it,
`logits_to_keep=1`, no padding among the prompts, text alone (memory/vision.py has the encoders). `Habits` hold
what single classes do otherwise. Of 17 models met for the first time 12 were within 1.2 %; the five that were off, by
11 to 56 %, had such a habit, and are in data/by_hand.json now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from inspector.memory.estimate import Part
from inspector.model.config.light import table, traits_of
from inspector.model.layers.layer import CacheRequest, Layer, distinct
from inspector.model.model import Architecture

SOURCE = "transformers 5.23; measured under fake tensors, worst error 5 % over 316 prefills of 54 models"


class Eager(NamedTuple):
    """What a class without sdpa holds: bytes a score at its worst moment in bf16 and in fp32, in how many layers the
    returned scores stay alive while the MLP runs, and tensors of width q beside the scores."""

    half: int
    single: int
    kept: int
    queries: int


UNMEASURED_EAGER = Eager(14, 16, 2, 7)
"""The most of those that were measured."""

ACTIVATION_COPIES = {"gelu_new": 4, "gelu_fast": 4, "gelu_python": 4, "relu2": 3, "xielu": 5.5}
"""Tensors of the width f in a plain MLP whose activation is written out in torch operations; 2 for one kernel."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What single classes do otherwise: measured of the class (data/configs.json, "traits") or told by hand
    (data/by_hand.json, "activations").

    Attributes:
        eager: of a class without sdpa.
        gated: the MLP has a gate; asked where the architecture does not say.
        math: hands one key/value head to sdpa unrepeated: the math kernel computes in fp32.
        masked: builds a context x context mask even where no window asks for it.
        router_16: the router's weights reach the experts in the compute precision; DeepSeek's and its kin's in fp32.
        gate_up: one `gate_up_proj`, whose output stays alive as a whole.
        activation_copies: as above, of a class whose config names no activation.
        expert_widths: tensors of the expert's width at the gate, a copy.
        stream: tensors of the width h beside the MLP's: embeddings, layer input, residual sum, normed.
        rotation: (tensors of width q, of width k) above the layer's own cache, while queries are normed in fp32 or
            rotated, and while keys are rotated; the larger sum counts.
        rotary: pairs of cosine and sine tables: two kinds of positions, or none.
        fp32_keys: casts the cached keys to fp32.
    """

    eager: Eager | None = None
    gated: bool = False
    math: bool = False
    masked: bool = False
    router_16: bool = False
    gate_up: bool = False
    activation_copies: float = 2
    expert_widths: int = 4
    stream: int = 4
    rotation: tuple[tuple[int, int], ...] = ((5, -2), (2, 3))
    rotary: int = 1
    fp32_keys: bool = False


@lru_cache(maxsize=1024)
def habits_of(model_type: str) -> Habits:
    """Of a model type, or of the language part that it is the whole of."""
    measured = traits_of(model_type)
    rows = (table().get(name, {}) for name in (model_type, model_type.removesuffix("_text")))
    told: Mapping[str, Any] = next((row["activations"] for row in rows if "activations" in row), {})
    kept = ("gated", "router_16", "gate_up", "rotary")
    found = {**{name: measured[name] for name in kept if name in measured}, **told}
    if "eager" in told:
        found["eager"] = Eager(*told["eager"])
    elif measured.get("eager"):
        found["eager"] = UNMEASURED_EAGER
    return Habits(**found)


@dataclass(frozen=True, slots=True)
class _Run:
    """One forward pass, with the facts that every block needs."""

    habits: Habits
    hidden: int
    intermediate: int
    heads: int
    head_dim: int
    queries: int
    keys: int
    context: int
    batch: int
    element: int

    def part(self, name: str, widths: int, formula: str, scores: int = 0, scores_formula: str = "") -> Part:
        """T * widths * e + scores; without a text of their own the scores are those that an eager class keeps."""
        if scores and not scores_formula:
            scores_formula = f" + {scores:,} B of kept scores"
        tokens = self.batch * self.context
        text = f"{tokens:,} tokens * ({formula}) * {self.element} B"
        return Part(name, tokens * widths * self.element + scores, text + scores_formula, SOURCE)


def prefill_activations(architecture: Architecture, *, context: int, batch: int, element_bytes: int) -> Part:
    """Peak bytes of the pass over the prompt: the largest block, the mask, and what windows have not let go of yet.

    Args:
        context: tokens of each prompt.
        batch: prompts of that length.
        element_bytes: bytes of the precision that the model computes in.
    """
    run = _run_of(architecture, context, batch, element_bytes)
    if isinstance(run, str):
        return Part("activations", None, run, SOURCE)
    masked = _masked(architecture, context)
    blocks = [_attention(run, architecture, masked=masked), _head(run, architecture)]
    if architecture.experts is not None:
        blocks.append(_experts(run, architecture, architecture.experts.active))
    if architecture.experts is None or architecture.moe_intermediate_size:  # beside experts: dense layers'
        blocks.append(_mlp(run, architecture))
    largest = max(blocks, key=lambda block: block.bytes or 0)
    whole = (_mask(run, architecture, masked=masked), _rotary(run, architecture), _behind_windows(run, architecture))
    held = [part for part in whole if part.bytes]
    total = sum(part.bytes or 0 for part in (largest, *held))
    formula = " + ".join([f"the largest block ({largest.name})", *(part.name for part in held)])
    if any(layer.states for layer in distinct(architecture.layers)):
        formula += "; without the linear layers' own tensors, which were not measured"
    return Part("activations", total, formula, SOURCE, (*blocks, *held))


def decode_activations(architecture: Architecture, *, context: int, batch: int, element_bytes: int) -> Part:
    """Peak bytes of one more token with `context` tokens in the cache: a layer's cache copied, or the logits."""
    run = _run_of(architecture, context, batch, element_bytes)
    if isinstance(run, str):
        return Part("activations", None, run, SOURCE)
    if not architecture.is_decoder:
        return Part("activations", 0, "no decoder: there is no decode step", SOURCE)
    blocks = (_cached_attention(run, architecture), _head(replace(run, context=1), architecture))
    largest = max(blocks, key=lambda block: block.bytes or 0)
    return Part("activations", largest.bytes, f"the largest block ({largest.name})", SOURCE, blocks)


def _run_of(architecture: Architecture, context: int, batch: int, element: int) -> _Run | str:
    """The facts of a run, or what keeps it from being sized."""
    hidden, heads = architecture.hidden_size, architecture.num_attention_heads or 1
    if not hidden or not architecture.vocab_size or not architecture.layers:
        return "config.json does not tell the hidden size, the vocabulary or the layers"
    for layer in distinct(architecture.layers):
        if not layer.prefill_measured:
            return f"not worked out for layers of the kind '{layer.kind}'"
    head_dim = architecture.head_dim or hidden // heads
    # Config classes leave the width out where it is 4 h (GPT2Config.n_inner, FalconConfig.ffn_hidden_size, Bloom, MPT).
    intermediate = architecture.intermediate_size or 4 * hidden
    keys = (architecture.num_key_value_heads or heads) * head_dim
    habits = habits_of(architecture.model_type or "")
    return _Run(habits, hidden, intermediate, heads, head_dim, heads * head_dim, keys, context, batch, element)


def _mlp(run: _Run, architecture: Architecture) -> Part:
    """The hidden stream and the MLP's own tensors: gate, activated gate and up (3 f; 4 f from one projection); plain
    ones hold the input and the output of the activation (2 f), and what it is written out in (up to 4 f)."""
    gated = architecture.mlp_gated
    if gated is None:
        gated = run.habits.gated or architecture.hidden_act in ("silu", "swish")
    copies: float = 4 if run.habits.gate_up else 3
    if not gated:
        named = architecture.hidden_act
        copies = ACTIVATION_COPIES.get(named, 2) if named else run.habits.activation_copies
    stream = run.habits.stream if architecture.is_decoder else 3
    formula = f"{copies} * {run.intermediate:,} + {stream} * {run.hidden:,}"
    return run.part("mlp", int(copies * run.intermediate) + stream * run.hidden, formula, _kept_scores(run))


def _experts(run: _Run, architecture: Architecture, active: int) -> Part:
    """A mixture under `grouped_mm_experts_forward`, the default where torch has grouped matrix multiplication: every
    token is copied to each of its experts. The worst moment is the gate (h + 4 f a copy; GPT-OSS, with biases and
    clamps, h + 9 f) or the weighting of the outputs (4 h; with fp32 router weights two of them are fp32)."""
    width = architecture.moe_intermediate_size or run.intermediate
    gate = run.hidden + run.habits.expert_widths * width
    weighted = (4 if run.habits.router_16 else 2 + 8 // run.element) * run.hidden
    copy, stream = max(gate, weighted), run.habits.stream
    formula = f"{active} * {copy:,} + {stream} * {run.hidden:,}"
    return run.part("experts", active * copy + stream * run.hidden, formula, _kept_scores(run))


def _attention(run: _Run, architecture: Architecture, *, masked: bool) -> Part:
    """Three hidden-size tensors (two where the norm comes after) and the attention's own, at rotation or kernel.

    A mask rules out flash attention: key/value heads are repeated, and the memory-efficient kernel takes an additive
    copy of the mask (e bytes; another, not counted, where the context is no multiple of 16). Eager classes hold scores.
    """
    stream, square = min(3, run.habits.stream - 1) * run.hidden, run.batch * run.context**2
    widths = (layer.prefill_width(run.heads) for layer in distinct(architecture.layers))
    if width := next((width for width in widths if width is not None), None):
        return run.part("attention", stream + run.hidden + width, f"4 * {run.hidden:,} + {width:,}")
    if score_bytes := _score_bytes(run):
        eager, math = run.habits.eager, 6 if run.habits.math else 4  # 6: the queries and their copies are fp32
        width = stream + (eager.queries if eager else math) * run.queries
        text = f" + {run.batch} * {run.context:,}^2 * {run.heads} heads * {score_bytes} B"
        return run.part("attention", width, f"{width:,}", square * run.heads * score_bytes, text)
    width = max(a * run.queries + b * run.keys for a, b in run.habits.rotation)
    rotation = run.part("attention", stream + width, f"{stream:,} + {width:,}")
    if not masked:
        return rotation
    width = (4 if run.head_dim < run.keys < run.queries else 2) * run.queries  # a single head is repeated by a view
    text = f" + mask {run.batch} * {run.context:,}^2 * {run.element} B"
    kernel = run.part("attention", stream + width, f"{stream:,} + {width:,}", square * run.element, text)
    return max(rotation, kernel, key=lambda part: part.bytes or 0)


def _score_bytes(run: _Run) -> int:
    """Bytes of attention scores for a pair of tokens and a head; 0 where a fused kernel keeps none."""
    if eager := run.habits.eager:
        return eager.single if run.element == 4 else eager.half
    # Flash attention takes no fp32 and the memory-efficient kernel no grouped heads: the math kernel is left.
    return 8 if run.habits.math or (run.element == 4 and run.keys < run.queries) else 0


def _kept_scores(run: _Run) -> int:
    """Eager classes return the scores, and their callers keep them until the next layer's replace them."""
    kept = run.habits.eager.kept if run.habits.eager else 0
    return kept * run.batch * run.heads * run.context**2 * run.element


def _masked(architecture: Architecture, context: int) -> bool:
    """Whether a boolean mask is built: sdpa's own causal flag covers no window (`_ignore_causal_mask_sdpa`)."""
    windows = [
        layer.window for layer in distinct(architecture.layers) if not layer.widths
    ]  # latents' were not measured
    masked = habits_of(architecture.model_type or "").masked
    return masked or any(window and context >= window for window in windows)


def _mask(run: _Run, architecture: Architecture, *, masked: bool) -> Part:
    """Masks that live from the first layer to the last: boolean ones for sdpa, additive ones (e bytes) for eager
    classes, one a kind of layer."""
    size = len(architecture.layer_kinds) * run.element if run.habits.eager else int(masked)
    return Part("mask", run.batch * run.context**2 * size, f"{run.batch} * {run.context:,}^2 * {size} B", SOURCE)


def _rotary(run: _Run, architecture: Architecture) -> Part:
    """Cosines and sines of the positions, shared by the batch (MLA's are narrow and left out)."""
    rotates = architecture.is_decoder and "latent_attention" not in architecture.layer_kinds
    pairs = run.habits.rotary if rotates else 0
    values, formula = 2 * pairs * run.context * run.head_dim, f"{2 * pairs} * {run.context:,} * {run.head_dim}"
    return Part("rotary", values * run.element, f"{formula} * {run.element} B", SOURCE)


def _behind_windows(run: _Run, architecture: Architecture) -> Part:
    """After the prompt a window's cache is a view of the whole prompt's rows, and the view keeps them all alive."""
    request = CacheRequest(run.context, 1, 8)
    rows = sum(
        (run.context - layer.tokens_held(request)) * (layer.values_per_token or 0) for layer in architecture.layers
    )
    formula = f"{run.batch} * {rows:,} values of tokens outside their windows * {run.element} B"
    source = "transformers 5.23, DynamicSlidingWindowLayer.update"
    return Part("prompt_behind_windows", run.batch * rows * run.element, formula, source)


def _head(run: _Run, architecture: Architecture) -> Part:
    """Decoders: the last rows' logits, and their fp32 copy (`GenerationMixin._sample`), beside two hidden tensors.
    Encoders: the logits of every token, if the class has a language-model head."""
    vocab = architecture.vocab_size or 0
    if architecture.is_decoder:
        logits, text = vocab * (run.element + 4), f" + {run.batch} * {vocab:,} * ({run.element} + 4) B"
        return run.part("head", 2 * run.hidden, f"2 * {run.hidden:,}", run.batch * logits, text)
    has_head = any(word in (architecture.architecture or "") for word in ("MaskedLM", "LMHead", "PreTraining"))
    return run.part("head", vocab * has_head + 2 * run.hidden, f"{vocab * has_head:,} + 2 * {run.hidden:,}")


def _cached_attention(run: _Run, architecture: Architecture) -> Part:
    """The layer with the most: what one step copies or expands of its cache, and a few rows of the hidden size."""
    copied = max(_copied_values(run, layer) for layer in distinct(architecture.layers))
    formula = f"{run.batch} * ({copied:,} + 6 * {run.hidden:,}) * {run.element} B"
    return Part("cache_copy", run.batch * (copied + 6 * run.hidden) * run.element, formula, SOURCE)


def _copied_values(run: _Run, layer: Layer) -> int:
    """Values a sequence that a decode step holds beside one layer's cache."""
    layer = layer.rows or layer
    tokens = layer.tokens_held(CacheRequest(run.context, 1, 8))
    if (width := layer.decode_width(run.heads)) is not None:
        return tokens * width
    row = layer.values_per_token or 0
    # `torch.cat` makes the new keys, then the new values, beside the old; a window's cache makes both first.
    copied = row if layer.window is not None else row // 2
    if run.habits.math:
        # In fp32: keys, values and two rows of scores; the keys once more for each head if there is a batch to spread.
        copied = 4 * run.keys + 4 * run.heads + (2 * run.queries if run.batch > 1 else 0)
    elif _score_bytes(run) and run.keys < run.queries:
        copied = (2 if run.habits.eager else 3) * run.queries
    elif run.habits.fp32_keys:
        copied = row // 2 * 4 // run.element
    return tokens * copied
