"""What names tell: groups, components, layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.hub.cache.snapshot import split_name
from inspector.hub.checkpoint import Tensor
from inspector.model.parameters.names import component, decoder_stack, group_tensors, stack


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("transformer.wpe.weight", "embedding"),
        ("shared.weight", "embedding"),
        ("lm_head.weight", "head"),
        ("embed_out.weight", "head"),
        ("cls.predictions.bias", "head"),
        ("model.norm.weight", "norm"),
        ("embeddings.LayerNorm.weight", "norm"),
        ("model.layers.{}.self_attn.q_norm.weight", "norm"),
        ("transformer.h.{}.ln_1.bias", "norm"),
        ("model.layers.{}.self_attn.q_proj.weight", "attention"),
        ("model.layers.{}.self_attn.sinks", "attention"),
        ("transformer.h.{}.attn.c_proj.weight", "attention"),
        ("encoder.layer.{}.attention.output.dense.weight", "attention"),
        ("encoder.layer.{}.output.dense.weight", "mlp"),
        ("encoder.layer.{}.intermediate.dense.bias", "mlp"),
        ("model.decoder.layers.{}.fc1.weight", "mlp"),
        ("decoder.block.{}.layer.{}.DenseReluDense.wi_0.weight", "mlp"),
        ("decoder.block.{}.layer.{}.SelfAttention.q.weight", "attention"),
        ("decoder.block.{}.layer.{}.EncDecAttention.q.weight", "cross_attention"),
        ("model.decoder.layers.{}.encoder_attn.k_proj.weight", "cross_attention"),
        ("model.decoder.layers.{}.encoder_attn_layer_norm.weight", "norm"),
        ("bert.encoder.layer.{}.crossattention.self.query.weight", "cross_attention"),
        ("transformer.h.{}.crossattention.q_attn.weight", "cross_attention"),
        ("model.language_model.layers.{}.cross_attn.q_proj.weight", "cross_attention"),
        ("encoder.block.{}.layer.{}.LocalSelfAttention.q.weight", "attention"),
        ("model.layers.{}.mixer.q_proj.weight", "attention"),  # Nemotron-H: attention, MLP or Mamba under one name
        ("model.layers.{}.mixer.down_proj.weight", "mlp"),
        ("model.layers.{}.mixer.in_proj.weight", "linear_attention"),
        ("model.layers.{}.mixer.experts.{}.up_proj.weight", "experts"),
        ("model.layers.{}.temporal_block.o_proj.weight", "attention"),
        ("model.layers.{}.temporal_block.linear_x.weight", "linear_attention"),
        ("model.layers.{}.block_sparse_moe.input_linear.weight", "experts"),  # Granite: all experts in one
        ("model.layers.{}.block_sparse_moe.down_proj.weight", "mlp"),  # Kimi Linear's dense layers
        ("model.layers.{}.moe.down_proj.weight", "experts"),  # Step 3.7
        ("model.layers.{}.moe.gate.weight", "router"),
        ("proj_out.weight", "head"),
        ("decoder.output_projection.weight", "head"),
        ("classification_head.dense.weight", "head"),
        ("model.layers.{}.per_layer_input_gate.weight", "embedding"),
        ("feature_projection.projection.weight", "audio"),
        ("encoder.stages.{}.layers.{}.layer.{}.convolution.weight", "convolution"),
        ("encoder.stages.{}.layers.{}.layer.{}.bn1.weight", "norm"),
        ("model.hc_head.hc_fn", "other"),
        ("model.layers.{}.linear_attn.A_log", "linear_attention"),
        ("backbone.layers.{}.mixer.in_proj.weight", "linear_attention"),
        ("model.layers.{}.mlp.gate_proj.weight", "mlp"),
        ("model.layers.{}.mlp.gate.weight", "router"),
        ("model.layers.{}.mlp.router.bias", "router"),
        ("model.layers.{}.block_sparse_moe.gate.weight", "router"),
        ("model.layers.{}.mlp.shared_expert_gate.weight", "router"),
        ("model.layers.{}.mlp.experts.{}.up_proj.weight", "experts"),
        ("model.layers.{}.mlp.experts.gate_up_proj", "experts"),
        ("model.layers.{}.mlp.experts.gate_up_proj_bias", "experts"),
        ("model.layers.{}.mlp.shared_experts.up_proj.weight", "shared_experts"),
        ("vision_tower.vision_model.encoder.layers.{}.self_attn.q_proj.weight", "vision"),
        ("model.visual.blocks.{}.attn.qkv.weight", "vision"),
        ("audio_tower.layers.{}.fc1.weight", "audio"),
        ("multi_modal_projector.linear_1.weight", "projector"),
        ("something.else", "other"),
    ],
)
def test_component(template: str, expected: str) -> None:
    assert component(template) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("model.layers.{}.mlp.experts.{}.up_proj.weight", "model.layers"),
        ("h.{}.ln_1.weight", "h"),
        ("decoder.block.{}.layer.{}.SelfAttention.q.weight", "decoder.block"),
        ("model.norm.weight", None),
        ("classifier.{}.weight", None),
    ],
)
def test_stack(template: str, expected: str | None) -> None:
    assert stack(template) == expected


def test_the_decoder_stack_is_the_language_parts() -> None:
    def names(*fronts: str) -> list[Tensor]:
        return [Tensor(f"{front}.0.self_attn.q_proj.weight", "F32", (len(front), 1)) for front in fronts]

    assert decoder_stack(group_tensors(names("vision_tower.encoder.layers", "model.layers"))) == "model.layers"
    assert decoder_stack(group_tensors(names("encoder.block", "decoder.block"))) == "decoder.block"
    assert decoder_stack(group_tensors(names("model.layers", "mtp.layers"))) == "model.layers"
    assert decoder_stack(group_tensors(names("encoder.layer"))) == "encoder.layer"
    assert decoder_stack(group_tensors([Tensor("a", "F32", (1,))])) is None


def test_a_name_that_begins_with_a_dot_is_not_the_one_without() -> None:
    names = ["layers.layers", ".layers.layers"]
    groups = group_tensors([Tensor(name, "F32", (2,)) for name in names])
    assert [group.template for group in groups] == names


part = st.sampled_from(["layers", "experts", "w1", "3", "12", "05", "", "{}", "²", "weight"])


@given(st.lists(st.lists(part, min_size=1, max_size=6).map(".".join), unique=True))
def test_groups_hold_every_tensor_under_its_template(names: list[str]) -> None:
    groups = group_tensors([Tensor(name, "F32", (2,)) for name in names])
    assert sum(group.count for group in groups) == len(names)
    assert {group.template for group in groups} == {split_name(name)[0] for name in names}
    for group in groups:
        same = [split_name(name)[1] for name in names if split_name(name)[0] == group.template]
        assert group.count == len(same)
        assert group.layers == {i[0]: sum(1 for j in same if j[0] == i[0]) for i in same if i}
