"""The oracle for cache sizes: small random models of transformers, run on the CPU, and what their caches really hold.

    python tests/oracles/caches.py [--write] [TYPE ...]

prints, for every language part that generates, whether the bytes of its cache equal what its layers' specs give; with
--write, what was equal goes to caches.json, which tests/model/test_layer_kinds.py replays. Needs torch, no network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from inspector.memory.kv_cache import cache_bytes
from inspector.model.architecture import architecture_of
from inspector.model.config_class import text_config_of
from inspector.model.kinds import LATENT_TYPES

"""(layer, *, context, batch, element_bits, encoder_tokens) -> bytes, or None where the spec cannot tell."""

BATCH = 2
PROMPTS = (5, 21)
"""Prompt lengths below and above the windows of `TINY`."""

ENCODER_TOKENS = 7

LARGEST_MODEL = 50_000_000
"""Parameters; a class whose sizes `TINY` does not reach is left out."""

TINY: dict[str, Any] = {
    "num_hidden_layers": 6,
    "num_decoder_layers": 6,
    "decoder_layers": 6,
    "encoder_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 48,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "encoder_ffn_dim": 48,
    "n_inner": 48,
    "vocab_size": 128,
    "vocab_size_per_layer_input": 128,
    "max_position_embeddings": 256,
    "max_source_positions": ENCODER_TOKENS,
    "sliding_window": 8,
    "attention_chunk_size": 8,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "top_k_experts": 2,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 24,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 12,
    "index_head_dim": 16,
    "index_n_heads": 2,
    "index_topk": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Sizes that most classes accept; each class takes the keys that it knows."""

OVERRIDES: dict[str, dict[str, Any]] = {
    **{name: {"num_key_value_heads": 4} for name in sorted(LATENT_TYPES)},
    "chameleon": {"vocabulary_map": {"<image>": 5, "IMGIMGBS0Z": 6}},
    "codegen": {"rotary_dim": 8},
    "cosmos3_edge_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}},
    "dots1": {"n_shared_experts": 1, "first_k_dense_replace": 1},
    "ernie4_5_vl_moe_text": {"moe_intermediate_size": [32, 32]},
    "gemma3n_text": {"num_hidden_layers": 10, "num_kv_shared_layers": 3, "intermediate_size": 48, "laurel_rank": 8},
    "gemma4_text": {"num_kv_shared_layers": 2, "layer_types": ["sliding_attention", "full_attention"] * 3},
    "glm4v_moe_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}},
    "glm4v_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}},
    "glm_ocr_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}},
    "gpt_neo": {"attention_types": [[["global", "local"], 3]], "window_size": 8},
    "gptj": {"rotary_dim": 8},
    **{
        name: {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}}
        for name in ("paddleocr_vl_text", "qwen2_5_omni_text", "qwen2_5_vl_text", "qwen2_vl_text", "hunyuan_vl_text")
    },
    "dots3_note_text": {"num_key_value_heads": 4, "head_dim": None},
    "glm5_next_text": {"index_topk": 32, "num_key_value_heads": 4, "qk_rope_head_dim": 0},
    "zaya": {"num_experts_per_tok": 1},
    "longcat_flash": {
        "num_key_value_heads": 4,
        "head_dim": 8,
        "num_layers": 2,
        "num_hidden_layers": None,
        "ffn_hidden_size": 48,
        "expert_ffn_hidden_size": 32,
    },
    "bamba": {"attn_layer_indices": [2, 4]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * 3},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 3},
    "mamba2": {"num_heads": 8},
    "whisper": {"num_mel_bins": 8},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid", "linear_attention"] * 2, "num_hidden_layers": 6},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid", "linear_attention"] * 2, "num_mem_blocks": 1},
}
"""What single classes need besides."""


@dataclass(frozen=True)
class Measurement:
    """One run: the bytes that each cache layer holds after a prompt of `context - 1` tokens and one decode step.

    Attributes:
        beside: bytes that the cache holds outside its layers (MiniMax keeps its matrices there).
        expected: what each layer's spec gives.
    """

    context: int
    held: tuple[int, ...]
    beside: int
    expected: tuple[int | None, ...]
    kinds: tuple[str, ...]

    @property
    def verdict(self) -> str:
        if None in self.expected:
            return "cannot tell"
        same = self.held == self.expected
        if self.beside or len(self.held) != len(self.expected):
            same = sum(self.held) + self.beside == sum(value or 0 for value in self.expected)
        return "equal" if same else "differs"


def tiny_values(model_type: str, **changes: Any) -> dict[str, Any]:
    """Keyword arguments for a small config of a language part's class."""
    config_class = CONFIG_MAPPING[model_type]
    fields = set(config_class.__dataclass_fields__) | set(config_class.attribute_map)
    wanted = {**TINY, **OVERRIDES.get(model_type, {}), **changes}
    values = {key: value for key, value in wanted.items() if key in fields and value is not None}
    for alias, name in config_class.attribute_map.items():  # a class sets an alias after its own rules: use its name
        if alias in values:
            value = values.pop(alias)
            values[name if name in config_class.__dataclass_fields__ else alias] = value
    if "is_decoder" in fields and not config_class.is_encoder_decoder:
        values["is_decoder"] = True
    return values


def tiny_config(model_type: str, **changes: Any) -> Any:
    """A small config object of a language part's class."""
    with quiet():
        return CONFIG_MAPPING[model_type](**tiny_values(model_type, **changes))


def small_model(config: Any) -> Any:
    """The model of a config with random weights."""
    torch.manual_seed(0)
    with quiet():
        with torch.device("meta"):
            size = sum(parameter.numel() for parameter in build(config).parameters())
        if size > LARGEST_MODEL:
            raise ValueError(f"too large to run: {size:,} parameters")
        # The state dtypes matter: a bfloat16 model shows which states stay float32.
        return build(config, dtype=torch.bfloat16).eval()


def measure(model: Any, config: Any, prompt: int) -> Measurement:
    """Runs a prompt and one step, and weighs the cache."""
    with quiet(), torch.no_grad():
        cache = run(model, config, prompt)
    role = "encoder_decoder" if getattr(config, "is_encoder_decoder", False) else "decoder"
    layers = architecture_of(dataclasses.replace(text_config_of(config), role=role), {}).layers
    expected = tuple(
        cache_bytes(layer, context=prompt + 1, batch=BATCH, element_bits=16, encoder_tokens=ENCODER_TOKENS)
        for layer in layers
    )
    beside = sum(tensor.numel() * tensor.element_size() for tensor in flatten(getattr(cache, "linear_cache", ())))
    return Measurement(prompt + 1, tuple(weigh(cache)), beside, expected, tuple(layer.kind for layer in layers))


def build(config: Any, **options: Any) -> Any:
    """The model of a language part, without a head if there is such a class."""
    if type(config) in transformers.MODEL_MAPPING:
        return transformers.AutoModel.from_config(config, **options)
    module = importlib.import_module(type(config).__module__.replace(".configuration_", ".modeling_"))
    classes = [
        found
        for name, found in vars(module).items()
        if isinstance(found, type)
        and issubclass(found, transformers.PreTrainedModel)
        and found.config_class is type(config)
        and not name.endswith("PreTrainedModel")
    ]
    endings = ("TextModel", "Decoder", "Model", "ForCausalLM", "ForConditionalGeneration")
    ranked = [found for ending in endings for found in classes if found.__name__.endswith(ending)]
    if not ranked:
        raise ValueError(f"no model class for {type(config).__name__}")
    return ranked[0]._from_config(config, **options)


@dataclass
class EncoderOutput(BaseModelOutput):
    """What any decoder asks an encoder's output for."""

    attention_mask: torch.Tensor | None = None
    router_logits: tuple[torch.Tensor, ...] | None = None
    router_probs: tuple[torch.Tensor, ...] | None = None


def run(model: Any, config: Any, prompt: int) -> Any:
    tokens = torch.randint(3, 100, (BATCH, prompt + 1))
    if getattr(config, "is_encoder_decoder", False):
        # The encoder's output is made up: what the decoder caches of it does not depend on how it came about.
        hidden = torch.rand(BATCH, ENCODER_TOKENS, config.hidden_size, dtype=torch.bfloat16)
        extra = {"encoder_outputs": EncoderOutput(last_hidden_state=hidden), "use_cache": True}
        first = model(decoder_input_ids=tokens[:, :prompt], **extra)
        cache = first.past_key_values
        return model(decoder_input_ids=tokens[:, prompt:], past_key_values=cache, **extra).past_key_values
    first = model(input_ids=tokens[:, :prompt], use_cache=True)
    name = "cache_params" if "cache_params" in first else "past_key_values"
    cache = first[name]
    model(input_ids=tokens[:, prompt:], use_cache=True, **{name: cache})
    return cache


def weigh(cache: Any) -> Iterator[int]:
    """Bytes of every tensor that each cache layer holds."""
    if hasattr(cache, "self_attention_cache"):
        pairs = zip(cache.self_attention_cache.layers, cache.cross_attention_cache.layers, strict=True)
        for own, cross in pairs:
            yield tensors_bytes(own) + tensors_bytes(cross)
        return
    for layer in cache.layers:
        yield tensors_bytes(layer)


def tensors_bytes(layer: Any) -> int:
    total = 0
    for name, value in vars(layer).items():
        if name == "_sliding_window_tensor":
            continue
        for tensor in flatten(value):
            total += tensor.numel() * tensor.element_size()
    return total


def flatten(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from flatten(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from flatten(inner)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    transformers.logging.set_verbosity(50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def language_types() -> list[str]:
    """The types of all language parts that generate."""
    mappings = (
        "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
        "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
        "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    )
    types: dict[str, None] = {}
    for mapping in mappings:
        for model_type in getattr(modeling_auto, mapping):
            try:
                with quiet():
                    text = type(CONFIG_MAPPING[model_type]().get_text_config(decoder=True)).model_type
                types[text] = None
            except Exception:
                types[model_type] = None
    return sorted(types)


SAMPLE = Path(__file__).with_name("caches.json")

CHANGES: tuple[dict[str, Any], ...] = ({}, {"num_key_value_heads": 1, "head_dim": 24, "sliding_window": 12})
"""What is measured of each type: the sizes of `TINY`, and other heads and windows where the class accepts them."""


def measure_type(model_type: str) -> tuple[str, str, list[dict[str, Any]]]:
    """The verdict on one type over all changes and prompts, what was wrong, and the records of what was equal."""
    verdict, detail = "equal", ""
    records: list[dict[str, Any]] = []
    for number, changes in enumerate(CHANGES):
        held = {}
        model = None
        for prompt in PROMPTS:
            try:
                config = tiny_config(model_type, **changes)
                model = model or small_model(config)
                found = measure(model, config, prompt)
            except Exception as error:
                if number == 0:
                    return "not run", f"{type(error).__name__}: {' '.join(str(error).split())[:150]}", []
                break
            if found.verdict != "equal":
                return found.verdict, f"{found.kinds} holds {found.held}, spec gives {found.expected}", []
            held[str(found.context)] = sum(found.held) + found.beside
        else:
            values = {"model_type": model_type, **tiny_values(model_type, **changes)}
            records.append({"config": values, "held": held})
    return verdict, detail, records


def write(records: list[dict[str, Any]]) -> None:
    """The sample that `make test` replays."""
    rows = ",\n".join(json.dumps(record, separators=(",", ":")) for record in records)
    head = f'"generator": "python tests/oracles/caches.py --write", "transformers": "{transformers.__version__}"'
    sizes = f'"batch": {BATCH}, "encoder_tokens": {ENCODER_TOKENS}'
    SAMPLE.write_text(f'{{{head}, {sizes}, "runs": [\n{rows}\n]}}\n')


def main() -> int:
    names = [name for name in sys.argv[1:] if not name.startswith("--")] or language_types()
    counts = {"equal": 0, "differs": 0, "cannot tell": 0, "not run": 0}
    records: list[dict[str, Any]] = []
    for name in names:
        verdict, detail, found = measure_type(name)
        counts[verdict] += 1
        records += found
        if detail:
            print(f"{name}: {verdict}: {detail}", flush=True)
        if "--write" in sys.argv:
            write(records)
    print(f"{counts['equal']} of {len(names)} equal; {counts}")
    return int(counts["differs"] > 0)


if __name__ == "__main__":
    sys.exit(main())
