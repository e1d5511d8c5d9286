"""A class of a repo's own code, which neither an engine nor transformers has: the figures stand, "fits" does not."""

from __future__ import annotations

from typing import Any

import pytest

import inspector
from inspector.engines.sglang import loads as sglang
from inspector.engines.vllm import loads as vllm
from inspector.model.architecture import read_architecture
from tests.case_files import lay_out

OWN: dict[str, Any] = {
    "architectures": ["OfTheReposOwnCode"],
    "model_type": "of_the_repo",
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
LAYER = "model.layers.{0-1}."
TENSORS = {
    "model.embed_tokens.weight": [1000, 256],
    "model.norm.weight": [256],
    f"{LAYER}{{input,post_attention}}_layernorm.weight": [256],
    f"{LAYER}self_attn.{{q,o}}_proj.weight": [256, 256],
    f"{LAYER}self_attn.{{k,v}}_proj.weight": [128, 256],
    f"{LAYER}mlp.{{gate,up}}_proj.weight": [512, 256],
    f"{LAYER}mlp.down_proj.weight": [256, 512],
}


@pytest.mark.parametrize(
    ("models", "by_vllm", "by_sglang"),
    [
        ((), "refused", "refused"),
        (("AutoConfig",), "refused", "refused"),
        (("AutoModelForCausalLM",), "unsure", "refused"),  # SGLang asks for AutoModel
        (("AutoModel", "AutoModelForCausalLM"), "unsure", "unsure"),
    ],
)
def test_what_runs_only_by_the_repos_own_code_is_refused_or_unsure(
    models: tuple[str, ...], by_vllm: str, by_sglang: str
) -> None:
    shape = read_architecture(OWN | {"auto_map": dict.fromkeys(models, "modeling.OfTheReposOwnCode")})
    told = (vllm.why_not_loaded(shape, vllm.NEWEST), vllm.why_unsure(shape, vllm.NEWEST))
    assert ("refused" if told[0] else "unsure" if told[1] else "loaded") == by_vllm
    told = (sglang.why_not_loaded(shape), sglang.why_unsure(shape))
    assert ("refused" if told[0] else "unsure" if told[1] else "loaded") == by_sglang


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPTNeoXForCausalLM", "ChatGLMModel", "DeepseekForCausalLM"])
def test_a_class_that_either_has_is_sure(name: str) -> None:
    shape = read_architecture(OWN | {"architectures": [name], "auto_map": {"AutoModel": "modeling.X"}})
    assert vllm.why_unsure(shape, vllm.NEWEST) is None


def test_the_figures_are_told_and_no_fit(tmp_path: Any) -> None:
    files = {
        "config.json": {"json": OWN | {"auto_map": {"AutoModelForCausalLM": "modeling.OfTheReposOwnCode"}}},
        "model.safetensors": {"tensors": {"BF16": TENSORS}},
    }
    found = inspector.inspect(lay_out(files, tmp_path / "own"), gpus=["L4"], engine="vllm", context=4096)
    [verdict], [serving] = found.fits, found.servings
    assert verdict.fits is None
    assert serving.request_bytes == 2 * 2 * 128 * 2 * 4096
    assert verdict.notes[0].startswith("vLLM 0.33 has no OfTheReposOwnCode: whether its backend for transformers")
    assert inspector.fit(tmp_path / "own", gpu="0.5GiB", engine="vllm", context=4096).fits is False
