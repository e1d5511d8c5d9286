"""How a processor cuts images up: patches that go through the encoder, and tokens that enter the context.

The processors' rules as in transformers 5.23, with their classes' default limits: preprocessor_config.json is not read.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from inspector.model.vision.encoders import VisionTower

Size = tuple[int, int]
"""(width, height) in pixels."""

LARGEST_PIXELS = 2**40


class CutImages(NamedTuple):
    """What the encoder gets.

    Attributes:
        runs: (patches, how many) of images or tiles whose patches, class tokens included, attend to each other.
        tokens: that enter the language model's context for all images.
        values: numbers in the pixel tensors.
        canvas: patches that the first layer makes, padding included.
        size: (width, height) of one image as it is encoded.
    """

    runs: tuple[tuple[int, int], ...]
    tokens: int
    values: int
    canvas: int
    size: Size

    @property
    def patches(self) -> int:
        return sum(length * count for length, count in self.runs)

    @property
    def pairs(self) -> int:
        """Pairs of patches that attend to each other."""
        return sum(length**2 * count for length, count in self.runs)

    @property
    def longest(self) -> int:
        return max(length for length, _ in self.runs)


def default_size(tower: VisionTower, max_pixels: int | None = None) -> Size:
    """The largest image that the processor makes of any, by its class's limits (or of `max_pixels`)."""
    side = tower.image_size
    if tower.family == "grid":
        unit = tower.patch_size * tower.merge
        root = math.isqrt(max_pixels or tower.habits.max_pixels) // unit * unit
        return max(root, unit), max(root, unit)
    if tower.pinpoints:
        height, width = max(tower.pinpoints, key=lambda pair: pair[0] * pair[1])
        return width, height
    if tower.habits.tiling == "longest_side":
        return 4 * side, 4 * side
    if tower.family == "joint_tiles":
        root = math.isqrt(tower.tiles)
        return root * side, max(1, tower.tiles // root) * side
    if tower.tiles:  # the squarest grid of all tiles
        rows = max(row for row in range(1, math.isqrt(tower.tiles) + 1) if tower.tiles % row == 0)
        return tower.tiles // rows * side, rows * side
    return side, side


def cut_up(tower: VisionTower, count: int, size: Size) -> CutImages:
    """`count` images of one size, (width, height), as the processor hands them on."""
    patch = tower.patch_size
    if tower.family == "grid":
        width, height = _fit_grid(tower, size)
        patches = (width // patch) * (height // patch)
        tokens = patches // tower.merge**2
        values = count * patches * 6 * patch**2  # a still image is two equal frames
        return CutImages(((patches, count),), count * tokens, values, count * patches, (width, height))
    if tower.family == "ragged":
        width, height = _fit_ragged(tower, size)
        rows, columns = height // patch, width // patch
        tokens = (columns // tower.merge + 1) * (rows // tower.merge)  # a break after each row
        patches = rows * columns
        values = count * 3 * width * height
        return CutImages(((patches, count),), count * tokens, values, count * patches, (width, height))
    side = tower.image_size
    tiles, tokens = _tiles(tower, size)
    patches = (side // patch) ** 2
    sequence = patches + tower.class_tokens
    values, canvas = count * tiles * 3 * side**2, count * tiles * patches
    if tower.family == "joint_tiles":  # all tiles of an image attend to each other, each padded to a multiple of 8
        return CutImages(((tiles * (-(-sequence // 8) * 8), count),), count * tokens, values, canvas, size)
    return CutImages(((sequence, tiles * count),), count * tokens, values, canvas, size)


def _tiles(tower: VisionTower, size: Size) -> tuple[int, int]:
    """(tiles that are encoded, tokens in the context) of one image; separators between tiles are not counted."""
    side = tower.image_size
    patches = (side // tower.patch_size) ** 2
    a_tile = tower.tokens or patches // tower.merge**2
    if tower.family == "joint_tiles":
        return tower.tiles, 1  # cross-attention: the context has one token an image
    if tower.pinpoints:
        return _llava_next(tower, size)
    if tower.habits.tiling == "longest_side":
        rows, columns = _idefics3(side, size)
        tiles = rows * columns + 1 if rows * columns > 1 else 1
        return tiles, tiles * a_tile
    if tower.habits.tiling == "least_enlarged":
        rows, columns = _least_enlarged(side, tower.tiles, size)
    elif tower.tiles:
        rows, columns = _canvas(side, tower.tiles, size)
    else:
        return 1, a_tile
    tiles = rows * columns + 1 if rows * columns > 1 else 1
    return tiles, tiles * a_tile


def _fit_grid(tower: VisionTower, size: Size) -> Size:
    """`smart_resize` of Qwen2VLImageProcessor, without the upper limit: a size that is asked for is taken to be
    allowed. Images of less than the class's `min_pixels` are enlarged."""
    unit, least = tower.patch_size * tower.merge, tower.habits.min_pixels
    width, height = (max(unit, round(side / unit) * unit) for side in size)
    if width * height >= least:
        return width, height
    scale = math.sqrt(least / (size[0] * size[1]))
    return math.ceil(size[0] * scale / unit) * unit, math.ceil(size[1] * scale / unit) * unit


def _fit_ragged(tower: VisionTower, size: Size) -> Size:
    """`get_resize_output_image_size` of PixtralImageProcessor; the longest side is taken to be the tower's."""
    unit, ratio = tower.patch_size * tower.merge, max(size) / tower.image_size
    width, height = (math.floor(side / ratio) if ratio > 1 else side for side in size)
    return max(1, -(-width // unit)) * unit, max(1, -(-height // unit)) * unit


def _llava_next(tower: VisionTower, size: Size) -> tuple[int, int]:
    """`select_best_resolution` and LlavaNextProcessor._get_number_of_features."""
    width, height = size

    def score(pair: tuple[int, int]) -> tuple[int, int]:
        scale = min(pair[1] / width, pair[0] / height)
        used = min(int(width * scale) * int(height * scale), width * height)
        return used, used - pair[0] * pair[1]

    best = max(tower.pinpoints, key=score)
    side, grid = tower.image_size, tower.image_size // tower.patch_size
    rows, columns = best[0] // side, best[1] // side
    high, wide = grid * rows, grid * columns
    if width / height > wide / high:
        high -= (high - int(round(height * (wide / width), 7))) // 2 * 2
    else:
        wide -= (wide - int(round(width * (high / height), 7))) // 2 * 2
    return rows * columns + 1, high * wide + high + grid * grid


def _idefics3(side: int, size: Size) -> tuple[int, int]:
    """Idefics3ImageProcessor.get_number_of_image_patches: the longest side is brought to four tiles."""
    width, height = size
    longest, ratio = 4 * side, width / height
    if width >= height:
        width, height = longest, int(longest / ratio)
        height += height % 2
    else:
        width, height = int(longest * ratio), longest
        width += width % 2
    return max(1, -(-height // side)), max(1, -(-width // side))


def _canvas(side: int, most: int, size: Size) -> tuple[int, int]:
    """`get_optimal_tiled_canvas` of GotOcr2ImageProcessor, which InternVL's and Aya Vision's processors share."""
    width, height = size
    grids = [(c, r) for c in range(1, most + 1) for r in range(1, most + 1) if c * r <= most]
    grids.sort(key=lambda grid: grid[0] * grid[1])
    best, least = (1, 1), math.inf
    for columns, rows in grids:
        difference = abs(width / height - columns / rows)
        if difference < least:
            best, least = (columns, rows), difference
        elif difference == least and width * height > 0.5 * side * side * columns * rows:
            best = (columns, rows)
    return best[1], best[0]


def _least_enlarged(side: int, most: int, size: Size) -> tuple[int, int]:
    """`get_best_fit` of Llama4ImageProcessor, and Cohere2VisionImageProcessor's canvas: the least enlargement, else the
    least reduction; then the least area."""
    width, height = size
    grids = [(r, c) for r in range(1, most + 1) for c in range(1, most + 1) if r * c <= most]
    scales = {(r, c): min(side * c / width, side * r / height) for r, c in grids}
    larger = [scale for scale in scales.values() if scale >= 1]
    chosen = min(larger) if larger else max(scales.values())
    return min((grid for grid, scale in scales.items() if scale == chosen), key=lambda grid: grid[0] * grid[1])
