"""Trainers' config files as settings: ten of each trainer's own examples, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import inspector
from inspector.batch.yaml_nodes import MAX_CHARACTERS
from inspector.cli.train_config import STEP
from inspector.errors import FileMissing, InspectError, UnreadableModel, UsageError
from inspector.memory.training import Sharding, TrainingSetup
from inspector.settings import settings_of
from inspector.trainers import Run, read_run
from inspector.trainers.files import Document
from inspector.trainers.patch import diff, edited, patches
from inspector.trainers.registry import TRAINERS
from inspector.trainers.run import run_of as run_of_documents
from inspector.verdict.changes import Change
from tests.conftest import Run as Command
from tests.other_versions import tomllib

EXAMPLES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("configs.json").read_text("utf-8"))
"""The keys of public example files, without comments and lists of data: facts, with where they stand."""

AXOLOTL = """# a comment
base_model: meta-llama/Llama-3.1-8B
sequence_len: 4096
sample_packing: true
micro_batch_size: 4  # per GPU
gradient_accumulation_steps: 2
optimizer: adamw_torch_fused
bf16: auto
gradient_checkpointing: true
attn_implementation: flash_attention_2
learning_rate: 2e-5
"""

TITAN = """
[model]
name = "llama3"
flavor = "8B"
[optimizer]
name = "AdamW"
implementation = "foreach"
[training]
local_batch_size = 2
seq_len = 8192
[parallelism]
data_parallel_shard_degree = -1
[activation_checkpoint]
mode = "selective"
selective_ac_option = "op"
"""


def run_of(folder: Path, text: str, name: str = "run.yml", **more: Any) -> Run:
    path = folder / name
    path.write_bytes(text.encode())
    return read_run([path], **more)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["source"].partition("@")[2])
def test_a_trainers_own_examples_are_read_without_an_unexplained_key(example: dict[str, Any], tmp_path: Path) -> None:
    run = run_of(tmp_path, yaml.safe_dump(example["values"]), given={"context"})
    assert run.trainer.name == example["trainer"]
    found = {**run.settings, **run.sharding}
    assert {name: found.get(name) for name in example["settings"]} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in example["settings"].items()
    }


def test_there_are_ten_examples_of_each_trainer() -> None:
    folders = [example["source"].partition("@")[0] for example in EXAMPLES]
    for name in ("axolotl-ai-cloud/axolotl", "hiyouga/LLaMA-Factory", "pytorch/torchtune", "huggingface/trl"):
        assert folders.count(name) >= 10


def test_what_is_assumed_is_told_with_its_reason(tmp_path: Path) -> None:
    run = run_of(tmp_path, AXOLOTL)
    assert (run.model, run.settings["batch"], run.sharding["grad_accum"]) == ("meta-llama/Llama-3.1-8B", 4, 2)
    why = {each.setting: each.why for each in run.assumed}
    assert why["logits"] == "Axolotl's default"
    assert "--processes" in why["processes"]
    assert next(each for each in run.read if each.setting == "attention").key == "attn_implementation"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("load_in_8bit: true", "a base in 8 bits without adapters"),
        ("rl: ebft", "the objective 'ebft'"),
        ("optimizer: adamw_of_mine", "adamw_of_mine"),
        ("gradient_chekpointing: true", "not known"),
        ("lora_r: many\nadapter: lora\nlora_target_linear: true", "no whole number"),
    ],
)
def test_a_key_that_matters_and_is_not_modelled_makes_the_answer_cannot_tell(
    line: str, words: str, tmp_path: Path
) -> None:
    key = line.partition(":")[0]
    text = "\n".join(each for each in AXOLOTL.splitlines() if not each.startswith(f"{key}:"))
    with pytest.raises(UnreadableModel, match=words) as caught:
        run_of(tmp_path, f"{text}\n{line}\n")
    assert caught.value.exit_code == 4
    assert f"--ignore-key {key}" in caught.value.hint
    assert run_of(tmp_path, f"{text}\n{line}\n", without=[key])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model_name_or_path: a/b\ntemplate: qwen\ninfer_backend: huggingface\n", "inference, which is no training"),
        ("model_name_or_path: a/b\ntemplate: qwen\nexport_dir: saves\n", "an export, which is no training"),
        ("model_name_or_path: a/b\ntemplate: qwen\npipeline_model_parallel_size: 4\n", "Megatron"),
        ("model: a/b\nmodel_class: llm\ntrain_dataset: data.yaml\nmicro_batch_size: 1\n", "fp32 copy of all logits"),
        (
            "model: {_component_: a.llama3_8b}\nbatch_size: 1\ntokenizer: {max_seq_len: 8}\ntasks: [x]\n",
            "an evaluation",
        ),
    ],
)
def test_what_is_no_training_step_or_another_trainers_says_so(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableModel) as refused:
        run_of(tmp_path, text)
    assert words in refused.value.message


def test_an_objective_that_is_given_otherwise_is_read_with_the_files_keys(tmp_path: Path) -> None:
    """alignment-handbook's recipes name no objective, as their script is: beta alone is DPO's, ORPO's and others'."""
    path = tmp_path / "dpo.yaml"
    keys = {"beta": 0.5, "max_length": 1024, "max_prompt_length": 512, "torch_dtype": "bfloat16", "bf16": True}
    path.write_text(yaml.safe_dump({"model_name_or_path": "a/b", "per_device_train_batch_size": 2, **keys}))
    with pytest.raises(UnreadableModel, match="--objective dpo"):
        read_run([path])
    found = read_run([path], given=("objective",), objective="dpo").settings
    assert (found["objective"], found["context"], found["fp32_outputs"]) == ("dpo", 1024, True)


def test_toml_is_read_by_what_this_python_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.10 has no tomllib: tomli, which is the same code, is asked for there."""
    path = tmp_path / "run.toml"
    path.write_text(TITAN)
    monkeypatch.setattr("inspector.trainers.files.sys.version_info", (3, 10, 14))
    monkeypatch.setitem(sys.modules, "tomli", tomllib)
    assert read_run([path]).trainer.name == "torchtitan"
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(UsageError, match="reads no TOML"):
        read_run([path])


def test_the_routers_own_loss_is_told_and_takes_next_to_nothing(tmp_path: Path) -> None:
    on = run_of(tmp_path, AXOLOTL + "model_config: {output_router_logits: true}\n")
    off = run_of(tmp_path, AXOLOTL + "model_config: {output_router_logits: false}\n")
    assert [note for note in on.notes if note not in off.notes] == [
        "model_config.output_router_logits: the routers' own loss keeps 4 B a token, layer and expert at most:"
        " not counted"
    ]
    assert on.settings == off.settings


def test_torchtitans_ends_of_a_pipeline_have_a_layer_less(tmp_path: Path) -> None:
    """Its default since 2025 (config/job_config.py)."""
    text = TITAN.replace("= -1", "= -1\npipeline_parallel_degree = 4")
    assert run_of(tmp_path, text, "a.toml", processes=8).sharding["ends_less"] is True
    more = "\npipeline_parallel_first_stage_less_layers = 0\npipeline_parallel_last_stage_less_layers = 0"
    assert run_of(tmp_path, text.replace("degree = 4", f"degree = 4{more}"), "b.toml").sharding["ends_less"] is False
    with pytest.raises(UnreadableModel, match="0 layers less in the first stage, 1 in the last"):
        run_of(tmp_path, text.replace("degree = 4", f"degree = 4{more.rpartition(chr(10))[0]}"), "c.toml")


def test_torchtunes_older_key_of_offload_counts(tmp_path: Path) -> None:
    path = tmp_path / "70B_qlora.yaml"
    path.write_text(
        "model: {_component_: torchtune.models.llama2.qlora_llama2_70b, lora_attn_modules: [q_proj], lora_rank: 16}\n"
        "tokenizer: {max_seq_len: 4096}\nbatch_size: 2\nfsdp: {cpu_offload: True}\n"
    )
    assert read_run([path], processes=8).sharding == {"grad_accum": 1, "fsdp": 8, "offload": ("params",)}


def test_a_key_that_is_switched_off_is_no_gap(tmp_path: Path) -> None:
    assert run_of(tmp_path, f"{AXOLOTL}load_in_8bit: false\nrl:\n").settings["method"] == "full"


def test_accelerates_file_says_how_many_gpus_and_how_they_share(tmp_path: Path) -> None:
    beside = tmp_path / "accelerate.yaml"
    beside.write_text("distributed_type: FSDP\nnum_processes: 8\nfsdp_config:\n  fsdp_version: 2\n", "utf-8")
    trainer = tmp_path / "sft.yaml"
    trainer.write_text("model_name_or_path: a/b\noutput_dir: x\nper_device_train_batch_size: 2\n", "utf-8")
    run = read_run([trainer, beside])
    assert (run.trainer.name, run.sharding["fsdp"], run.processes) == ("trl", 8, 8)
    assert run.settings["precision"] == "mixed"


def test_deepspeeds_file_is_read_where_a_trainer_names_it(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text(json.dumps({"zero_optimization": {"stage": 3}, "bf16": {"enabled": True}}))
    run = run_of(tmp_path, f"{AXOLOTL}deepspeed: ds.json\n", processes=4)
    assert (run.sharding["zero"], run.sharding["ddp"], run.settings["precision"]) == (3, 4, "bf16-master")
    with pytest.raises(FileMissing, match="names gone"):
        run_of(tmp_path, f"{AXOLOTL}deepspeed: gone.json\n")


def test_files_of_no_trainer_and_broken_ones_are_refused_in_words(tmp_path: Path) -> None:
    for name, text in (("a.yml", "one: 1\n"), ("b.yml", "- 1\n"), ("c.json", "{"), ("d.toml", "= 1"), ("e.yml", "")):
        with pytest.raises(UsageError):
            run_of(tmp_path, text, name)
    deep = "base_model: a/b\nmicro_batch_size: 1\nx: " + "[" * 40 + "]" * 40
    with pytest.raises(InspectError):
        run_of(tmp_path, deep)


def test_merged_keys_are_read_and_odd_values_are_cut_short(tmp_path: Path) -> None:
    lora = "adapter: lora\nlora_target_linear: true\n"
    merged = f"datasets: &b\n  sequence_len: 512\n  lora_r: 64\n<<: [*b, {{lora_r: 7}}]\n{AXOLOTL}"
    settings = run_of(tmp_path, f"{merged}sequence_len: 1024\n{lora}").settings
    assert (settings["context"], settings["lora_rank"]) == (1024, 64)
    for more in (f"lora_r: {'9' * 5000}", f"lora_r: [{'1,' * 5000}]", "? [a, b]\n: 1"):
        with pytest.raises(UnreadableModel) as refused:
            run_of(tmp_path, f"{AXOLOTL}{lora}{more}\n")
        assert len(refused.value.message) < 250
        assert "Node" not in refused.value.message


def test_a_bomb_of_aliases_and_what_has_no_end_are_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    with pytest.raises(UsageError, match="more values"):
        run_of(tmp_path, f"{AXOLOTL}{bomb}")
    endless = [tmp_path]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.yml")
        endless += [tmp_path / "pipe.yml", Path("/dev/zero")]
    for path in endless:
        with pytest.raises(UsageError, match="no regular file"):
            read_run([path])
    with pytest.raises(UsageError, match="larger than"):
        run_of(tmp_path, f"{AXOLOTL}# {'x' * MAX_CHARACTERS}")
    with pytest.raises(UsageError, match="a key of"):
        run_of(tmp_path, f"{AXOLOTL}{'x' * 500}: 1")
    with pytest.raises(UsageError, match="names the file itself"):
        run_of(tmp_path, f"{AXOLOTL}deepspeed: run.yml\n")
    with pytest.raises(FileMissing):
        run_of(tmp_path, f"{AXOLOTL}deepspeed: {'x' * 5000}")


def test_axolotl_computes_in_bf16_where_nothing_is_said(tmp_path: Path) -> None:
    bare = "base_model: a/b\nsequence_len: 2048\nmicro_batch_size: 1\n"
    run = run_of(tmp_path, bare)
    assert run.settings["precision"] == "bf16"
    assert "Ampere" in next(each.why for each in run.assumed if each.setting == "precision")
    assert run_of(tmp_path, f"{bare}bf16: false\n").settings["precision"] == "fp32"


def test_llama_factory_loads_the_base_of_adapters_in_the_models_own_dtype(tmp_path: Path) -> None:
    text = "model_name_or_path: a/b\ncutoff_len: 2048\nfinetuning_type: "
    run = run_of(tmp_path, f"{text}lora\n")
    assert (run.settings["precision"], run.own_dtype) == ("bf16", True)
    assert any("nothing is autocast" in each.why for each in run.assumed)
    assert run_of(tmp_path, f"{text}full\n").settings["precision"] == "fp32"
    for line, precision, own in (("bf16: true", "mixed", True), ("bf16: true\nquantization_bit: 4", "mixed", False)):
        run = run_of(tmp_path, f"{text}lora\n{line}\n")
        assert (run.settings["precision"], run.own_dtype) == (precision, own)


def test_a_base_in_fp32_is_no_base_in_bf16(run: Command, tmp_path: Path) -> None:
    """GPT-2's files are of fp32, Llama's of bf16."""
    path = tmp_path / "lora.yaml"
    path.write_text("model_name_or_path: x/y\ncutoff_len: 512\nfinetuning_type: lora\nbf16: true\n")
    refused = run("train", "openai-community/gpt2", "--config", str(path), "--offline")
    assert refused.code == 4
    assert "fp32 weights" in refused.err
    for more in (("openai-community/gpt2", "--precision", "bf16"), ("meta-llama/Meta-Llama-3-8B",)):
        assert run("train", *more, "--config", str(path), "--offline").code == 0


@pytest.mark.parametrize(
    ("value", "offload"), [("legacy", ("activations",)), ("true", ("activations",)), ("false", None)]
)
def test_axolotls_offload_of_activations_has_its_own_words(
    value: str, offload: tuple[str, ...] | None, tmp_path: Path
) -> None:
    run = run_of(tmp_path, f"{AXOLOTL}activation_offloading: {value}\n")
    assert {**run.settings, **run.sharding}.get("offload") == offload


def test_what_axolotl_offloads_to_disk_is_not_modelled(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModel, match="activation_offloading"):
        run_of(tmp_path, f"{AXOLOTL}activation_offloading: disk\n")


def test_a_run_has_one_trainer(tmp_path: Path) -> None:
    other = tmp_path / "llama_factory.yaml"
    other.write_text("model_name_or_path: a/b\nfinetuning_type: lora\n", "utf-8")
    (tmp_path / "run.yml").write_text(AXOLOTL, "utf-8")
    with pytest.raises(UsageError, match=r"run\.yml \(Axolotl\) and llama_factory\.yaml \(LLaMA-Factory\)") as caught:
        read_run([tmp_path / "run.yml", other])
    assert caught.value.exit_code == 2


def test_deepspeeds_file_that_is_given_stands_for_the_one_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    (tmp_path / "run.yml").write_text(f"{AXOLOTL}deepspeed: gone/theirs.json\n", "utf-8")
    run = read_run([tmp_path / "run.yml", tmp_path / "mine.json"], processes=2)
    assert run.sharding["zero"] == 3


def test_deepspeeds_batch_must_be_the_trainers(tmp_path: Path) -> None:
    beside = tmp_path / "ds.json"
    text = f"{AXOLOTL}deepspeed: ds.json\n"
    for batch, agrees in ((7, False), (4, True), ("auto", True)):
        beside.write_text(json.dumps({"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": batch}))
        if agrees:
            assert run_of(tmp_path, text, processes=2).settings["batch"] == 4
        else:
            with pytest.raises(UsageError, match=r"micro_batch_size 4, ds\.json train_micro_batch_size_per_gpu 7"):
                run_of(tmp_path, text, processes=2)
            assert run_of(tmp_path, text, processes=2, given={"batch"})
    (tmp_path / "run.yml").write_text(text, "utf-8")
    assert read_run([tmp_path / "run.yml", beside], processes=2).sharding["zero"] == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("micro_batch_size: 1.5", "no whole number"),
        ("micro_batch_size: true", "no whole number"),
        ("gradient_accumulation_steps: 1.5", "no whole number"),
        ("bf16: maybe", "neither true nor false"),
        ("bf16: full", "neither true nor false"),
        ("fsdp: 5", "FSDP with '5'"),
        ("fsdp: [shard_grad_op, auto_wrap]", "FSDP with 'shard_grad_op'"),
    ],
)
def test_a_value_of_another_type_is_refused(line: str, words: str, tmp_path: Path) -> None:
    key = line.partition(":")[0]
    text = "\n".join(each for each in AXOLOTL.splitlines() if not each.startswith(f"{key}:"))
    with pytest.raises(UnreadableModel, match=f"'{key}'.*{words}"):
        run_of(tmp_path, f"{text}\n{line}\n")


def test_degrees_make_the_number_of_gpus(tmp_path: Path) -> None:
    pytest.importorskip("tomllib")

    def titan(degree: int, **more: Any) -> Run:
        return run_of(tmp_path, TITAN.replace("degree = -1", f"degree = {degree}"), "run.toml", **more)

    assert titan(-1, processes=8).sharding["fsdp"] == titan(8, processes=8).sharding["fsdp"] == 8
    assert titan(4).processes == 4
    with pytest.raises(UnreadableModel, match="a degree of -7"):
        titan(-7, processes=8)
    with pytest.raises(UsageError, match=r"\(fsdp 3\) do not make 8 GPUs"):
        titan(3, processes=8)


@pytest.mark.parametrize("line", ["base_model: [1, 2]", "base_model: 5", "base_model:\n  a: b\nsequence_len: 8"])
def test_a_model_that_is_no_text_is_named_by_its_key(line: str, run: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text(AXOLOTL.replace("base_model: meta-llama/Llama-3.1-8B", line), "utf-8")
    done = run("train", "--config", str(file), "--offline")
    assert done.code == 2
    assert "a bug" not in done.err


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**40), st.floats(), st.text(max_size=6), st.lists(st.text(max_size=4))
)


@settings(deadline=None, max_examples=300)
@given(example=st.sampled_from(EXAMPLES), data=st.data())
def test_any_values_are_read_or_refused_in_words(example: dict[str, Any], data: st.DataObject) -> None:
    """Files come from anywhere: no value ends in a traceback."""
    keys = data.draw(st.lists(st.sampled_from(sorted(example["values"])), min_size=1, max_size=4))
    values = {**example["values"], **{key: data.draw(VALUES) for key in keys}}
    document = Document(Path("run.yml"), "", dict(values))
    with suppress(InspectError):
        run = run_of_documents([document])
        assert run.model is None or isinstance(run.model, str)
        TrainingSetup(**{name: value for name, value in run.settings.items() if name in settings_of(TrainingSetup)})
        Sharding(**run.sharding)


def test_every_edit_names_a_key_that_its_trainer_reads() -> None:
    for trainer in TRAINERS:
        for edits in trainer.edits.values():
            assert all(not any(glob == key for glob in trainer.unmodelled) for key in edits)


def test_a_patch_keeps_comments_and_the_global_batch(tmp_path: Path) -> None:
    run = run_of(tmp_path, AXOLOTL)
    text = next(patches(run, [Change("--batch 3", "", 0)]))
    assert diff(run, text) == (
        "--- a/run.yml\n+++ b/run.yml\n@@ -4,4 +4,4 @@\n sample_packing: true\n"
        "-micro_batch_size: 4  # per GPU\n-gradient_accumulation_steps: 2\n"
        "+micro_batch_size: 2  # per GPU\n+gradient_accumulation_steps: 4\n optimizer: adamw_torch_fused\n"
    )


def test_edits_of_sections_and_of_json() -> None:
    assert edited("t.toml", TITAN, {"training.seq_len": "4096"}) == TITAN.replace("8192", "4096")
    assert edited("t.yaml", "tokenizer:\n  path: x\n  max_seq_len: null # all\n", {"tokenizer.max_seq_len": "8"}) == (
        "tokenizer:\n  path: x\n  max_seq_len: 8 # all\n"
    )
    assert edited("t.yaml", "plugins:\n  - a\n", {"plugins": "[b]"}) is None
    assert edited("t.json", '{\n  "bf16": true\n}\n', {"optim": "sgd"}) == '{\n  "optim": "sgd",\n  "bf16": true\n}\n'


def test_a_torchtitan_file_gives_its_published_reserved_memory(run: Command, tmp_path: Path) -> None:
    """Table 1 of torchtitan's benchmarks: 82.4 GiB on each of 8 GPUs."""
    pytest.importorskip("tomllib")
    file = tmp_path / "llama3_8b.toml"
    file.write_text(TITAN, "utf-8")
    done = run("train", "--config", str(file), "--processes", "8", "--offline", "--json")
    assert done.code == 0
    record = json.loads(done.out)
    assert record["training"]["reserved"] / 2**30 == pytest.approx(82.4, rel=0.1)
    assert record["config"]["trainer"] == "torchtitan"


def test_train_prints_a_patch_that_was_tried_and_options_win(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text(AXOLOTL.replace("adamw_torch_fused", "adamw_bnb_8bit"), "utf-8")
    done = run("train", "--config", str(file), "--gpu", "64GiB", "--offline", "--json")
    record = json.loads(done.out)
    assert record["fit"][0]["fits"] is False
    assert "+liger_fused_linear_cross_entropy: true" in record["config"]["patch"]
    less = run("train", "--config", str(file), "--batch", "1", "--gpu", "64GiB", "--offline", "--json")
    assert json.loads(less.out)["training"]["batch"] == 1
    assert json.loads(less.out)["config"]["patch"] == ""


def patched(run: Command, file: Path, gpu: str, *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record of a file that does not fit, and that of the file when `patch` has applied what it prints."""
    before = json.loads(run("train", "--config", str(file), "--gpu", gpu, "--offline", "--json", *more).out)
    assert before["fit"][0]["fits"] is False
    given = before["config"]["patch"].encode()
    subprocess.run(["patch", "-p1", "--quiet"], input=given, cwd=file.parent, check=True)
    return before, json.loads(run("train", "--config", str(file), "--gpu", gpu, "--offline", "--json", *more).out)


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_patch_combines_changes_before_it_shortens_the_context(end: str, run: Command, tmp_path: Path) -> None:
    text = "base_model: Qwen/Qwen3-8B\nsequence_len: 4096\nmicro_batch_size: 8\ngradient_checkpointing: true\n"
    text += "adapter: lora\nlora_r: 32\nlora_target_linear: true\n"
    file = tmp_path / "run.yml"
    file.write_bytes(text.replace("\n", end).encode())
    _, after = patched(run, file, "RTX 4090")
    assert after["fit"][0]["fits"] is True
    assert (after["training"]["batch"], after["training"]["context"]) == (1, 4096)
    new = file.read_bytes().decode()
    assert "gradient_accumulation_steps: 8" in new
    assert "lora_r: 32" in new
    assert new.count("\r\n") == (new.count("\n") if end == "\r\n" else 0)


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_where_nothing_else_suffices_the_context_is_the_longest_that_fits(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text(
        "base_model: Qwen/Qwen3-8B\nsequence_len: 40960\nmicro_batch_size: 2\nadapter: qlora\n"
        "load_in_4bit: true\nlora_target_linear: true\ngradient_checkpointing: true\n",
        "utf-8",
    )
    before, after = patched(run, file, "12GiB")
    assert after["fit"][0]["fits"] is True
    assert after["training"]["context"] % STEP == 0
    assert after["training"]["context"] > before["fit"][0]["max_context"]
    longer = str(after["training"]["context"] + STEP)
    more = run("train", "--config", str(file), "--gpu", "12GiB", "--offline", "--json", "--context", longer)
    assert json.loads(more.out)["fit"][0]["fits"] is False


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_what_torchs_allocator_holds_counts(run: Command, tmp_path: Path) -> None:
    pytest.importorskip("tomllib")
    file = tmp_path / "run.toml"
    file.write_text(TITAN.replace("8192", "3828").replace("foreach", "fused"), "utf-8")
    done = run("train", "--config", str(file), "--gpu", "8xA100-40GB", "--offline", "--json")
    [fit] = json.loads(done.out)["fit"]
    assert fit["fits"] is True
    assert any("allocator would hold about" in note for note in fit["notes"])
    file.write_text(TITAN, "utf-8")
    _, after = patched(run, file, "8xA100-40GB")
    assert after["fit"][0]["fits"] is True
    assert after["training"]["reserved"] < after["fit"][0]["usable"]


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_the_files_beside_are_read_again_with_the_patch(run: Command, tmp_path: Path) -> None:
    beside = tmp_path / "accelerate.yaml"
    beside.write_text("distributed_type: FSDP\nnum_processes: 8\nfsdp_config:\n  fsdp_version: 2\n", "utf-8")
    file = tmp_path / "run.yaml"
    file.write_text("model_name_or_path: Qwen/Qwen3-8B\noutput_dir: x\nper_device_train_batch_size: 16\n", "utf-8")
    before, after = patched(run, file, "RTX 4090", "--config", str(beside))
    assert before["training"]["sharding"] == "FSDP x 8"
    assert "FSDP x 8" in after["training"]["sharding"]
    assert after["fit"][0]["fits"] is True
    assert (after["training"]["context"], after["training"]["batch"]) == (1024, 1)
    assert "gradient_accumulation_steps: 16" in file.read_text("utf-8")


def test_why_there_is_no_patch(run: Command, tmp_path: Path) -> None:
    keys = {"model_name_or_path": "Qwen/Qwen3-8B", "output_dir": "x", "per_device_train_batch_size": 8}
    file = tmp_path / "run.json"
    for indent, words in ((None, "cannot be changed line by line"), (2, "none of the changes")):
        file.write_text(json.dumps(keys, indent=indent), "utf-8")
        done = run("train", "--config", str(file), "--gpu", "2GiB", "--offline")
        found = re.sub(r"\s+", " ", done.out)
        assert "no patch to run.json: " in found
        assert words in found


def test_lines_that_end_in_two_ways_are_left_alone() -> None:
    assert edited("t.yml", "a: 1\r\nb: 2\n", {"a": "3"}) is None
    assert edited("t.yml", "# x\u2028y\na: 1\n", {"a": "3"}) == "# x\u2028y\na: 3\n"


def test_a_shape_without_a_known_repository_is_named(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "model:\n  _component_: torchtune.models.phi9.phi9_mini\nbatch_size: 1\ntokenizer:\n  max_seq_len: 512\n",
        "utf-8",
    )
    done = run("train", "--config", str(file), "--offline")
    assert done.code == 2
    assert "model._component_ phi9_mini" in done.err


def test_a_key_to_ignore_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--ignore-key nosuch: run\.yml has no such key"):
        run_of(tmp_path, AXOLOTL, without=["nosuch"])


def test_train_says_what_it_cannot_tell_with_exit_code_4(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text(f"{AXOLOTL}lisa_n_layers: 4\n", "utf-8")
    done = run("train", "--config", str(file), "--offline")
    assert done.code == 4
    assert "LISA" in done.err
    assert run("train", "--offline").code == 2


TRL = """model_name_or_path: Qwen/Qwen3-8B
output_dir: out
learning_rate: 1.0e-6
per_device_train_batch_size: 8
dtype: bfloat16
"""

FACTORY = """model_name_or_path: meta-llama/Meta-Llama-3-8B
finetuning_type: lora
cutoff_len: 2048
bf16: true
"""


TUNE = """model:
  _component_: torchtune.models.llama3_2.lora_llama3_2_1b
  lora_attn_modules: [q_proj, v_proj]
  lora_rank: 8
tokenizer:
  max_seq_len: 1024
batch_size: 4
dtype: bf16
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{TRL}loss_type: [sigmoid]\nbeta: 0.1", {"objective": "dpo", "reference": None}),
        (f"{TRL}loss_type: ipo\nprecompute_ref_log_probs: true", {"objective": "dpo", "reference": "precomputed"}),
        (f"{TRL}loss_type: [sigmoid, sft]", {"objective": "rpo"}),
        (f"{TRL}rpo_alpha: 1.0\npadding_free: true", {"objective": "rpo"}),
        (f"{AXOLOTL}rl: dpo\nrpo_alpha: 0.5\ndpo_padding_free: true", {"objective": "rpo"}),
        (
            f"{TRL}lmbda: 0.0\nbeta: 0.5\nteacher_model_name_or_path: Qwen/Qwen3-8B",
            {"objective": "gkd", "reference_repo": "Qwen/Qwen3-8B"},
        ),
        (
            f"{TUNE}loss:\n  _component_: torchtune.rlhf.loss.DPOLoss\n  beta: 0.1\n",
            {"objective": "dpo", "logits": "all", "whole_logits": True},
        ),
        (
            f"{TUNE}teacher_model:\n  _component_: torchtune.models.llama3_1.llama3_1_8b\n"
            "kd_loss:\n  _component_: torchtune.modules.loss.ForwardKLWithChunkedOutputLoss\nkd_ratio: 0.5\n",
            {"objective": "kd", "reference_repo": "meta-llama/Llama-3.1-8B"},
        ),
        (f"{TRL}lmbda: 0.0\nbeta: 1.0", {"objective": "kd", "reference_repo": None}),
        (f"{TRL}loss_type: kto\ndesirable_weight: 1.0", {"objective": "kto"}),
        (f"{TRL}loss_type: simpo\ncpo_alpha: 0.5", {"objective": "cpo"}),
        (f"{TRL}loss_type: simpo\nsimpo_gamma: 0.5", {"objective": "simpo"}),
        (f"{TRL}center_rewards_coefficient: 0.01", {"objective": "reward"}),
        (f"{AXOLOTL}rl: ipo", {"objective": "dpo"}),
        (f"{AXOLOTL}rl: orpo\norpo_alpha: 0.1", {"objective": "orpo"}),
        (f"{FACTORY}stage: dpo\npref_loss: simpo", {"objective": "simpo"}),
        (f"{FACTORY}stage: dpo\npref_beta: 0.1", {"objective": "dpo"}),
        (
            f"{TRL}num_generations: 8\nmax_completion_length: 512\nmax_prompt_length: 256\nuse_vllm: true",
            {"objective": "grpo", "context": 768, "completion_tokens": 512, "generation": "colocated", "batch": 8},
        ),
        (
            f"{TRL}num_generations: 8\nmax_completion_length: 512\nmax_prompt_length: 256\nbeta: 0.04\n"
            "use_vllm: true\nvllm_mode: server",
            {"objective": "grpo", "reference": "copy", "generation": "server"},
        ),
    ],
)
def test_objectives_are_read(text: str, found: dict[str, Any], tmp_path: Path) -> None:
    run = run_of(tmp_path, text)
    assert {name: run.settings.get(name) for name in found} == found


@pytest.mark.parametrize(
    ("text", "key", "setting"),
    [
        (f"{TRL}beta: 0.1", "beta", "objective"),
        (f"{TRL}num_generations: 8\nmax_completion_length: 512", "max_prompt_length", "context"),
        (f"{TRL}teacher_model_name_or_path: a/t\nmax_completion_length: 512", "max_completion_length", "context"),
    ],
)
def test_what_a_file_leaves_open_an_option_may_say(text: str, key: str, setting: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableModel, match=key):
        run_of(tmp_path, text)
    assert run_of(tmp_path, text, given={setting})


def test_ppo_takes_the_length_of_its_prompts_from_an_option(tmp_path: Path) -> None:
    text = f"{TRL}num_ppo_epochs: 4\nresponse_length: 128\nreward_model_path: Qwen/Qwen3-0.6B\n"
    with pytest.raises(UnreadableModel, match="how long prompts are"):
        run_of(tmp_path, text)
    run = run_of(tmp_path, text, given={"context"})
    found = {"objective": "ppo", "completion_tokens": 128, "reward_repo": "Qwen/Qwen3-0.6B", "checkpointing": "none"}
    assert {name: run.settings.get(name) for name in found} == found


def test_a_key_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    """The key that would say it is named, and not one of the file's own; leaving it out of account is no way out."""
    with pytest.raises(UnreadableModel, match=r"without 'trl\.max_prompt_length' it is not known") as refused:
        run_of(tmp_path, f"{AXOLOTL}rl: grpo\ntrl:\n  use_vllm: false\n")
    assert "--ignore-key" not in str(refused.value.hint)


@pytest.mark.parametrize("text", [f"{FACTORY}stage: dpo", f"{AXOLOTL}rl: dpo"])
def test_whole_logits_are_not_advised_away_where_the_trainer_reads_them(text: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, text)
    setup = TrainingSetup(**{name: value for name, value in run.settings.items() if name in settings_of(TrainingSetup)})
    with pytest.raises(UsageError, match="over whole logits"):
        dataclasses.replace(setup, logits="chunked")
    for changed in patches(run, [Change("--logits chunked", "", 0), Change("--checkpointing full", "", 0)]):
        assert "liger" not in changed


@pytest.mark.parametrize(
    "lines",
    ["simpo_gamma: 0.5\ncpo_alpha: many", "num_generations: 8\nmax_prompt_length: 8\nbeta: [1]", "loss_type: {a: 1}"],
)
def test_values_that_are_no_numbers_are_refused(lines: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableModel):
        run_of(tmp_path, f"{TRL}{lines}")


@pytest.mark.parametrize("stage", ["ppo", "nothing"])
def test_stages_that_are_not_modelled_are_refused_by_name(stage: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableModel, match="stage"):
        run_of(tmp_path, f"{FACTORY}stage: {stage}")


EIGHT_BITS = {
    "axolotl": f"{AXOLOTL}adapter: lora\nlora_target_linear: true\nload_in_8bit: true\n",
    "llama-factory": "model_name_or_path: a/b\nstage: sft\nfinetuning_type: lora\nlora_target: all\nbf16: true\n"
    "cutoff_len: 2048\nquantization_bit: 8\n",
    "trl": "model_name_or_path: a/b\noutput_dir: x\nper_device_train_batch_size: 2\nuse_peft: true\ndtype: bfloat16\n"
    "lora_target_modules: all-linear\nload_in_8bit: true\n",
}


@pytest.mark.parametrize(("trainer", "reentrant"), [("axolotl", True), ("llama-factory", True), ("trl", False)])
def test_a_base_in_8_bits_and_how_it_is_checkpointed_are_read(trainer: str, reentrant: bool, tmp_path: Path) -> None:
    """Axolotl's and LLaMA-Factory's checkpointing is reentrant where nothing is said, transformers' is not."""
    run = run_of(tmp_path, EIGHT_BITS[trainer])
    assert (run.settings["method"], run.settings["base"]) == ("qlora", "int8")
    assert run.settings["reentrant"] is reentrant


LANGUAGE = r"model.language_model.layers.[\d]+.(mlp|cross_attn|self_attn).({})_proj"


@pytest.mark.parametrize(
    ("ends", "targets"), [("up|down|gate|q|k|v|o", "all-linear"), ("q|v", "q_proj,v_proj"), ("q|v|o_x", None)]
)
def test_axolotls_pattern_of_the_language_parts_layers_is_read(ends: str, targets: str | None, tmp_path: Path) -> None:
    text = f"{AXOLOTL}adapter: lora\nlora_target_modules: '{LANGUAGE.format(ends)}'\n"
    if targets is None:
        with pytest.raises(InspectError, match="by a pattern"):
            run_of(tmp_path, text)
    else:
        assert run_of(tmp_path, text).settings["lora_targets"] == targets


VISION = "model_name_or_path: a/b\nstage: sft\ncutoff_len: 2048\nbf16: true\nfinetuning_type: "


@pytest.mark.parametrize(
    ("text", "vision", "size"),
    [
        (f"{AXOLOTL}freeze_mm_modules: true\nimage_size: 512\n", "frozen", (512, 512)),
        (f"{VISION}full\nfreeze_vision_tower: true\nimage_max_pixels: 262144\n", "frozen", (512, 512)),
        (f"{VISION}full\nfreeze_multi_modal_projector: false\n", "projector", (768, 768)),
        (f"{VISION}full\nfreeze_vision_tower: false\nfreeze_multi_modal_projector: false\n", "trained", (768, 768)),
        (f"{VISION}lora\nlora_target: all\nfreeze_vision_tower: true\n", None, (768, 768)),
        (f"{VISION}lora\nlora_target: all\nfreeze_vision_tower: false\n", "adapters", (768, 768)),
        (
            f"{AXOLOTL}adapter: lora\nlora_target_linear: true\nprocessor_type: AutoProcessor\nimage_size: 512\n",
            "adapters",
            (512, 512),
        ),
    ],
)
def test_what_trains_of_a_vision_part_and_the_size_of_images_are_read(
    text: str, vision: str | None, size: tuple[int, int], tmp_path: Path
) -> None:
    settings = run_of(tmp_path, text).settings
    assert (settings.get("vision"), settings["image_size"]) == (vision, size)


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_smaller_images_are_tried_before_a_shorter_context_and_none_is_left_out(run: Command, tmp_path: Path) -> None:
    text = (
        "model_name_or_path: Qwen/Qwen2.5-VL-7B-Instruct\nstage: sft\nfinetuning_type: full\ncutoff_len: 6144\n"
        "freeze_vision_tower: false\nfreeze_multi_modal_projector: false\nimage_max_pixels: 4000000\n"
        "optim: adamw_8bit\nbf16: true\npure_bf16: true\nper_device_train_batch_size: 1\n"
        "gradient_accumulation_steps: 8\n"
    )
    file = tmp_path / "run.yaml"
    file.write_text(text, "utf-8")
    before, after = patched(run, file, "51GiB")
    assert after["fit"][0]["fits"] is True
    assert after["training"]["context"] == before["training"]["context"]
    assert "image_max_pixels: 2560000\n" in file.read_text("utf-8")  # (4 / 5 of 2,000)^2
    file.write_text(text.replace("per_device", "enable_liger_kernel: true\nper_device"), "utf-8")
    less = json.loads(run("train", "--config", str(file), "--gpu", "49GiB", "--offline", "--json").out)
    assert less["config"]["patch"] == ""  # a context that its image does not fit would do, and is no answer


def test_torchtitan_shards_embedding_and_head_apart(tmp_path: Path) -> None:
    """models/llama3/infra/parallelize.py since 83e6941 (July 2025): each is gathered where it is at work alone."""
    run = run_of(tmp_path, TITAN, "run.toml", processes=8)
    assert run.sharding["shard_embeddings"] is True
    assert "shard_embeddings" not in run_of(tmp_path, TITAN, "run.toml", processes=1).sharding
    assert run.model is not None
    whole, apart = (
        inspector.train(
            run.model, offline=True, sharding={**run.sharding, "shard_embeddings": on}, **run.settings
        ).training
        for on in (False, True)
    )
    assert whole.reserved is not None
    assert apart.reserved is not None
    assert whole.reserved - apart.reserved >= 2 * 128256 * 4096  # one of the two in bf16
