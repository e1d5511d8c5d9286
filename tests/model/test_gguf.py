"""Parameters of GGUF files, by llama.cpp's tensor names."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.hub import Checkpoint, Tensor
from inspector.model import Parameters, build_model
from inspector.model.parameters.gguf import locate


@pytest.mark.parametrize(
    ("name", "component", "layer"),
    [
        ("token_embd.weight", "embedding", None),
        ("token_embd_norm.weight", "norm", None),
        ("position_embd.weight", "embedding", None),
        ("output.weight", "head", None),
        ("output_norm.weight", "norm", None),
        ("rope_freqs.weight", "buffer", None),
        ("blk.0.attn_q.weight", "attention", 0),
        ("blk.12.attn_q.bias", "attention", 12),
        ("blk.3.attn_k_norm.weight", "norm", 3),
        ("blk.3.attn_kv_a_mqa.weight", "attention", 3),
        ("blk.3.attn_kv_a_norm.weight", "norm", 3),
        ("blk.3.attn_sinks.weight", "attention", 3),
        ("blk.3.post_ffw_norm.weight", "norm", 3),
        ("blk.3.ffn_down.weight", "mlp", 3),
        ("blk.3.ffn_gate_inp.weight", "router", 3),
        ("blk.3.ffn_gate_inp_shexp.weight", "router", 3),
        ("blk.3.exp_probs_b.bias", "buffer", 3),
        ("blk.3.ffn_up_exps.weight", "experts", 3),
        ("blk.3.ffn_up_exps.bias", "experts", 3),
        ("blk.3.ffn_gate.7.weight", "experts", 3),
        ("blk.3.ffn_up_shexp.weight", "shared_experts", 3),
        ("blk.3.ssm_a", "linear_attention", 3),
        ("blk.3.ssm_conv1d.weight", "linear_attention", 3),
        ("blk.3.ssm_norm.weight", "norm", 3),
        ("blk.3.shortconv.conv.weight", "linear_attention", 3),
        ("blk.3.time_mix_key.weight", "linear_attention", 3),
        ("blk.3.attn_q.scale", "overhead", 3),
        ("blk.3.nextn.eh_proj.weight", "mtp", 3),
        ("dec.blk.2.cross_attn_q.weight", "attention", 2),
        ("enc.blk.2.ffn_up.weight", "mlp", 2),
        ("enc.output_norm.weight", "norm", None),
        ("v.blk.4.attn_q.weight", "vision", None),
        ("mm.0.weight", "projector", None),
        ("somebody.elses", None, None),
    ],
)
def test_names_are_told_apart(name: str, component: str | None, layer: int | None) -> None:
    place = locate(name)
    assert (place.component, place.layer) == (component, layer)


def count(tensors: dict[str, tuple[str, tuple[int, ...]]], **config: Any) -> Parameters:
    config = {"model_type": "llama", "num_hidden_layers": 2, **config}
    listed = tuple(Tensor(name, dtype, shape) for name, (dtype, shape) in tensors.items())
    return build_model(Checkpoint("org/name", None, "hub", config, listed, format="gguf")).parameters


HEAD = {
    "token_embd.weight": ("Q6_K", (512, 256)),
    "output.weight": ("Q6_K", (512, 256)),
    "rope_freqs.weight": ("F32", (16,)),
}
LAYERS = {f"blk.{i}.attn_q.weight": ("Q4_K", (256, 256)) for i in range(2)}


def test_a_small_model_by_component_layer_and_type() -> None:
    found = count(HEAD | LAYERS)
    assert (found.total, found.active, found.exact, found.buffers) == (393_216, 393_216, True, 16)
    assert found.by_component == {"embedding": 131_072, "head": 131_072, "attention": 131_072}
    assert found.by_layer == (65_536, 65_536)
    assert found.bytes_by_layer == (256 * 144, 256 * 144)
    assert found.by_dtype == {"Q6_K": 262_144, "Q4_K": 131_072}
    assert found.stored_bytes == 2 * 512 * 210 + 2 * 256 * 144 + 64


def test_a_head_that_is_not_in_the_file_is_tied() -> None:
    found = count({name: shape for name, shape in HEAD.items() if name != "output.weight"} | LAYERS)
    assert found.by_component == {"embedding": 131_072, "attention": 131_072}
    assert found.exact


@pytest.mark.parametrize("config", [{"tie_word_embeddings": True}, {"model_type": "gpt2"}])
def test_a_head_that_the_class_ties_is_a_duplicate(config: dict[str, Any]) -> None:
    found = count(HEAD | LAYERS, **config)
    assert found.stored_only == {"duplicate_head": 131_072}
    assert found.total == 262_144


def test_layers_for_multi_token_prediction_are_set_apart() -> None:
    extra = {"blk.2.attn_q.weight": ("Q4_K", (256, 256)), "blk.2.nextn.eh_proj.weight": ("Q4_K", (256, 512))}
    found = count(HEAD | LAYERS | extra)
    assert found.stored_only == {"mtp": 196_608}
    assert (found.total, len(found.by_layer)) == (393_216, 2)


def test_experts_that_a_token_is_not_sent_to_are_not_active() -> None:
    experts = {f"blk.{i}.ffn_up_exps.weight": ("Q4_K", (8, 256, 256)) for i in range(2)}
    found = count(LAYERS | experts, model_type="mixtral", num_local_experts=8, num_experts_per_tok=2)
    assert found.total - found.active == 2 * 6 * 65_536


def test_a_layer_beyond_the_configs_last_leaves_no_table_by_layer() -> None:
    found = count(LAYERS, num_hidden_layers=1)
    assert (found.total, found.by_layer) == (131_072, ())


def test_unknown_names_count_and_are_said() -> None:
    found = count(LAYERS | {"strange.weight": ("F32", (4,))})
    assert (found.total, found.exact) == (131_076, False)
    assert "strange.weight" in found.notes[0]


def test_the_halves_of_a_matrix_that_is_there_whole_do_not_count() -> None:
    latent = {
        "blk.0.attn_kv_b.weight": ("Q4_K", (512, 256)),
        "blk.0.attn_k_b.weight": ("Q4_K", (256, 256)),
        "blk.0.attn_v_b.weight": ("Q4_K", (256, 256)),
    }
    found = count(latent, model_type="deepseek_v3")
    assert (found.total, found.stored_only) == (131_072, {"other": 131_072})
    del latent["blk.0.attn_kv_b.weight"]
    assert count(latent, model_type="deepseek_v3").total == 131_072
