"""One `Model` of a checkpoint that is made of parts: a diffusers pipeline, sentence-transformers modules.

Also of what diffusers' own classes hold, alone or in a pipeline. Their parameters are their files' tensors without the
buffers, as `fixtures/make_diffusers.py` checks class by class: they tie nothing, and leave nothing out of their files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from inspector.hub.checkpoint import Checkpoint, Part
from inspector.hub.dtypes import plain_dtype
from inspector.model.config.read import read_quantization
from inspector.model.model import Architecture, Model, ModelPart, Parameters, Share
from inspector.model.parameters.classes import find_class
from inspector.model.parameters.count import count_parameters
from inspector.model.plain import plain_model
from inspector.tables import table_text

BUFFER = re.compile(
    r"(^|\.)(running_mean|running_var|running_std|num_batches_tracked|_?latents_mean|_?latents_std|encoder_mean|"
    r"encoder_std|data_mean|data_std|pos_embed\.pos_embed|patch_embed\.pos_embed|patch_embed\.pos_embedding|"
    r"pos_embed\.pe|inv_freq|position_ids|filter|kernel|zero_k_bias|recall_gate|silence_latent|freqs|mel_basis|"
    r"hann_window|forward_basis|inverse_basis|stats_last_nonzero|patch_embedding\.pos_embed|watermark_image|"
    r"void\.background|mesh_decoder\.cases|mesh_decoder\.masks)$"
)
"""Ends of the names of buffers in the files of diffusers' and sentence-transformers' classes. Source: their
`register_buffer` calls (diffusers 0.42.1, sentence-transformers 5)."""
LEARNED = {"AuraFlowTransformer2DModel": "pos_embed.pos_embed"}
"""A class whose parameter has a buffer's name."""
MODULE_CLASSES = frozenset(
    {"CNN", "Dense", "LSTM", "LayerNorm", "StaticEmbedding", "WeightedLayerPooling", "WordEmbeddings", "WordWeights"}
)
"""Of sentence-transformers, whose parameters are all the tensors of their files."""
NO_ACTIVATIONS = "what diffusers' models need for activations is not known, so there is no total: weights alone"


def is_of_diffusers(checkpoint: Checkpoint) -> bool:
    """Whether one of diffusers' classes wrote a checkpoint."""
    return "_class_name" in checkpoint.config and "model_type" not in checkpoint.config


def assemble(checkpoint: Checkpoint) -> Model:
    """Understand a checkpoint that is made of parts, or that one of diffusers' classes wrote.

    Raises:
        InvalidConfig: a config holds values that no model can have.
    """
    if not checkpoint.parts:
        return _by_tensors(checkpoint, _class_of(checkpoint), "model")
    parts = tuple(
        ModelPart(part.name, part.kind, part.class_name, _model_of(part), part.checkpoint) for part in checkpoint.parts
    )
    main = next((part for part in parts if part.kind == "module" and part.name == "transformer"), None)
    architecture = blank(_class_of(checkpoint), notes=(NO_ACTIVATIONS,)) if main is None else main.model.architecture
    return Model(
        repo_id=checkpoint.repo_id,
        architecture=architecture,
        parameters=_sum(parts, main),
        stored_dtype=most_stored(part.checkpoint for part in parts),
        notes=() if main is None else main.model.notes,
        parts=parts,
    )


def blank(class_name: str | None, notes: tuple[str, ...] = ()) -> Architecture:
    """The architecture of what is no language model: nothing is known of its layers, and it keeps no cache."""
    return Architecture(
        model_type=None,
        architecture=class_name,
        num_hidden_layers=None,
        hidden_size=None,
        num_attention_heads=None,
        num_key_value_heads=None,
        head_dim=None,
        intermediate_size=None,
        vocab_size=None,
        max_position_embeddings=None,
        tie_word_embeddings=None,
        dtype=None,
        sliding_window=None,
        experts=None,
        quantization=None,
        layers=(),
        is_decoder=False,
        notes=notes,
    )


@lru_cache(maxsize=1)
def checked_classes() -> frozenset[str]:
    """The classes of diffusers whose parameters were found to be their tensors without the buffers."""
    data = json.loads(table_text("diffusers.json"))
    return frozenset(data["classes"])


def most_stored(checkpoints: Iterable[Checkpoint]) -> str | None:
    """The dtype that holds most of the bytes."""
    sizes = Counter[str]()
    for checkpoint in checkpoints:
        for tensor in checkpoint.tensors:
            sizes[plain_dtype(tensor.dtype)] += tensor.nbytes
    return max(sizes, key=sizes.__getitem__, default=None)


def _class_of(checkpoint: Checkpoint) -> str | None:
    name = checkpoint.config.get("_class_name")
    return name[:100] if isinstance(name, str) and name else None


def _model_of(part: Part) -> Model:
    """A part by itself: by its transformers class, or by its tensors."""
    checkpoint = part.checkpoint
    if isinstance(checkpoint.config.get("model_type"), str) and part.class_name not in checked_classes():
        named = part.class_name if part.kind == "component" and find_class(part.class_name or "") else None
        if named is not None:  # the class that the pipeline loads, whatever the config was saved from
            checkpoint = replace(checkpoint, config={**checkpoint.config, "architectures": [named]})
        elif not checkpoint.config.get("architectures") and part.kind == "component":
            checkpoint = replace(checkpoint, config={**checkpoint.config, "architectures": [part.class_name]})
        return plain_model(replace(checkpoint, parts=()))
    return _by_tensors(checkpoint, _class_of(checkpoint) or part.class_name, part.name)


def _by_tensors(checkpoint: Checkpoint, class_name: str | None, name: str) -> Model:
    """What a class of diffusers or sentence-transformers holds, under one name."""
    learned = LEARNED.get(class_name or "")
    kept = tuple(t for t in checkpoint.tensors if t.name == learned or not BUFFER.search(t.name))
    buffers = sum(tensor.numel for tensor in checkpoint.tensors) - sum(tensor.numel for tensor in kept)
    recipe = read_quantization(checkpoint.config)
    counted = count_parameters(replace(checkpoint, tensors=kept), replace(blank(None), quantization=recipe))
    checked = class_name in checked_classes() or class_name in MODULE_CLASSES
    notes = tuple(note for note in counted.notes if not note.startswith("parameters counted by tensor names alone"))
    unpacked = len(counted.notes) - len(notes) == 1 and not notes
    if not checked:
        notes = (*notes, f"{class_name or 'its class'} is not known: all its tensors but usual buffers count")
    return Model(
        repo_id=checkpoint.repo_id,
        architecture=blank(class_name, notes=(NO_ACTIVATIONS,) if name == "model" else ()),
        parameters=replace(
            counted,
            by_component={name: counted.total} if counted.total else {},
            bytes_by_component={name: counted.stored_bytes} if counted.total else {},
            outside={name: Share(counted.total, counted.stored_bytes, len(kept), kept[0].name if kept else "")},
            stack=None,
            buffers=counted.buffers + buffers,
            exact=checked and unpacked,
            notes=notes,
        ),
        stored_dtype=most_stored([checkpoint]),
    )


def _sum(parts: Sequence[ModelPart], main: ModelPart | None) -> Parameters:
    """The parts' parameters together. The main part keeps its components and its layers; of each other part one
    component bears its name."""
    components, sizes = Counter[str](), Counter[str]()
    dtypes, aside = Counter[str](), Counter[str]()
    outside: dict[str, Share] = dict(main.model.parameters.outside) if main is not None else {}
    notes: list[str] = []
    for part in parts:
        parameters = part.model.parameters
        dtypes.update(parameters.by_dtype)
        aside.update(parameters.stored_only)
        if part is main:
            components.update(parameters.by_component)
            sizes.update(parameters.bytes_by_component)
            notes += [*parameters.notes]
            continue
        components[part.name] += parameters.total
        sizes[part.name] += parameters.stored_bytes
        first = part.checkpoint.tensors[0].name if part.checkpoint.tensors else ""
        outside[part.name] = Share(parameters.total, parameters.stored_bytes, len(part.checkpoint.tensors), first)
        notes += [f"{part.name}: {note}" for note in (*part.model.architecture.notes, *parameters.notes)]
    sums = [part.model.parameters for part in parts]
    total = sum(each.total for each in sums)
    return replace(
        sums[0] if main is None else main.model.parameters,
        total=total,
        active=sum(each.active for each in sums),
        by_component=_present(components),
        bytes_by_component=_present(sizes),
        by_dtype=_present(dtypes),
        by_attention={} if main is None else main.model.parameters.by_attention,
        buffers=sum(each.buffers for each in sums),
        stored_only=_present(aside),
        stored_bytes=sum(each.stored_bytes for each in sums),
        overhead_bytes=sum(each.overhead_bytes for each in sums),
        layers=() if main is None else main.model.parameters.layers,
        outside=outside,
        stack=None if main is None else main.model.parameters.stack,
        exact=all(each.exact for each in sums),
        notes=tuple(notes),
    )


def _present(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
