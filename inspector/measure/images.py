"""Images for a step of a vision-language class on the pretend GPU: pixels as the processor hands them on, and ids with
places for their tokens."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes
from transformers.modeling_layers import GradientCheckpointingLayer

from inspector.measure.gpu import DEVICE
from inspector.memory.inference.images import CutImages, cut_up
from inspector.memory.training.vision import PARTS, features
from inspector.model.parameters.names import component
from inspector.model.vision.encoders import VisionTower, vision_tower


def tower_of(model: Any) -> VisionTower:
    """The facts of a class's vision encoder.

    Raises:
        LookupError: it is of no kind that the processors' rules are known of.
    """
    config = model.config.to_dict()
    tower = vision_tower(config, model.config.get_text_config().hidden_size)
    if tower is None:
        raise LookupError(f"no rules for the images of {config.get('model_type')}")
    return tower


def tower_blocks(model: Any) -> list[Any]:
    """The vision encoder's blocks that checkpointing works on, in order."""
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, GradientCheckpointingLayer) and component(f"{name}.weight") in PARTS
    ]


def freeze(model: Any, vision: str) -> None:
    """What of the vision part trains: "trained", all; "projector", that alone; "frozen", nothing."""
    trains = {"trained": PARTS, "projector": ("projector",)}.get(vision, ())
    for name, parameter in model.named_parameters():
        if component(name) in PARTS:
            parameter.requires_grad = component(name) in trains


def language_linears(model: Any, targets: str) -> list[str]:
    """The linear layers of the language part's blocks that adapters go to."""
    wanted = targets.split(",")
    return [
        name
        for name, module in model.named_modules()
        if hasattr(module, "in_features")
        and component(f"{name}.weight") not in (*PARTS, "head")
        and (targets == "all-linear" or name.rpartition(".")[2] in wanted)
    ]


def image_inputs(model: Any, batch: int, context: int, images: int, size: tuple[int, int] | None) -> dict[str, Any]:
    """The arguments of a forward pass over `batch` sequences with `images` images each, of (width, height) pixels."""
    tower = tower_of(model)
    cut = cut_up(tower, images * batch, size or (tower.image_size, tower.image_size))
    with _disable_current_modes():
        ids = torch.ones(batch, context, dtype=torch.long)
        config = model.config
        token = getattr(config, "image_token_id", None) or getattr(config, "image_token_index", None)
        each = features(tower, cut) // (images * batch)
        for place in range(images):  # a token of text between two
            ids[:, place * (each + 1) : place * (each + 1) + each] = token
        kinds = (ids == token).long()
        mask = torch.ones_like(ids)
    found = {"input_ids": ids, "attention_mask": mask, "labels": ids, **pixels(model, tower, cut, images * batch)}
    known = {*signature(model.forward).parameters, *signature(model.model.forward).parameters}
    return found | {name: kinds for name in ("token_type_ids", "mm_token_type_ids") if name in known}


def pixels(model: Any, tower: VisionTower, cut: CutImages, count: int) -> dict[str, Any]:
    """The pixels of `count` equal images, in fp32 as processors make them."""
    width, height = cut.size
    if tower.family == "grid":
        grid = [(1, height // tower.patch_size, width // tower.patch_size)] * count
        shape = (cut.canvas, cut.values // cut.canvas)
        return {"pixel_values": torch.empty(shape, device=DEVICE), "image_grid_thw": whole(grid)}
    sizes = {"image_sizes": whole([(height, width)] * count)}
    if tower.family == "ragged":
        return {"pixel_values": torch.empty(count, 3, height, width, device=DEVICE), **sizes}
    side, tiles = tower.image_size, cut.runs[0][1] // count
    inner = signature(model.model.forward).parameters
    if tower.pinpoints:
        return {"pixel_values": torch.empty(count, tiles, 3, side, side, device=DEVICE), **sizes}
    if "pixel_attention_mask" in inner:  # Idefics': the tiles of an image in a dimension of their own
        return {"pixel_values": torch.empty(count, tiles, 3, side, side, device=DEVICE)}
    return {"pixel_values": torch.empty(count * tiles, 3, side, side, device=DEVICE)}


def whole(values: Any) -> torch.Tensor:
    """A tensor of whole numbers that keeps its values (inspector.measure.values)."""
    with _disable_current_modes():
        return torch.tensor(values)
