"""Encoder-decoders, mixtures with plain blocks, and types that a table is missing for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.memory import Workload
from inspector.memory.training import TrainingEstimate, TrainingSetup, Weights, read_weights, training_estimate
from inspector.model import Model, build_model

H, F, HEADS, HEAD_DIM, VOCABULARY = 64, 160, 4, 16, 1000
T5 = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "d_model": H,
    "d_ff": F,
    "d_kv": HEAD_DIM,
    "num_heads": HEADS,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "vocab_size": VOCABULARY,
    "feed_forward_proj": "relu",
}


def t5(encoders: int = 3, decoders: int = 2) -> tuple[Model, Weights]:
    """The names and shapes that T5ForConditionalGeneration saves."""
    shapes: dict[str, tuple[int, ...]] = {"shared.weight": (VOCABULARY, H)}
    for stack, count, parts in (("encoder", encoders, ("SelfAttention",)), ("decoder", decoders, None)):
        for index in range(count):
            block = f"{stack}.block.{index}.layer"
            attentions = parts or ("SelfAttention", "EncDecAttention")
            for place, name in enumerate(attentions):
                shapes |= {f"{block}.{place}.{name}.{key}.weight": (H, H) for key in "qkvo"}
                shapes[f"{block}.{place}.layer_norm.weight"] = (H,)
            if index == 0:
                shapes[f"{block}.0.SelfAttention.relative_attention_bias.weight"] = (32, HEADS)
            place = len(attentions)
            shapes[f"{block}.{place}.DenseReluDense.wi.weight"] = (F, H)
            shapes[f"{block}.{place}.DenseReluDense.wo.weight"] = (H, F)
            shapes[f"{block}.{place}.layer_norm.weight"] = (H,)
        shapes[f"{stack}.final_layer_norm.weight"] = (H,)
    config = T5 | {"num_layers": encoders, "num_decoder_layers": decoders}
    return _read(config, shapes)


def _read(config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> tuple[Model, Weights]:
    tensors = tuple(Tensor(name, "BF16", shape) for name, shape in shapes.items())
    checkpoint = Checkpoint("a/model", None, "local", config, tensors)
    model = build_model(checkpoint)
    return model, read_weights(checkpoint, model.architecture)


def estimate(model: Model, weights: Weights | None, context: int = 256, **setup: Any) -> TrainingEstimate:
    return training_estimate(model, Workload(context, 2), TrainingSetup(**setup), tensors=weights)


def peak(*arguments: Any, **setup: Any) -> int:
    found = estimate(*arguments, **setup).peak
    assert found is not None
    return found


def test_adapters_on_queries_and_values_reach_both_stacks_and_the_cross_attention() -> None:
    model, weights = t5()
    found = estimate(model, weights, method="lora", lora_targets="q,v", lora_rank=4)
    attentions = 3 + 2 + 2  # the encoder's, the decoder's own, and those to the encoder
    assert found.trainable_parameters == attentions * 2 * 4 * (H + H)


def test_adapters_on_all_linear_layers_leave_the_position_biases_alone() -> None:
    model, weights = t5()
    found = estimate(model, weights, method="lora", lora_rank=4)
    assert found.trainable_parameters == 4 * ((3 + 2 + 2) * 4 * (H + H) + 5 * 2 * (H + F))


def test_each_encoder_block_more_takes_the_same_again() -> None:
    few, more, most = (peak(*t5(encoders=count)) for count in (4, 5, 6))
    assert more - few == most - more > 0


def test_an_encoder_block_takes_less_than_a_decoder_block_which_also_attends_to_the_encoder() -> None:
    base = peak(*t5(4, 4))
    assert 0 < peak(*t5(5, 4)) - base < peak(*t5(4, 5)) - base


def test_blocks_above_the_lowest_that_trains_keep_what_they_need_and_those_below_nothing() -> None:
    model, weights = t5(encoders=6, decoders=3)
    last = peak(model, weights, method="frozen-except", trained="decoder.block.2.*")
    first = peak(model, weights, method="frozen-except", trained="encoder.block.0.*")
    assert last < first
    assert weights.by_layer("decoder.block.0.*")[1].keys() == {7}  # after six blocks and what lies between the stacks


def test_the_note_says_how_many_tokens_encoder_and_decoder_get() -> None:
    assert any("into the encoder, and as many into the decoder" in note for note in estimate(*t5()).warnings)


def test_an_encoder_that_cannot_be_told_from_the_names_leaves_the_peak_unknown() -> None:
    model, _ = t5()
    found = estimate(model, None)
    assert found.peak is None
    assert "encoder" in found.warnings[-1]


def test_a_type_without_a_table_says_how_to_get_the_peak() -> None:
    model, weights = t5()
    model = replace(model, architecture=replace(model.architecture, model_type="a-type-of-next-year"))
    found = estimate(model, weights)
    assert found.peak is None
    assert found.part("weights").bytes == 2 * model.parameters.total  # type: ignore[union-attr]
    (said,) = found.warnings
    assert "a-type-of-next-year" in said
    assert "at least" in said
    assert "llm-inspect train MODEL --measure" in said
    assert "pip install 'torch>=2.13' 'peft>=0.21'" in said


def test_a_class_without_sdpa_is_estimated_with_eager_attention_and_says_so() -> None:
    config = {"model_type": "bloom", "architectures": ["BloomForCausalLM"], "hidden_size": 64, "n_head": 4}
    config |= {"n_layer": 2, "vocab_size": 1000}
    shapes: dict[str, tuple[int, ...]] = {"word_embeddings.weight": (1000, 64)}
    shapes |= {f"h.{i}.self_attention.query_key_value.weight": (192, 64) for i in (0, 1)}
    shapes |= {f"h.{i}.self_attention.dense.weight": (64, 64) for i in (0, 1)}
    shapes |= {f"h.{i}.mlp.dense_h_to_4h.weight": (256, 64) for i in (0, 1)}
    shapes |= {f"h.{i}.mlp.dense_4h_to_h.weight": (64, 256) for i in (0, 1)}
    model, weights = _read(config, shapes)
    default = estimate(model, weights)
    assert default.peak == peak(model, weights, attention="eager")
    assert any("no sdpa" in note for note in default.warnings)


MIXTURE = {
    "model_type": "deepseek_v3",
    "architectures": ["DeepseekV3ForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 512,
    "moe_intermediate_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_hidden_layers": 4,
    "vocab_size": 1000,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "kv_lora_rank": 32,
    "q_lora_rank": 48,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "tie_word_embeddings": False,
}


def mixture(plain: int) -> tuple[Model, Weights]:
    """A DeepSeek-V3 of four blocks, the first ones plain; its MLPs alone, which is what differs."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (1000, 64), "lm_head.weight": (1000, 64)}
    for index in range(4):
        block = f"model.layers.{index}.mlp"
        if index < plain:
            shapes |= {f"{block}.{name}_proj.weight": (512, 64) for name in ("gate", "up")}
            shapes[f"{block}.down_proj.weight"] = (64, 512)
            continue
        shapes[f"{block}.gate.weight"] = (8, 64)
        for part in (f"{block}.shared_experts", *(f"{block}.experts.{expert}" for expert in range(8))):
            shapes |= {f"{part}.{name}_proj.weight": (32, 64) for name in ("gate", "up")}
            shapes[f"{part}.down_proj.weight"] = (64, 32)
    return _read(MIXTURE | {"first_k_dense_replace": plain}, shapes)


def test_plain_blocks_of_a_mixture_are_told_by_their_tensors() -> None:
    _, weights = mixture(plain=1)
    assert weights.sparse == {1, 2, 3}
    assert weights.shared_width(64) == 32
    # 512 wide, a plain block keeps more of a token than two experts and a shared one of 32
    activations = [estimate(*mixture(plain), context=4096).part("activations") for plain in (1, 2)]
    one, two = (part.bytes for part in activations if part is not None)
    assert one is not None
    assert two is not None
    assert one < two
