"""The vision part of a training step: the encoder's blocks and the projector before the language part's first block.

Its tables (inspector/data/training_vision, made by fixtures/make_training_vision.py) say what lives at the borders of
the encoder's blocks, as sums of products of sizes: N patches that go through the layers, M rows that take the place of
image tokens, X pixel values, I images or tiles, S pairs of patches that attend to each other; H, F, A, D the encoder's
hidden size, intermediate size, heads and head dimension; J the projector's own width; U, W, Z parameters of a block, of
the projector, and of the encoder outside its blocks; beside the language part's T, h, d, b, s.

An encoder in which nothing trains keeps nothing for the backward pass, but for one case: with gradient checkpointing,
adapters make transformers' `enable_input_require_grads` mark what the encoder's patch embedding gives, too, and so the
gradient passes through the whole encoder.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from inspector.memory.inference.images import CutImages, Size, cut_up, default_size
from inspector.memory.training.estimate import TrainingEstimate, TrainingSetup
from inspector.memory.training.phases import Block
from inspector.memory.training.sharding import Sharding
from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import Layer, Piece, Sum
from inspector.model.model import Model
from inspector.model.parameters.names import component
from inspector.model.vision.encoders import VisionTower
from inspector.tables import table_names, table_text

PARTS = ("vision", "projector")
"""Components that are not the language part's."""


@dataclass(frozen=True, slots=True)
class VisionRun:
    """What stands before the language part's first block, in bytes.

    Attributes:
        start: pixels, and all that comes before the encoder's first block.
        blocks: the encoder's that run, and one for all between them and the language part.
        note: what was counted.
    """

    start: Piece
    blocks: tuple[Block, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Images:
    """The images of one forward pass, and the table of their encoder.

    Attributes:
        count / size: images a sequence, and their (width, height) in pixels.
    """

    count: int
    size: Size
    tower: VisionTower
    cut: CutImages
    table: Mapping[str, Any]
    profile: Mapping[str, Any]
    counted: str

    @property
    def masked(self) -> bool:
        return self.tower.habits.masked


ENCODERS = (*PARTS, "audio")
"""Components that text does not pass through."""


def still_parameters(model: Model, setup: TrainingSetup, sharding: Sharding, images: Images | None) -> int:
    """Parameters of encoders that get no gradient, and so no optimizer states, where the language part does: what is
    frozen, and where only text passes all of them (torch's optimizers skip what has no gradient). ZeRO has states of
    whatever is to train, and DDP gradients."""
    if not (model.architecture.vision or model.architecture.audio):
        return 0
    left = {"frozen": PARTS, "projector": ("vision",)}.get(setup.vision_part, ())
    if images is None and not sharding.zero and sharding.ddp == 1:
        left = ENCODERS
    counts = _counts(model)
    return sum(counts[name] for name in left)


def _counts(model: Model) -> Counter[str]:
    """Parameters outside the language part's layers by component, also those that its class does not know by default
    (Pixtral's encoder in LLaVA)."""
    found: Counter[str] = Counter()
    for name, share in model.parameters.outside.items():
        found[name if name in ENCODERS else component(share.first)] += share.parameters
    return found or Counter(model.parameters.by_component)


def images_of(model: Model, setup: TrainingSetup, sharding: Sharding, context: int, batch: int) -> Images | str | None:
    """The images of a step; None where text alone passes; or why what they take is not known.

    Args:
        batch: sequences of one forward pass.
    """
    architecture, asked = model.architecture, setup.images is not None
    if not architecture.vision or setup.images == 0:
        return None
    found = _images(model, setup, sharding, context, batch)
    return found if asked or not isinstance(found, str) else None


def counted_images(model: Model, training: TrainingEstimate) -> int | None:
    """Images a sequence that a step counts; None where it counts none."""
    setup, workload = training.setup, training.workload
    found = images_of(model, setup, training.sharding, workload.context, setup.rows(workload.batch))
    return found.count if isinstance(found, Images) else None


def _images(model: Model, setup: TrainingSetup, sharding: Sharding, context: int, batch: int) -> Images | str:
    tower, model_type = model.architecture.vision_tower, model.architecture.model_type
    if tower is None:
        return f"no rule is known for the images of '{model_type}'"
    table = read_vision_table(tower)
    if table is None:
        return f"no table of training steps with images for '{model_type}'"
    if setup.objective != "sft":
        return f"images are not known with --objective {setup.objective}"
    saved = [name for name in setup.modules_to_save.split(",") if component(f"model.{name.strip()}.weight") in PARTS]
    if setup.method == "frozen-except" or saved:
        return "images are not known where parts of the vision encoder may train by their names"
    if sharding.tp > 1 or sharding.pp > 1 or sharding.cp > 1:
        return "images are not known with tensor, pipeline or context parallelism"
    if tower.habits.masked and setup.attention == "flash":
        return f"'{model_type}' has a mask over the tokens of images, which flash attention cannot take"
    word = setup.vision_part
    if word == "adapters":
        word = _adapted(setup)
        if not word:
            return "adapters on the vision part are known on all linear layers, in fp32, without DoRA, on bf16 or nf4"
    elif setup.adapters:
        word = "lora" if setup.compute == "mixed" and setup.frozen_bytes == 2 else "adapters"
    attention = "sdpa" if setup.attention == "flash" else setup.attention
    name = f"{word}/{setup.compute}/{attention}/{setup.checkpointing}"
    profile = table["profiles"].get(name)
    if profile is None:
        return f"no entry {name} in the table of images of '{model_type}'"
    count, size = 1 if setup.images is None else setup.images, setup.image_size or default_size(tower)
    cut = cut_up(tower, count * batch, size)
    tokens = cut.tokens // batch
    counted = f"{count} image{'s' * (count > 1)} of {size[0]} x {size[1]} pixels a sequence ({tokens:,} tokens of it)"
    if tokens > context:
        return f"{counted} are more than the context of {context:,}"
    return Images(count, size, tower, cut, table, profile, counted)


def _adapted(setup: TrainingSetup) -> str:
    """The table's word for adapters on the vision part, too; "" where they are not as it has them."""
    as_made = (setup.lora_targets, setup.adapter_dtype, setup.base) == ("all-linear", "fp32", "nf4")
    if not as_made or setup.dora or setup.old_bitsandbytes:
        return ""
    rest_in_bf16 = setup.frozen_bytes == 2
    if setup.method == "lora":
        return "adapted" if rest_in_bf16 else ""
    return "adapted" if setup.compute == "mixed" and rest_in_bf16 else "adapted-4bit"


def vision_adapters(images: Images | None, sizes: Sizes) -> int:
    """Parameters of the adapters on the vision part."""
    if images is None or "block adapters" not in images.profile:
        return 0
    tower, known = images.tower, Sizes(sizes.letters | letters_of(images.tower, images.cut))
    block, merger = (known.bytes_of(images.profile[name]) for name in ("block adapters", "bridge adapters"))
    return tower.num_hidden_layers * block + (1 + tower.taps) * merger


def vision_run(images: Images, model: Model, setup: TrainingSetup, sizes: Sizes) -> VisionRun:
    """The stretches of the vision part."""
    tower, profile = images.tower, images.profile
    parts = _parameters(model, tower)
    known = Sizes(sizes.letters | letters_of(tower, images.cut) | parts)

    def size(name: str) -> int:
        terms: Sum = profile.get(name, {})
        return known.bytes_of(terms)

    layers = tower.num_hidden_layers
    higher = tower.feature_layer - images.table["feature_layer"] if tower.feature_layer is not None else 0
    used = max(0, min(layers, layers - int(profile["unused"]) + higher))
    padded = _padded_mask(images, setup) if size("block left") else 0
    kept, left, begun = size("block kept") + padded, size("block left") + padded, size("start end")
    passing = max(0, size("block end") - kept)
    back = "block back" in profile
    each = setup.trained_bytes if setup.vision_part == "trained" and setup.method == "full" else 0
    of_block = each * parts["U"] + setup.trained_bytes * size("block adapters")
    blocks = [
        _block(
            (kept, left if index < used else 0),
            size("block peak") + index * passing,
            size("block back") if index < used else 0,
            of_block if index < used else 0,
            reached=back,
        )
        for index in range(layers)
    ]
    gradients = each * parts["Z"] + _projector_bytes(setup) * parts["W"]
    gradients += setup.trained_bytes * (1 + tower.taps) * size("bridge adapters")
    masks = _masks(images, model, setup, sizes)
    held, after = size("bridge held") - begun + masks, size("bridge left") - begun + masks
    whole = layers * kept
    if not back:  # the encoder's blocks keep nothing: they are moments of the stretch before the language part
        blocks = []
        peak = max(whole + layers * passing + size("bridge peak"), layers * passing + size("block peak"))
        bridge = _block((held + whole, after), peak, size("bridge back"), gradients, reached=True)
    else:
        peak = size("bridge peak") + layers * passing
        bridge = _block((held, after), peak, size("bridge back"), gradients, reached=True)
    note = f"{images.counted}: the vision part {_trains(setup)}; {SOURCE}"
    if setup.adapters and setup.lora_targets == "all-linear" and setup.vision_part == "frozen":
        note += (
            "; peft's own all-linear adapts the vision part, too, unless exclude_modules names it: --vision adapters"
        )
    if setup.vision_part == "adapters" and setup.lora_dropout:
        note += "; the masks of the dropout there are not counted (a measured step was 2.3 % larger)"
    return VisionRun(Piece({"1": begun}, ({"1": size("start peak")},)), (*blocks, bridge), note)


def _padded_mask(images: Images, setup: TrainingSetup) -> int:
    """Bytes that each block keeps of a ragged encoder's mask over all patches, which all share: torch's
    memory-efficient kernel takes rows of a multiple of 16, and gets a copy of others (`pad_bias` of attention.cpp).
    Under autocast a mask in fp32 has a copy anyway, and eager attention needs none; the tables are of rows that are
    whole."""
    patches = images.cut.patches
    whole = images.tower.family != "ragged" or patches % 16 == 0 or setup.attention == "eager"
    single = setup.compute != "bf16" and not (setup.adapters and setup.frozen_bytes == 2)
    return 0 if whole or single or setup.checkpointing != "none" else 2 * patches * _up(patches, 16)


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _masks(images: Images, model: Model, setup: TrainingSetup, sizes: Sizes) -> int:
    """Bytes of the masks over all pairs of tokens that sdpa's blocks share, one for each kind of them; eager
    attention's are in the table."""
    kinds = len(model.architecture.layer_kinds) if images.masked and setup.attention == "sdpa" else 0
    return kinds * sizes.product("bss")


SOURCE = "its sizes are fitted on small models of the class"


def _trains(setup: TrainingSetup) -> str:
    words = {
        "trained": "trains",
        "projector": "is frozen but for its projector",
        "frozen": "is frozen",
        "adapters": "has adapters on all its linear layers",
    }
    return words[setup.vision_part]


def _projector_bytes(setup: TrainingSetup) -> int:
    return setup.trained_bytes if setup.method == "full" and setup.vision_part != "frozen" else 0


def _block(kept: tuple[int, int], forward: int, backward: int, gradients: int, *, reached: bool) -> Block:
    """A stretch that keeps `kept` bytes, while the forward pass goes on and after it, and has these largest moments."""
    during, after = kept
    layer = Layer(
        Piece({"1": during}, ({"1": forward}, {"1": during})),
        Piece({"1": gradients - after}, ({"1": backward},)),
        {"1": during - after},
    )
    return Block(layer, gradients=gradients, reached=reached)


def _parameters(model: Model, tower: VisionTower) -> dict[str, int]:
    """Parameters of a block of the encoder (U), of the projector (W), of the encoder outside its blocks (Z)."""
    counts = _counts(model)
    stacks = [
        share.parameters
        for share in model.parameters.outside.values()
        if "{}" in share.first and component(share.first) == "vision"
    ]
    inside = max(stacks, default=counts["vision"])
    return {"U": inside // tower.num_hidden_layers, "W": counts["projector"], "Z": max(0, counts["vision"] - inside)}


@lru_cache(maxsize=4)
def _table(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(table_text(f"training_vision/{name}.json"))
    return found


def read_vision_table(tower: VisionTower) -> Mapping[str, Any] | None:
    """ "what trains/precision/attention/checkpointing" -> quantities of the stretches, by name."""
    known = table_names("training_vision")
    names = (f"{tower.model_type}-{tower.encoder}", tower.model_type)
    return next((_table(name) for name in names if name in known), None)


def letters_of(tower: VisionTower, cut: CutImages) -> dict[str, int]:
    """The sizes that the vision part's tables count in, but for those of parameters and of the language part."""
    return {
        "N": cut.patches,
        "M": features(tower, cut),
        "X": cut.values,
        "I": sum(count for _, count in cut.runs),
        "S": cut.pairs,
        "H": tower.hidden_size,
        "F": tower.intermediate_size,
        "A": tower.num_attention_heads,
        "D": tower.head_dim,
        "J": tower.extra,
    }


def features(tower: VisionTower, cut: CutImages) -> int:
    """Rows that the language model gets in place of image tokens. A ragged encoder's images have breaks between rows,
    which are tokens of text."""
    return cut.patches // tower.merge**2 if tower.family == "ragged" else cut.tokens
