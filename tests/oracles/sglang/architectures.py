"""Makes a config.json for every architecture that SGLang's registry names, and for those that it does not have.

    ORACLE/bin/python tests/oracles/sglang/architectures.py CONFIGS

CONFIGS gets a folder an architecture, as tests/oracles/vllm/configs.py makes them: the default config of SGLang's own
config class or of transformers' type whose class has that name; for those with code of their own on the Hub, the keys
of a config that SGLang's class reads like (`REMOTE` there, and `OWN` here). Keys that every checkpoint has and that a
default config leaves out, as to_dict() does with what a class derives, are in `GIVEN`.

Left out by name (not_made.json): drafters, which are loaded beside a model only, and the backends' own names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import facts  # SGLang's, before the folder of vLLM's is on the path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vllm"))

import configs as remote_configs

PLAIN, EXPERTS, LATENT = remote_configs.PLAIN, remote_configs.EXPERTS, remote_configs.LATENT
TEXT, IMAGES = remote_configs.TEXT, remote_configs.IMAGES
LLAVA = {**PLAIN, "mm_hidden_size": 1024, "mm_vision_tower": "clip"}

OWN: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "BaichuanForCausalLM": ("baichuan", PLAIN, {"num_key_value_heads": None}),
    "BailingMoEForCausalLM": ("bailing_moe", EXPERTS, {}),
    "ChatGLMModel": ("chatglm", "chatglm", {}),
    "Contriever": ("bert", "bert", {}),
    "DeepseekVL2ForCausalLM": ("deepseek_vl_v2", "deepseek_vl_v2", {}),
    "InternVLChatModel": (
        "internvl_chat",
        {},
        {"llm_config": {**TEXT, "architectures": ["Qwen2ForCausalLM"]}, "vision_config": IMAGES},
    ),
    "GlmImageForConditionalGeneration": ("glm_image", "glm_image", {}),
    "MultiModalityCausalLM": ("multi_modality", "multi_modality", {}),
    "NanbeigeForSequenceClassification": ("nanbeige", "nanbeige", {}),
    "Spark2_5ForCausalLM": ("spark2_5", "spark2_5", {}),
    "UnlimitedOCRForCausalLM": ("unlimited_ocr", "unlimited_ocr", {}),
    "DeepseekOCRForCausalLM": ("deepseek_vl_v2", "deepseek_vl_v2", {}),
    "EmbeddingGemmaModel": ("gemma3_text", "gemma3_text", {}),
    "Ernie4_5_ForCausalLM": ("ernie4_5", "ernie4_5", {}),
    "Gemma4ForCausalLM": ("gemma4_text", "gemma4_text", {}),
    "GlmAsrForConditionalGeneration": ("glmasr", "glmasr", {}),
    "Grok1ForCausalLM": ("grok-1", EXPERTS, {}),
    "Grok1ModelForCausalLM": ("grok-1", EXPERTS, {}),
    "IQuestCoderForCausalLM": ("iquestcoder", PLAIN, {}),
    "KimiK3LinearForCausalLM": ("kimi_linear", "kimi_linear", {}),
    "LLaDA2MoeModelLM": ("llada2_moe", EXPERTS, {}),
    "LlamaEmbeddingModel": ("llama", "llama", {}),
    "LlamaForClassification": ("llama", "llama", {}),
    "LlamaForSequenceClassificationWithNormal_Weights": ("llama", "llama", {}),
    "LlavaLlamaForCausalLM": ("llava", LLAVA, {}),
    "LlavaMistralForCausalLM": ("llava_mistral", LLAVA, {}),
    "LlavaQwenForCausalLM": ("llava_qwen", LLAVA, {}),
    "LlavaVidForCausalLM": ("llava", LLAVA, {}),
    "MiDashengLMModel": ("midashenglm", {}, {"text_config": TEXT, "audio_encoder_config": {}}),
    "MiniCPMSALAForCausalLM": ("minicpm_sala", "minicpm_sala", {}),
    "MistralModel": ("mistral", "mistral", {}),
    "NVILAForConditionalGeneration": ("nvila", {}, {"text_config": TEXT, "vision_config": IMAGES}),
    "NVILALiteForConditionalGeneration": ("nvila_lite", {}, {"text_config": TEXT, "vision_config": IMAGES}),
    "Phi3SmallForCausalLM": ("phi3small", PLAIN, {}),
    "QWenLMHeadModel": ("qwen", PLAIN, {"num_key_value_heads": None, "head_dim": None, "kv_channels": 128}),
    "QuantMixtralForCausalLM": ("mixtral", "mixtral", {}),
    "Qwen3Model": ("qwen3", "qwen3", {}),
    "Qwen3ForRewardModel": ("qwen3", "qwen3", {}),
    "SDARForCausalLM": ("sdar", PLAIN, {}),
    "SDARMoeForCausalLM": ("sdar_moe", EXPERTS, {}),
    "Sarashina2VisionForCausalLM": ("sarashina2_vision", {}, {"text_config": TEXT, "vision_config": IMAGES}),
    "TorchNativeLlamaForCausalLM": ("llama", "llama", {}),
    "TorchNativePhi3ForCausalLM": ("phi3", "phi3", {}),
    "XverseForCausalLM": ("xverse", PLAIN, {}),
    "XverseMoeForCausalLM": ("xverse", EXPERTS, {}),
    "YiVLForCausalLM": ("llava", LLAVA, {}),
}
"""As REMOTE of the vLLM oracle's configs, for what SGLang alone has."""

INTERVAL = {"full_attention_interval": 4}
SHORT = ["full_attention" if index % 3 == 2 else "conv" for index in range(24)]


def windows(config: dict[str, Any]) -> list[str]:
    """Three layers with a window to each without, as many as the config has."""
    return ["full_attention" if index % 4 == 3 else "sliding_attention" for index in range(config["num_hidden_layers"])]


def deltas(config: dict[str, Any]) -> list[str]:
    """The same of delta attention."""
    return [kind.replace("sliding", "linear") for kind in windows(config)]


def delta_layers(config: dict[str, Any]) -> dict[str, Any]:
    """Kimi Linear's own key, counted from 1."""
    kinds = deltas(config)
    return {
        "full_attn_layers": [index + 1 for index, kind in enumerate(kinds) if kind == "full_attention"],
        "kda_layers": [index + 1 for index, kind in enumerate(kinds) if kind != "full_attention"],
        "head_dim": 128,
        "num_heads": 32,
        "short_conv_kernel_size": 4,
    }


GIVEN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), INTERVAL),
    **{name: {"layer_types": windows} for name in ("laguna", "mellum")},
    "step3p5": {"layer_types": windows, "sliding_window": 512},
    **{name: {"layer_types": SHORT, "num_hidden_layers": 24} for name in ("lfm2", "lfm2_moe")},
    "mamba2": {"num_heads": 128, "head_dim": 64, "hidden_size": 4096, "intermediate_size": 8192},
    "bailing_hybrid": {"head_dim": 128},
    "chatglm": {"multi_query_attention": True, "multi_query_group_num": 2},
    "nemotron_h": {
        "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
        "num_hidden_layers": 52,
        "layers_block_type": None,
        "layer_types": None,
    },
    "kimi_linear": {"layer_types": deltas, "mla_use_nope": True, "linear_attn_config": delta_layers},
    "mimo_v2_flash": {
        "hybrid_layer_pattern": [int(index % 6 != 5 and index > 0) for index in range(48)],
        "swa_num_key_value_heads": 8,
        "swa_head_dim": 192,
        "swa_v_head_dim": 128,
        "sliding_window": 128,
    },
}
"""By model type (of the config, or of its text part): keys that every checkpoint has and a default config loses, or
has otherwise: a value or what makes it of the config; None for one that no checkpoint has."""

BESIDE = ("NextN", "MTP", "Eagle", "Eagle3", "DraftModel", "DSpark", "DSparkModel")
ALONE = ("Transformers", "DFlash", "Eagle3", "MindSpore")


def beside(name: str) -> bool:
    """Whether an architecture is loaded beside a model only, or is a backend's own name."""
    return name.endswith(BESIDE) or name.startswith(ALONE) or "Assistant" in name


def defaults(model_type: str) -> dict[str, Any]:
    """The default config of a type: SGLang's own, or transformers', with what checkpoints state beside it."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from sglang.srt.utils.hf_transformers.common import _CONFIG_REGISTRY

    made = None
    for classes in (CONFIG_MAPPING, _CONFIG_REGISTRY):
        if model_type in classes and made is None:
            try:
                made = classes[model_type]()
            except Exception:  # one that has no defaults
                made = None
    if made is None:
        raise KeyError(f"no config class has defaults for {model_type}")
    found: dict[str, Any] = {**made.to_dict(), "model_type": model_type}
    return completed(found)


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """A config, and its parts, with the keys of GIVEN."""
    parts = {name: completed(value) for name, value in config.items() if isinstance(value, dict)}
    kind = config.get("model_type")
    given = GIVEN.get(kind, {}) if isinstance(kind, str) else {}
    given = {key: value(config) if callable(value) else value for key, value in given.items()}
    found = {**config, **parts, **given}
    return {key: value for key, value in found.items() if key not in given or value is not None}


def remote(name: str) -> tuple[str, dict[str, Any]]:
    """(model type, config) of an architecture with code of its own."""
    model_type, base, own = OWN[name] if name in OWN else remote_configs.REMOTE[name]
    keys = defaults(base) if isinstance(base, str) else dict(base)
    for key, value in own.items():
        keys[key] = defaults(value) if isinstance(value, str) and key.endswith("_config") else value
    return model_type, {**keys, "model_type": model_type}


def code(model_type: str) -> str | None:
    """The type, where neither transformers nor SGLang has a config class for it: such a repo brings its own."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from sglang.srt.utils.hf_transformers.common import _CONFIG_REGISTRY

    return None if model_type in CONFIG_MAPPING or model_type in _CONFIG_REGISTRY else model_type


def types_by_class(native: Iterable[str]) -> dict[str, list[str]]:
    """Architecture -> model types: those of transformers' Auto classes, and SGLang's by their config's own word."""
    from sglang.srt.utils.hf_transformers.common import _CONFIG_REGISTRY

    found = dict(remote_configs.types_of_classes())
    for model_type in _CONFIG_REGISTRY:
        stem = model_type.replace("_", "").lower()
        for name in native:
            if name.removesuffix("ForCausalLM").removesuffix("ForConditionalGeneration").lower() == stem:
                found.setdefault(name, []).append(model_type)
    return found


def make(top: Path) -> dict[str, str]:
    """Writes all folders; returns the architectures that none was made of, with the reason."""
    native = facts.registry()
    known = types_by_class(native)
    not_made = {name: "loaded beside a model, or by a backend, only" for name in native if beside(name)}
    for name in native:
        if name in not_made:
            continue
        try:
            if name in OWN or (name in remote_configs.REMOTE and name not in known):
                made = [remote(name)]
            else:
                made = [(model_type, defaults(model_type)) for model_type in sorted(set(known[name]))]
            for model_type, keys in made:
                config = {**keys, "architectures": [name], "dtype": "bfloat16"}
                remote_configs.write(top / f"{model_type}-{name}", config, code(model_type))
        except Exception as error:
            not_made[name] = f"{type(error).__name__}: {str(error)[:150]}"
    for model_type, name in remote_configs.class_names():
        if name not in native:
            try:
                config = {**defaults(model_type), "architectures": [name], "dtype": "bfloat16"}
                remote_configs.write(top / f"{model_type}-{name}", config)
            except Exception as error:
                not_made[f"{model_type}-{name}"] = f"{type(error).__name__}: {str(error)[:150]}"
    return not_made


if __name__ == "__main__":
    facts.load()
    target = Path(sys.argv[1])
    left = make(target)
    target.joinpath("not_made.json").write_text(json.dumps(left, indent=1) + "\n", "utf-8")
    for each, why in left.items():
        if not why.endswith("only"):
            print(each, why)
    print(len(list(target.glob("*/config.json"))), "configs;", len(left), "architectures without one")
