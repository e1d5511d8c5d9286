"""Designs: models of which there is a config alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.errors import InspectError, InvalidConfig, UnreadableModel, UsageError
from inspector.hub.cache.bundled import bundled_models, read_bundled
from inspector.hub.checkpoint import config_alone
from inspector.hub.resolver import Resolver, design_of
from inspector.model.build import build_model
from inspector.model.config.expressions import holds, size_of
from inspector.model.design.changes import read_changes
from inspector.model.design.derived import add_layers
from inspector.model.design.designed import designed
from inspector.tables import table_names, table_text
from tests.conftest import TINY_LLAMA, Run

LLAMA = "meta-llama/Meta-Llama-3-8B"


@pytest.fixture
def offline(tmp_path: Path) -> Resolver:
    return Resolver(offline=True, cache_dir=tmp_path)


def test_a_config_as_parsed_is_answered_for() -> None:
    found = inspector.inspect(TINY_LLAMA, context=100)
    assert found.model.parameters.total == 2 * 1000 * 64 + 64 + 2 * (2 * 64 + 4 * 64 * 64 + 3 * 64 * 128)
    assert found.model.parameters.exact
    assert found.estimate.weights.bytes == 2 * found.model.parameters.total
    record = found.to_dict()
    assert set(record["checkpoint"].values()) == {None}
    assert record["design"]["set"] == {}
    assert "from the config alone" in record["warnings"][0]


def test_without_its_weights_a_model_has_the_same_parameters(offline: Resolver) -> None:
    whole = inspector.inspect(LLAMA, resolver=offline)
    alone = inspector.inspect(LLAMA, resolver=offline, config_only=True)
    assert alone.model.parameters == whole.model.parameters
    assert alone.estimate == whole.estimate


def test_the_same_value_changes_nothing(offline: Resolver) -> None:
    whole = inspector.inspect(LLAMA, resolver=offline)
    same = inspector.inspect(LLAMA, resolver=offline, set={"num_hidden_layers": 32, "vocab_size": 128256})
    assert same.model.parameters == whole.model.parameters
    assert same.estimate == whole.estimate


def test_another_layer_costs_what_a_layer_has(offline: Resolver) -> None:
    whole = inspector.inspect(LLAMA, resolver=offline).model.parameters
    more = inspector.inspect(LLAMA, resolver=offline, set=["num_hidden_layers=33"]).model.parameters
    assert more.total - whole.total == whole.layers[0].parameters


@pytest.mark.parametrize("name", ["llama", "gemma", "gemma3_text", "glm4_moe", "deepseek_v2", "modernbert", "exaone4"])
def test_ties_are_of_the_class_and_its_config(name: str) -> None:
    """Whichever the class's default is: an untied head has a tensor, a tied one none, and none is stored twice."""
    head = "MaskedLM" if name == "modernbert" else "CausalLM"
    names = {"glm4_moe": "Glm4Moe", "deepseek_v2": "DeepseekV2", "gemma3_text": "Gemma3", "modernbert": "ModernBert"}
    config = {
        "model_type": name,
        "architectures": [f"{names.get(name, name.capitalize())}For{head}"],
        "dtype": "bfloat16",
    }
    tied, untied = (inspector.inspect(config, set={"tie_word_embeddings": flag}) for flag in (True, False))
    embedding = tied.model.parameters.by_component["embedding"]
    for each in (tied, untied):
        assert not [note for note in each.to_dict()["warnings"] if "head" in note or "twice" in note]
    stored = [each.to_dict()["design"]["tensor_bytes"] for each in (tied, untied)]
    assert stored[1] - stored[0] == 2 * embedding
    assert untied.model.parameters.total - tied.model.parameters.total == embedding


def test_training_and_fits_follow(offline: Resolver) -> None:
    loaded = inspector.load(LLAMA, resolver=offline)
    small = loaded.inspect(set={"num_hidden_layers": 2}, gpus="RTX 4090")
    assert small.fits[0].fits
    assert small.model.parameters.total < loaded.model.parameters.total
    trained = inspector.train(LLAMA, resolver=offline, set={"num_hidden_layers": 2}, context=512)
    assert trained.peak is not None
    assert trained.training.trainable_parameters == small.model.parameters.total


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("num_hidden_layers=40", "num_hidden_layers", 40),
        ("a.b=32k", "a.b", 32768),
        ("a=null", "a", None),
        ("a=true", "a", True),
        ("a=[1, 2]", "a", [1, 2]),
        ("a=NaN", "a", "NaN"),
        ("a=silu", "a", "silu"),
        ("a=x=y", "a", "x=y"),
        ("a=1.5", "a", 1.5),
    ],
)
def test_changes_are_json_or_text(text: str, key: str, value: object) -> None:
    assert read_changes([text]) == ((key, value),)


@pytest.mark.parametrize("text", ["a", "=1", "a b=1", "a..b=1", "a\x1b[31m=1", ""])
def test_what_is_no_change_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_changes([text])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("num_hiden_layers=3", "num_hidden_layers"),
        ("hidden_size=abc", "hidden_size"),
        ("num_hidden_layers=-1", "num_hidden_layers"),
        ("num_attention_heads=7", "multiple"),
        ("num_hidden_layers=100000000", "num_hidden_layers"),
        ("hidden_size.x=3", "hidden_size"),
        ("a.b.c=4", "no part a"),
        ("num_key_value_heads=5", "cannot share"),
        ("num_key_value_heads=0", "no model can have"),
        ("head_dim=0", "no model can have"),
    ],
)
def test_what_cannot_be_is_told_with_exit_code_2(run: Run, change: str, said: str) -> None:
    result = run(LLAMA, "--offline", "--set", change)
    assert result.code == 2
    assert said in result.err
    assert "Error for" not in result.err
    assert "validator" not in result.err


def test_a_config_alone_is_no_model_of_no_weights(offline: Resolver) -> None:
    checkpoint = offline.resolve(LLAMA, config_only=True)
    with pytest.raises(UnreadableModel, match="holds only a config"):
        build_model(checkpoint)


def test_of_packed_weights_the_dtype_is_that_of_the_plain_ones_not_of_their_scales(run: Run) -> None:
    record = run("deepseek-ai/DeepSeek-V3", "--offline", "--set", "quantization_config=null", "--json").record
    assert record["design"]["dtype"] == "BF16"


def test_a_dtype_that_is_set_is_taken_and_one_that_is_unknown_is_named(run: Run) -> None:
    assert run(LLAMA, "--offline", "--set", "torch_dtype=float32", "--json").record["design"]["dtype"] == "F32"
    assert "int99'" in run(LLAMA, "--offline", "--set", "torch_dtype=int99").err  # torch, where it is there, refuses it


def test_a_list_of_layers_that_is_too_long_is_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    kinds = {"layer_types": ["sliding_attention", "full_attention"] * 2, "num_hidden_layers": 4}
    config = {**TINY_LLAMA, **kinds, "model_type": "afmoe", "architectures": ["AfmoeForCausalLM"]}
    path.write_text(json.dumps(config), "utf-8")
    result = run(path, "--set", "num_hidden_layers=6")
    assert result.code == 2
    assert "--set layer_types=null" in result.err


def test_a_class_that_the_tables_do_not_have_cannot_be_told() -> None:
    with pytest.raises(UnreadableModel, match="cannot tell"):
        inspector.inspect({**TINY_LLAMA, "architectures": ["NobodysForCausalLM"]})
    with pytest.raises(UnreadableModel):
        inspector.inspect({"hidden_size": 3})


def test_without_a_class_the_usual_one_is_assumed_and_nothing_is_exact() -> None:
    config = {key: value for key, value in TINY_LLAMA.items() if key not in ("architectures", "dtype")}
    found = inspector.inspect(config)
    assert not found.model.parameters.exact
    assert any("LlamaForCausalLM" in each for each in found.warnings)
    assert any("32 bits" in each for each in found.warnings)


def test_diff_of_one_model_with_itself_changed(run: Run) -> None:
    result = run("diff", LLAMA, "--offline", "--set-b", "num_key_value_heads=4", "--json")
    record = json.loads(result.out)
    assert result.code == 1
    assert record["config"]["changed"] == {"num_key_value_heads": {"before": 8, "after": 4}}
    assert record["numbers"]["parameters"]["difference"] == -32 * 2 * 4 * 128 * 4096
    assert run("diff", LLAMA, "--offline").code == 2


def test_batch_and_lock_take_changes(run: Run, tmp_path: Path) -> None:
    result = run("batch", "-", "--offline", "--set", "num_hidden_layers=2", stdin=f"{LLAMA}\n")
    assert json.loads(result.out.splitlines()[0])["model"]["num_hidden_layers"] == 2
    manifest = tmp_path / "models.yaml"
    assert run("lock", LLAMA, "--offline", "--set", "num_hidden_layers=2", "-o", manifest).code == 0
    assert "num_hidden_layers=2" in manifest.read_text("utf-8")
    assert run("verify", manifest, "--offline").code == 0


def test_tables_over_ranges_are_of_the_design(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY_LLAMA), "utf-8")
    for model, change in ((LLAMA, ("--set", "num_hidden_layers=16")), (path, ())):
        alone = run("show", model, *change, "--offline", "--context", "1k", "--json").record
        cells = run("show", model, *change, "--offline", "--context", "1k,2k", "--json").record["grid"]["cells"]
        assert cells[0]["memory"]["total"] == alone["memory"]["inference"]["total"]
        assert cells[0]["memory"]["weights"] > 0


def test_training_tables_are_of_the_design(run: Run) -> None:
    asked = ("train", LLAMA, "--set", "num_hidden_layers=16", "--offline", "--json")
    alone = run(*asked, "--batch", "1").record["training"]["peak"]
    assert run(*asked, "--batch", "1,2").record["grid"]["cells"][0]["memory"]["peak"] == alone


def test_a_design_is_no_draft_model(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY_LLAMA), "utf-8")
    done = run("fit", LLAMA, "--draft", path, "--engine", "vllm", "--gpu", "H100", "--offline")
    assert done.code == 4
    assert "only a config" in done.err


def test_a_design_is_not_launched(run: Run) -> None:
    result = run(
        "fit", LLAMA, "--offline", "--set", "num_hidden_layers=2", "--gpu", "H100", "--engine", "vllm", "--emit", "vllm"
    )
    assert result.code == 2


def test_side_by_side_no_design_is_launched_either(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY_LLAMA), "utf-8")
    result = run("fit", path, LLAMA, "--offline", "--gpu", "H100", "--engine", "vllm", "--together", "--emit", "vllm")
    assert result.code == 2
    assert result.out == ""


def test_a_recipe_is_set_and_one_of_nothing_in_the_model_is_not_said_to_pack_it(run: Run) -> None:
    def made(recipe: str) -> Any:
        return run(LLAMA, "--offline", "--set", f'quantization_config={{"quant_method": {recipe}}}', "--json").record

    fp8, mxfp4 = made('"fp8", "weight_block_size": [128, 128]'), made('"mxfp4"')
    assert fp8["memory"]["inference"]["weights"] < 0.6 * mxfp4["memory"]["inference"]["weights"]
    assert any("is not applied" in each for each in mxfp4["warnings"])


def test_other_names_of_heads_are_looked_at_too(run: Run) -> None:
    assert "no multiple of 36 heads" in run("openai-community/gpt2", "--offline", "--set", "n_head=36").err


def test_expressions_say_nothing_of_what_a_config_does_not() -> None:
    config = {"a": 6, "b": None, "flag": True, "kinds": ["x", "y"], "part": {"c": 4}}
    assert size_of("a*part.c", config) == 24
    assert size_of("a*b", config) is None
    assert size_of("a-100", config) is None
    assert size_of("a//0", config) is None
    assert size_of("len(kinds)+1", config) == 3
    assert size_of("kinds[i]", config, (0,)) is None
    assert size_of("part.c*2**(i+1)", config, (2,)) == 32
    assert size_of("3**i", config, (3,)) == 27
    assert size_of("3**a", {"a": 10**9}) is None
    assert size_of("2**a", {"a": 10**9}) is None
    assert holds("kinds[i] == 'y'", config, (1,))
    assert not holds("i >= b", config, (1,))
    assert holds("b == None", config)
    assert holds("flag and a > 1", config)
    assert holds("'x' in kinds and not missing", config)
    assert holds("(i+1) % a == 0", config, (5,))
    assert not holds("i % b == 0", config, (5,))


def test_expressions_calculate_as_classes_do() -> None:
    config = {"width": 64, "ratio": 3.5, "scale": 1e300, "rates": [8, 5, 2], "rate": 24000, "huge": [2**40, 2**40]}
    assert size_of("int(width*ratio)", config) == 224
    assert size_of("width*ratio", config) is None
    assert size_of("round(width/ratio)", config) == 18
    assert size_of("ceil(width/ratio)+floor(width/ratio)", config) == 19 + 18
    assert size_of("max(width//8,16)+min(rates)", config) == 16 + 2
    assert size_of("-(-rate//prod(rates))*int(log2(width))", config) == 300 * 6
    assert size_of("int(sqrt(width))", config) == 8
    assert [size_of("stage(rates,i-1)", config, (at,)) for at in (0, 8, 9, 14, 15)] == [0, 0, 1, 2, 2]
    assert size_of("stage(rates,i)", config, (15,)) is None
    assert holds("width/ratio > 18", config)
    for text in (
        "prod(huge)",
        "int(scale*scale)",
        "int(width/0)",
        "int(log2(0))",
        "prod(width,2)",
        "int(rates)",
        "len(width)",
    ):
        assert size_of(text, config) is None, text


def test_layers_with_values_of_their_own_are_told_as_lists() -> None:
    config = {
        "text_config": {"num_hidden_layers": 3, "head_dim": 8, "per_layer_config": {"02": {"head_dim": 16}}},
        "num_hidden_layers": 2,
    }
    add_layers(config)
    assert config["text_config"]["layer_head_dim"] == [8, 8, 16]
    assert "layer_head_dim" not in config


@pytest.mark.parametrize("number", ["9" * 5000, "²", "1.5"])
def test_values_of_a_layer_whose_number_is_none_are_refused(number: str) -> None:
    with pytest.raises(InvalidConfig, match="no layer's number"):
        add_layers({"num_hidden_layers": 3, "per_layer_config": {number: {"head_dim": 16}}})


def test_a_list_of_another_length_than_the_tables_know_is_not_told_as_exact() -> None:
    config = {"architectures": ["ConvNextModel"], "model_type": "convnext"}
    longer = {"hidden_sizes": [96, 192, 384, 768, 1536], "depths": [3, 3, 9, 3, 1], "num_stages": 5}
    assert inspector.inspect({**config, **longer}).model.parameters.exact  # by the class
    by_tables = build_model(designed(design_of(config), ask=False))
    assert by_tables.parameters.exact
    told = designed(design_of({**config, **longer}), ask=False)
    assert not build_model(told).parameters.exact
    assert any("len(" in warning for warning in told.warnings)


def test_a_hostile_config_is_refused() -> None:
    for wrong in (
        {"num_hidden_layers": 2000, "hidden_size": 10**30},
        {"vocab_size": -5},
        {"num_hidden_layers": "\x1b[31m"},
        {"hidden_size": {"a": 1}},
        {"model_type": "\x1b[31m", "architectures": []},
    ):
        with pytest.raises(InspectError) as error:
            inspector.inspect({**TINY_LLAMA, **wrong})
        assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("ask", [True, False], ids=["by the class", "by the tables"])
def test_bundled_models_are_told_from_their_configs_alone(ask: bool) -> None:
    """All of them: the total that their headers give, and marked as exact."""
    wrong = []
    for listed in bundled_models():
        checkpoint = read_bundled(listed.name, "")
        assert checkpoint is not None
        whole = build_model(checkpoint).parameters
        alone = build_model(designed(config_alone(checkpoint), ask=ask)).parameters
        if (alone.total, alone.exact) != (whole.total, True):
            wrong.append(listed.name)
        if whole.stored_bytes != alone.stored_bytes and whole.overhead_bytes:  # packed: as its recipe has it
            wrong.append(f"{listed.name}: {alone.stored_bytes} stored")
    assert not wrong


WITHOUT = """
import sys
sys.modules["transformers"] = None
import inspector
from inspector.hub.cache.bundled import bundled_models, read_bundled
from inspector.hub.checkpoint import config_alone
from inspector.model.build import build_model
from inspector.model.config.light import installed
from inspector.model.design.designed import designed
assert installed() is None
for listed in bundled_models():
    checkpoint = read_bundled(listed.name, "")
    whole = build_model(checkpoint).parameters
    try:
        alone = build_model(designed(config_alone(checkpoint))).parameters
        told = "equal" if (alone.total, alone.exact) == (whole.total, True) else "wrong"
    except inspector.InspectError as error:
        told = error.message
    print(listed.name, told)
try:
    inspector.inspect("meta-llama/Meta-Llama-3-8B", offline=True, set={"no_such_key": 1})
except inspector.InspectError as error:
    print("refused", error.message)
changes = {"num_hidden_layers": 16, "hidden_size": 2048}
changed = inspector.inspect("meta-llama/Meta-Llama-3-8B", offline=True, set=changes)
print("changed", changed.model.parameters.total)
"""


def test_without_transformers_as_in_a_browser_a_table_tells_what_a_config_leaves_out(offline: Resolver) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert "no_such_key" in told.pop("refused")
    changes = {"num_hidden_layers": 16, "hidden_size": 2048}
    with_class = inspector.inspect(LLAMA, resolver=offline, set=changes)
    assert told.pop("changed") == str(with_class.model.parameters.total)
    assert "wrong" not in told.values()
    assert sum(each == "equal" for each in told.values()) >= 190


def test_without_transformers_every_key_that_the_tables_need_is_told() -> None:
    from fixtures.make_design_configs import keys_read, types

    told = json.loads(table_text("design_configs.json"))["types"]
    wrong = {name: set(keys_read(of)[0]) - told[name]["keys"].keys() for name, of in types() if name in told}
    assert not {name: keys for name, keys in wrong.items() if keys}


def test_the_docs_name_how_many_classes_the_tables_have() -> None:
    tables = [json.loads(table_text(f"designs/{name}.json")) for name in table_names("designs")]
    classes = [own for table in tables for entry in table["types"].values() for own in entry["classes"].values()]
    marked = sum("wrong" in own for own in classes)
    text = (Path(__file__).parents[2] / "docs" / "designs.md").read_text("utf-8")
    assert f"  have {len(classes):,} of " in text
    assert f"classes, {marked} of them marked as not exact" in text
