"""Exact parameters: published counts for the bundled models, and headers written by hand for what they leave out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inspector.hub.cache import snapshot
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.model.architecture import read_architecture
from inspector.model.config.read import read_quantization
from inspector.model.model import Architecture, Experts, Parameters
from inspector.model.parameters.count import count_parameters

SNAPSHOTS = Path(__file__).resolve().parents[2] / "fixtures" / "snapshots"

PUBLISHED = {
    "meta-llama/Meta-Llama-3-8B": 8_030_261_248,
    "meta-llama/Meta-Llama-3-70B": 70_553_706_496,
    "meta-llama/Llama-2-7b-hf": 6_738_415_616,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-Next-80B-A3B-Instruct": 79_674_391_296,
    "google/gemma-2-9b": 9_241_705_984,
    "google/gemma-3-4b-it": 4_300_079_472,
    "microsoft/phi-2": 2_779_683_840,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "openai-community/gpt2": 124_439_808,
    "google-bert/bert-base-uncased": 109_514_298,
    "sentence-transformers/all-MiniLM-L6-v2": 22_713_216,
    "tiiuae/falcon-7b": 6_921_720_704,
    "deepseek-ai/DeepSeek-V3": 671_026_404_352,
    "openai/gpt-oss-20b": 20_914_757_184,
    "openai/gpt-oss-120b": 116_829_156_672,
}
"""What the models' class reports for published weights, as their model cards, papers or num_parameters() give it."""

EXPERTS = {
    "mistralai/Mixtral-8x7B-v0.1": Experts(8, 2),
    "Qwen/Qwen3-30B-A3B": Experts(128, 8),
    "deepseek-ai/DeepSeek-V3": Experts(256, 8, 1),
    "Qwen/Qwen3-Next-80B-A3B-Instruct": Experts(512, 10, 1),
    "openai/gpt-oss-20b": Experts(32, 4),
    "openai/gpt-oss-120b": Experts(128, 4),
}

LLAMA_2_7B = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
LINEARS = {
    **dict.fromkeys([f"self_attn.{p}_proj" for p in "qkvo"], (4096, 4096)),
    "mlp.gate_proj": (11008, 4096),
    "mlp.up_proj": (11008, 4096),
    "mlp.down_proj": (4096, 11008),
}
"""(out, in) of one layer's linears."""


def facts(config: dict[str, Any], **more: Any) -> Architecture:
    """An architecture with what counting needs, and nothing else."""
    layers = next((config[k] for k in ("num_hidden_layers", "n_layer") if k in config), None)
    text = config.get("text_config", {})
    values = dict.fromkeys(Architecture.__dataclass_fields__)
    defaults = {"notes": (), "layers": (), "exact": True, "is_decoder": True}
    return Architecture(
        **{
            **values,
            **defaults,
            "architecture": (config.get("architectures") or [None])[0],
            "num_hidden_layers": layers or text.get("num_hidden_layers"),
            "tie_word_embeddings": config.get("tie_word_embeddings"),
            **more,
        }
    )


def count(config: dict[str, Any], *tensors: Tensor, **more: Any) -> Parameters:
    return count_parameters(Checkpoint("org/name", None, "hub", config, tensors), facts(config, **more))


def bundled(repo_id: str) -> Checkpoint:
    return snapshot.loads((SNAPSHOTS / f"{repo_id.replace('/', '--')}.json").read_text(encoding="utf-8"))


def count_bundled(repo_id: str) -> Parameters:
    checkpoint = bundled(repo_id)
    return count_parameters(checkpoint, facts(checkpoint.config, experts=EXPERTS.get(repo_id)))


@pytest.mark.parametrize(("repo_id", "published"), PUBLISHED.items())
def test_the_published_count(repo_id: str, published: int) -> None:
    parameters = count_bundled(repo_id)
    assert parameters.total == published
    assert parameters.exact
    assert [note for note in parameters.notes if not note.startswith("the head is stored twice")] == []
    assert sum(parameters.by_component.values()) == published
    assert "other" not in parameters.by_component


@pytest.mark.parametrize(
    ("repo_id", "buffers"),
    [
        ("openai-community/gpt2", 12 * 1024 * 1024),  # causal masks
        ("sentence-transformers/all-MiniLM-L6-v2", 512),  # position ids
        ("meta-llama/Llama-2-7b-hf", 32 * 64),  # rotary frequencies
        ("deepseek-ai/DeepSeek-V3", 58 * 256),  # the routers' correction biases
    ],
)
def test_buffers_are_no_parameters(repo_id: str, buffers: int) -> None:
    assert count_bundled(repo_id).buffers == buffers


def test_what_the_class_does_not_load_is_told_apart() -> None:
    # a pooler (768 * 768 + 768) and the next-sentence head (2 * 768 + 2)
    assert count_bundled("google-bert/bert-base-uncased").stored_only == {"other": 590_592 + 1_538}
    assert count_bundled("tiiuae/falcon-7b").stored_only == {"duplicate_head": 65_024 * 4_544}
    assert count_bundled("Qwen/Qwen3-0.6B").stored_only == {"duplicate_head": 151_936 * 1_024}


def test_multi_token_prediction_stands_apart() -> None:
    parameters = count_bundled("deepseek-ai/DeepSeek-V3")
    # the Hub counts 684,531,386,000 elements, 41,555,600 of them float32: the scales, and 59 * 256 correction biases
    stored = 684_531_386_000 - (41_555_600 - 59 * 256)
    assert parameters.stored_only == {"mtp": stored - 671_026_404_352 - 14_848}
    # Qwen3-Next: 81,324,862,720 elements in the file
    assert count_bundled("Qwen/Qwen3-Next-80B-A3B-Instruct").stored_only == {"mtp": 81_324_862_720 - 79_674_391_296}


def test_active_parameters_leave_out_the_experts_a_token_is_not_sent_to() -> None:
    assert count_bundled("mistralai/Mixtral-8x7B-v0.1").active == 12_879_925_248
    assert count_bundled("deepseek-ai/DeepSeek-V3").active == 37_552_282_624
    # 3 * 2048 * 768 an expert, 120 of 128 idle in each of 48 layers
    assert count_bundled("Qwen/Qwen3-30B-A3B").active == 30_532_122_624 - 48 * 120 * 3 * 2048 * 768
    llama = count_bundled("meta-llama/Meta-Llama-3-8B")
    assert llama.active == llama.total


def test_components_of_llama_3_8b() -> None:
    h, f, k, layers = 4096, 14336, 1024, 32
    assert count_bundled("meta-llama/Meta-Llama-3-8B").by_component == {
        "embedding": 128_256 * h,
        "head": 128_256 * h,
        "attention": layers * (2 * h * h + 2 * h * k),
        "mlp": layers * 3 * h * f,
        "norm": (2 * layers + 1) * h,
    }


def test_layers_of_llama_3_8b() -> None:
    parameters = count_bundled("meta-llama/Meta-Llama-3-8B")
    one = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
    assert parameters.by_layer == (one,) * 32
    assert parameters.bytes_by_layer == (2 * one,) * 32
    assert parameters.stored_bytes == 16_060_522_496


def test_layers_of_a_mixture_and_of_a_vision_model() -> None:
    deepseek = count_bundled("deepseek-ai/DeepSeek-V3")
    assert len(deepseek.by_layer) == 61
    assert deepseek.by_layer[0] < deepseek.by_layer[3] == deepseek.by_layer[60]
    gemma = count_bundled("google/gemma-3-4b-it")
    assert len(gemma.by_layer) == 34
    assert gemma.by_component["vision"] == 416_866_032
    assert gemma.by_component["projector"] == 1152 * 2560 + 1152


def test_gpt_oss_unpacks_and_is_12_8_gib() -> None:
    parameters = count_bundled("openai/gpt-oss-20b")
    assert parameters.by_component["experts"] == 24 * 32 * (2880 * 5760 + 5760 + 2880 * 2880 + 2880)
    assert parameters.overhead_bytes == 24 * 32 * (5760 + 2880) * 90
    assert round(parameters.stored_bytes / 2**30, 1) == 12.8


def test_a_packed_model_has_the_parameters_of_the_plain_one() -> None:
    for method, tensors in PACKED_LLAMAS.items():
        config = {**LLAMA_2_7B, "quantization_config": RECIPES[method]}
        parameters = count(config, *tensors)
        assert parameters.total == 6_738_415_616, method
        assert parameters.exact, method
        assert parameters.by_layer == (202_383_360,) * 32, method
        assert parameters.overhead_bytes > 0, method


def llama(pack: Any) -> list[Tensor]:
    tensors = [
        Tensor("model.embed_tokens.weight", "F16", (32000, 4096)),
        Tensor("lm_head.weight", "F16", (32000, 4096)),
        Tensor("model.norm.weight", "F16", (4096,)),
    ]
    for i in range(32):
        at = f"model.layers.{i}"
        tensors += [Tensor(f"{at}.{n}_layernorm.weight", "F16", (4096,)) for n in ("input", "post_attention")]
        for module, (out, into) in LINEARS.items():
            tensors += [Tensor(f"{at}.{module}.{name}", *rest) for name, *rest in pack(out, into)]
    return tensors


def gptq(bits: int) -> Any:
    return lambda out, into: [
        ("qweight", "I32", (into * bits // 32, out)),
        ("qzeros", "I32", (into // 128, out * bits // 32)),
        ("scales", "F16", (into // 128, out)),
        ("g_idx", "I32", (into,)),
        ("bias", "F16", (out,)),
    ]


def awq(out: int, into: int) -> list[Any]:
    return [
        ("qweight", "I32", (into, out // 8)),
        ("qzeros", "I32", (into // 128, out // 8)),
        ("scales", "F16", (into // 128, out)),
    ]


def nf4(out: int, into: int) -> list[Any]:
    return [
        ("weight", "U8", (out * into // 2, 1)),
        ("weight.absmax", "U8", (out * into // 64,)),
        ("weight.quant_map", "F32", (16,)),
        ("weight.nested_absmax", "F32", (out * into // 64 // 256,)),
        ("weight.nested_quant_map", "F32", (256,)),
        ("weight.quant_state.bitsandbytes__nf4", "U8", (82,)),
    ]


def int8(out: int, into: int) -> list[Any]:
    return [("weight", "I8", (out, into)), ("SCB", "F32", (out,)), ("weight_format", "U8", ())]


def pack_quantized(out: int, into: int) -> list[Any]:
    return [
        ("weight_packed", "I32", (out, into // 8)),
        ("weight_scale", "BF16", (out, into // 128)),
        ("weight_shape", "I64", (2,)),
    ]


def fp8(out: int, into: int) -> list[Any]:
    return [("weight", "F8_E4M3", (out, into)), ("weight_scale", "BF16", (out, 1)), ("input_scale", "F32", ())]


SCHEME = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 128}}}}
RECIPES: dict[str, dict[str, Any]] = {
    "gptq-4": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    "gptq-3": {"quant_method": "gptq", "bits": 3, "group_size": 128},
    "gptq-8": {"quant_method": "gptq", "bits": 8, "group_size": 128},
    "awq-4": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"},
    "bnb-nf4": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "bnb-int8": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "compressed": {"quant_method": "compressed-tensors", "format": "pack-quantized", **SCHEME},
    "fp8": {"quant_method": "fp8", "activation_scheme": "static"},
}
PACKED_LLAMAS = {
    "gptq-4": llama(gptq(4)),
    "gptq-3": llama(gptq(3)),
    "gptq-8": llama(gptq(8)),
    "awq-4": llama(awq),
    "bnb-nf4": llama(nf4),
    "bnb-int8": llama(int8),
    "compressed": llama(pack_quantized),
    "fp8": llama(fp8),
}


def test_a_bias_counts_where_the_class_has_one() -> None:
    config = {**LLAMA_2_7B, "attention_bias": True, "quantization_config": RECIPES["gptq-4"]}
    parameters = count(config, *PACKED_LLAMAS["gptq-4"])
    assert parameters.total == 6_738_415_616 + 32 * 4 * 4096  # q, k, v, o; the MLP's are GPTQ's own
    assert parameters.exact


def test_an_unknown_recipe_is_never_exact() -> None:
    config = {**LLAMA_2_7B, "quantization_config": {"quant_method": "mystery"}}
    parameters = count(config, *PACKED_LLAMAS["awq-4"])
    assert not parameters.exact
    assert any("mystery" in note for note in parameters.notes)


def test_gptq_without_bits_is_told_by_its_shapes_or_not_at_all() -> None:
    config = {**LLAMA_2_7B, "quantization_config": {"quant_method": "gptq"}}
    parameters = count(config, *PACKED_LLAMAS["gptq-4"])
    assert (parameters.total, parameters.exact) == (6_738_415_616, True)
    bare = [tensor for tensor in PACKED_LLAMAS["gptq-4"] if not tensor.name.endswith(("g_idx", "qzeros"))]
    assert not count(config, *bare).exact


PLAIN_LLAMA = llama(lambda out, into: [("weight", "F16", (out, into))])


@pytest.mark.parametrize("prefix", ["transformer.", "module.", ""])
def test_prefixes_do_not_matter(prefix: str) -> None:
    bare = [t._replace(name=prefix + t.name.removeprefix("model.")) for t in PLAIN_LLAMA]
    parameters = count(LLAMA_2_7B, *bare)
    assert (parameters.total, parameters.exact) == (6_738_415_616, True)


def test_a_head_that_is_in_no_file_is_made_by_the_class() -> None:
    headless = [t for t in PLAIN_LLAMA if not t.name.startswith("lm_head")]
    parameters = count(LLAMA_2_7B, *headless)
    assert parameters.total == 6_738_415_616
    assert "lm_head" in parameters.notes[0]
    tied = count({**LLAMA_2_7B, "tie_word_embeddings": True}, *headless)
    assert tied.total == 6_738_415_616 - 32000 * 4096
    assert tied.notes == ()


def test_an_unknown_class_is_counted_by_names_and_says_so() -> None:
    config = {**LLAMA_2_7B, "architectures": ["MysteryForCausalLM"], "tie_word_embeddings": True}
    extra = [
        Tensor("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (64,)),
        Tensor("model.layers.32.enorm.weight", "F16", (4096,)),
    ]
    parameters = count(config, *PLAIN_LLAMA, *extra)
    assert parameters.total == 6_738_415_616 - 32000 * 4096
    assert parameters.buffers == 64
    assert parameters.stored_only == {"mtp": 4096, "duplicate_head": 32000 * 4096}
    assert not parameters.exact
    assert "MysteryForCausalLM" in parameters.notes[0]


def test_names_that_do_not_fit_the_class_are_counted_all_the_same() -> None:
    parameters = count(LLAMA_2_7B, Tensor("weird.0.kernel", "F32", (10, 10)))
    assert (parameters.total, parameters.exact) == (100, False)


@pytest.mark.parametrize(
    ("name", "model_type", "tensors"),
    [
        ("Lfm2ForCausalLM", "lfm2", {"conv.conv": (8, 1, 3), "conv.in_proj": (24, 8), "conv.out_proj": (8, 8)}),
        ("GraniteMoeHybridForCausalLM", "granitemoehybrid", {"self_attn.q_proj": (8, 8), "self_attn.o_proj": (8, 8)}),
        ("NemotronHForCausalLM", "nemotron_h", {"mixer.q_proj": (8, 8), "mixer.in_proj": (24, 8)}),
    ],
)
def test_kinds_of_layers_that_the_default_config_lacks_count(
    name: str, model_type: str, tensors: dict[str, tuple[int, ...]]
) -> None:
    stack = "backbone" if model_type == "nemotron_h" else "model"
    held = [Tensor(f"{stack}.layers.0.{module}.weight", "BF16", shape) for module, shape in tensors.items()]
    counted = count({"architectures": [name], "model_type": model_type}, *held)
    assert counted.by_dtype == {"BF16": sum(tensor.numel for tensor in held)}
    assert not counted.stored_only


def test_no_tensors_are_no_parameters() -> None:
    parameters = count(LLAMA_2_7B)
    assert (parameters.total, parameters.active, parameters.stored_bytes) == (0, 0, 0)


def test_old_spellings_are_the_same_parameters() -> None:
    config = {"architectures": ["BertModel"], "num_hidden_layers": 1}
    parameters = count(
        config,
        Tensor("bert.encoder.layer.0.output.LayerNorm.gamma", "F32", (8,)),
        Tensor("bert.encoder.layer.0.output.LayerNorm.beta", "F32", (8,)),
        Tensor("bert.embeddings.position_ids", "I64", (1, 4)),
    )
    assert (parameters.total, parameters.buffers) == (16, 4)
    assert all("the files hold no" in note for note in parameters.notes)


def test_t5_embeddings_saved_three_times_count_once() -> None:
    config = {"architectures": ["T5ForConditionalGeneration"], "num_layers": 1}
    names = ("shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head")
    tensors = [Tensor(f"{name}.weight", "F32", (32, 8)) for name in names]
    tied = count(config, *tensors)
    assert (tied.total, tied.stored_only) == (256, {"duplicate_embedding": 512, "duplicate_head": 256})
    # flan-t5: a head of its own, and still one embedding
    untied = count({**config, "tie_word_embeddings": False}, *tensors)
    assert (untied.total, untied.stored_only) == (512, {"duplicate_embedding": 512})


def test_deepseek_v3_is_counted_quickly() -> None:
    checkpoint = bundled("deepseek-ai/DeepSeek-V3")
    architecture = facts(checkpoint.config)
    times = []
    for _ in range(3):
        start = time.process_time()
        count_parameters(checkpoint, architecture)
        times.append(time.process_time() - start)
    assert min(times) < 0.3


def test_the_recipe_is_read_wherever_it_sits() -> None:
    recipe = {"quant_method": "awq", "bits": 4, "group_size": 128}
    for config in ({"quantization_config": recipe}, {"text_config": {"quantization_config": recipe}}):
        found = read_quantization(config)
        assert found is not None
        assert (found.method, found.bits, found.group_size) == ("awq", 4, 128)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"quantization_config": None}, None),
        ({"quantization_config": {"load_in_8bit": True}}, ("bitsandbytes", 8, None)),
        ({"quantization_config": {"load_in_4bit": True, "quant_method": "bitsandbytes"}}, ("bitsandbytes", 4, None)),
        ({"quantization_config": {"quant_method": "mxfp4"}}, ("mxfp4", 4, 32)),
        ({"quantization_config": {"quant_method": "fp8"}}, ("fp8", 8, None)),
        ({"quantization_config": {"quant_method": "compressed-tensors", **SCHEME}}, ("compressed-tensors", 4, 128)),
        ({"quantization": {"bits": 4, "group_size": 64}}, ("mlx", 4, 64)),
        ({"quantization_config": {"quant_method": "gptq", "bits": True, "group_size": -1}}, ("gptq", None, None)),
        ({"quantization_config": {"quant_method": "gptq", "bits": "4"}}, ("gptq", None, None)),
        ({"quantization_config": [1]}, None),
        ({"quantization_config": {"quant_method": 7}}, ("unknown", None, None)),
    ],
)
def test_recipes(config: dict[str, Any], expected: tuple[str, int | None, int | None] | None) -> None:
    found = read_quantization(config)
    assert (found and (found.method, found.bits, found.group_size)) == expected


def test_rows_that_pad_a_head_in_the_files_alone_are_not_loaded() -> None:
    """Inkling 2 keeps `unpadded_vocab_size` rows of the head, 966 fewer than its files hold by default."""
    names = ("model.llm.unembed.weight", "model.llm.embed.weight")
    tensors = [Tensor(name, "BF16", (201_024, 8)) for name in names]
    for more, rows in (({}, 200_058), ({"unpadded_vocab_size": 200_000}, 200_000)):
        config = {"architectures": ["Inkling2ForCausalLM"], "model_type": "inkling2_text", **more}
        counted = count(config, *tensors)
        assert counted.total == (201_024 + rows) * 8
        assert counted.stored_only == {"other": (201_024 - rows) * 8}


def test_a_head_is_tied_to_an_embedding_that_is_renamed_as_it_is_loaded() -> None:
    """Emu3's files have the embedding under the name that its first code gave it."""
    config = {"model_type": "emu3", "architectures": ["Emu3ForConditionalGeneration"], "tie_word_embeddings": True}
    names = ("text_model.model.embed_tokens.weight", "lm_head.weight")
    tensors = tuple(Tensor(name, "BF16", (100, 64)) for name in names)
    checkpoint = Checkpoint("a/b", None, "local", config, tensors)
    assert count_parameters(checkpoint, read_architecture(config)).total == 6400
    untied = {**config, "tie_word_embeddings": False}
    assert count_parameters(replace(checkpoint, config=untied), read_architecture(untied)).total == 12_800


def test_a_head_is_tied_by_a_flag_that_the_config_class_does_not_declare() -> None:
    """Muse Glimmer's config class has no flag outside its language part: a file's own value ties all the same."""
    config: dict[str, Any] = {
        "model_type": "muse_glimmer",
        "architectures": ["MuseGlimmerForConditionalGeneration"],
        "text_config": {"tie_word_embeddings": True},
    }
    names = ("model.language_model.embed_tokens.weight", "lm_head.weight")
    tensors = [Tensor(name, "BF16", (100, 64)) for name in names]
    assert count(config, *tensors).total == 12_800  # the part's own flag ties nothing
    tied = count({**config, "tie_word_embeddings": True}, *tensors)
    assert (tied.total, tied.stored_only) == (6400, {"duplicate_head": 6400})


def test_a_head_that_the_config_makes_another_of_is_not_added() -> None:
    """DeBERTa-v2 with `legacy=false`: its head is `lm_predictions`, which has no weights of the vocabulary."""
    config = {"architectures": ["DebertaV2ForMaskedLM"], "model_type": "deberta-v2", "tie_word_embeddings": False}
    embedding = Tensor("deberta.embeddings.word_embeddings.weight", "F32", (32, 8))
    other = Tensor("lm_predictions.lm_head.dense.weight", "F32", (8, 8))
    assert count({**config, "legacy": False}, embedding, other).total == 32 * 8 + 8 * 8
    usual = Tensor("cls.predictions.transform.dense.weight", "F32", (8, 8))
    assert count(config, embedding, usual).total == 2 * 32 * 8 + 8 * 8


@pytest.mark.parametrize(("flag", "parameters"), [(False, 9 * 64 + 4 * 64), (True, 9 * 64 + 64)])
def test_norms_that_a_switch_freezes_are_buffers(flag: bool, parameters: int) -> None:
    """But not a convolution of the same template as a norm: "downsample.0" and "downsample.1"."""
    config = {"architectures": ["TimmBackbone"], "model_type": "timm_backbone", "freeze_batch_norm_2d": flag}
    weights = [Tensor(f"_backbone.bn1.{name}", "F32", (64,)) for name in ("weight", "bias", "running_mean")]
    weights.append(Tensor("_backbone.layer2.0.downsample.0.weight", "F32", (64, 1, 1, 1)))
    weights.append(Tensor("_backbone.layer2.0.downsample.1.weight", "F32", (64,)))
    found = count(config, Tensor("_backbone.conv1.weight", "F32", (64, 1, 3, 3)), *weights)
    assert (found.total, found.total + found.buffers) == (parameters, 9 * 64 + 5 * 64)
