"""A config's sizes against the tensors that show them: each difference has a note, and what fits has none."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.model.architecture import read_architecture
from inspector.model.build import build_model
from inspector.model.config.expressions import number_of
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


WIDE = {"1": {"head_dim": 32}}


def gemma(heads: int, *, wide: Any = WIDE) -> Model:
    """Two layers of Gemma 4's unified text model, the second with wider heads, of so many heads in the config and these
    values of single layers."""
    config = {
        "model_type": "gemma4_unified_text",
        "architectures": ["Gemma4UnifiedTextModel"],
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": heads,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_hidden_layers": 2,
        "vocab_size": 100,
        "layer_types": ["sliding_attention", "full_attention"],
        "per_layer_config": wide,
    }
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (100, 64), "norm.weight": (64,)}
    around = ("input", "post_attention", "pre_feedforward", "post_feedforward")
    for index, width in enumerate((16, 32)):
        layer = {f"{each}_layernorm": (64,) for each in around}
        layer |= {"self_attn.q_norm": (width,), "self_attn.k_norm": (width,)}
        layer |= {"self_attn.q_proj": (4 * width, 64), "self_attn.o_proj": (64, 4 * width)}
        layer |= {"self_attn.k_proj": (2 * width, 64), "self_attn.v_proj": (2 * width, 64)}
        layer |= {"mlp.gate_proj": (96, 64), "mlp.up_proj": (96, 64), "mlp.down_proj": (64, 96)}
        shapes |= {f"layers.{index}.{name}.weight": shape for name, shape in layer.items()}
        shapes[f"layers.{index}.layer_scalar"] = (1,)
    tensors = tuple(Tensor(name, "BF16", shape) for name, shape in shapes.items())
    return build_model(Checkpoint("a/b", None, "local", config, tensors))


def test_layers_with_heads_of_their_own_width_are_compared_each_by_its_own() -> None:
    assert gemma(4).parameters.exact
    model = gemma(8)
    assert not model.parameters.exact
    notes = model.parameters.notes
    assert any("_proj.weight has 64 in layer 0" in note and "head_dim is 128" in note for note in notes)


def test_the_own_values_of_layers_are_compared_with_the_tensors_of_just_those() -> None:
    assert not gemma(4, wide={"01": {"head_dim": 32}}).parameters.notes
    swapped = {"0": {"num_attention_heads": 8}, "1": {"head_dim": 32, "num_attention_heads": 2}}
    notes = gemma(4, wide=swapped).parameters.notes
    assert any("_proj.weight has 64 in layer 0" in note and "head_dim is 128" in note for note in notes)


def test_a_layer_beyond_the_config_predicts_tokens_only_if_it_has_tensors_for_that() -> None:
    def note(*more: str) -> str:
        names = [f"model.layers.{index}.self_attn.q_proj" for index in range(3)] + list(more)
        tensors = tuple(Tensor(f"{name}.weight", "BF16", (64, 64)) for name in names)
        config = {
            "model_type": "glm4_moe",
            "architectures": ["Glm4MoeForCausalLM"],
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_nextn_predict_layers": 1,
        }
        return " ".join(build_model(Checkpoint("a/b", None, "local", config, tensors)).parameters.notes)

    assert "those beyond are not loaded" in note()
    assert "those beyond are not loaded" not in note("model.layers.2.eh_proj")


def test_layers_that_the_config_makes_sparse_and_no_file_has_have_a_note() -> None:
    def notes(first_dense: int) -> str:
        names = ("model.layers.0.mlp.up_proj", "model.layers.0.input_layernorm")
        tensors = tuple(Tensor(f"{name}.weight", "BF16", (64, 64)) for name in names)
        config = {"model_type": "glm4_moe", "architectures": ["Glm4MoeForCausalLM"], "num_hidden_layers": 1}
        config |= {"hidden_size": 64, "num_attention_heads": 4, "first_k_dense_replace": first_dense}
        return " ".join(build_model(Checkpoint("a/b", None, "local", config, tensors)).parameters.notes)

    assert "the files hold no layers.{}.mlp.gate.weight" in notes(0)
    assert "mlp.gate.weight" not in notes(1)


def notes_on(config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> str:
    """What is said of files of these shapes under a config."""
    tensors = tuple(Tensor(name, "BF16", shape) for name, shape in shapes.items())
    return " ".join(build_model(Checkpoint("a/b", None, "local", config, tensors)).parameters.notes)


def test_recurrent_layers_are_counted_by_the_numbers_at_the_end_of_their_names() -> None:
    shapes = {f"decoder.lstm.weight_hh_l{index}": (2560, 640) for index in range(2)}

    def notes(layers: int) -> str:
        config = {"model_type": "nemotron3_5_asr", "architectures": ["Nemotron3_5AsrForRNNT"]}
        return notes_on({**config, "num_decoder_layers": layers}, shapes)

    assert "num_decoder_layers is 3" in notes(3)
    assert "num_decoder_layers" not in notes(2)


def test_a_head_is_a_quotient_where_the_class_makes_its_width_itself_whatever_the_file_says() -> None:
    def notes(heads: int) -> str:
        config = {"model_type": "blt_patcher", "architectures": ["BltPatcher"], "hidden_size": 96, "head_dim": 8}
        sizes = {"num_attention_heads": heads, "num_key_value_heads": 2, "num_hidden_layers": 1}
        return notes_on({**config, **sizes}, {"layers.0.self_attn.k_proj.weight": (16, 96)})

    assert "num_key_value_heads*(hidden_size//num_attention_heads) is 24" in notes(8)
    assert "num_key_value_heads" not in notes(12)


def test_a_spectrum_is_compared_where_the_strides_are_those_that_the_expression_holds_for() -> None:
    def notes(**sizes: int) -> str:
        config: dict[str, Any] = {"model_type": "nemotron_asr_streaming_encoder", "num_hidden_layers": 1}
        config |= {"architectures": ["NemotronAsrStreamingEncoder"], "hidden_size": 64, "num_attention_heads": 4}
        return notes_on({**config, **sizes}, {"subsampling.linear.weight": (64, 256 * (64 // 8 + 1))})

    assert "num_mel_bins" in notes(num_mel_bins=96)
    assert "num_mel_bins" not in notes(num_mel_bins=64)
    assert "num_mel_bins" not in notes(num_mel_bins=96, subsampling_conv_stride=4)


KIMI = {"model_type": "deepseek_v3", "moe_intermediate_size": 24, "num_hidden_layers": 2, "first_k_dense_replace": 2}


@pytest.mark.parametrize(
    ("config", "shapes", "key", "right", "wrong"),
    [
        pytest.param(
            {"model_type": "oneformer", "architectures": ["OneFormerModel"]},
            {f"transformer_module.decoder.layers.{index}.ffn.norm.weight": (256,) for index in range(2)},
            *("decoder_layers", 3, 2),
            id="one layer less than the key says",
        ),
        pytest.param(
            {"model_type": "esmfold2", "architectures": ["EsmFold2Model"]},
            {f"confidence_head.folding_trunk.layers.{index}.tri_mul_in.norm_mix.weight": (8,) for index in range(3)},
            *(
                "confidence_head",
                {"model_type": "", "num_hidden_layers": 3},
                {"model_type": "", "num_hidden_layers": 5},
            ),
            id="a part without a type",
        ),
        pytest.param(
            {"model_type": "molmo2_text", "architectures": ["Molmo2TextModel"], "hidden_size": 64},
            {"wte.embedding": (76_032, 64), "wte.new_embedding": (76_032, 64)},
            *("vocab_size", 151_936, 300_007),
            id="half a vocabulary with some more",
        ),
        pytest.param(
            {"model_type": "dinov3_convnext", "architectures": ["DINOv3ConvNextModel"]},
            {
                "stages.0.downsample_layers.0.weight": (96, 3, 4, 4),
                "stages.0.downsample_layers.1.weight": (96,),
                "stages.1.downsample_layers.0.weight": (96,),
                "stages.1.downsample_layers.1.weight": (192, 96, 2, 2),
            },
            *("num_channels", 3, 1),
            id="modules of a list of several ranks",
        ),
        pytest.param(
            {"model_type": "recurrent_gemma", "architectures": ["RecurrentGemmaModel"], "hidden_size": 64},
            {"layers.0.mlp_block.down_proj.weight": (64, 48)},
            *("intermediate_size", 96, 128),
            id="half of the key",
        ),
        pytest.param(
            {"model_type": "efficientloftr", "architectures": ["EfficientLoFTRModel"], "num_attention_heads": 8},
            {"local_feature_transformer.layers.0.self_attention.attention.k_proj.weight": (128, 256)},
            *("num_key_value_heads", 4, 8),
            id="heads of a width that no config changes",
        ),
        pytest.param(
            {"model_type": "gpt_bigcode", "architectures": ["GPTBigCodeModel"], "n_embd": 768, "n_layer": 1},
            {"h.0.attn.c_attn.weight": (896, 768), "h.0.attn.c_proj.weight": (768, 768)},
            *("n_head", 12, 8),
            id="a fused projection called c_attn",
        ),
        pytest.param(
            {"model_type": "kimi_k25", "architectures": ["Kimi_K25Model"]},
            {"language_model.blocks.1.mlp.shared_experts.up_proj.weight": (48, 64)},
            *(
                "text_config",
                KIMI | {"n_shared_experts": 2},
                KIMI | {"n_shared_experts": 3},
            ),
            id="a tensor that another class of the type has under another name",
        ),
        pytest.param(
            {"model_type": "audio-spectrogram-transformer", "architectures": ["ASTModel"], "hidden_size": 8},
            {"embeddings.position_embeddings": (1, 12 * 101 + 2, 8)},
            *("num_mel_bins", 128, 64),
            id="patches of a spectrum, as the design has it",
        ),
        pytest.param(
            {"model_type": "lfm2_vl", "architectures": ["Lfm2VlForConditionalGeneration"]},
            {"model.language_model.layers.0.feed_forward.w1.weight": (256, 64)},
            *(
                "text_config",
                {"model_type": "lfm2", "block_multiple_of": 64, "intermediate_size": 384},
                {"model_type": "lfm2", "block_multiple_of": 64, "intermediate_size": 256},
            ),
            id="two thirds of the key, rounded up, as a switch of the design's has it",
        ),
        pytest.param(
            {"model_type": "gemma4_unified_assistant", "architectures": ["Gemma4UnifiedAssistantForCausalLM"]},
            {"model.layers.0.mlp.up_proj.weight": (96, 64)},
            *(
                "text_config",
                {"model_type": "gemma4_text", "intermediate_size": 48, "use_double_wide_mlp": True},
                {"model_type": "gemma4_text", "intermediate_size": 96, "use_double_wide_mlp": True},
            ),
            id="twice the key under a switch",
        ),
        pytest.param(
            {"model_type": "gemma4_unified_assistant", "architectures": ["Gemma4UnifiedAssistantForCausalLM"]},
            {"model.layers.0.mlp.up_proj.weight": (96, 64)},
            *(
                "text_config",
                {"model_type": "gemma4_text", "intermediate_size": 96},
                {"model_type": "gemma4_text", "intermediate_size": 48},
            ),
            id="the key without that switch",
        ),
    ],
)
def test_a_size_is_compared_however_the_tensors_show_it(
    config: dict[str, Any], shapes: dict[str, tuple[int, ...]], key: str, right: Any, wrong: Any
) -> None:
    def said(value: Any) -> str:
        tensors = tuple(Tensor(name, "BF16", shape) for name, shape in shapes.items())
        model = build_model(Checkpoint("a/b", None, "local", {**config, key: value}, tensors))
        notes = (*model.parameters.notes, *model.architecture.notes)
        return " ".join(note for note in notes if "config.json's" in note)

    assert "weight" in said(wrong) or "embedding" in said(wrong)
    assert not said(right)


def test_another_tie_flag_of_the_class_keeps_the_embeddings_apart() -> None:
    def total(flag: bool) -> int:
        names = ("backbone_model.embed_tokens.embed_audio_tokens", "depth_decoder.model.embed_tokens")
        tensors = tuple(Tensor(f"{name}.weight", "BF16", (10, 4)) for name in names)
        config = {
            "model_type": "csm",
            "architectures": ["CsmForConditionalGeneration"],
            "tie_codebooks_embeddings": flag,
        }
        return build_model(Checkpoint("a/b", None, "local", config, tensors)).parameters.total

    assert total(True) == 40
    assert total(False) == 80


def test_a_flag_that_the_config_class_does_not_declare_as_a_field_unties_the_head() -> None:
    names = ("nomic_bert.embeddings.word_embeddings", "cls.predictions.decoder")
    tensors = tuple(Tensor(f"{name}.weight", "BF16", (10, 4)) for name in names)
    config = {"model_type": "nomic_bert", "architectures": ["NomicBertForMaskedLM"]}

    def total(**flag: bool) -> int:
        return build_model(Checkpoint("a/b", None, "local", config | flag, tensors)).parameters.total

    assert total() == total(tie_word_embeddings=True) == 40
    assert total(tie_word_embeddings=False) == 80


def tied_encoder(*names: str) -> int:
    """How much is counted of these tensors of the audio encoder and of the one that is tied to it, 8 values each."""
    places = ("audio_model.audio_encoder", "audio_video_encoder.embedder.audio_encoder")
    shapes = {f"{place}.{name}": (8, 1 + number) for place in places for number, name in enumerate(names)}
    config = {"model_type": "pe_audio_video", "architectures": ["PeAudioVideoModel"], "tie_word_embeddings": True}
    tensors = tuple(Tensor(name, "BF16", shape) for name, shape in shapes.items())
    return build_model(Checkpoint("a/b", None, "local", config, tensors)).parameters.total


def test_tied_layers_of_several_shapes_count_once_each() -> None:
    assert tied_encoder("embedder.dac_encoder.block.0.conv1.weight", "embedder.dac_encoder.block.1.conv1.weight") == 24


def test_what_a_switch_adds_to_tied_modules_is_tied() -> None:
    assert tied_encoder("layers.0.self_attn.q_proj.weight", "layers.0.self_attn.q_proj.bias") == 24


def test_a_block_that_layers_share_counts_once_where_all_are_stored() -> None:
    config: dict[str, Any] = {"model_type": "zamba2", "architectures": ["Zamba2Model"], "num_attention_heads": 2}
    config |= {"hidden_size": 8, "vocab_size": 10}
    name = "layers.{}.shared_transformer.self_attn.q_proj.weight"
    embedding = Tensor("embed_tokens.weight", "BF16", (10, 8))
    blocks = tuple(Tensor(name.format(index), "BF16", (8, 8)) for index in (1, 3, 5))

    def counted(**changes: Any) -> Model:
        return build_model(Checkpoint("a/b", None, "local", {**config, **changes}, (embedding, *blocks)))

    assert counted().parameters.total == 80 + 64
    assert "stored 3 times" in " ".join(counted().parameters.notes)
    alone = (*blocks, Tensor(name.format(7), "F32", (8, 8)))  # a group of which nothing is left
    assert build_model(Checkpoint("a/b", None, "local", config, (embedding, *alone))).parameters.total == 80 + 64
    assert counted(num_mem_blocks=2).parameters.total == 80 + 2 * 64
    assert counted(tie_word_embeddings=False).parameters.total == 80 + 3 * 64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "clip_text_model", "hidden_size": 64, "num_attention_heads": 12}, "hidden_size is 64"),
        ({"model_type": "jetmoe", "num_attention_heads": None}, "num_attention_heads is null"),
        ({"model_type": "inkling2_text", "layer_types": ["hybrid"] * 3, "num_hidden_layers": 2}, "3 layer_types of 2"),
        ({"model_type": "csm_depth_decoder_model", "tie_word_embeddings": True}, "tie_word_embeddings is true"),
        (
            {
                "model_type": "nomic_bert",
                "hidden_size": 60,
                "num_attention_heads": 12,
                "rope_parameters": {"rope_theta": 1e3},
            },
            "head_dim is 5: transformers refuses to rotate",
        ),
        ({"model_type": "mvp", "architectures": ["MvpForCausalLM"], "is_encoder_decoder": None}, "is null"),
        (
            {
                "model_type": "fun_asr_nano",
                "adaptor_config": {"hidden_size": 1024},
                "text_config": {"model_type": "qwen3"},
            },
            "adaptor_config.hidden_size is 1024, text_config.hidden_size is 4096",
        ),
    ],
)
def test_what_transformers_refuses_has_a_note(changes: dict[str, Any], said: str) -> None:
    read = read_architecture(changes)
    assert not read.exact
    assert said in " ".join(read.notes)


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
    assert number_of("heads*(text.dim+more)", values.get) == 160
    assert number_of("heads*text.dim//more", values.get) == 32
    assert number_of("heads*missing", values.get) is None
    assert number_of("heads//0", values.get) is None
    assert number_of("more-heads", values.get) == -4


@pytest.mark.parametrize("multi_query", [True, False])
def test_fused_projections_with_and_without_multi_query_are_no_wrong_size(multi_query: bool) -> None:
    config = {"model_type": "gpt_bigcode", "architectures": ["GPTBigCodeForCausalLM"], "multi_query": multi_query}
    config |= {"n_layer": 1, "n_embd": 64, "n_head": 4, "vocab_size": 100, "n_positions": 32}
    shapes = {"wte.weight": (100, 64), "wpe.weight": (32, 64), "ln_f.weight": (64,)}
    shapes |= {"h.0.attn.c_attn.weight": (96 if multi_query else 192, 64), "h.0.attn.c_proj.weight": (64, 64)}
    tensors = tuple(Tensor(f"transformer.{name}", "BF16", shape) for name, shape in shapes.items())
    notes = build_model(Checkpoint("a/b", None, "local", config, tensors)).parameters.notes
    assert not [note for note in notes if "config.json" in note]
