"""The images and videos that vLLM's profiling run encodes: the largest item that the model's processor makes.

vllm/multimodal/encoder_budget.py, and each model's `get_image_size_with_most_features`, read in 0.10 to 0.33. A
processor's limits are in preprocessor_config.json, which is not read: they are the published repos' of Qwen's models,
and the classes' defaults elsewhere. The encoders' blocks were read in vLLM's classes, not measured.
"""

from __future__ import annotations

from inspector.engines.common.served import VisionFacts
from inspector.engines.vllm.version import VllmVersion, parse_version
from inspector.memory.estimate import Workload
from inspector.memory.inference.encoders import MLP_COPIES
from inspector.memory.inference.images import cut_up, default_size
from inspector.model.model import Architecture
from inspector.model.vision.encoders import VisionTower

NO_PICTURES = VisionFacts(1, 0, per_prompt=0)
"""--limit-mm-per-prompt with 0 of everything: nothing is encoded."""

DEFAULT_LIMIT = 999
"""Images a prompt where --limit-mm-per-prompt does not say (vllm/config/multimodal.py)."""


def profiled_item(architecture: Architecture, workload: Workload, engine_version: str | None) -> VisionFacts | None:
    """The item that is profiled; None where it is not known.

    Args:
        workload: `context` is max_model_len, which bounds a video's frames; `images` --limit-mm-per-prompt, vLLM's
            default where None; `image_size` that of the largest image, as --mm-processor-kwargs may set it.
        engine_version: "0.19"; None for the newest.
    """
    version = VllmVersion() if engine_version is None else parse_version(engine_version)
    images, size, max_model_len = workload.images, workload.image_size, workload.context
    if images == 0:
        return NO_PICTURES
    tower = architecture.vision_tower
    # V0 profiles another batch; vLLM has no Llama 3.2 any more; GLM's limits differ between versions and repos.
    if tower is None or not version.v1 or not tower.habits.profiled:
        return None
    if size is None:
        size = default_size(tower, tower.habits.published_pixels)
    item = cut_up(tower, 1, size)
    frames = _video_frames(tower, version, item.tokens, max_model_len)
    limit = DEFAULT_LIMIT if images is None else images
    tokens = item.tokens * frames
    return VisionFacts(
        tokens=tokens,
        pixels=item.values // 3 * frames,
        patches=item.patches * frames,
        blocks=_blocks(tower),
        per_prompt=max(1, min(limit, max_model_len // tokens)),
    )


def _video_frames(tower: VisionTower, version: VllmVersion, tokens: int, max_model_len: int) -> int:
    """Pairs of frames of the longest video of Qwen2-VL and Qwen2.5-VL, each as large as the largest image: as many as
    max_model_len holds, up to 16 frames (0.10, which first takes an image off), or 14 (0.16 and later).

    Qwen3's videos have a limit of their own, below an image's. Other models profile images.
    """
    if not tower.habits.videos:
        return 1
    if version.release >= (0, 16):
        return max(1, min(7, max_model_len // tokens))
    return max(1, min(8, max_model_len // tokens - 1))


def _blocks(tower: VisionTower) -> tuple[tuple[int, int], ...]:
    """Values a patch at the worst moments of a layer, (whole on every rank, divided over the ranks): in the MLP, gate
    and up in one tensor beside their product, or two plain ones; in attention, queries, keys and values (3 h), the
    output (h) and, where they are rotated, their copy and the rotated (4 h)."""
    hidden, inner = tower.hidden_size, tower.intermediate_size
    gated = MLP_COPIES.get(tower.hidden_act, 2) if tower.hidden_act == "silu" else 2
    rotated = tower.family != "tiles"
    return ((3 * hidden, gated * inner), ((1 if rotated else 2) * hidden, (8 if rotated else 4) * hidden))
