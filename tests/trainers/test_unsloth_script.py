"""Unsloth's Python: scripts and notebooks are parsed, and never run."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from inspector.errors import UnreadableModel, UsageError
from inspector.trainers import Run, read_run
from inspector.trainers.scripts import script_values
from tests.conftest import Run as Command

SCRIPT = """
from unsloth import FastLanguageModel, is_bfloat16_supported
open("{ran}", "w")
max_seq_length = 2 * 1024
model, tokenizer = FastLanguageModel.from_pretrained(
    model_name = "unsloth/Meta-Llama-3.1-8B-bnb-4bit", max_seq_length = max_seq_length, dtype = None,
    load_in_4bit = True)
model = FastLanguageModel.get_peft_model(
    model, r = 32, target_modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    lora_alpha = 16, lora_dropout = 0, bias = "none", use_gradient_checkpointing = "unsloth", random_state = 3407)
trainer = SFTTrainer(
    model = model, tokenizer = tokenizer, train_dataset = dataset, packing = False,
    args = TrainingArguments(
        per_device_train_batch_size = 2, gradient_accumulation_steps = 4, warmup_steps = 5, learning_rate = 2e-4,
        fp16 = not is_bfloat16_supported(), bf16 = is_bfloat16_supported(), optim = "adamw_8bit", output_dir = "o"))
trainer.train()
"""


def run_of(folder: Path, text: str, name: str = "train.py") -> Run:
    path = folder / name
    path.write_text(text, "utf-8")
    return read_run([path])


def test_a_script_is_read_and_not_run(tmp_path: Path) -> None:
    run = run_of(tmp_path, SCRIPT.replace("{ran}", str(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()
    assert run.model == "unsloth/Meta-Llama-3.1-8B"
    expected = {"method": "qlora", "context": 2048, "batch": 2, "lora_rank": 32, "lora_targets": "all-linear"}
    expected |= {"optimizer": "adamw-8bit", "checkpointing": "full", "logits": "chunked"}
    assert {name: run.settings[name] for name in expected} == expected
    assert run.sharding == {"grad_accum": 4, "offload": ("activations",)}


def test_a_notebook_is_its_cells_without_the_shells_lines(tmp_path: Path) -> None:
    sources = ["%%capture\nimport os\nif True:\n    !pip install unsloth", "a note, no Python", SCRIPT]
    cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
    text = json.dumps({"cells": [{"cell_type": "markdown", "source": ["# Title"]}, *cells]})
    assert run_of(tmp_path, text, "train.ipynb").settings["lora_rank"] == 32


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("SFTTrainer(", "GRPOTrainer(", "Unsloth's own passes of GRPOTrainer"),
        ("FastLanguageModel", "FastVisionModel", "a model of FastVisionModel"),
        ("load_in_4bit = True", "load_in_8bit = True", "a base in 8 bits"),
        ("load_in_4bit = True", "full_finetuning = True", "full fine-tuning"),
        ("r = 32", "r = choose()", "'choose()' is no whole number"),
        ("r = 32", "**settings", "adapters.**"),
        ("2 * 1024", "2 ** 1024", "is no whole number"),
        ('["q_proj",', '["embed_tokens", "q_proj",', "embeddings and heads"),
        ("trainer.train()", "SFTConfig(max_steps = 2)", "a second training run"),
        ("get_peft_model", "get_base_model", "nothing trains in it"),
        ("dtype = None", "load_in_2bit = True", "load.load_in_2bit"),
        (
            "model, tokenizer = Fast",
            "max_seq_length *= 4\nmodel, tokenizer = Fast",
            "'max_seq_length' is no whole number",
        ),
        (
            "model, tokenizer = Fast",
            "if big:\n    max_seq_length = 8192\nmodel, tokenizer = Fast",
            "'max_seq_length' is no whole number",
        ),
        (
            "model, tokenizer = Fast",
            "def cut(max_seq_length): pass\nmodel, tokenizer = Fast",
            "'max_seq_length' is no whole number",
        ),
        ("trainer.train()", "trainer.args.per_device_train_batch_size = 64", "is no whole number"),
        ("= max_seq_length", "= None", "the model's own maximum"),
    ],
)
def test_what_is_not_modelled_or_not_told_is_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert old in SCRIPT
    with pytest.raises(UnreadableModel) as refused:
        run_of(tmp_path, SCRIPT.replace(old, new))
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.py", "def (", "no valid Python"),
        ("a.py", "x = " + "(" * 5000 + ")" * 5000, "no valid Python"),
        ("a.py", "x = " + "-" * 100_000 + "1", "a.py"),
        ("a.py", "print('\0')", "no valid Python"),
        ("a.py", "print(1)", "no trainer that is known"),
        ("a.ipynb", "[]", "no notebook"),
        ("a.ipynb", '{"cells": [{"cell_type": "code", "source": ["x = SFTTrainer(("]}]}', "no valid Python"),
    ],
)
def test_what_is_no_script_is_refused_in_words(name: str, text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        run_of(tmp_path, text, name)
    assert words in refused.value.message


def test_names_with_one_value_and_dotted_names_are_read(tmp_path: Path) -> None:
    """Also with the mark that Windows' editors write, in a file and in two assignments of the same value."""
    text = SCRIPT.replace("max_seq_length = 2 * 1024", "max_seq_length: int = 4096\nmax_seq_length = 4096")
    text = text.replace(" FastLanguageModel.", " unsloth.FastLanguageModel.").replace(
        "args = Train", "args = transformers.Train"
    )
    settings = run_of(tmp_path, "\ufeff" + text).settings
    assert (settings["context"], settings["batch"], settings["lora_rank"]) == (4096, 2, 32)


def test_long_chains_of_operators_end_in_words() -> None:
    """Their trees are as deep as they are long."""
    for text in ("x = " + "+".join(["1"] * 50_000), "x = f" + "(1)" * 3000):
        with suppress(UsageError):
            assert script_values("a.py", text) == {}


def test_train_reports_a_notebooks_step(run: Command, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, "utf-8")
    done = run(
        "train", "meta-llama/Llama-3.1-8B", "--offline", "--config", str(tmp_path / "train.py"), "--gpu", "16GiB"
    )
    assert "From train.py (Unsloth in Python)" in done.out
    assert done.code in (0, 1)
