"""Weights as mlx-lm loads them, what `mlx_lm.convert` makes of a 16-bit checkpoint, and what its classes leave out.

mlx_lm/utils.py (load_model, quantize_model), mlx_lm/convert.py and the classes of mlx_lm/models, version 0.32.2.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from inspector.engines.common.kept_heads import later_rounds, rows_of_heads, windowed
from inspector.engines.mlx.types import (
    BY_LAYER_TYPES,
    EXPANDED_LATENTS,
    KEEPS_VISION,
    ONE_ARRAY,
    PARTS_AT_8_BITS,
    ROUTER_8_BITS,
    ROUTER_IS_NO_LINEAR,
    STATEFUL,
    TYPES,
    WINDOWED,
    mlx_type,
)
from inspector.memory.precision import STORED
from inspector.model.layers.full import FullAttention
from inspector.model.layers.latent import LatentAttention
from inspector.model.layers.layer import Layer, StateTensor
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.sliding import SlidingAttention
from inspector.model.layers.unknown import UnknownLayer
from inspector.model.model import Architecture, Model

CONVERTED: dict[str, tuple[Fraction, str]] = {
    "int4": (4 + Fraction(32, 64), "4 bits, a 16-bit scale and bias for each 64"),
    "int8": (8 + Fraction(32, 64), "8 bits, a 16-bit scale and bias for each 64"),
    **{
        f"mlx-{bits}bit": (bits + Fraction(32, 64), f"{bits} bits, a 16-bit scale and bias for each 64")
        for bits in (8, 6, 5, 4, 3)
    },
    "mxfp4": (4 + Fraction(8, 32), "4 bits, an 8-bit scale for each 32"),
    "nvfp4": (4 + Fraction(8, 16), "4 bits, an 8-bit scale for each 16"),
}
"""What `mlx_lm.convert -q` makes with its defaults (`--q-bits 4`, `--q-bits 8`, `--q-mode mxfp4`, `nvfp4`). Repos are
called by "4bit", what this library's older name is int4 for."""

ROUTER_BITS = 8 + Fraction(32, 64)

PLAIN = {"fp32": 32, "bf16": 16, "fp16": 16}

AS_THEY_ARE, REPACKED, UNPACKED = ("mlx", "mxfp4", "bitnet"), ("awq", "gptq"), ("fp8",)
"""What mlx-lm does with packed weights, by the method of their recipe; of others nothing is known here."""

_TOWERS = ("vision", "audio", "projector")
_SMALL = ("norm", "other")


class LoadedWeights(NamedTuple):
    """Bytes by component, bytes of a value that the model computes with, how they came about, and what to know."""

    shares: dict[str, int]
    element: int
    formula: str
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.shares.values())


def mlx_layers(model: Model) -> tuple[Layer, ...]:
    """The layers with the windows that mlx-lm's class of this type uses, and latents expanded where it expands them."""
    shape = model.architecture
    kind = mlx_type(shape)
    windows = [isinstance(layer, SlidingAttention) for layer in shape.layers]
    windowed = kind in WINDOWED or (kind in BY_LAYER_TYPES and not all(windows))
    layers = later_rounds(_by_pattern(shape), shape) if windowed else tuple(map(_full, shape.layers))
    if not shape.is_decoder and (rows := rows_of_heads(shape)):  # mlx-lm always caches
        layers = (rows,) * len(layers)
    if kind in ONE_ARRAY:
        layers = tuple(map(_matrix_alone, layers))
    if kind in EXPANDED_LATENTS:
        layers = tuple(_expanded(layer, shape.num_attention_heads or 0) for layer in layers)
    ngram = shape.written.get("emb_neighbor_num")
    if kind in STATEFUL and isinstance(ngram, int) and ngram > 1:  # longcat_flash_ngram.py: the last tokens' ids
        layers = (*layers, LinearAttention((StateTensor((1, ngram - 1), "I64"),)))
    return layers


def _by_pattern(shape: Architecture) -> tuple[Layer, ...]:
    """The layers with the windows of `hybrid_layer_pattern`, 1 for one, which transformers' class does not read and
    mlx-lm's does (mimo_v2_flash.py)."""
    pattern, window = (shape.written.get(key) for key in ("hybrid_layer_pattern", "sliding_window_size"))
    if not isinstance(pattern, list) or len(pattern) != len(shape.layers) or not isinstance(window, int):
        return shape.layers
    heads = [shape.written.get(f"{kind}num_key_value_heads") for kind in ("", "swa_")]
    rows = [_full(layer) for layer in shape.layers]
    if all(isinstance(count, int) for count in heads):
        rows = [
            replace(row, num_key_value_heads=heads[flag == 1]) if isinstance(row, FullAttention) else row
            for flag, row in zip(pattern, rows, strict=True)
        ]
    return tuple(windowed(row, window) if flag == 1 else row for flag, row in zip(pattern, rows, strict=True))


def _matrix_alone(layer: Layer) -> Layer:
    """The layer without its convolution, where it keeps a matrix of each head, too."""
    matrices = tuple(state for state in layer.states if len(state.shape) > 2)
    return LinearAttention(matrices) if isinstance(layer, LinearAttention) and matrices else layer


def _full(layer: Layer) -> Layer:
    """The layer without its window."""
    if isinstance(layer, SlidingAttention):
        return FullAttention(layer.num_key_value_heads, layer.head_dim, layer.v_head_dim)
    return layer


def _expanded(layer: Layer, heads: int) -> Layer:
    """A latent as the keys and values of every head; a layer that no rule has where their widths are not known."""
    if not isinstance(layer, LatentAttention):
        return layer
    if not heads or layer.qk_nope_head_dim is None or layer.v_head_dim is None:
        return UnknownLayer("latents, expanded")
    return FullAttention(heads, layer.qk_nope_head_dim + layer.qk_rope_head_dim, layer.v_head_dim)


def loaded_weights(model: Model, dtype: str = STORED) -> LoadedWeights | str:
    """The weights as mlx-lm holds them; a sentence where that cannot be told.

    Stored ones keep their precision, float32 too. Named ones are what `mlx_lm.convert` makes: every matrix with rows of
    whole groups is quantized, embedding and head among them, norms, biases and convolutions are not.
    """
    shape, parameters, kind = model.architecture, model.parameters, mlx_type(model.architecture)
    if kind not in TYPES:
        return f"mlx-lm has no class for the model type {shape.model_type!r}"
    if not parameters.total or parameters.stack == "blk":
        return "mlx-lm reads safetensors files; this is none of its formats"
    dropped = () if kind in KEEPS_VISION else _TOWERS
    notes = (
        ["the encoder for images or sound is not loaded by mlx-lm"]
        if any(parameters.by_component.get(n) for n in dropped)
        else []
    )
    packing = shape.quantization
    if dtype == STORED:
        stored = _stored(model, packing.method if packing else None, packing.group_size if packing else None)
        if isinstance(stored, str):
            return stored
        shares, element, formula = stored
    elif packing is not None and packing.method not in UNPACKED and dtype not in PLAIN:
        return f"its weights are packed already ({packing.method}): mlx_lm.convert -q takes plain ones"
    elif dtype in PLAIN:
        bits = PLAIN[dtype]
        shares = {name: count * bits // 8 for name, count in parameters.by_component.items()}
        element, formula = bits // 8, f"mlx_lm.convert --dtype: {bits} bits per parameter"
    elif dtype in CONVERTED:
        bits_each, text = CONVERTED[dtype]
        element, formula = 2, f"mlx_lm.convert -q: {text}; norms, biases and convolutions in 16 bits"
        shares = _quantized(model, bits_each)
        if kind in PARTS_AT_8_BITS:
            notes.append("mlx-lm keeps this type's output and down projections at 8 bits: more than is counted here")
    else:
        return f"mlx_lm.convert makes no {dtype}: it makes {', '.join((*PLAIN, *CONVERTED))}"
    return LoadedWeights(
        {name: size for name, size in shares.items() if name not in dropped}, element, formula, tuple(notes)
    )


def _stored(model: Model, method: str | None, group_size: int | None) -> tuple[dict[str, int], int, str] | str:
    """Bytes by component of what the files hold, once loaded."""
    parameters = model.parameters
    shares = dict(parameters.bytes_by_component)
    element = 4 if model.stored_dtype == "F32" and method is None else 2
    if method is None or method in AS_THEY_ARE:
        return shares, element, "the files' tensors, as they are" + (f" ({method})" if method else "")
    if method in REPACKED:
        bits = 4 + Fraction(32, group_size or 128)
        quantization = model.architecture.quantization
        if quantization is not None and quantization.bits not in (4, None):
            return f"mlx-lm reads {method} of 4 bits alone"
        packed = quantization.packed_parameters if quantization else 0
        whole = {name: count * 2 for name, count in parameters.by_component.items()}
        inner = sum(size for name, size in whole.items() if name not in ("embedding", "head", "norm", *_TOWERS)) // 2
        saved = math.floor(packed * (16 - bits) / 8)
        return (
            {
                n: s - (saved * (s // 2) // inner if n not in ("embedding", "head", "norm", *_TOWERS) else 0)
                for n, s in whole.items()
            },
            2,
            f"{method} repacked: 4 bits, a scale and a bias for each {group_size or 128}",
        )
    if method in UNPACKED:
        return (
            {name: count * 2 for name, count in parameters.by_component.items()},
            2,
            f"{method} blocks are unpacked to 16 bits",
        )
    return f"how mlx-lm loads {method} is not known here: ask for an mlx-community repo, or for --dtype int4"


def _quantized(model: Model, bits: Fraction) -> dict[str, int]:
    shape = model.architecture
    sizes = {}
    for name, count in model.parameters.by_component.items():
        each: Fraction | int = bits
        if name in _SMALL:
            each = 16
        elif name == "router":
            kind = mlx_type(shape)
            each = 16 if kind in ROUTER_IS_NO_LINEAR else ROUTER_BITS if kind in ROUTER_8_BITS else bits
        sizes[name] = math.ceil(count * each / 8)
    return sizes
