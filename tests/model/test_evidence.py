"""What the tensors say of each layer, where the class is unknown, and where it is known and they differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.memory.estimate import Workload
from inspector.memory.inference.kv_cache import kv_cache
from inspector.model.build import build_model
from inspector.model.model import Model
from tests.oracles.shuffled import outcome

HIDDEN, LAYERS = 1024, 3
SAMPLE: list[dict[str, Any]] = json.loads((Path(__file__).parent / "classes_sample.json").read_text("utf-8"))["builds"]
CONFIG = {
    "model_type": "nobody-knows",
    "architectures": ["NobodyKnowsForCausalLM"],
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 16,
    "vocab_size": 100,
}


def model_of(layer: dict[str, tuple[int, ...]], **config: Any) -> Model:
    """A model whose layers hold these tensors beside a norm."""
    tensors = [Tensor("model.embed_tokens.weight", "BF16", (100, HIDDEN))]
    for index in range(LAYERS):
        for name, shape in {"input_layernorm.weight": (HIDDEN,), **layer}.items():
            tensors.append(Tensor(f"model.layers.{index}.{name}", "BF16", shape))
    return build_model(Checkpoint("x/y", None, "local", {**CONFIG, **config}, tuple(tensors)))


@pytest.mark.parametrize(
    ("layer", "values"),
    [
        ({"self_attn.k_proj.weight": (256, HIDDEN), "self_attn.v_proj.weight": (256, HIDDEN)}, 512),
        ({"attention.wk.weight": (64, HIDDEN), "attention.wv.weight": (128, HIDDEN)}, 192),
        ({"attn.Wqkv.weight": (1152, HIDDEN), "attn.out_proj.weight": (HIDDEN, 1024)}, 128),
        ({"attn.c_attn.weight": (HIDDEN, 3072), "attn.c_proj.weight": (HIDDEN, HIDDEN)}, 2048),
        ({"attn.kv_attn.weight": (HIDDEN, 128), "attn.q_attn.weight": (HIDDEN, HIDDEN)}, 128),
        ({"self_attn.kv_a_proj_with_mqa.weight": (576, HIDDEN), "self_attn.kv_a_layernorm.weight": (512,)}, 576),
        ({"attn.q_proj.weight": (1024, HIDDEN), "mlp.key.weight": (64, HIDDEN)}, 2048),
        ({"mixer.A_log": (2048, 16), "mixer.conv1d.weight": (2048, 1, 4)}, 0),
        ({"attn.r_proj.weight": (1024, HIDDEN), "attn.k_proj.weight": (1024, HIDDEN)}, 0),
        ({"attention.wkv_a_with_mqa.weight": (544, HIDDEN), "attention.kv_a_norm.weight": (512,)}, 544),
        ({"self_att.project_k.weight": (256, HIDDEN), "self_att.project_v.weight": (256, HIDDEN)}, 512),
    ],
)
def test_widths_of_a_token_follow_from_names_and_shapes(layer: dict[str, tuple[int, ...]], values: int) -> None:
    model = model_of(layer)
    assert [one.values_per_token for one in model.architecture.layers] == [values] * LAYERS
    assert not model.architecture.exact


def test_a_known_class_whose_keys_are_others_says_tensor_key_and_both_values() -> None:
    layer = {f"self_attn.{name}_proj.weight": (256, HIDDEN) for name in "kv"}
    known = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 8}
    model = model_of(layer, **known)
    assert model.architecture.num_key_value_heads == 4
    assert not model.architecture.exact
    note = next(note for note in model.warnings if "k_proj" in note)
    assert "4 KV heads of 64" in note
    assert "num_key_value_heads and head_dim are 8 and 64" in note
    agrees = model_of(layer, **{**known, "num_key_value_heads": 4})
    assert agrees.architecture.exact
    assert not any("k_proj" in note for note in agrees.warnings)


LATENT = {
    "self_attn.kv_a_proj_with_mqa.weight": (576, HIDDEN),
    "self_attn.kv_a_layernorm.weight": (512,),
    "self_attn.indexer.wk.weight": (64, HIDDEN),
}
MAMBA = {"mixer.A_log": (2048, 16), "mixer.conv1d.weight": (2048, 1, 4), "mixer.out_proj.weight": (HIDDEN, 2048)}
DEEPSEEK = {"model_type": "deepseek_v32", "architectures": ["DeepseekV32ForCausalLM"], "index_head_dim": 64}
DEEPSEEK |= {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "layer_types": ["indexed_attention"] * 3}
FALCON_MAMBA = {"model_type": "mamba", "architectures": ["MambaForCausalLM"], "state_size": 16, "conv_kernel": 4}


@pytest.mark.parametrize(
    ("layer", "config", "changes", "words"),
    [
        (LATENT, DEEPSEEK, {"kv_lora_rank": 256}, "kv_a_proj_with_mqa.weight makes rows of 576"),
        (LATENT, DEEPSEEK, {"index_head_dim": 128}, "indexer.wk.weight makes an indexer's keys of 64, config.json's"),
        (MAMBA, FALCON_MAMBA, {"conv_kernel": 6}, "its convolution is 2,048 x 4, not 2,048 x 6 as config.json's"),
        (MAMBA, FALCON_MAMBA, {"state_size": 32}, "its state is 2,048 x 16, not 2,048 x 32 as config.json's"),
    ],
)
def test_a_known_class_of_latents_or_states_says_tensor_key_and_both_values(
    layer: dict[str, tuple[int, ...]], config: dict[str, Any], changes: dict[str, int], words: str
) -> None:
    agrees, differs = model_of(layer, **config), model_of(layer, **{**config, **changes})
    assert agrees.architecture.exact
    assert not agrees.architecture.notes
    assert not differs.architecture.exact
    assert any(words in note for note in differs.warnings), differs.warnings
    assert bounds(differs) == bounds(agrees)


def test_layers_without_keys_cache_nothing() -> None:
    tensors = [Tensor("model.layers.0.self_attn.k_proj.weight", "BF16", (256, HIDDEN))]
    tensors += [Tensor(f"model.layers.{index}.input_layernorm.weight", "BF16", (HIDDEN,)) for index in range(LAYERS)]
    model = build_model(Checkpoint("x/y", None, "local", CONFIG, tuple(tensors)))
    assert [one.values_per_token for one in model.architecture.layers] == [512, 0, 0]


def test_a_window_of_unknown_layers_bounds_the_cache_from_both_sides() -> None:
    layer = {f"self_attn.{name}_proj.weight": (256, HIDDEN) for name in "kv"}
    architecture = model_of(layer, sliding_window=128).architecture
    part = kv_cache(architecture, Workload(context=1024), "bf16", 16)
    assert (part.low, part.high, part.bytes) == (LAYERS * 127 * 512 * 2, LAYERS * 1024 * 512 * 2, part.high)
    assert not any("key/value heads" in note for note in architecture.notes)


def bounds(model: Model, context: int = 1024) -> tuple[int | None, int | None]:
    """The least and the most that the cache of a sequence takes; equal where it is known."""
    part = kv_cache(model.architecture, Workload(context=context), "bf16", 16)
    return part.bytes if part.low is None else part.low, part.bytes


LINEAR = {f"attn.{name}_proj.weight": (1024, HIDDEN) for name in "qkv"}


@pytest.mark.parametrize(
    ("layer", "config", "expected"),
    [
        # lightning attention: 16 matrices of 64 by 64 a layer, in 16 or in 32 bits
        ({**LINEAR, "attn.slope_rate": (16, 1, 1)}, {}, (16 * 64 * 64 * 2, 16 * 64 * 64 * 4)),
        # mLSTM: a normalizer of 64 and a maximum of 1 for each matrix beside them
        (
            {**LINEAR, "attn.igate_preact.weight": (16, HIDDEN)},
            {},
            (16 * (64 * 64 + 64 + 1) * 2, 16 * (64 * 64 + 64 + 1) * 4),
        ),
        # learned tokens before the text may be cached, too
        (LINEAR, {"prompt_length": 32}, (1024 * 2048 * 2, (1024 + 32) * 2048 * 2)),
        # Transformer-XL keeps the inputs of the last mem_len tokens
        ({**LINEAR, "attn.r_w_bias": (16, 64)}, {"mem_len": 100}, (100 * HIDDEN * 2,) * 2),
        ({"attn.query_key.weight": (1024, HIDDEN), "attn.value.weight": (1024, HIDDEN)}, {}, (None, None)),
        # an indexer's row: a key of 64, and maybe its gate and a mask
        (
            {
                "self_attn.kv_a_proj_with_mqa.weight": (576, HIDDEN),
                "self_attn.kv_a_layernorm.weight": (512,),
                "self_attn.indexer.wk.weight": (64, HIDDEN),
                "self_attn.indexer.index_compress_gate": (64, HIDDEN),
            },
            {},
            (1024 * (576 + 64) * 2, 1024 * (576 + 129) * 2),
        ),
        # an encoder-decoder's second attention keeps the encoder's rows
        (
            {
                f"{which}_sub_layer.{name}_net.weight": (512, HIDDEN)
                for which in ("a", "b")
                for name in ("key", "value")
            },
            {"is_encoder_decoder": True},
            (2 * 1024 * 1024 * 2,) * 2,
        ),
        # keys of 8 a head by the number of key heads, whatever the padded convolutions are
        (
            {
                **{f"attn.{name}_conv1d.weight": (size, 1, 4) for name, size in (("q", 27), ("k", 27), ("v", 26))},
                "attn.A_log": (4,),
                "attn.o_proj.weight": (HIDDEN, 48),
                "attn.k_proj.weight": (16, HIDDEN),
            },
            {"linear_num_key_heads": 2},
            ((80 * 4 * 2 + 4 * 8 * 12 * 4),) * 2,
        ),
    ],
)
def test_what_shapes_leave_open_is_bounded_or_unknown(
    layer: dict[str, tuple[int, ...]], config: dict[str, Any], expected: tuple[int | None, int | None]
) -> None:
    low, high = (None if size is None else LAYERS * size for size in expected)
    assert bounds(model_of(layer, **config)) == (low, high)


def test_hybrid_layers_that_share_their_attention_s_weights_keep_rows_of_their_own() -> None:
    rows = {f"shared.self_attn.{name}_proj.weight": (256, HIDDEN) for name in "kv"}
    state = {"mamba.A_log": (2048, 16), "mamba.conv1d.weight": (2048, 1, 4)}
    tensors = [
        Tensor(f"model.layers.{index}.{name}", "BF16", shape)
        for index, layer in enumerate((state, {**rows, **state}, state, state))
        for name, shape in {"input_layernorm.weight": (HIDDEN,), **layer}.items()
    ]
    kinds = ["mamba", "hybrid", "mamba", "hybrid"]
    config = {**CONFIG, "num_hidden_layers": 4, "layers_block_type": kinds}
    layers = build_model(Checkpoint("x/y", None, "local", config, tuple(tensors))).architecture.layers
    assert [one.values_per_token for one in layers] == [0, 512, 0, 512]
    assert len({one.states for one in layers}) == 1
    without = [tensor for tensor in tensors if "mamba" not in tensor.name]
    layers = build_model(Checkpoint("x/y", None, "local", config, tuple(without))).architecture.layers
    assert [one.kind for one in layers][1::2] == ["unknown", "no_cache"]


@pytest.mark.parametrize(
    ("keys", "kinds"),
    [
        ({"attn_type_list": [0, 1, 0], "num_key_value_heads": 2}, ["unknown", "full_attention", "unknown"]),
        ({"layer_group_size": 3, "num_key_value_heads": 2}, ["unknown", "unknown", "full_attention"]),
        ({"hybrid_pattern": "M*-", "num_key_value_heads": 2}, ["unknown", "full_attention", "no_cache"]),
        ({"layer_kinds_type": ["swa", "global", "swa"], "sliding_window": 8}, ["sliding_attention", "full_attention"]),
        ({"num_kv_heads": [2, 0, 4]}, ["full_attention", "no_cache", "full_attention"]),
    ],
)
def test_keys_by_layer_are_read_by_their_meaning(keys: dict[str, Any], kinds: list[str]) -> None:
    architecture = build_model(Checkpoint("x/y", None, "local", {**CONFIG, **keys}, ())).architecture
    assert [one.kind for one in architecture.layers][: len(kinds)] == kinds


@pytest.mark.parametrize(
    ("keys", "runs"),
    [
        ({"total_ut_steps": 4}, 12),
        (
            {"n_layers_in_prelude": 1, "n_layers_in_recurrent_block": 1, "n_layers_in_coda": 1, "mean_recurrence": 32},
            34,
        ),
    ],
)
def test_layers_that_run_more_than_once_have_a_cache_for_each_run(keys: dict[str, int], runs: int) -> None:
    layer = {f"self_attn.{name}_proj.weight": (256, HIDDEN) for name in "kv"}
    architecture = model_of(layer, **keys).architecture
    assert [one.values_per_token for one in architecture.layers] == [512] * runs
    assert architecture.num_hidden_layers == LAYERS


def test_files_that_number_attention_and_mlp_as_two_blocks_have_half_as_many_layers() -> None:
    """Dory's released files: block 2i is layer i's attention, block 2i + 1 its MLP."""
    tensors = [Tensor("model.embed_tokens.weight", "BF16", (100, HIDDEN))]
    for layer in range(LAYERS):
        keys = [Tensor(f"model.layers.{2 * layer}.mixer.{name}_proj.weight", "BF16", (256, HIDDEN)) for name in "kv"]
        tensors += [*keys, Tensor(f"model.layers.{2 * layer + 1}.mixer.down_proj.weight", "BF16", (HIDDEN, 4096))]
    config = {**CONFIG, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 4}
    architecture = build_model(Checkpoint("x/y", None, "local", config, tuple(tensors))).architecture
    assert [one.values_per_token for one in architecture.layers] == [512] * LAYERS


@pytest.mark.parametrize("shape", [(), (0,), (0, 0), (1,), (1, 1, 1), (0, HIDDEN), (HIDDEN, 1, 4), (3, 5, 7, 9)])
def test_shapes_that_no_layer_has_are_read_without_an_error(shape: tuple[int, ...]) -> None:
    names = "self_attn.q_norm.weight self_attn.A_log self_attn.conv1d.weight self_attn.r_k lru.recurrent_param"
    plain = "k_proj v_proj kv_proj qkv_proj kv_a_proj_with_mqa kv_a_layernorm o_proj r_proj in_proj_qkvz"
    every = [*names.split(), *(f"self_attn.{name}.weight" for name in plain.split()), "self_attn.indexer.wk.weight"]
    for name in every:
        other = {"self_attn.k_proj.weight": (256, HIDDEN), "self_attn.v_proj.weight": (256, HIDDEN), name: shape}
        for layer in ({name: shape}, other, dict.fromkeys(every, shape)):
            assert model_of(layer).parameters.total >= 0


def test_classes_under_names_that_nobody_knows_are_told_by_their_tensors_and_keys() -> None:
    """A sample of what tests/oracles/shuffled.py measures: parameters of most, caches right, bounded or not known of
    most, and nothing wrong without a note."""
    outcomes = {f"{build['class']}, {build['variation']}": outcome(build) for build in SAMPLE}
    decoders = {name: one for name, one in outcomes.items() if one.decoder}
    wrong = [name for name, one in decoders.items() if one.cache == "wrong"]
    counted = [name for name, one in decoders.items() if not one.parameters]
    assert not [name for name, one in outcomes.items() if one.silent]
    assert len(decoders) >= 20
    assert len(counted) >= 0.9 * len(decoders)
    assert len(wrong) <= 0.03 * len(decoders), wrong


def test_a_decoder_by_itself_has_its_own_layers_not_its_encoders() -> None:
    """BlenderbotForCausalLM: `num_hidden_layers` is the encoder's 2, the decoder has `decoder_layers`."""
    names = [f"self_attn.{name}_proj.weight" for name in "kv"]
    tensors = [
        Tensor(f"model.decoder.layers.{index}.{name}", "BF16", (HIDDEN, HIDDEN)) for index in range(5) for name in names
    ]
    config = {"model_type": "blenderbot", "d_model": HIDDEN, "decoder_layers": 5, "decoder_attention_heads": 16}
    architectures = ["BlenderbotForCausalLM"]
    model = build_model(Checkpoint("x/y", None, "local", {**config, "architectures": architectures}, tuple(tensors)))
    assert [one.values_per_token for one in model.architecture.layers] == [2 * HIDDEN] * 5


def test_a_draft_has_no_head_of_its_own_and_its_token_tables_are_no_parameters() -> None:
    layer = {f"self_attn.{name}_proj.weight": (256, HIDDEN) for name in "kv"}
    known = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 4}
    tensors = [Tensor("model.embed_tokens.weight", "BF16", (10_000, HIDDEN)), Tensor("d2t", "I64", (50,))]
    tensors += [Tensor(f"model.layers.0.{name}", "BF16", shape) for name, shape in layer.items()]
    tensors.append(Tensor("fc.weight", "BF16", (HIDDEN, 2 * HIDDEN)))
    config = {**CONFIG, **known, "num_hidden_layers": 1, "vocab_size": 10_000, "tie_word_embeddings": False}
    parameters = build_model(Checkpoint("x/y", None, "local", config, tuple(tensors))).parameters
    assert parameters.by_component["unknown"] == 2 * HIDDEN * HIDDEN
    assert "head" not in parameters.by_component
    assert parameters.buffers == 50
    assert any("draft" in note for note in parameters.notes)
