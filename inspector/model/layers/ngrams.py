"""N-gram embeddings: states that some linear layers keep beside their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.model.layers.layer import Layer, StateTensor, whole
from inspector.model.layers.linear import LinearAttention
from inspector.model.layers.unknown import UnknownLayer

KEYS = ("hc_count", "hidden_size", "ple_conv_kernel_size", "ngram_size")


def add_ngrams(layers: list[Layer], values: Mapping[str, Any]) -> None:
    """Qwen4-Exp: layers of `ple_layer_ids`, counted from 1, keep the inputs of a dilated convolution over all residual
    streams, and the last `ngram_size - 1` token ids."""
    sizes = [whole(values, key) for key in KEYS]
    for number in values.get("ple_layer_ids") or []:
        index = number - 1 if isinstance(number, int) else -1
        if not 0 <= index < len(layers):
            continue
        layer = layers[index]
        known = [size for size in sizes if size is not None]
        if not isinstance(layer, LinearAttention) or len(known) < len(sizes):
            layers[index] = UnknownLayer("n-gram embedding")
            continue
        streams, hidden, kernel, ngram = known
        states = (
            StateTensor((streams * hidden, max(kernel - 1, 0) * ngram), "compute"),
            StateTensor((max(ngram - 1, 0),), "I64"),
        )
        layers[index] = LinearAttention((*layer.states, *states), (*layer.keys, *KEYS))
