"""Working memory of vision and audio encoders at inference under transformers, projector included.

`generate` encodes the images before the language model sees anything: the cache is empty then, the prompt's
embeddings are there. An encoder keeps nothing layer by layer (Llama 3.2's does), so its peak is the largest block of
one layer: the MLP, the rotation of queries and keys, or eager attention's scores. Each formula was read from the
classes of transformers 5.23 and checked against peaks measured under fake tensors (tests/oracles/vision.py).

Letters: h, f, a, d the encoder's hidden size, intermediate size, heads, head dimension; n patches of an image or
tile, T of all. Images come in fp32, as processors make them; computed is in 16 bits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from inspector.memory.estimate import Part, Workload
from inspector.memory.inference.images import CutImages, Size, cut_up, default_size
from inspector.model.model import Architecture
from inspector.model.vision.encoders import AudioTower, VisionTower

SOURCE = "transformers 5.23; measured under fake tensors, worst error 0.1 % over 144 runs of 22 encoders"
HELD_SOURCE = "transformers 5.23; measured under fake tensors, worst error 5 %"

ELEMENT = 2
"""Bytes of a value: bf16 or fp16. In fp32 the classes make other copies, which were not measured."""

MLP_COPIES = {"quick_gelu": 3, "silu": 3}
"""Tensors of the width f: gate, activated gate, up; or the input, its sigmoid and their product. 2 for one kernel."""

AUDIO_SCORE_BYTES = 4
"""Of Whisper's eager attention: two copies in 16 bits."""


class Encoding(NamedTuple):
    """What the images of a run take.

    Attributes:
        peak: while they are encoded.
        held: pixels and features, which live on while the language model runs.
        tokens: that the images take of each sequence's context.
        cut: what was encoded.
    """

    peak: Part
    held: Part
    tokens: int
    cut: CutImages


def encode_images(
    tower: VisionTower, *, images: int, batch: int, size: Size | None = None, attention: str = "sdpa"
) -> Encoding:
    """The encoder's working memory for `images` images a sequence, of all sequences at once.

    Args:
        images: images in each prompt.
        batch: prompts.
        size: (width, height) in pixels; the largest that the processor's class makes, where None.
        attention: "sdpa" or "eager".
    """
    size = size or default_size(tower)
    cut = cut_up(tower, images * batch, size)
    peak = encoder_peak(tower, cut, attention)
    return Encoding(peak, images_held(tower, cut), cut.tokens // batch, cut)


def images_held(tower: VisionTower, cut: CutImages) -> Part:
    """Pixels, features and the encoder's last states, which live on while the language model runs."""
    count = sum(how_many for _, how_many in cut.runs)
    tokens = count * tower.tokens if tower.tokens else cut.patches // tower.merge**2
    habits, grid = tower.habits, tower.family == "grid"
    copies, pixel = habits.feature_copies + (tower.taps if grid else 0), habits.held_pixel_bytes
    states = 1 if tower.family == "ragged" else habits.state_copies  # a ragged one's are taken as they come
    values = copies * tokens * tower.out_hidden_size + states * cut.patches * tower.hidden_size
    formula = (
        f"{cut.values:,} pixel values * {pixel} B + ({copies} * {tokens:,} tokens * {tower.out_hidden_size:,} +"
        f" {states} * {cut.patches:,} patches * {tower.hidden_size:,}) * 2 B"
    )
    return Part("pictures_held", cut.values * pixel + values * ELEMENT, formula, HELD_SOURCE)


def encoder_peak(tower: VisionTower, cut: CutImages, attention: str = "sdpa") -> Part:
    """The largest block, and what lives beside it: pixels, rotary tables, a mask, kept states."""
    blocks = {
        "tiles": _tiles,
        "grid": _grid,
        "ragged": _ragged,
        "joint_tiles": _joint_tiles,
        "rotated_tiles": _rotated_tiles,
    }[tower.family](tower, cut, attention)
    largest = max(blocks, key=lambda block: block.bytes or 0)
    pixels = cut.values * tower.habits.pixel_bytes
    width, height = cut.size
    formula = (
        f"{sum(count for _, count in cut.runs):,} images or tiles, {width} x {height} pixels per image:"
        f" {largest.name} ({largest.formula})"
        f" + {cut.values:,} pixel values * {tower.habits.pixel_bytes} B"
    )
    return Part("vision_encoder", (largest.bytes or 0) + pixels, formula, SOURCE, tuple(blocks))


def audio_peak(tower: AudioTower, clips: int, attention: str = "sdpa") -> Part:
    """Whisper's encoder over so many 30-second clips, spectrograms in fp32 and 16 bits included."""
    sequence, hidden, inner = tower.max_source_positions, tower.hidden_size, tower.intermediate_size
    values = clips * tower.num_mel_bins * 2 * sequence
    mlp = _block("mlp", clips * sequence, 2 * inner + 4 * hidden, f"2 * {inner:,} + 4 * {hidden:,}")
    blocks = [mlp]
    if attention == "eager":
        blocks.append(
            _eager(tower.num_attention_heads, clips * sequence, clips * sequence**2, 6 * hidden, AUDIO_SCORE_BYTES)
        )
    largest = max(blocks, key=lambda block: block.bytes or 0)
    formula = f"{clips} clips: {largest.name} ({largest.formula}) + {values:,} spectrogram values * 6 B"
    return Part("audio_encoder", (largest.bytes or 0) + values * 6, formula, SOURCE, tuple(blocks))


def with_media(
    architecture: Architecture, workload: Workload, text: Part, cache: int | None, element_bytes: int
) -> tuple[Part, int | None, tuple[str, ...]]:
    """The activations of a prompt with its images, or with a clip of 30 seconds for each sequence.

    They are those of the worse of two moments. While the encoder runs the cache is empty, so what it takes counts
    above the cache's bytes alone; while the language model runs, its own, and what is held of the images.

    Returns:
        The part; the tokens that images or the clip take of each sequence, None where that is not known; and notes.
    """
    if architecture.audio and (tower := architecture.audio_tower) and element_bytes == ELEMENT:
        peak = audio_peak(tower, workload.batch)
        return _worse(architecture, workload, text, cache, peak, None), None, ("a clip of 30 seconds is counted",)
    if workload.images == 0 or not architecture.vision:
        return text, None, ("the audio encoder's working memory is not counted",) if architecture.audio else ()
    vision = architecture.vision_tower
    if vision is None or element_bytes != ELEMENT:
        why = "in fp32 it was not measured" if vision else "no rule is known for this kind"
        return text, None, (f"the vision encoder's working memory is not counted: {why}",)
    images = 1 if workload.images is None else workload.images
    size = workload.image_size or default_size(vision)
    encoding = encode_images(vision, images=images, batch=workload.batch, size=size)
    counted = f"{images} image{'s' if images > 1 else ''} of {size[0]} x {size[1]} pixels ({encoding.tokens:,} tokens)"
    if encoding.tokens > workload.context:
        if workload.images is None:  # no such prompt can have one
            return text, None, (f"no image is counted: {counted} are more than the context",)
        notes: tuple[str, ...] = (f"{counted} a sequence are more than the context of {workload.context:,}",)
    else:
        notes = () if workload.images else (f"{counted} a sequence counted in the activations; see --images",)
    part = _worse(architecture, workload, text, cache, encoding.peak, encoding.held)
    return part, encoding.tokens, notes


def _worse(
    architecture: Architecture, workload: Workload, text: Part, cache: int | None, peak: Part, held: Part | None
) -> Part:
    parts = (*text.parts, *([held] if held else []), peak)
    if text.bytes is None or cache is None:
        return replace(text, parts=parts)
    embeddings = workload.batch * workload.context * (architecture.hidden_size or 0) * ELEMENT
    later = text.bytes + (held.bytes or 0 if held else 0)
    above = (peak.bytes or 0) + embeddings - cache
    if above > later:
        formula = f"{peak.name} + {embeddings:,} B of embeddings - {cache:,} B of cache, which is filled later"
        return Part(text.name, above, formula, text.source, parts)
    return Part(text.name, later, text.formula + (f" + {held.name}" if held else ""), text.source, parts)


def _block(name: str, patches: int, width: int, formula: str, more: int = 0, more_formula: str = "") -> Part:
    return Part(
        name, patches * width * ELEMENT + more, f"{patches:,} patches * ({formula}) * 2 B{more_formula}", SOURCE
    )


def _eager(heads: int, patches: int, pairs: int, width: int, score_bytes: int) -> Part:
    """Scores of every pair of patches that attend to each other."""
    text = f" + {heads} heads * {pairs:,} pairs * {score_bytes} B of scores"
    return _block("attention", patches, width, f"{width:,}", heads * pairs * score_bytes, text)


def _tiles(tower: VisionTower, cut: CutImages, attention: str) -> list[Part]:
    """CLIP, SigLIP and their kin. The stream beside the MLP is 4 h (5 in InternVL, which scales its layers)."""
    hidden, inner, total = tower.hidden_size, tower.intermediate_size, cut.patches
    copies, stream = MLP_COPIES.get(tower.hidden_act, 2), tower.habits.stream
    width = copies * inner + stream * hidden
    blocks = [_block("mlp", total, width, f"{copies} * {inner:,} + {stream} * {hidden:,}")]
    if tower.extra:  # Cohere2VisionMultiModalProjector's inner width, of each merged patch
        wide = 2 * tower.extra // tower.merge**2
        blocks.append(_block("projector", total, wide + 2 * hidden, f"{wide:,} + 2 * {hidden:,}"))
    if attention == "eager":
        scores = tower.habits.score_bytes
        blocks.append(_eager(tower.num_attention_heads, total, cut.pairs, 6 * hidden, scores))
    return blocks


def _grid(tower: VisionTower, cut: CutImages, attention: str) -> list[Part]:
    """Qwen's and GLM's: queries and keys are rotated in fp32 (six tensors of 2 h) beside their source (3 h) and the
    stream (2 h); tables of cosines and sines in fp32 (4 d). Qwen3's hold their interpolated positions in fp32 (2 h),
    and what its deepstack has handed on."""
    hidden, inner, total = tower.hidden_size, tower.intermediate_size, cut.patches
    beside = 4 * tower.head_dim + tower.habits.positions * hidden
    beside += tower.taps * tower.out_hidden_size // tower.merge**2
    copies = MLP_COPIES.get(tower.hidden_act, 2)
    blocks = [
        _block("rotation", total, 17 * hidden + beside, f"17 * {hidden:,} + {beside:,}"),
        _block(
            "mlp", total, copies * inner + 5 * hidden + beside, f"{copies} * {inner:,} + 5 * {hidden:,} + {beside:,}"
        ),
    ]
    if attention == "eager":  # an image at a time; the outputs of those before wait to be joined
        part = _eager(tower.num_attention_heads, total, cut.longest**2, 7 * hidden + beside, 10)
        waiting = (total - cut.longest) * hidden * ELEMENT
        formula = f"{part.formula} + {waiting:,} B of outputs that wait"
        blocks.append(Part("attention", (part.bytes or 0) + waiting, formula, SOURCE))
    return blocks


def _ragged(tower: VisionTower, cut: CutImages, attention: str) -> list[Part]:
    """A mask keeps the images apart: T^2 additive values, and a padded copy for the memory-efficient kernel where T
    is no multiple of 16. The first layer's output lives on at the padded size."""
    hidden, inner, total = tower.hidden_size, tower.intermediate_size, cut.patches
    aligned = -(-total // 16) * 16
    mask = total**2 * ELEMENT
    first, tables = (cut.canvas - total) * hidden * ELEMENT, 2 * tower.head_dim
    copies = MLP_COPIES.get(tower.hidden_act, 3)
    padded = total * aligned * ELEMENT if aligned != total else 0
    text = f" + mask {total:,}^2 * 2 B"
    kernel = 8 * hidden + tables
    blocks = [
        _block(
            "attention",
            total,
            kernel,
            f"{kernel:,}",
            mask + padded + first,
            text + (" and its padded copy" * (padded > 0)),
        ),
        _block(
            "mlp",
            total,
            copies * inner + 5 * hidden + tables,
            f"{copies} * {inner:,} + 5 * {hidden:,} + {tables}",
            mask + first,
            text,
        ),
    ]
    if attention == "eager":
        part = _eager(tower.num_attention_heads, total, total**2, 7 * hidden + tables, 10)
        blocks[0] = Part("attention", (part.bytes or 0) + mask + first, part.formula + text, SOURCE)
    return blocks


def _joint_tiles(tower: VisionTower, cut: CutImages, attention: str) -> list[Part]:
    """Llama 3.2 keeps every layer's states, and at the end stacks those of its taps and joins them with the last."""
    hidden, total, layers = tower.hidden_size, cut.patches, tower.num_hidden_layers
    mask = cut.pairs * ELEMENT
    first = cut.canvas * hidden * ELEMENT
    tokens = cut.canvas // (tower.image_size // tower.patch_size) ** 2 + cut.canvas
    kept = (layers + tower.taps) * hidden
    text = f" + mask {mask:,} B + first layer {first:,} B"
    joined = tokens * tower.extra * ELEMENT
    blocks = [
        _block(
            "outputs",
            total,
            kept,
            f"{layers + tower.taps} * {hidden:,}",
            mask + first + joined,
            f"{text} + {tokens:,} * {tower.extra:,} * 2 B",
        )
    ]
    if attention == "eager":
        part = _eager(tower.num_attention_heads, total, cut.pairs, (layers + 4) * hidden, 10)
        blocks.append(Part("attention", (part.bytes or 0) + mask + first, part.formula + text, SOURCE))
    return blocks


def _rotated_tiles(tower: VisionTower, cut: CutImages, attention: str) -> list[Part]:
    """Queries and keys are rotated as complex numbers: four tensors of fp32 width, eight in 16 bits."""
    hidden, inner, total = tower.hidden_size, tower.intermediate_size, cut.patches
    blocks = [
        _block("rotation", total, 16 * hidden, f"16 * {hidden:,}"),
        _block("mlp", total, 2 * inner + 4 * hidden, f"2 * {inner:,} + 4 * {hidden:,}"),
    ]
    if attention == "eager":
        blocks.append(_eager(tower.num_attention_heads, total, cut.pairs, 6 * hidden, tower.habits.score_bytes))
    return blocks
