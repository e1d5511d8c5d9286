"""Small models of many types, as transformers writes them: configs and tensors' names and shapes, for ggml_recipes.py.

python tests/oracles/ggml_tiny_models.py > tests/memory/data/ggml_tiny_models.json
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

from inspector.hub.cache.snapshot import encode
from inspector.hub.checkpoint import Checkpoint, Tensor

SIZES = {
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 16,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
    "head_dim": 64,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}
MIXTURE = {
    "num_experts": 16,
    "num_local_experts": 16,
    "n_routed_experts": 16,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
    "n_shared_experts": 1,
    "moe_num_experts": 16,
    "moe_k": 2,
    "moe_num_shared_experts": 1,
}
LATENTS = {
    "kv_lora_rank": 256,
    "q_lora_rank": 256,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 8,
    "head_dim": None,
}
BLOOM = {"num_key_value_heads": None, "n_layer": 8}
GPT = {"n_embd": 512, "n_layer": 8, "n_head": 8, "n_inner": 2048, "n_positions": 512}
MODELS: dict[str, dict[str, Any]] = {
    **{
        kind: {}
        for kind in ("arcee", "cohere", "cohere2", "ernie4_5", "exaone4", "gemma", "gemma3_text", "glm", "glm4")
    },
    **{kind: {} for kind in ("granite", "hunyuan_v1_dense", "mistral", "nemotron", "olmo", "olmo2", "olmo3")},
    **{kind: {} for kind in ("qwen3_5_text", "seed_oss", "smollm3", "stablelm", "starcoder2")},
    **dict.fromkeys(("dots1", "ernie4_5_moe", "glm4_moe", "granitemoe", "minimax_m2", "olmoe"), MIXTURE),
    **dict.fromkeys(("qwen2_moe", "qwen3_5_moe_text"), MIXTURE),
    "deepseek_v2": MIXTURE | LATENTS,
    "bloom": BLOOM,
    "gpt_bigcode": GPT,
}
OLD_KEYS = {"cohere2": {"rotary_pct": 1.0}, "minimax_m2": {"rotary_dim": 32}}
"""What published configs have and the converter reads, but transformers 5 no longer writes."""


def snapshot(kind: str) -> dict[str, Any]:
    """The model's config and tensors, as `save_pretrained` writes them."""
    from transformers import AutoConfig, AutoModelForCausalLM

    known = AutoConfig.for_model(kind).to_dict()
    wanted = {**SIZES, **MODELS[kind]}
    keys = [
        key for key, value in wanted.items() if value is not None and (key in known or key == "num_key_value_heads")
    ]
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **{key: wanted[key] for key in keys}), dtype="bfloat16"
    )
    tensors = []
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = json.loads((Path(folder) / "config.json").read_bytes())
        for path in sorted(Path(folder).glob("*.safetensors")):
            raw = path.read_bytes()
            header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
            header.pop("__metadata__", None)
            tensors += [Tensor(name, entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()]
    config = {key: value for key, value in config.items() if value is not None} | OLD_KEYS.get(kind, {})
    return encode(Checkpoint(f"tiny/{kind}", None, "bundled", config, tuple(sorted(tensors))))


def main() -> None:
    import transformers

    rows = []
    for kind in sorted(MODELS):
        print(kind, file=sys.stderr)
        rows.append(json.dumps(snapshot(kind)))
    about = {"made_by": "tests/oracles/ggml_tiny_models.py", "transformers": transformers.__version__}
    body = ",\n  ".join(rows)
    print(f'{{"about": {json.dumps(about)},\n "snapshots": [\n  {body}\n]}}')


if __name__ == "__main__":
    main()
