"""The exact parameters of a GGUF file, counted by llama.cpp's tensor names.

Source: `TENSOR_NAMES` in llama.cpp's gguf-py/gguf/constants.py. Its converters rename tensors, permute and split them,
but keep their elements; what they compute from the config and add (`rope_freqs`) is a buffer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.hub.dtypes import plain_dtype
from inspector.hub.formats.gguf.config import gguf_table
from inspector.model.model import Architecture, Parameters
from inspector.model.parameters.counter import ParameterCounter
from inspector.model.parameters.names import DUPLICATE_HEAD, MTP_LAYERS

BLOCK = re.compile(r"(?:(enc|dec)\.)?blk\.(0|[1-9]\d{0,5})\.(.+)")
BUFFER, OVERHEAD, OTHER = "buffer", "overhead", "other"

RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        # What is no parameter, whatever part it belongs to. A router's bias is a buffer in transformers.
        (BUFFER, r"rope_freqs|rope_factors|attn_rot_embd|exp_probs_b"),
        (OVERHEAD, r".*\.(input_)?scale$"),  # one factor a matrix: BitNet, NVFP4
        ("vision", r"v\."),
        ("audio", r"a\."),
        ("projector", r"mm\.|resampler\.|model\.image_newline"),
        (MTP_LAYERS, r"nextn\."),
        ("norm", r".*norm"),
        ("router", r"ffn_gate_inp"),
        ("shared_experts", r"ffn_\w+_shexp"),
        ("experts", r"ffn_\w+_(ch)?exps|ffn_(gate|down|up)\.\d+\."),
        ("mlp", r"ffn|channel_mix_|vis_(gate|up|down)"),
        ("attention", r"attn_(?!rel_b)|cross_attn_|indexer|vis_attn_"),
        ("linear_attention", r"ssm_|time_mix_|shortconv"),
        ("embedding", r"token_embd|token_types|position_embd|per_layer_token_embd|attn_rel_b"),
        ("head", r"output\.|cls\.|dense_\d"),
        (OTHER, r"altup_|laurel_|per_layer_|hc_|inp_gate|proj\.|layer_out(put)?_scale|conv1d|posnet|convnext"),
    )
)
"""Component (or fate) -> the beginning of the name within its block; the first that matches counts."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a tensor's name says: component or fate, None where it is not known; its layer; whether of an encoder."""

    component: str | None
    layer: int | None
    encoder: bool = False


def locate(name: str) -> Place:
    """The part of the model that a tensor belongs to: "blk.7.attn_q.weight" is of the attention of layer 7."""
    match = BLOCK.match(name)
    inner = match[3] if match else name.removeprefix("enc.").removeprefix("dec.")
    component = next((component for component, pattern in RULES if pattern.match(inner)), None)
    return Place(component, int(match[2]) if match else None, bool(match) and name.startswith("enc."))


def count_gguf(checkpoint: Checkpoint, architecture: Architecture) -> Parameters:
    """Count the parameters of a GGUF file; without an `output.weight`, the head is tied to the embedding.

    `exact` is False where names are not known.
    """
    places = [(tensor, locate(tensor.name)) for tensor in checkpoint.tensors]
    prediction = {place.layer for _, place in places if place.component == MTP_LAYERS} - {None}
    twice = _stored_twice(checkpoint, architecture)
    layers = architecture.num_hidden_layers or 0
    counted = ParameterCounter(
        architecture, by_layer=not any(_beyond(place, layers, prediction) for _, place in places)
    )
    unknown: list[str] = []
    for tensor, place in places:
        if place.component == MTP_LAYERS or place.layer in prediction:
            counted.aside[MTP_LAYERS] += tensor.numel
            continue
        if tensor.name in twice:
            counted.aside[twice[tensor.name]] += tensor.numel
            continue
        component = place.component or OTHER
        if place.component is None:
            unknown.append(tensor.name)
        if component == BUFFER:
            counted.buffers += tensor.numel
        elif component == OVERHEAD:
            counted.overhead_bytes += tensor.nbytes
        else:
            counted.components[component] += tensor.numel
            counted.dtypes[plain_dtype(tensor.dtype)] += tensor.numel
        counted.place(
            component,
            tensor.name,
            numel=0 if component in (BUFFER, OVERHEAD) else tensor.numel,
            nbytes=tensor.nbytes,
            count=1,
            layers=None if place.layer is None or place.encoder else {place.layer: 1},
            outside="enc.blk" if place.encoder else component,
        )
    notes = [f"{len(unknown)} tensors have names that llama.cpp does not know (first: {unknown[0]})"] if unknown else []
    found = counted.result(exact=not unknown, notes=notes, stack="blk")
    return replace(found, layer_tensors=_by_layer(places, twice, len(found.layers)))


def _by_layer(
    places: Iterable[tuple[Tensor, Place]], twice: Collection[str], count: int
) -> tuple[Mapping[str, int], ...]:
    """Of each layer, its tensors' names within it and their bytes."""
    found: tuple[dict[str, int], ...] = tuple({} for _ in range(count))
    for tensor, place in places:
        inside = BLOCK.match(tensor.name)
        if (
            inside
            and place.layer is not None
            and not place.encoder
            and place.layer < count
            and tensor.name not in twice
        ):
            found[place.layer][inside[3]] = tensor.nbytes
    return found


def _beyond(place: Place, layers: int, prediction: set[int | None]) -> bool:
    """Whether the file has a layer more than the config says; then there is no table by layer."""
    return place.layer is not None and not place.encoder and place.layer >= layers and place.layer not in prediction


def _stored_twice(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, str]:
    """Name -> fate of the tensors that hold what another one holds: a head that the model's class ties to the
    embedding, and of DeepSeek's latent attention the two halves of a matrix that is there whole."""
    shapes = {tensor.name: tensor.shape for tensor in checkpoint.tensors}
    found = {}
    tied = architecture.tie_word_embeddings or architecture.model_type in gguf_table()["tied"]
    if tied and "output.weight" in shapes and shapes["output.weight"] == shapes.get("token_embd.weight"):
        found["output.weight"] = DUPLICATE_HEAD
    for name in shapes:
        if name.endswith(".attn_kv_b.weight"):
            front = name.removesuffix("kv_b.weight")
            found |= {f"{front}{half}_b.weight": OTHER for half in "kv"}
    return found
