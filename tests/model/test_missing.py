"""Modules that a class has with a config and no file holds: a note names each, and nothing is said of what is whole."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.model.build import build_model
from inspector.model.model import Parameters

MOE: dict[str, Any] = {
    "model_type": "cohere2_moe",
    "architectures": ["Cohere2MoeForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_hidden_layers": 2,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "vocab_size": 100,
}
"""A mixture of experts, which has no shared ones unless the config says so."""


def files(**layer: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The tensors of that config, and in each layer these."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (100, 64), "model.norm.weight": (64,)}
    whole = {"input_layernorm": (64,), "mlp.gate": (4, 64)}
    whole |= {"self_attn.q_proj": (64, 64), "self_attn.o_proj": (64, 64)}
    whole |= {"self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64)}
    for expert in range(4):
        whole |= {f"mlp.experts.{expert}.{name}_proj": (32, 64) for name in ("gate", "up")}
        whole[f"mlp.experts.{expert}.down_proj"] = (64, 32)
    for index in range(2):
        for name, shape in {**whole, **layer}.items():
            found[f"model.layers.{index}.{name}.weight"] = shape
    return found


def counted(shapes: dict[str, tuple[int, ...]], **changes: Any) -> Parameters:
    tensors = tuple(Tensor(name, "BF16", shape) for name, shape in shapes.items())
    return build_model(Checkpoint("a/b", None, "local", {**MOE, **changes}, tensors)).parameters


def test_files_that_hold_what_their_class_has_give_no_note() -> None:
    assert counted(files()).exact
    assert not counted(files()).notes
    shared = {f"mlp.shared_experts.{name}_proj": (32, 64) for name in ("gate", "up")}
    whole = counted(files(**shared, **{"mlp.shared_experts.down_proj": (64, 32)}), num_shared_experts=1)
    assert whole.exact
    assert not whole.notes


def test_a_module_that_the_config_asks_for_and_no_file_holds_is_named() -> None:
    model = counted(files(), num_shared_experts=1)
    assert not model.exact
    assert any("the files hold no model.layers.{}.mlp.shared_experts, which" in note for note in model.notes)


def test_biases_that_a_switch_asks_for_are_missed() -> None:
    notes = counted(files(), attention_bias=True).notes
    assert any("no tensor model.layers.{}.self_attn.q_proj.bias" in note for note in notes)


def test_a_module_that_some_layers_have_and_others_have_not_is_named_with_those_layers() -> None:
    shapes = {name: shape for name, shape in files().items() if name != "model.layers.1.mlp.gate.weight"}
    model = counted(shapes)
    assert not model.exact
    assert any("no model.layers.{}.mlp.gate.weight in layer 1, where" in note for note in model.notes)


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.something.weight", "model.another.weight"])
def test_files_with_names_that_nobody_knows_may_call_it_otherwise(name: str) -> None:
    model = counted({**files(), name: (64,)}, num_shared_experts=1)
    assert not model.exact
    assert not any("made anew" in note for note in model.notes)


def test_what_files_hold_and_the_config_does_not_ask_for_is_named() -> None:
    biases = {f"self_attn.{name}_proj.bias": (rows,) for name, rows in (("q", 64), ("k", 32), ("v", 32), ("o", 64))}
    shapes = files() | {f"model.layers.{at}.{name}": shape for at in range(2) for name, shape in biases.items()}
    assert counted(shapes, attention_bias=True).exact
    model = counted(shapes)
    assert not model.exact
    assert any("self_attn.q_proj.bias and 3 more" in note and "not loaded" in note for note in model.notes)


def test_a_kind_of_layer_that_a_class_has_not_asks_for_nothing() -> None:
    """Qwen3-Next's layers are linear or full: one that is called sliding has neither's tensors."""
    config = {"model_type": "qwen3_next", "architectures": ["Qwen3NextModel"], "num_hidden_layers": 1}
    names = ("embed_tokens", "norm", "layers.0.input_layernorm", "layers.0.post_attention_layernorm")

    def notes(kind: str) -> str:
        tensors = tuple(Tensor(f"{name}.weight", "BF16", (2048,)) for name in names)
        changed = {**config, "layer_types": [kind]}
        return " ".join(build_model(Checkpoint("a/b", None, "local", changed, tensors)).parameters.notes)

    assert "no layers.{}.self_attn" in notes("full_attention")
    assert "self_attn" not in notes("sliding_attention")
