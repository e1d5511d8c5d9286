"""Which mechanism a layer has: one line for each name, and from a language part's values to one layer after another.

To add a mechanism is to write its file here and its line in `LAYER_TYPES`. Each is imported when a config names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from inspector.model.config.light import cache_facts
from inspector.model.config.text import TextConfig
from inspector.model.layers.layer import Layer, LayerSource

LAYER_TYPES = {
    "full_attention": "full:FullAttention",
    "sliding_attention": "sliding:SlidingAttention",
    "chunked_attention": "chunked:ChunkedAttention",
    "reference_sliding_attention": "reference_sliding:ReferenceSlidingAttention",
    "indexed_attention": "indexed:IndexedAttention",
    "minimax_m3_sparse": "indexed:IndexedAttention",
    "compressed_sparse_attention": "compressed_sparse:CompressedAttention",
    "heavily_compressed_attention": "compressed_sparse:CompressedAttention",
    "linear_attention": "linear:LinearAttention",
    "conv": "linear:LinearAttention",
    "hybrid": "hybrid:HybridAttention",
    "hybrid_sliding": "hybrid:HybridAttention",
    "dummy": "no_cache:NoCache",
    "moe": "no_cache:NoCache",
    "mlp": "no_cache:NoCache",
}
"""The mechanism of each name in `layer_types`, as `transformers.cache_utils.get_layer_types_and_kwargs` has them."""

OF_FACTS = {
    "latent": "latent:LatentAttention",
    "cross": "cross:CrossAttention",
    "image": "image_cross:ImageCrossAttention",
    "prefixed": "prefixed:PrefixedAttention",
    "memory": "hidden_states:HiddenStates",
    "attn_layers:local": "hidden_states:HiddenStates",
    "attn_layers:lsh": "hidden_states:HiddenStates",
    "states": "linear:LinearAttention",
    "unknown": "unknown:UnknownLayer",
}
"""Mechanisms that no `layer_types` names: a fact of the model type, or another value of the config, tells them."""

ADDITIONS = {"ngrams": "ngrams:add_ngrams", "positions": "indexed:add_positions"}
"""Fact `adds` of a type -> what some of its layers hold beside others of their kind."""

ROWS = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
"""Names that say which tokens' rows are kept. What a row is, the model type tells."""


def load(reference: str) -> Any:
    """A class or function of this folder, by "module:name"."""
    module, _, name = reference.partition(":")
    return getattr(import_module(f"inspector.model.layers.{module}"), name)


def layers_of(text: TextConfig, *, decoder: bool, image_tokens: int | None = None) -> tuple[Layer, ...]:
    """One spec a layer.

    Args:
        text: the language part.
        decoder: it keeps a cache at all.
        image_tokens: of one image of the largest size, for layers that attend to images; None where not known.
    """
    count = text.get("num_decoder_layers") or text.get("num_hidden_layers")
    count = int(count) if isinstance(count, float) and count.is_integer() else count
    if not isinstance(count, int) or isinstance(count, bool):
        return ()
    facts = text.facts or cache_facts(text.text_type)
    if not decoder or facts.get("none") or cache_facts(text.model_type).get("none"):
        nothing: Layer = load(LAYER_TYPES["dummy"])()
        return (nothing,) * count
    own = facts.get("layers")
    if own is not None:
        return _layers_of_own_kind(own, count, text, facts)
    names = layer_types(text, count, facts)
    images = _image_layers(text, facts) if image_tokens is not None else ()
    references = [
        OF_FACTS["image"] if index in images else LAYER_TYPES.get(name, "") for index, name in enumerate(names)
    ]
    layers = _read_each(names, references, text, facts, image_tokens)
    for addition in facts.get("adds", ()):
        load(ADDITIONS[addition])(layers, text.values)
    return tuple(layers)


def _read_each(
    names: list[str], references: list[str], text: TextConfig, facts: Mapping[str, Any], image_tokens: int | None
) -> list[Layer]:
    """Each layer with the values that it sees. Equal kinds of equal values are one object."""
    sources: list[LayerSource] | None = None
    positions = text.get(facts.get("rope_layers", ""))
    if isinstance(positions, list) and len(positions) >= len(names):  # the others cache a latent without a rotary key
        without = {**text.values, "qk_rope_head_dim": 0}
        sources = [LayerSource(text.values if rope else without, facts) for rope in positions]
    elif text.per_layer:
        sources = [LayerSource(text.of_layer(index), facts, image_tokens) for index in range(len(names))]
    if sources is None:
        source = LayerSource(text.values, facts, image_tokens)
        pairs = dict.fromkeys(zip(names, references, strict=True))
        made = {pair: _read(*pair, source) for pair in pairs}
        return [made[pair] for pair in zip(names, references, strict=True)]
    return [_read(*each) for each in zip(names, references, sources, strict=False)]


def _layers_of_own_kind(own: str, count: int, text: TextConfig, facts: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers of a type with a cache of its own making: all of one mechanism, or named by another key of its."""
    source, unknown = LayerSource(text.values, facts), f"{text.text_type}'s own cache"
    if own in OF_FACTS:
        return (_read(own, OF_FACTS[own], source, unknown),) * count
    names = text.get(own)
    if not isinstance(names, list):
        return (_read(own, "", source, unknown),) * count
    made = {
        name: _read(name, OF_FACTS.get(f"{own}:{name}", ""), source, unknown) for name in dict.fromkeys(map(str, names))
    }
    return tuple(made[str(name)] for name in names)


def _read(name: str, reference: str, source: LayerSource, unknown: str | None = None) -> Layer:
    """A layer by its name and its mechanism; unknown where there is none, or where it cannot be sized."""
    layer: Layer | None = None
    if name in ROWS and reference == LAYER_TYPES[name]:
        layer = read_rows(name, source)
    elif reference:
        mechanism: type[Layer] = load(reference)
        layer = mechanism.read(name, source)
    if layer is None:
        row = 0 if unknown is None and reference == LAYER_TYPES["linear_attention"] else None
        layer = load(OF_FACTS["unknown"])(unknown or name, row)
    return layer


def read_rows(name: str, source: LayerSource) -> Layer | None:
    """A layer that keeps rows: latents where the type caches those, an encoder's rows, too, in an encoder-decoder.

    Fact of a type: `latent`, its model caches the compressed latent, not the heads made from it.
    """
    reference = LAYER_TYPES[name]
    if source.facts.get("latent") and isinstance(source.values.get("kv_lora_rank"), int):
        reference = OF_FACTS["latent"]
    elif source.values.get("is_encoder_decoder"):
        reference = OF_FACTS["cross"]
    read: Callable[[str, LayerSource], Layer | None] = load(reference).read
    return read(name, source)


def layer_types(text: TextConfig, count: int, facts: Mapping[str, Any]) -> list[str]:
    """transformers' name of each layer's cache: `layer_types` where given, else by window and chunk size."""
    kinds = text.get("layer_types")
    if not isinstance(kinds, list) or len(kinds) != count:
        kinds = [_inferred_type(text.of_layer(index)) for index in range(count)]
    sharing = text.get("kv_sharing_modes")
    if isinstance(sharing, list) and len(sharing) == count:
        kinds = ["dummy" if mode == "reuse" else kind for kind, mode in zip(kinds, sharing, strict=True)]
    indexers = text.get("indexer_types")
    if isinstance(indexers, list) and len(indexers) == count:  # some layers pick by an earlier layer's indexer
        kinds = [
            "full_attention" if kind == "indexed_attention" and indexer == "shared" else kind
            for kind, indexer in zip(kinds, indexers, strict=True)
        ]
    images = _image_layers(text, facts)
    return ["dummy" if index in images else str(kind) for index, kind in enumerate(kinds)]


def _inferred_type(values: Mapping[str, Any]) -> str:
    if values.get("sliding_window") is not None:
        return "sliding_attention"
    if values.get("attention_chunk_size") is not None:
        return "chunked_attention"
    return "full_attention"


def _image_layers(text: TextConfig, facts: Mapping[str, Any]) -> list[Any]:
    """Indices of the layers that attend to an image. Fact of a type: `image_layers`, the key that has them."""
    images = text.get(facts.get("image_layers", ""))
    return images if isinstance(images, list) else []


def image_facts(text: TextConfig, config: Mapping[str, Any]) -> tuple[int | None, tuple[str, ...]]:
    """An image's tokens in the cache, where layers attend to one, and the note on them."""
    key = cache_facts(text.text_type).get("image_layers")
    if key is None:
        return None, ()
    tokens = load("image_cross:image_tokens_of")(text.get(key), config)
    return tokens, (load("image_cross:image_note")(tokens),) if text.get(key) else ()
