"""Packed weights against what the libraries really store (packed.json, made by fixtures/make_packed.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inspector.hub.cache.bundled import read_bundled
from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Checkpoint, Design, Tensor
from inspector.model.build import build_model
from inspector.model.design.designed import designed
from inspector.model.model import Model, Quantization
from inspector.model.packing.registry import METHODS, NOT_STORED, packing_of

STORED = json.loads((Path(__file__).parent / "packed.json").read_text(encoding="utf-8"))
CASES = {case["case"]: case for case in STORED["cases"]}
LLAMA = STORED["config"]
UNKNOWN = {"architectures": ["UnheardOf"], "num_hidden_layers": 6}

Rows = list[tuple[str, str, tuple[int, ...]]]


def model_of(config: dict[str, Any], rows: Any) -> Model:
    return build_model(Checkpoint("org/model", None, "local", config, tuple(Tensor(*row) for row in rows)))


def case_model(name: str) -> Model:
    return model_of({**LLAMA, **CASES[name]["config"]}, decode_tensors(CASES[name]["tensors"]))


def packing(config: dict[str, Any], rows: Any) -> Quantization:
    found = model_of({**LLAMA, **config}, rows).architecture.quantization
    assert found is not None
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_packed_model_counts_as_the_plain_one_and_nothing_is_noted(name: str) -> None:
    model = case_model(name)
    assert model.parameters.total == CASES[name]["parameters"] == 1_344_768
    assert model.parameters.exact
    assert model.warnings == ()


NOT_MADE = (
    *("aqlm", "auto-round", "awq-4 gemv", "bitnet", "bnb-nf4 in bfloat16", "eetq", "exl3", "fouroversix", "fp_quant"),
    *("gemma", "gptq marlin", "higgs", "hqq", "marlin-24", "metal", "mlx mxfp", "mlx nvfp4", "modelopt mixed", "mxfp6"),
    *("nvfp4", "quanto", "quark", "sinq", "sparse", "spqr", "torchao", "vptq"),
)
"""How cases begin whose tensors a config alone does not tell: its weights stay plain, and a note says so."""


def _made(name: str) -> bool:
    return name.startswith("nvfp4-") or not name.startswith(NOT_MADE)


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith(("without a recipe", "without g_idx"))])
def test_a_config_alone_tells_the_tensors_that_its_recipe_makes(name: str) -> None:
    """But for bitsandbytes' descriptions; of MLX's cases the packed layers, as the maker left all else as it was."""
    mlx = name.startswith("mlx")
    config = {**LLAMA, **CASES[name]["config"], "dtype": "float16" if mlx else "bfloat16"}
    checkpoint = designed(Checkpoint("org/model", None, "local", config, (), design=Design()))
    if not _made(name):
        assert any("is not applied" in warning for warning in checkpoint.warnings)
        return

    def compared(tensor: Tensor) -> bool:
        plain = tensor.name.endswith("weight") and tensor.dtype in ("F16", "BF16")
        return "quant_state" not in tensor.name and not (mlx and (plain or "embed_tokens" in tensor.name))

    stored = decode_tensors(CASES[name]["tensors"])
    assert set(filter(compared, checkpoint.tensors)) == set(filter(compared, stored))
    assert build_model(checkpoint).parameters.total == CASES[name]["parameters"]


RECIPES = ("quantization_config", "compression_config", "quantization")
UNTOLD = {
    "awq-4 gemv_fast",
    "fp_quant pseudo",
    "gemma",
    "hqq dynamic",
    "mlx mixed",
    *(f"pack-quantized {kind}" for kind in ("3 channel", "5 channel", "6 channel", "7 channel", "7 group", "mixed")),
    *(f"vptq {kind}" for kind in ("plain", "residual and outliers")),
    *(f"vptq {kind} without features" for kind in ("plain", "residual and outliers")),
}
"""Cases whose tensors leave open what they stand for where the config has no recipe: several widths, vectors."""


@pytest.mark.parametrize("name", CASES)
def test_without_a_recipe_tensors_tell_their_packing_or_the_number_is_in_doubt(name: str) -> None:
    config = {key: value for key, value in {**LLAMA, **CASES[name]["config"]}.items() if key not in RECIPES}
    model = model_of(config, decode_tensors(CASES[name]["tensors"]))
    assert (model.parameters.total == 1_344_768) == (name not in UNTOLD)
    assert model.parameters.exact == (name not in UNTOLD)
    told, said = model.architecture.quantization, case_model(name).architecture.quantization
    if told is not None and said is not None and name not in UNTOLD and told.method == said.method:
        sparse = "marlin-24" in name or name == "spqr"  # which keep a part of the values
        assert sparse or None in (told.bits, said.bits) or told.bits == said.bits
        assert None in (told.group_size, said.group_size) or told.group_size == said.group_size


EXL2 = {"q_weight": ("I32", (32, 256)), "q_invperm": ("I16", (256,)), "q_scale": ("I32", (4, 32))}


def test_exl2_is_told_without_a_recipe() -> None:
    rows: Rows = [("model.layers.0.self_attn.q_proj." + name, *entry) for name, entry in EXL2.items()]
    model = model_of({**LLAMA, "num_hidden_layers": 1}, rows)
    quantization = model.architecture.quantization
    assert quantization is not None
    assert quantization.method == "exl2"
    assert model.parameters.by_component["attention"] == 256 * 256


@pytest.mark.parametrize("rows", [(64, 512), (64, 64)])
def test_int4_experts_of_w4afp8_are_two_a_byte_and_int8_ones_one(rows: tuple[int, int]) -> None:
    """A scale for 128 inputs is of int4 in bytes of two; a scale for a block of other widths is of int8."""
    name = "model.layers.0.mlp.up_proj.weight"
    model = model_of(
        {**LLAMA, "num_hidden_layers": 1, "quantization_config": {"quant_method": "w4afp8"}},
        [(name, "I8", rows), (f"{name}_scale_inv", "F32", (64, 8 if rows[1] == 512 else 2))],
    )
    assert model.parameters.by_component["mlp"] == 64 * rows[1] * (2 if rows[1] == 512 else 1)


def test_every_method_of_transformers_is_handled_or_named() -> None:
    config = pytest.importorskip("transformers.utils.quantization_config")
    methods = {method.value for method in config.QuantizationMethod}
    assert methods - METHODS.keys() == {"gguf"} == NOT_STORED.keys()


def test_the_fixture_has_every_method_with_a_table() -> None:
    recipes = [case["config"].get("quantization_config", {}).get("quant_method") for case in CASES.values()]
    assert METHODS.keys() - {method for method in recipes if method} == {
        "",
        "exl2",
        "w4afp8",
        "mlx",
        "mxfp4",
    }  # by their own tests


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_transformers_layers_hold_is_up_to_date() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from fixtures import make_packed

    for name in ("transformers", "by source", "spqr"):
        for case in make_packed.MAKERS[name]():
            made = make_packed.row(case, 1_344_768)
            assert {**made, "source": ""} == {**CASES[case[0]], "source": ""}


# By hand, for any size

FEATURES = st.integers(1, 24).map(lambda n: 32 * n)
SMALL = st.integers(1, 12).map(lambda n: 16 * n)
MODULE = "model.layers.0.mlp.up_proj"


def linear(config: dict[str, Any], *parts: tuple[str, str, tuple[int, ...]]) -> int:
    """The parameters of one linear map, counted with its parts alone: all else is not there, and nothing else noted."""
    model = model_of({**LLAMA, **config}, [(f"{MODULE}{part}", dtype, shape) for part, dtype, shape in parts])
    assert all("the files hold no" in note for note in model.parameters.notes)
    return model.parameters.total


def recipe(method: str, **own: Any) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": method, **own}}


@settings(deadline=None)
@given(FEATURES, FEATURES, st.sampled_from([2, 3, 4, 8]), st.sampled_from([32, 64, 128]), st.booleans(), st.booleans())
def test_gptq_of_any_size(into: int, out: int, bits: int, size: int, indexed: bool, told: bool) -> None:
    groups = -(-into // size)
    parts: Rows = [
        (".qweight", "I32", (into * bits // 32, out)),
        (".qzeros", "I32", (groups, out * bits // 32)),
        (".scales", "F16", (groups, out)),
    ]
    if indexed:
        parts.append((".g_idx", "I32", (into,)))
    assert linear(recipe("gptq", **({"bits": bits, "group_size": size} if told else {})), *parts) == into * out


@settings(deadline=None)
@given(FEATURES, FEATURES, st.sampled_from([2, 4, 8]), st.sampled_from([2, 4, 8]))
def test_shapes_beat_a_recipe_that_is_wrong(into: int, out: int, bits: int, said: int) -> None:
    parts: Rows = [(".qweight", "I32", (into * bits // 32, out)), (".g_idx", "I32", (into,))]
    assert linear(recipe("gptq", bits=said), *parts) == into * out


@settings(deadline=None)
@given(SMALL, SMALL, st.sampled_from([16, 32, 64]))
def test_awq_of_any_size(groups: int, eighths: int, size: int) -> None:
    into, out = groups * size, eighths * 8
    parts: Rows = [
        (".qweight", "I32", (into, out // 8)),
        (".qzeros", "I32", (groups, out // 8)),
        (".scales", "F16", (groups, out)),
    ]
    assert linear(recipe("awq", bits=4, group_size=size), *parts) == into * out


@settings(deadline=None)
@given(FEATURES, FEATURES, st.sampled_from([("U8", 1), ("BF16", 2), ("F32", 4)]), st.booleans())
def test_bitsandbytes_of_any_size_in_any_storage(into: int, out: int, storage: tuple[str, int], nested: bool) -> None:
    dtype, width = storage
    parts: Rows = [
        (".weight", dtype, (into * out // 2 // width, 1)),
        (".weight.absmax", "U8" if nested else "F32", (into * out // 64,)),
        (".weight.quant_map", "F32", (16,)),
        (".weight.quant_state.bitsandbytes__fp4", "U8", (170,)),
    ]
    if nested:
        parts += [(".weight.nested_absmax", "F32", (1,)), (".weight.nested_quant_map", "F32", (256,))]
    assert linear(recipe("bitsandbytes", load_in_4bit=True), *parts) == into * out


@settings(deadline=None)
@given(FEATURES, FEATURES, st.integers(2, 8), st.sampled_from([16, 32, 96]), st.booleans())
def test_pack_quantized_of_any_size_in_both_layouts(out: int, n: int, bits: int, size: int, gapless: bool) -> None:
    into = n // 16 * size  # at least two groups
    words = -(-into * bits // 32) if gapless else -(-into // (32 // bits))
    config = recipe("compressed-tensors", config_groups={"g": {"weights": {"num_bits": bits, "group_size": size}}})
    parts: Rows = [
        (".weight_packed", "I32", (out, words)),
        (".weight_scale", "BF16", (out, into // size)),
        (".weight_shape", "I64", (2,)),
    ]
    assert linear(config, *parts) == into * out


@settings(deadline=None)
@given(FEATURES, FEATURES)
def test_marlin_24_and_sparse_weights_of_any_size(into: int, out: int) -> None:
    marlin: Rows = [
        (".weight_packed", "I32", (into // 32, out * 2)),
        (".scale_packed", "F16", (1, out)),
        (".meta", "I16", (into // 32, out * 2)),
    ]
    assert linear(recipe("compressed-tensors", format="marlin-24"), *marlin) == into * out
    sparse: Rows = [
        (".compressed", "BF16", (out, into // 2)),
        (".bitmask", "U8", (out, into // 8)),
        (".shape", "I64", (2, 1)),
    ]
    assert linear(recipe("compressed-tensors"), *sparse) == into * out
    any_zeros: Rows = [
        (".compressed", "BF16", (into * out // 3,)),
        (".bitmask", "U8", (out, into // 8)),
        (".row_offsets", "I64", (out,)),
    ]
    assert linear(recipe("compressed-tensors"), *any_zeros) == into * out


@settings(deadline=None)
@given(SMALL, st.integers(1, 20), st.sampled_from([2, 3, 4, 5, 6, 8]), st.sampled_from([32, 64, 128]))
def test_mlx_of_any_size(out: int, groups: int, bits: int, size: int) -> None:
    into = groups * size
    parts: Rows = [
        (".weight", "U32", (out, into * bits // 32)),
        (".scales", "BF16", (out, groups)),
        (".biases", "BF16", (out, groups)),
    ]
    assert linear({"quantization": {"group_size": size, "bits": bits}}, *parts) == into * out


@settings(deadline=None)
@given(SMALL, st.integers(1, 20), st.sampled_from([1, 2, 3, 4, 8]), st.sampled_from([16, 64]))
def test_hqq_of_any_size(out: int, groups: int, bits: int, size: int) -> None:
    into, rows = groups * size, out * groups
    packed = ("I32", (-(-rows // 10), size)) if bits == 3 else ("U8", (rows * bits // 8, size))
    config = recipe("hqq", quant_config={"weight_quant_params": {"nbits": bits, "group_size": size}})
    parts: Rows = [(".W_q", *packed), (".scale", "BF16", (rows, 1)), (".zero", "BF16", (rows, 1))]
    assert linear(config, *parts) == into * out


@settings(deadline=None)
@given(SMALL, SMALL, st.sampled_from([(1, 8), (2, 8), (1, 16)]), st.sampled_from([4, 8]))
def test_aqlm_of_any_size(outs: int, ins: int, group: tuple[int, int], size: int) -> None:
    books, bits = group
    parts: Rows = [
        (".codes", "I16" if bits > 8 else "I8", (outs, ins, books)),
        (".codebooks", "F16", (books, 2**bits, 1, size)),
        (".scales", "F16", (outs, 1, 1, 1)),
    ]
    assert linear(recipe("aqlm"), *parts) == outs * ins * size


@settings(deadline=None)
@given(FEATURES, FEATURES)
def test_two_four_and_six_bits_in_bytes_of_any_size(into: int, out: int) -> None:
    nvfp4: Rows = [
        (".weight", "U8", (out, into // 2)),
        (".weight_scale", "F8_E4M3", (out, into // 16)),
        (".weight_scale_2", "F32", ()),
    ]
    assert linear(recipe("modelopt", quant_algo="NVFP4"), *nvfp4) == into * out
    assert linear({}, *nvfp4) == into * out
    assert linear(recipe("bitnet"), (".weight", "U8", (out // 4, into)), (".weight_scale", "F32", (1,))) == into * out
    quanto: Rows = [(".weight._data._data", "U8", (out // 4, into)), (".weight._scale", "F16", (out, 1))]
    assert linear(recipe("quanto", weights="int2"), *quanto) == into * out
    six: Rows = [(".weight_packed", "U8", (out, into * 3 // 4)), (".weight_scale", "U8", (out, into // 32))]
    groups = {"g": {"weights": {"num_bits": 6, "type": "float", "group_size": 32}}}
    assert linear(recipe("compressed-tensors", config_groups=groups), *six) == into * out


def test_fp4_experts_in_an_fp8_checkpoint_count_two_a_byte() -> None:
    # transformers' FP8Experts with expert_dtype "fp4": int8, inputs halved, a scale for 32 inputs
    rows: Rows = [
        ("layers.0.mlp.experts.gate_up_proj", "I8", (8, 2 * 96, 256 // 2)),
        ("layers.0.mlp.experts.gate_up_proj_scale_inv", "F8_E8M0", (8, 2 * 96, 256 // 32)),
        ("layers.0.attn.wq.weight", "F8_E4M3", (256, 256)),
        ("layers.0.attn.wq.weight_scale_inv", "F32", (2, 2)),
    ]
    model = model_of({**UNKNOWN, **recipe("fp8")}, rows)
    assert model.parameters.total == 8 * 2 * 96 * 256 + 256 * 256


def test_stacked_nvfp4_experts_and_their_scales() -> None:
    rows: Rows = [
        ("model.layers.0.mlp.experts.gate_up_proj", "U8", (4, 128, 96)),
        ("model.layers.0.mlp.experts.gate_up_proj_weight_scale", "F8_E4M3", (4, 16, 96)),
        ("model.layers.0.mlp.experts.gate_up_proj_weight_scale_2", "F32", (4,)),
        ("model.layers.0.mlp.experts.gate_up_proj_input_scale", "F32", (4,)),
        ("model.layers.0.mlp.experts.gate_up_proj_bias", "BF16", (4, 96)),
    ]
    model = model_of({**UNKNOWN, **recipe("modelopt", quant_algo="NVFP4")}, rows)
    assert model.parameters.total == 2 * 4 * 128 * 96 + 4 * 96


def test_names_that_scales_share_with_parameters_stay_parameters() -> None:
    rows: Rows = [
        ("model.layers.0.layer_scale", "F32", (64,)),
        ("model.layers.0.router.scale", "F32", (64,)),
        ("model.layers.0.attn.position_ids", "I64", (1, 77)),
        ("model.layers.0.mlp.weight", "F8_E4M3", (64, 64)),
        ("model.layers.0.mlp.weight_scale", "F32", ()),
    ]
    model = model_of({**UNKNOWN, **recipe("fp8")}, rows)
    assert model.parameters.total == 64 + 64 + 64 * 64
    assert model.parameters.buffers == 77


def test_tiled_int4_is_never_said_to_be_exact() -> None:
    rows: Rows = [
        (f"{MODULE}._weight_qdata", "I32", (512 // 8, 1024 // 128, 32, 4)),
        (f"{MODULE}._weight_scale_and_zero", "BF16", (1024 // 128, 512, 2)),
    ]
    model = model_of({**LLAMA, **recipe("torchao")}, rows)
    assert model.parameters.total == 512 * 1024
    assert not model.parameters.exact
    assert any("1024" in note for note in model.warnings)


# Effective bits, and what is left plain


def test_effective_bits_by_hand() -> None:
    rows: Rows = [
        (f"{MODULE}.qweight", "I32", (512, 4096)),  # 8,388,608 B
        (f"{MODULE}.qzeros", "I32", (32, 512)),  # 65,536 B
        (f"{MODULE}.scales", "F16", (32, 4096)),  # 262,144 B
        (f"{MODULE}.g_idx", "I32", (4096,)),  # 16,384 B; 8,732,672 B for 16,777,216 weights
        ("lm_head.weight", "F16", (4096, 4096)),  # 33,554,432 B
    ]
    found = packing(recipe("gptq", bits=4, group_size=128), rows)
    assert found.packed_bits == 8 * 8_732_672 / 16_777_216 == 4.1640625
    assert found.effective_bits == 8 * (8_732_672 + 33_554_432) / (2 * 16_777_216)
    assert found.packed_parameters == 16_777_216
    assert found.plain == ("lm_head",)


@pytest.mark.parametrize(
    ("repo", "plain", "bits"),
    [
        ("openai/gpt-oss-20b", ("lm_head", "model.layers.{}.mlp.router", "model.layers.{}.self_attn"), 4.25),
        ("deepseek-ai/DeepSeek-V3", ("lm_head", "model.layers.{}.mlp.gate"), 8.002),
    ],
)
def test_what_published_models_leave_plain(repo: str, plain: tuple[str, ...], bits: float) -> None:
    checkpoint = read_bundled(repo, "a test")
    assert checkpoint is not None
    found = build_model(checkpoint).architecture.quantization
    assert found is not None
    assert found.plain == plain
    assert found.plain_embeddings == ("model.embed_tokens",)
    assert found.packed_bits == pytest.approx(bits, abs=5e-4)


def two_layers(count: int, name: str, plain: tuple[int, ...]) -> Rows:
    """One FP8 matrix a layer, plain in some."""
    rows: Rows = []
    for layer in range(count):
        front = f"model.layers.{layer}.{name}"
        rows += [
            (f"{front}.weight", "BF16" if layer in plain else "F8_E4M3", (64, 64)),
            *([] if layer in plain else [(f"{front}.weight_scale", "F32", ())]),
        ]
    return rows


def test_a_whole_tower_is_one_name_and_odd_layers_are_numbered() -> None:
    rows: Rows = [
        ("model.visual.patch_embed.proj.weight", "BF16", (64, 3, 2, 2)),
        ("model.visual.blocks.0.attn.qkv.weight", "BF16", (64, 64)),
        ("model.layers.0.input_layernorm.weight", "BF16", (64,)),
        ("lm_head.weight", "BF16", (320, 64)),
        *two_layers(6, "mlp.up_proj", (0, 1, 2)),
        *two_layers(6, "mlp.gate", (0, 1, 2, 3, 4, 5)),
    ]
    found = packing({**UNKNOWN, **recipe("fp8")}, rows)
    assert set(found.plain) == {
        "model.visual",
        "lm_head",
        "model.layers.{}.mlp.up_proj (layers 0-2)",
        "model.layers.{}.mlp.gate",
    }


def test_the_list_is_bounded() -> None:
    rows: Rows = [(f"{MODULE}.weight", "F8_E4M3", (64, 64))]
    rows += [(f"model.layers.0.mlp.odd_{'abcdefghijklmnopqrstuvwxyz'[i]}.weight", "BF16", (64, 64)) for i in range(26)]
    found = packing({**UNKNOWN, **recipe("fp8")}, rows)
    assert len(found.plain) == 12
    assert found.plain[-1] == "15 more"


# Where the recipe and the tensors disagree


def notes(config: dict[str, Any], rows: Rows) -> list[str]:
    return [note for note in model_of({**LLAMA, **UNKNOWN, **config}, rows).warnings if "recipe" in note]


@pytest.mark.parametrize("key", ["ignore", "modules_to_not_convert", "exclude_modules", "llm_int8_skip_modules"])
@pytest.mark.parametrize("entry", ["up_proj", "mlp.up_proj", "model.layers.3.mlp.up_proj"])
def test_packed_although_listed_is_noted(key: str, entry: str) -> None:
    rows = two_layers(6, "mlp.up_proj", ())
    assert notes(recipe("fp8", **{key: [entry]}), rows) == [
        f"the recipe (fp8) lists {entry} as left unquantized, but the file holds it packed"
    ]


@pytest.mark.parametrize("entry", ["lm_head", "proj", "up", "model.layers.7.mlp.up_proj", "re:.*gate$", "*gate*"])
def test_other_entries_are_not_noted(entry: str) -> None:
    assert notes(recipe("fp8", ignore=[entry]), two_layers(6, "mlp.up_proj", ())) == []


def test_plain_in_one_layer_and_not_listed_is_noted() -> None:
    rows = [*two_layers(6, "mlp.up_proj", (4,)), *two_layers(6, "mlp.gate", tuple(range(6)))]
    assert notes(recipe("fp8", ignore=["lm_head"]), rows) == [
        "model.layers.{}.mlp.up_proj is not packed in layers 4, but in 5 others; the recipe (fp8) does not list that"
    ]


@pytest.mark.parametrize(
    "own",
    [
        {"ignore": ["model.layers.4.mlp.up_proj"]},
        {"ignore": [r"re:.*layers\.4\..*"]},
        {"ignore": ["re:.*up_(?=proj)proj"]},
        {"exclude_modules": ["model.layers.4*"]},
        {"modules_to_not_convert": ["up_proj"]},
        {"dynamic": {r"-:.*\.4\..*": {}}},
        {"quantized_layers": {"model.layers.3.mlp.up_proj": {"quant_algo": "FP8"}}},
    ],
)
def test_plain_and_listed_in_any_way_is_not_noted(own: dict[str, Any]) -> None:
    found = notes(recipe("fp8", **own), two_layers(6, "mlp.up_proj", (4,)))
    assert [note for note in found if "not packed" in note] == []


def test_many_contradictions_are_one_note() -> None:
    listed = [f"model.layers.{layer}.mlp.up_proj" for layer in (1, 2, 3)]
    (first,) = notes(recipe("fp8", ignore=listed), two_layers(6, "mlp.up_proj", ()))
    assert "lists model.layers.1.mlp.up_proj (and 2 more of its entries) as left unquantized" in first
    rows = [row for name in ("up", "gate", "down") for row in two_layers(6, f"mlp.{name}_proj", (4,))]
    (second,) = notes(recipe("fp8"), rows)
    assert "up_proj is not packed in layers 4, but in 5 others (and 2 more modules)" in second


# Bad input

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("bits", "w_bit", "group_size", "ignore", "dynamic", "config_groups", "weights", "quant_algo", "version"),
        *("extra_config", "quantization", "module_quant_configs", "layer_quant_config", "global_quant_config"),
        *("quant_config", "config_for_layers", "forward_dtype", "modules_to_not_convert", "load_in_4bit", "producer"),
    ]
)


def assert_adds_up(model: Model, rows: Any) -> None:
    """What holds of every count, right or not: its parts are the whole, no byte is counted twice, doubts are said."""
    count = model.parameters
    assert count.total == sum(count.by_component.values())
    assert 0 < count.active <= count.total
    assert 0 <= count.overhead_bytes <= count.stored_bytes == sum(count.bytes_by_component.values())
    assert count.stored_bytes <= sum(Tensor(*row).nbytes for row in rows)
    assert count.exact or model.warnings


@settings(deadline=None)
@example("gptq", {"config_for_layers": 2001.0}, "aqlm 1x16")  # no count of layers
@given(st.sampled_from([*METHODS, "unheard-of"]), st.dictionaries(KEYS, JSON, max_size=6), st.sampled_from(list(CASES)))
def test_no_recipe_breaks_the_count(method: str, own: dict[str, Any], name: str) -> None:
    config = {**LLAMA, "quantization_config": {**own, "quant_method": method}}
    tensors = decode_tensors(CASES[name]["tensors"])
    model = model_of(config, tensors)
    assert_adds_up(model, tensors)
    # A byte may hold one value or two, and AWQ's words are of 4 bits unless its recipe says so: under another method's
    # name nothing else tells
    guessed = method == "awq" or any(tensor.dtype == "U8" for tensor in tensors)
    assert model.parameters.total == CASES[name]["parameters"] or not model.parameters.exact or guessed


@pytest.mark.parametrize("name", CASES)
def test_under_an_unheard_of_method_packed_weights_are_never_counted_as_exact(name: str) -> None:
    parameters = model_of(
        {**LLAMA, "quantization_config": {"quant_method": "unheard-of"}}, decode_tensors(CASES[name]["tensors"])
    ).parameters
    assert not parameters.exact


def test_indices_and_masks_are_no_parameters() -> None:
    """EAGLE-3's drafts map the draft's vocabulary to the target's: d2t (I64) and t2d (BOOL)."""
    rows: Rows = [("model.embed_tokens.weight", "F16", (64, 8)), ("d2t", "I64", (32,)), ("t2d", "BOOL", (64,))]
    found = model_of(UNKNOWN, rows).parameters
    assert (found.total, found.buffers) == (512, 96)
    known = model_of({**LLAMA, "tie_word_embeddings": True}, rows).parameters
    assert known.total == 512


@settings(deadline=None)
@given(
    st.sampled_from(list(CASES)),
    st.sampled_from(["U8", "I8", "I32", "I64", "F16", "F8_E4M3", "BOOL"]),
    st.lists(st.integers(0, 9), max_size=4),
)
def test_no_shape_breaks_the_count(name: str, dtype: str, shape: list[int]) -> None:
    rows = [
        (row.name, dtype, tuple(shape)) if "up_proj" in row.name else row
        for row in decode_tensors(CASES[name]["tensors"])
    ]
    assert_adds_up(model_of({**LLAMA, **CASES[name]["config"]}, rows), rows)


def test_a_hostile_pattern_is_given_up_not_followed() -> None:
    patterns = {
        "+:" + "(a+)+" * 20 + "b": {"bits": 2},
        "+:(((((.*)*)*)*)*)*x": {"bits": 3},
        "+:" + "(" * 900: {"bits": 8},
    }
    name = f"model.layers.0.{'a' * 120}"
    rows: Rows = [(f"{name}.qweight", "I32", (64, 64))]
    model = model_of({**LLAMA, **recipe("gptq", bits=4, dynamic=patterns)}, rows)
    assert not model.parameters.exact


def test_a_plain_model_loads_none_of_this() -> None:
    code = (
        "import sys\n"
        "from inspector.hub.cache.bundled import read_bundled\n"
        "from inspector.model.build import build_model\n"
        "build_model(read_bundled('meta-llama/Llama-3.1-8B', ''))\n"
        "print([name for name in sys.modules if 'packing' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_shows_effective_bits_and_what_is_left_plain(run: Callable[..., Any]) -> None:
    shown = run("openai/gpt-oss-20b", "--offline")
    assert "5.26 bits per weight" in " ".join(shown.out.split())
    assert "left unquantized: model.embed_tokens, lm_head" in " ".join(shown.out.split())
    found = run("openai/gpt-oss-20b", "--offline", "--json").record["model"]["quantization"]
    assert found == {
        "method": "mxfp4",
        "bits": 4,
        "group_size": 32,
        "effective_bits": 5.264,
        "packed_bits": 4.25,
        "packed_parameters": 19_110_297_600,
        "unquantized": ["lm_head", "model.layers.{}.mlp.router", "model.layers.{}.self_attn"],
        "unquantized_embeddings": ["model.embed_tokens"],
    }


def stored_name(key: str) -> str:
    """A key projection's tensor under a key of a packing's table."""
    module = "model.layers.0.self_attn.k_proj"
    if "_*_" in key:
        return f"{module}._weight{key.removeprefix('_*')}"
    if key.startswith(".") or (key.startswith("_") and not key.startswith("_*")):
        return f"{module}.weight{key}"
    return f"{module}.{key.replace('*', 'scale')}"


HOSTILE_SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 8, 64, 128, 2**31, 2**40]), max_size=4).map(tuple)


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(sorted(METHODS.keys() - {""})))
def test_no_shapes_without_a_recipe_can_break_it(data: st.DataObject, method: str) -> None:
    packing = packing_of(method)
    assert packing is not None
    keys = sorted(packing.tensors.keys() | set(packing.marks))
    kept = data.draw(st.sets(st.sampled_from(keys), min_size=1, max_size=4)) | set(packing.marks)
    dtypes = st.sampled_from(["I32", "U8", "I8", "I16", "U32", "F16", "BF16", "F8_E4M3", "I64"])
    rows: Rows = [(stored_name(key), data.draw(dtypes), data.draw(HOSTILE_SHAPES)) for key in sorted(kept)]
    assert model_of(LLAMA, rows).parameters.total >= 0


def test_an_empty_table_of_codes_tells_no_bits() -> None:
    rows: Rows = [(stored_name("weight"), "I16", (4, 4)), (stored_name("tables"), "I32", (0,))]
    assert model_of(LLAMA, rows).parameters.total >= 0
