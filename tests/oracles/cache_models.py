"""Small random models of transformers: a config for every language part, its model, and a prompt with one more step.

What tests/oracles/caches.py weighs. Needs torch and transformers, no network.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import random
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.oracles.cache_configs import (
    CLASSES,
    EAGER_TYPES,
    ENCODER_TOKENS,
    FLOAT32_TYPES,
    OVERRIDES,
    RANDOM,
    TINY,
    UNLISTED_TYPES,
    WHOLE,
)

BATCH = 2

LARGEST_MODEL = 150_000_000
"""Parameters; a class whose sizes `TINY` does not reach is left out."""


def tiny_values(model_type: str, **changes: Any) -> dict[str, Any]:
    """Keyword arguments for a small config of a language part's class. `TINY` gives what the class knows of it."""
    config_class = CONFIG_MAPPING[model_type] if model_type in CONFIG_MAPPING else sub_config_class(model_type)
    fields = set(config_class.__dataclass_fields__) | set(config_class.attribute_map)
    own = OVERRIDES.get(model_type, {})
    wanted = {**TINY, **own, **changes}
    values = {key: value for key, value in wanted.items() if (key in fields or key in own) and value is not None}
    for alias, name in config_class.attribute_map.items():  # a class sets an alias after its own rules: use its name
        if alias in values:
            value = values.pop(alias)
            values[name if name in config_class.__dataclass_fields__ else alias] = value
    if model_type == "moonshine":  # its class gives the decoder the encoder's heads, and runs with one number only
        heads = values["decoder_num_attention_heads"]
        names = ("encoder_num_attention_heads", "encoder_num_key_value_heads", "decoder_num_key_value_heads")
        values |= dict.fromkeys(names, heads)
    if "is_decoder" in fields and not config_class.is_encoder_decoder:
        values["is_decoder"] = True
    return values


def random_changes(model_type: str, seed: int) -> list[dict[str, Any]]:
    """A random configuration's changes, and the same with ever fewer of them."""
    chance = random.Random(f"{model_type} {seed}")
    changes = {key: chance.choice(values) for key, values in RANDOM.items() if key not in OVERRIDES.get(model_type, {})}
    tries = [changes]
    for share in (0.6, 0.4, 0.25, 0.15, 0.1):
        tries.append({key: value for key, value in changes.items() if chance.random() < share})
    return tries


def sub_config_class(model_type: str) -> Any:
    """The class of a language part that has no type of its own."""
    whole = CONFIG_MAPPING[WHOLE[model_type]]()
    return type(whole.get_text_config(decoder=True))


def whole_values(model_type: str, **changes: Any) -> dict[str, Any]:
    """A config.json: the language part, or the whole model around it."""
    values = tiny_values(model_type, **changes)
    if model_type not in WHOLE:
        return {"model_type": model_type, **values}
    if model_type == "t5_gemma_module":
        return {"model_type": "t5gemma", "encoder": {**values, "num_hidden_layers": 1}, "decoder": values}
    if model_type == "t5gemma2_decoder":
        vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        encoder = {"text_config": {**values, "num_hidden_layers": 1}, "vision_config": {**vision, "image_size": 28}}
        return {"model_type": "t5gemma2", "encoder": encoder, "decoder": values, "image_token_index": 100}
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_global_layers": 1, "attention_heads": 2, "patch_size": 7}
    vision |= {"intermediate_size": 32, "image_size": 14, "max_num_tiles": 2, "vision_output_dim": 64}
    vision |= {"intermediate_layers_indices": [0], "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]]}
    return {"model_type": "mllama", "text_config": values, "vision_config": vision}


def tiny_config(model_type: str, **changes: Any) -> Any:
    """A small config object of a language part's class, or of the whole model that it runs in."""
    values = whole_values(model_type, **changes)
    with quiet():
        return CONFIG_MAPPING[values.pop("model_type")](**values)


def small_model(config: Any) -> Any:
    """The model of a config with random weights."""
    torch.manual_seed(0)
    with quiet():
        with torch.device("meta"):
            size = sum(parameter.numel() for parameter in build(config).parameters())
        if size > LARGEST_MODEL:
            raise ValueError(f"too large to run: {size:,} parameters")
        # The state dtypes matter: a bfloat16 model shows which states stay float32.
        return build(config, dtype=dtype_of(config)).eval()


def dtype_of(config: Any) -> torch.dtype:
    """What the model computes in."""
    return torch.float32 if config.model_type in FLOAT32_TYPES else torch.bfloat16


def build(config: Any, **options: Any) -> Any:
    """The model of a language part, without a head if there is such a class."""
    if config.model_type in CLASSES:
        return getattr(transformers, CLASSES[config.model_type])._from_config(config, **options)
    if config.model_type in EAGER_TYPES:
        options["attn_implementation"] = "eager"
    if type(config) in transformers.MODEL_MAPPING and config.model_type not in UNLISTED_TYPES:
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


CACHE_NAMES = ("past_key_values", "cache", "cache_params", "state", "mems", "past_buckets_states")
"""What classes call the cache in their output."""


def run(model: Any, config: Any, prompt: int, cache: Any = None) -> Iterator[Any]:
    """The cache after a prompt, and again after one more token. None where the class keeps none.

    Args:
        cache: an empty cache to fill; the class makes its own where None.
    """
    tokens = tokens_for(config, prompt + 1)
    options = inputs_beside(model, config)
    name, now = ("decoder_input_ids" if "encoder_outputs" in options else "input_ids"), tokens[:, :prompt]
    given = {} if cache is None else {cache_argument(model): cache}
    output = model(**{name: now}, use_cache=True, **given, **options)
    if config.model_type == "recurrent_gemma":
        yield (cache, model)
        model(input_ids=tokens[:, prompt:], use_cache=True, **given)
        yield (cache, model)
        return
    argument = next((name for name in CACHE_NAMES if output.get(name) is not None), None)
    names = inspect.signature(model.forward).parameters
    if argument is None and cache is None and {"past_key_values", "cache"} & names.keys():
        yield from run(model, config, prompt, empty_cache(config))  # as `generate` does
        return
    if argument is None:
        yield None
        yield None
        return
    yield output[argument]
    rest = tokens if config.model_type == "cpmant" else tokens[:, prompt:]
    given = {argument if argument in names else cache_argument(model): output[argument]}
    options.pop("pixel_values", None)  # an image is read once
    yield model(**{name: rest}, use_cache=True, **given, **options)[argument]


def empty_cache(config: Any) -> Any:
    """What `generate` makes where the class makes none by itself."""
    own = transformers.DynamicCache(config=config)
    if getattr(config, "is_encoder_decoder", False):
        return transformers.EncoderDecoderCache(own, transformers.DynamicCache(config=config))
    return own


def cache_argument(model: Any) -> str:
    """What the class's forward calls the cache."""
    names = inspect.signature(model.forward).parameters
    return next((name for name in CACHE_NAMES if name in names), "past_key_values")


def tokens_for(config: Any, length: int) -> torch.Tensor:
    """Random token ids in the shape that the class takes: some take several codebooks at once."""
    if config.model_type in ("musicgen_decoder", "musicgen_melody_decoder"):
        return torch.randint(3, 100, (BATCH * config.num_codebooks, length))
    if config.model_type == "dia_decoder":
        return torch.randint(3, 100, (BATCH, length, config.num_channels))
    if config.model_type == "kyutai_speech_to_text":
        return torch.randint(3, 20, (BATCH, length, config.num_codebooks + 1))
    return torch.randint(3, 100, (BATCH, length))


def inputs_beside(model: Any, config: Any) -> dict[str, Any]:
    """What a class wants beside tokens. An encoder's output is made up: what the decoder caches of it does not depend
    on how it came about."""
    names = inspect.signature(model.forward).parameters
    text = config.get_text_config(decoder=True)
    if getattr(config, "is_encoder_decoder", False):
        width = getattr(config, "cross_hidden_size", text.hidden_size)
        hidden = torch.rand(BATCH, ENCODER_TOKENS, width, dtype=dtype_of(config))
        if "encoder_outputs" in names:
            options: dict[str, Any] = {"encoder_outputs": EncoderOutput(last_hidden_state=hidden)}
            if config.model_type == "fsmt":  # has no default for the encoder's tokens
                options["input_ids"] = torch.ones(BATCH, ENCODER_TOKENS, dtype=torch.long)
            return options
        return {"encoder_hidden_states": hidden}
    if config.model_type == "mllama":
        vision = config.vision_config
        shape = (BATCH, 1, vision.max_num_tiles, vision.num_channels, vision.image_size, vision.image_size)
        return {
            "pixel_values": torch.rand(*shape, dtype=torch.bfloat16),
            "aspect_ratio_ids": torch.ones(BATCH, 1, dtype=torch.long),
            "aspect_ratio_mask": torch.ones(BATCH, 1, vision.max_num_tiles, dtype=torch.long),
        }
    if config.model_type == "idefics":
        vision = config.vision_config
        embeddings = torch.rand(BATCH, 1, 5, vision.embed_dim, dtype=torch.bfloat16)
        return {"image_encoder_embeddings": embeddings, "image_attention_mask": torch.ones(BATCH, 1, 1)}
    if config.model_type == "voxtral_realtime_text":  # the delay that it transcribes with
        return {"t_cond": torch.rand(1, 1, text.hidden_size, dtype=torch.bfloat16)}
    return {}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    transformers.logging.set_verbosity(50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
