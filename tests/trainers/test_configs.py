"""Trainers' config files as settings: ten of each trainer's own examples, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

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
    path.write_text(text, "utf-8")
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
    assert {name: folders.count(name) for name in folders} == dict.fromkeys(
        ("axolotl-ai-cloud/axolotl", "hiyouga/LLaMA-Factory", "pytorch/torchtune", "huggingface/trl"), 10
    )


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
        ("load_in_8bit: true", "a base in 8 bits"),
        ("rl: dpo", "preference"),
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
    [(_, text)] = list(patches(run, [Change("--batch 3", "", 0)]))[:1]
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


def test_train_says_what_it_cannot_tell_with_exit_code_4(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text(f"{AXOLOTL}lisa_n_layers: 4\n", "utf-8")
    done = run("train", "--config", str(file), "--offline")
    assert done.code == 4
    assert "LISA" in done.err
    assert run("train", "--offline").code == 2
