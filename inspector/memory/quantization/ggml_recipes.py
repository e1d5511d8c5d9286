"""What llama.cpp's quantizer makes of a 16-bit checkpoint: a ggml type for every tensor.

Mirrors llama.cpp v0.5.0, src/llama-quant.cpp: llama_tensor_get_type_impl and tensor_type_fallback. Older builds gave a
matrix that joins queries, keys and values other types (phi-2's Q4_K_M of 2023 is 3 % larger).
Compared with the program itself: tests/memory/data/ggml_recipes.json, made by tests/oracles/ggml_recipes.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from inspector.hub.dtypes import BLOCKS
from inspector.hub.formats.gguf.config import gguf_table
from inspector.memory.estimate import Part
from inspector.memory.quantization.ggml_tensors import GgufTensor, compared, gguf_tensors
from inspector.model.model import Architecture, Model, once_per_model

SOURCE = "llama.cpp v0.5.0: src/llama-quant.cpp (llama_tensor_get_type)"

_DEFAULTS = {
    "Q2_K_S": "Q2_K",
    "Q3_K_S": "Q3_K",
    "Q3_K_M": "Q3_K",
    "Q3_K_L": "Q3_K",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K",
    "IQ2_S": "IQ2_XS",
    "IQ2_M": "IQ2_S",
    "IQ3_XS": "IQ3_S",
    "IQ3_M": "IQ3_S",
    "MXFP4_MOE": "MXFP4",
}
"""File type -> the tensor type it starts from, where that is not its own name (llama_ftype_get_default_type)."""

NEED_IMATRIX = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"})
"""Made with an importance matrix or not at all (tensor_requires_imatrix); the others are counted as without one."""

_FALLBACKS = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""What rows that are no whole number of blocks get instead."""

_SMALLEST = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})

_WHOLE = frozenset({"position_embd", "ffn_gate_inp", "ssm_conv1d"})
"""Matrices that stay F32, as every vector does."""


def default_bits(file_type: str) -> float:
    """Bits of a weight, scales included, in the tensor type that a file type starts from.

    >>> default_bits("Q4_K_M"), default_bits("MXFP4_MOE")
    (4.5, 4.25)
    """
    elements, size = BLOCKS[_DEFAULTS.get(file_type, file_type)]
    return 8 * size / elements


class QuantizedWeights(NamedTuple):
    """Bytes of a GGUF file's tensors: of each layer, of what is outside, by component; how many have each type; and of
    each layer its matrices by name."""

    layers: tuple[int, ...]
    outside: dict[str, int]
    components: dict[str, int]
    types: dict[str, int]
    notes: tuple[str, ...] = ()
    tensors: tuple[dict[str, int], ...] = ()

    @property
    def total(self) -> int:
        return sum(self.layers) + sum(self.outside.values())


@once_per_model
def quantized_weights(model: Model, file_type: str) -> QuantizedWeights | str:
    """The weights as `llama-quantize` makes them, with no option but the type; a sentence where that cannot be told.

    Encoders for images and sound are no part of that file and are left out, and so are tables of rotary factors (a few
    hundred bytes).

    Args:
        file_type: one of `precision.FILE_TYPE_NAMES`.
    """
    tensors = gguf_tensors(model)
    if isinstance(tensors, str):
        return tensors
    starts_from = _DEFAULTS.get(file_type, file_type)
    kept = next((tensor.kept for tensor in tensors if tensor.kept not in ("", starts_from)), None)
    if kept is not None:
        return (
            f"its weights are packed already ({kept.lower()}): {kept}_MOE keeps them, {file_type} would pack them anew"
        )
    kinds = tensor_types(tensors, model.architecture, file_type)
    refused = next((tensor for tensor, kind in zip(tensors, kinds, strict=True) if kind is None), None)
    if refused is not None:
        return f"llama-quantize refuses rows of {refused.row:,} elements ({refused.name}): they are no whole blocks"
    return _weighed(model, zip(tensors, filter(None, kinds), strict=True), _notes(model, file_type))


@once_per_model
def kept_weights(model: Model) -> QuantizedWeights | None:
    """The weights of a packed checkpoint as the converter writes them by itself, its blocks as they are and all other
    matrices in 16 bits (`--outtype auto`); None where it does not keep them, or that cannot be told."""
    tensors = gguf_tensors(model)
    if isinstance(tensors, str) or not any(tensor.kept for tensor in tensors):
        return None
    plain = "F16" if "F16" in model.parameters.by_dtype else "BF16"
    kinds = (tensor.kept or ("F32" if tensor.name in ("", *_WHOLE) else plain) for tensor in tensors)
    return _weighed(model, zip(tensors, kinds, strict=True), ())


def plain_tensors(model: Model, kind: str) -> tuple[dict[str, int], ...]:
    """Of each layer, its matrices by name and their bytes, as the converter writes them in one type; empty where that
    cannot be told."""
    tensors = gguf_tensors(model)
    if isinstance(tensors, str):
        return ()
    kinds = ("F32" if tensor.name in ("", *_WHOLE) else kind for tensor in tensors)
    return _weighed(model, zip(tensors, kinds, strict=True), ()).tensors


def _weighed(model: Model, tensors: Iterable[tuple[GgufTensor, str]], notes: tuple[str, ...]) -> QuantizedWeights:
    """The bytes of tensors in their types."""
    layers = [0] * len(model.parameters.layers)
    named: tuple[dict[str, int], ...] = tuple({} for _ in layers)
    outside, components, types = dict[str, int](), dict[str, int](), dict[str, int]()
    for tensor, kind in tensors:
        values, size = BLOCKS[kind]
        nbytes = tensor.numel // values * size
        if tensor.layer is None:
            outside[tensor.component] = outside.get(tensor.component, 0) + nbytes
        else:
            layers[tensor.layer] += nbytes
            if tensor.name:
                named[tensor.layer][f"{tensor.name}.weight"] = nbytes
        components[tensor.component] = components.get(tensor.component, 0) + nbytes
        types[kind] = types.get(kind, 0) + 1
    return QuantizedWeights(tuple(layers), outside, components, types, notes, named)


def _notes(model: Model, file_type: str) -> tuple[str, ...]:
    notes = []
    kind = model.architecture.model_type
    if not compared(kind):
        notes.append(
            f"{file_type} of a {kind} is approximate: its tensors were not compared with llama.cpp's converter"
        )
    if model.parameters.stored_only.get("mtp"):
        notes.append(f"{file_type} is counted as converted without layers for multi-token prediction (--no-mtp)")
    return tuple(notes)


def tensor_types(tensors: list[GgufTensor], shape: Architecture, file_type: str) -> list[str | None]:
    """The type of each tensor, which are in the quantizer's own order; None where it knows none for such rows."""
    chooser = _Chooser(tensors, shape, file_type)
    return [chooser.type_of(tensor) for tensor in tensors]


class _Chooser:
    """quantize_state_impl: the facts of the model, and how many tensors of a kind were met so far."""

    def __init__(self, tensors: list[GgufTensor], shape: Architecture, file_type: str) -> None:
        self.file_type = file_type
        self.default = _DEFAULTS.get(file_type, file_type)
        self.imatrix = file_type in NEED_IMATRIX
        known_as = gguf_table()["quantizer"].get(shape.model_type, ())
        self.falcon = "falcon" in known_as
        self.experts = shape.experts.total if shape.experts else 0
        self.layers = len(shape.layers)
        self.queries = _queries_per_key(shape)
        # LLM_TYPE_70B: 80 layers that share keys, of the classes whose tables of sizes have that one
        self.is_70b = self.layers == 80 and ("70B" in known_as or ("70B_shared" in known_as and self.queries > 1))
        self.tied = not any(tensor.name == "output" for tensor in tensors)
        self.values = sum(_is_value(tensor.name) for tensor in tensors)
        self.value = self.down = self.gate = self.up = 0

    def type_of(self, tensor: GgufTensor) -> str | None:
        if not tensor.name or tensor.name in _WHOLE:
            return "F32"
        kind = self._chosen(tensor)
        if tensor.row % BLOCKS[kind][0] == 0:
            return kind
        other = _FALLBACKS.get(kind)
        return other if other is None or tensor.row % BLOCKS[other][0] == 0 else "F16"

    def _chosen(self, tensor: GgufTensor) -> str:
        """llama_tensor_get_type_impl."""
        name, file_type = tensor.name, self.file_type
        if name == "output" or (self.tied and name == "token_embd"):
            return self._output(tensor.row)
        if file_type == "MXFP4_MOE":
            return "MXFP4" if tensor.stacked else "Q8_0"
        if name == "token_embd":
            return self._embedding()
        if file_type in _SMALLEST:
            return self._smallest(name)
        if _is_value(name):
            return self._value()
        if name == "attn_k" and self.experts == 8:
            return "Q8_0"
        if name in ("attn_k", "attn_q"):
            return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(file_type, self.default)
        if name.startswith("ffn_down"):
            return self._down(tensor)
        if name == "attn_output":
            return self._attention_output()
        if name.startswith(("ffn_gate", "ffn_up")):
            layer = self._layer(tensor, "gate" if name.startswith("ffn_gate") else "up")
            if file_type == "IQ3_XS" and self.layers // 8 <= layer < 7 * self.layers // 8:
                return "IQ3_XXS"
        return self.default

    def _output(self, row: int) -> str:
        if self.file_type == "MXFP4_MOE" or self.falcon or row % BLOCKS[self.default][0]:
            return "Q8_0"
        if self.file_type in _SMALLEST or self.file_type == "IQ3_XXS":
            return "Q5_K"
        return self.default if self.default == "Q8_0" else "Q6_K"

    def _embedding(self) -> str:
        if self.file_type in ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"):
            return "Q2_K"
        if self.file_type in ("IQ2_S", "IQ2_M", "IQ3_XXS"):
            return "IQ3_S"
        return "Q4_K" if self.file_type in ("TQ1_0", "TQ2_0") else self.default

    def _smallest(self, name: str) -> str:
        """IQ1 and IQ2."""
        better = "IQ3_S" if self.file_type in ("IQ2_S", "IQ2_M") else "Q2_K"
        if _is_value(name):
            return "Q4_K" if self.queries >= 4 or self.experts >= 4 else better
        if name == "attn_k" and self.experts == 8:
            return "Q4_K"
        if name.startswith("ffn_down"):
            self.down += 1
            return better if self.down <= self.layers // 8 else self.default
        if name == "attn_output":
            if self.experts == 8:
                return "Q5_K"
            small = {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}
            return small.get(self.file_type, self.default)
        return self.default

    def _value(self) -> str:
        kind, file_type, shared, index = self.default, self.file_type, self.queries >= 4, self.value
        self.value += 1
        if file_type == "Q2_K":
            kind = "Q4_K" if shared else "Q3_K"
        elif file_type == "IQ3_XXS":
            kind = "Q4_K" if shared else "IQ3_XXS"
        elif file_type == "IQ3_M" or (file_type in ("Q2_K_S", "IQ3_XS", "IQ3_S") and shared):
            kind = "Q4_K"
        elif file_type == "Q3_K_M":
            kind = "Q5_K" if index < 2 else "Q4_K"
        elif file_type == "Q3_K_L" or (file_type in ("IQ4_NL", "IQ4_XS") and shared):
            kind = "Q5_K"
        elif file_type in ("Q4_K_M", "Q5_K_M") and _more_bits(index, self.values):
            kind = "Q6_K"
        elif file_type == "Q4_K_S" and index < 4:
            kind = "Q5_K"
        if self.is_70b and kind in ("Q3_K", "Q4_K"):
            kind = "Q5_K"
        return "Q8_0" if self.experts == 8 else kind

    def _down(self, tensor: GgufTensor) -> str:
        layer, file_type, total = self._layer(tensor, "down"), self.file_type, self.layers
        first, more = layer < total // 8, _more_bits(layer, total)
        if file_type == "Q2_K":
            return "Q3_K"
        if file_type == "Q2_K_S" and first:
            return "Q4_K"
        if file_type == "Q3_K_M":
            if layer < total // 16:
                return "Q5_K"
            return "Q4_K" if more or not self.falcon else "Q3_K"
        if file_type == "IQ3_M" and (first or (self.experts == 8 and more)):
            return "Q4_K"
        if file_type == "Q3_K_L":
            return "Q4_K" if self.falcon else "Q5_K"
        if file_type == "Q4_K_M" and self.falcon:
            return "Q6_K" if layer < total // 16 else "Q5_K" if more else "Q4_K"
        if file_type in ("Q4_K_M", "Q5_K_M") and more:
            return "Q6_K"
        if first and (file_type in ("IQ4_NL", "IQ4_XS") or (file_type == "Q4_K_S" and not self.falcon)):
            return "Q5_K"
        return self.default

    def _attention_output(self) -> str:
        if self.falcon:
            return "Q4_K" if self.file_type == "Q3_K_L" else self.default
        if self.experts == 8:
            raised = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M")
            return "Q5_K" if self.file_type in raised or self.file_type[:3] in ("IQ3", "IQ4") else self.default
        better = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
        return better.get(self.file_type, self.default)

    def _layer(self, tensor: GgufTensor, counter: str) -> int:
        """The layer that a rule asks for: its number in a mixture, else how many such tensors came before."""
        index: int = getattr(self, counter)
        setattr(self, counter, index + 1)
        return (tensor.layer or 0) if self.experts > 1 else index


def _is_value(name: str) -> bool:
    return name in ("attn_v", "attn_qkv", "attn_kv_b")


def _more_bits(layer: int, layers: int) -> bool:
    """use_more_bits: the first and the last eighth of the layers, and every third between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _queries_per_key(shape: Architecture) -> int:
    """n_gqa: heads that share a key, in the first layer where they differ; 0 where it has none."""
    if shape.num_key_value_heads:
        return (shape.num_attention_heads or 0) // shape.num_key_value_heads
    first = shape.layers[0] if shape.layers else None
    rows = first.rows if first else None
    if rows is None or not rows.key_value_heads:
        return 0
    return (shape.num_attention_heads or 0) // rows.key_value_heads


def file_type_weights(model: Model, file_type: str) -> Part:
    """The weights of that file, one part a component; bytes None where they cannot be told."""
    made = quantized_weights(model, file_type)
    if isinstance(made, str):
        return Part("weights", None, f"{file_type} cannot be told: {made}", SOURCE)
    count = ", ".join(f"{number} {kind}" for kind, number in sorted(made.types.items()))
    text = f"{file_type}: {count} tensors{'; made with an importance matrix' if file_type in NEED_IMATRIX else ''}"
    parts = tuple(Part(name, size, f"{file_type}'s types for {name}", SOURCE) for name, size in made.components.items())
    return Part("weights", made.total, text, SOURCE, parts)


def file_type_bytes(model: Model, file_type: str) -> dict[str, int]:
    """Bytes of each component; none where they cannot be told."""
    made = quantized_weights(model, file_type)
    return {} if isinstance(made, str) else made.components


def file_type_notes(model: Model, file_type: str) -> tuple[str, ...]:
    """What the reader of such a file's bytes should know."""
    made = quantized_weights(model, file_type)
    return (f"{file_type} cannot be told: {made}",) if isinstance(made, str) else made.notes
