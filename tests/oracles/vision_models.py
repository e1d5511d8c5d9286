"""The multimodal models that the vision oracle builds: published hyper-parameters of the encoders, at full depth.

The language part is cut to one layer: only its width matters to the encoder's last step. `images` are (height, width)
of what the processor hands on, or tiles for models that cut images up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Size = tuple[int, int]


@dataclass(frozen=True)
class VisionModel:
    """One model: its `model_type`, its config, and the images to run.

    Attributes:
        inputs: how its forward takes images: "fixed" (images or tiles of one size), "tiles" (a fifth dimension),
            "grid" (patches side by side, with the grid's sizes), "ragged" (padded images, with their sizes),
            "mel" (spectrograms).
        cases: each a list of images' sizes in pixels (height, width); for "mel" the bins and frames of each clip.
    """

    name: str
    model_type: str
    config: dict[str, Any]
    inputs: str
    cases: tuple[tuple[Size, ...], ...]


def _text(model_type: str, hidden: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": hidden, "intermediate_size": 1024, "num_hidden_layers": 1, "num_attention_heads": 8}
    return {
        "model_type": model_type,
        **sizes,
        "num_key_value_heads": 8,
        "vocab_size": 256000,
        "pad_token_id": 0,
        **more,
    }


def _tower(model_type: str, hidden: int, inner: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    return {"model_type": model_type, **sizes, "num_attention_heads": heads, **more}


_CLIP = _tower("clip_vision_model", 1024, 4096, 24, 16, image_size=336, patch_size=14, projection_dim=768)
_SIGLIP = _tower("siglip_vision_model", 1152, 4304, 27, 16, patch_size=14, vision_use_head=False)
_PIXTRAL = _tower("pixtral", 1024, 4096, 24, 16, head_dim=64, image_size=1540, patch_size=14)
_PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def _square(side: int, counts: tuple[int, ...] = (1, 2, 8)) -> tuple[tuple[Size, ...], ...]:
    return tuple(((side, side),) * count for count in counts)


_GRID = (((448, 448),), ((1008, 1008),), ((448, 448), (672, 448)), ((1344, 896),) * 3, ((2016, 2016),))
_GRID_32 = (((448, 448),), ((1024, 1024),), ((448, 448), (672, 448)), ((1344, 896),) * 3, ((2048, 2048),))

MODELS: tuple[VisionModel, ...] = (
    VisionModel(
        "llava-1.5-7b",
        "llava",
        {"vision_config": _CLIP, "text_config": _text("llama", 4096)},
        "fixed",
        _square(336),
    ),
    VisionModel(
        "llava-v1.6-mistral-7b",
        "llava_next",
        {"vision_config": _CLIP, "text_config": _text("mistral", 4096), "image_grid_pinpoints": _PINPOINTS},
        "tiles",
        (((672, 672),), ((672, 672), (672, 672)), ((336, 672),)),
    ),
    VisionModel(
        "llava-onevision-7b",
        "llava_onevision",
        {
            "vision_config": {**_SIGLIP, "num_hidden_layers": 26, "image_size": 384},
            "text_config": _text("qwen2", 3584),
            "image_grid_pinpoints": [[384 * row, 384 * column] for row in range(1, 7) for column in range(1, 7)],
            "vision_feature_layer": -1,
        },
        "tiles",
        (((768, 768),), ((768, 768), (384, 768))),
    ),
    VisionModel(
        "paligemma-3b-448",
        "paligemma",
        {
            "vision_config": {**_SIGLIP, "image_size": 448, "projection_dim": 2048},
            "text_config": _text("gemma", 2048, head_dim=256),
            "projection_dim": 2048,
        },
        "fixed",
        _square(448),
    ),
    VisionModel(
        "gemma-3-4b",
        "gemma3",
        {"vision_config": {**_SIGLIP, "image_size": 896}, "text_config": _text("gemma3_text", 2560, head_dim=256)},
        "fixed",
        _square(896, (1, 2, 4)),
    ),
    VisionModel(
        "idefics3-8b",
        "idefics3",
        {
            "vision_config": _tower("idefics3_vision", 1152, 4304, 27, 16, image_size=364, patch_size=14),
            "text_config": _text("llama", 4096),
            "scale_factor": 2,
        },
        "tiles",
        (((364, 364),), ((1456, 1456),), ((1456, 1456),) * 2),
    ),
    VisionModel(
        "smolvlm-256m",
        "smolvlm",
        {
            "vision_config": _tower("smolvlm_vision", 768, 3072, 12, 12, image_size=512, patch_size=16),
            "text_config": _text("llama", 576),
            "scale_factor": 4,
        },
        "tiles",
        (((512, 512),), ((2048, 2048),), ((2048, 1536),) * 2),
    ),
    VisionModel(
        "qwen2-vl-7b",
        "qwen2_vl",
        {
            "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16, "mlp_ratio": 4},
            "text_config": _text("qwen2_vl_text", 3584),
        },
        "grid",
        _GRID,
    ),
    VisionModel(
        "qwen2.5-vl-7b",
        "qwen2_5_vl",
        {
            "vision_config": {
                "depth": 4,  # of 32: each window is a call of its own under sdpa, and no layer keeps anything
                "hidden_size": 1280,
                "intermediate_size": 3420,
                "out_hidden_size": 3584,
                "num_heads": 16,
                "window_size": 112,
                "fullatt_block_indexes": [1, 3],
            },
            "text_config": _text("qwen2_5_vl_text", 3584),
        },
        "grid",
        _GRID,
    ),
    VisionModel(
        "qwen3-vl-8b",
        "qwen3_vl",
        {
            "vision_config": {
                "depth": 27,
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "out_hidden_size": 4096,
                "num_heads": 16,
                "patch_size": 16,
                "num_position_embeddings": 2304,
                "deepstack_visual_indexes": [8, 16, 24],
            },
            "text_config": _text("qwen3_vl_text", 4096),
        },
        "grid",
        _GRID_32,
    ),
    VisionModel(
        "qwen3-vl-2b",
        "qwen3_vl",
        {
            "vision_config": {
                "depth": 24,
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "out_hidden_size": 2048,
                "num_heads": 16,
                "patch_size": 16,
                "num_position_embeddings": 2304,
                "deepstack_visual_indexes": [5, 11, 17],
            },
            "text_config": _text("qwen3_vl_text", 2048),
        },
        "grid",
        _GRID_32,
    ),
    VisionModel(
        "qwen3.5-9b",
        "qwen3_5",
        {
            "vision_config": {
                "depth": 27,
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "out_hidden_size": 4096,
                "num_heads": 16,
                "patch_size": 16,
                "num_position_embeddings": 2304,
            },
            "text_config": _text("qwen3_5_text", 4096),
        },
        "grid",
        _GRID_32,
    ),
    VisionModel(
        "glm-4.1v-9b",
        "glm4v",
        {
            "vision_config": {
                "depth": 24,
                "hidden_size": 1536,
                "intermediate_size": 13696,
                "out_hidden_size": 4096,
                "num_heads": 12,
                "image_size": 336,
                "patch_size": 14,
            },
            "text_config": _text("glm4v_text", 4096),
        },
        "grid",
        _GRID,
    ),
    VisionModel(
        "internvl3-8b",
        "internvl",
        {
            "vision_config": _tower("internvl_vision", 1024, 4096, 24, 16, image_size=[448, 448], patch_size=[14, 14]),
            "text_config": _text("qwen2", 3584),
        },
        "fixed",
        _square(448, (1, 7, 13)),
    ),
    VisionModel(
        "mistral-small-3.1-24b",
        "mistral3",
        {"vision_config": _PIXTRAL, "text_config": _text("mistral", 5120), "spatial_merge_size": 2},
        "ragged",
        (((448, 448),), ((1540, 1540),), ((1036, 784), (1540, 1540))),
    ),
    VisionModel(
        "pixtral-12b",
        "llava",
        {
            "vision_config": {**_PIXTRAL, "image_size": 1024, "patch_size": 16},
            "text_config": _text("mistral", 5120),
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
        },
        "ragged",
        (((512, 512),), ((1024, 1024),), ((1024, 1024), (512, 768))),
    ),
    VisionModel(
        "llama-3.2-11b-vision",
        "mllama",
        {
            "vision_config": {
                "model_type": "mllama_vision_model",
                "hidden_size": 1280,
                "intermediate_size": 5120,
                "num_hidden_layers": 32,
                "num_global_layers": 8,
                "attention_heads": 16,
                "image_size": 560,
                "patch_size": 14,
                "max_num_tiles": 4,
                "intermediate_layers_indices": [3, 7, 15, 23, 30],
                "vision_output_dim": 7680,
            },
            "text_config": {**_text("mllama_text_model", 4096), "cross_attention_layers": []},
        },
        "mllama",
        (((1120, 1120),), ((1120, 1120),) * 2),
    ),
    VisionModel(
        "llama-4-scout",
        "llama4",
        {
            "vision_config": _tower(
                "llama4_vision_model",
                1408,
                5632,
                34,
                16,
                image_size=336,
                patch_size=14,
                projector_input_dim=4096,
                projector_output_dim=4096,
                vision_output_dim=4096,
            ),
            "text_config": {**_text("llama4_text", 5120), "num_local_experts": 2, "intermediate_size_mlp": 1024},
        },
        "fixed",
        _square(336, (1, 5, 17)),
    ),
    VisionModel(
        "aya-vision-8b",
        "aya_vision",
        {"vision_config": {**_SIGLIP, "image_size": 364}, "text_config": _text("cohere2", 4096, head_dim=128)},
        "fixed",
        _square(364, (1, 13)),
    ),
    VisionModel(
        "command-a-vision",
        "cohere2_vision",
        {"vision_config": {**_SIGLIP, "image_size": 512, "patch_size": 16}, "text_config": _text("cohere2", 4096)},
        "fixed",
        _square(512, (1, 13)),
    ),
    VisionModel(
        "whisper-large-v3",
        "whisper",
        {
            "d_model": 1280,
            "encoder_layers": 32,
            "encoder_attention_heads": 20,
            "encoder_ffn_dim": 5120,
            "num_mel_bins": 128,
            "decoder_layers": 1,
            "decoder_attention_heads": 20,
            "decoder_ffn_dim": 5120,
        },
        "mel",
        (((128, 3000),), ((128, 3000),) * 8),
    ),
    VisionModel(
        "qwen2-audio-7b",
        "qwen2_audio",
        {
            "audio_config": {
                "model_type": "qwen2_audio_encoder",
                "d_model": 1280,
                "encoder_layers": 32,
                "encoder_attention_heads": 20,
                "encoder_ffn_dim": 5120,
                "num_mel_bins": 128,
            },
            "text_config": _text("qwen2", 4096),
        },
        "mel",
        (((128, 3000),), ((128, 3000),) * 4),
    ),
    VisionModel(
        "voxtral-mini-3b",
        "voxtral",
        {
            "audio_config": {
                "hidden_size": 1280,
                "intermediate_size": 5120,
                "num_hidden_layers": 32,
                "num_attention_heads": 20,
                "num_mel_bins": 128,
            },
            "text_config": _text("llama", 3072),
        },
        "mel",
        (((128, 3000),), ((128, 3000),) * 4),
    ),
)
