"""A config's sizes against the tensors that show them: each difference has a note, and what fits has none."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.model.build import build_model
from inspector.model.lint import evaluate
from inspector.model.model import Model
from tests.model.test_class_sample import BUILDS

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_hidden_layers": 2,
    "vocab_size": 100,
    "tie_word_embeddings": False,
}


def llama(**changes: Any) -> Model:
    """A Llama's files, under a config with changes."""
    layer = {
        "self_attn.q_proj": (128, 64),
        "self_attn.k_proj": (32, 64),
        "self_attn.v_proj": (32, 64),
        "self_attn.o_proj": (64, 128),
        "mlp.gate_proj": (96, 64),
        "mlp.up_proj": (96, 64),
        "mlp.down_proj": (64, 96),
        "input_layernorm": (64,),
        "post_attention_layernorm": (64,),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (100, 64), "model.norm": (64,), "lm_head": (100, 64)}
    shapes |= {f"model.layers.{index}.{name}": shape for index in range(2) for name, shape in layer.items()}
    tensors = tuple(Tensor(f"{name}.weight", "BF16", shape) for name, shape in shapes.items())
    return build_model(Checkpoint("a/b", None, "local", {**LLAMA, **changes}, tensors))


def test_a_config_that_fits_its_files_has_no_note() -> None:
    model = llama()
    assert model.parameters.exact
    assert model.architecture.exact
    assert not model.parameters.notes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 32),
        ("intermediate_size", 192),
        ("num_attention_heads", 4),
        ("num_key_value_heads", 4),
        ("head_dim", 8),
        ("num_hidden_layers", 3),
        ("vocab_size", 128),
    ],
)
def test_a_size_that_is_not_the_tensors_has_a_note_that_names_both(key: str, value: int) -> None:
    model = llama(**{key: value})
    assert not (model.parameters.exact and model.architecture.exact)
    notes = [note for note in (*model.parameters.notes, *model.architecture.notes) if key in note]
    assert any("weight" in note for note in notes) or key == "num_hidden_layers", notes


def test_a_config_that_was_cut_short_has_a_note_on_the_layers_that_are_not_loaded() -> None:
    notes = llama(num_hidden_layers=1).parameters.notes
    assert "config.json says 1 layers; the files hold 2: those beyond are not loaded" in notes


def test_shared_experts_are_as_wide_as_so_many_of_the_routed_ones() -> None:
    config = {"model_type": "kimi_linear", "architectures": ["KimiLinearForCausalLM"], "moe_intermediate_size": 24}
    shapes = {"up_proj": (48, 64), "gate_proj": (48, 64), "down_proj": (64, 48)}
    tensors = [Tensor("model.embed_tokens.weight", "BF16", (100, 64))]
    front = "model.layers.1.block_sparse_moe.shared_experts"
    tensors += [Tensor(f"{front}.{name}.weight", "BF16", shape) for name, shape in shapes.items()]

    def notes(shared: int) -> str:
        checkpoint = Checkpoint("a/b", None, "local", {**config, "num_shared_experts": shared}, tuple(tensors))
        return " ".join(build_model(checkpoint).parameters.notes)

    assert "config.json's num_shared_experts*moe_intermediate_size is 24" in notes(1)
    assert "num_shared_experts" not in notes(2)


def test_the_parts_of_a_vision_language_model_are_compared_too() -> None:
    build = next(build for build in BUILDS if build["class"] == "LightOnOcrForConditionalGeneration")
    config = build["config"]
    wide = {**config, "vision_config": {**config["vision_config"], "intermediate_size": 77}}
    found = build_model(Checkpoint("a/b", None, "local", wide, decode_tensors(build["tensors"]))).parameters
    assert not found.exact
    assert any("vision_config.intermediate_size is 77" in note for note in found.notes)


def test_no_real_class_of_the_sample_has_a_wrong_size() -> None:
    for build in BUILDS:
        found = build_model(Checkpoint("a/b", None, "local", build["config"], decode_tensors(build["tensors"])))
        assert not [note for note in found.parameters.notes if "config.json's" in note], build["class"]


def test_an_expression_of_keys_has_the_value_that_arithmetic_gives() -> None:
    values = {"heads": 8, "text.dim": 16, "more": 4}
    assert evaluate("heads*(text.dim+more)", values.get) == 160
    assert evaluate("heads*text.dim//more", values.get) == 32
    assert evaluate("heads*missing", values.get) is None
    assert evaluate("heads//0", values.get) is None


@pytest.mark.parametrize("multi_query", [True, False])
def test_fused_projections_with_and_without_multi_query_are_no_wrong_size(multi_query: bool) -> None:
    config = {"model_type": "gpt_bigcode", "architectures": ["GPTBigCodeForCausalLM"], "multi_query": multi_query}
    config |= {"n_layer": 1, "n_embd": 64, "n_head": 4, "vocab_size": 100, "n_positions": 32}
    shapes = {"wte.weight": (100, 64), "wpe.weight": (32, 64), "ln_f.weight": (64,)}
    shapes |= {"h.0.attn.c_attn.weight": (96 if multi_query else 192, 64), "h.0.attn.c_proj.weight": (64, 64)}
    tensors = tuple(Tensor(f"transformer.{name}", "BF16", shape) for name, shape in shapes.items())
    assert not build_model(Checkpoint("a/b", None, "local", config, tensors)).parameters.notes
