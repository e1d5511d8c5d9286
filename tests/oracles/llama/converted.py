"""What llama.cpp's converter writes of transformers' configs: the metadata of each, for real.py.

    tar xzf llama_cpp_python-*.tar.gz      # the source distribution has llama.cpp's converter and its gguf-py
    python tests/oracles/llama/converted.py llama_cpp_python-*/vendor/llama.cpp > CONVERTED.jsonl

Needs torch and transformers. A line is {"class", "config", "metadata"}, or "error" where the converter fails. Configs
are the defaults of transformers' classes, one for each class that the converter registers and transformers has. No
tensor is written: set_gguf_parameters alone is asked, and the vocabulary is a stand-in.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

VOCABULARY = 128


def config_of(name: str) -> dict[str, Any] | None:
    """The default config of the class's type, as transformers would save it; None where it has no such class."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        MODEL_MAPPING_NAMES,
    )

    for names in (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, MODEL_MAPPING_NAMES):
        for model_type, classes in names.items():
            if name == classes or (isinstance(classes, (tuple, list)) and name in classes):
                made = CONFIG_MAPPING[model_type]()
                return {
                    **json.loads(made.to_json_string(use_diff=False)),
                    "architectures": [name],
                    "model_type": model_type,
                }
    found = getattr(transformers, name, None)
    kind = getattr(found, "config_class", None)
    if kind is None:
        return None
    return {**json.loads(kind().to_json_string(use_diff=False)), "architectures": [name], "model_type": kind.model_type}


def metadata_of(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The converter's metadata for a config."""
    import conversion
    import gguf

    (folder / "config.json").write_text(json.dumps(config))
    hparams = conversion.ModelBase.load_hparams(folder, False)
    name = conversion.get_model_architecture(hparams, conversion.ModelType.TEXT)
    kind: Any = conversion.get_model_class(name)
    kind.no_mtp = True
    made = kind(folder, gguf.LlamaFileType.MOSTLY_F16, folder / "model.gguf")
    made.set_gguf_parameters()
    values: dict[str, Any] = {}
    for part in made.gguf_writer.kv_data:
        for key, entry in part.items():
            value = entry.value.tolist() if hasattr(entry.value, "tolist") else entry.value
            if value is not None:
                values[key] = float(value) if entry.type == gguf.GGUFValueType.FLOAT32 else value
    arch = gguf.MODEL_ARCH_NAMES[made.model_arch]
    words = [f"t{index}" for index in range(VOCABULARY)]
    return {
        "general.architecture": arch,
        **{key: value for key, value in values.items() if key.startswith((f"{arch}.", "xielu."))},
        f"{arch}.vocab_size": VOCABULARY,
        "tokenizer.ggml.model": "test",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.scores": [0.0] * VOCABULARY,
        "tokenizer.ggml.token_type_count": 2,
    }


def main(source: Path) -> None:
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    import conversion

    logging.disable(logging.CRITICAL)
    conversion.load_all_models()
    conversion.ModelBase.index_tensors = lambda *_, **__: {}
    for name in sorted(conversion.TEXT_MODEL_MAP):
        try:
            config = config_of(name)
        except Exception as error:
            print(json.dumps({"class": name, "error": f"no default config: {type(error).__name__}: {error}"[:200]}))
            continue
        if config is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                line = {"class": name, "config": config, "metadata": metadata_of(config, Path(folder))}
            except Exception as error:
                line = {"class": name, "config": config, "error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(line, default=str), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
