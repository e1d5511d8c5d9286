"""The generated table of model classes, and how names of real files are found in it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from inspector.model.parameters.classes import find_class
from inspector.tables import DATA

ROOT = Path(__file__).resolve().parents[2]
INDEX = json.loads((DATA / "classes" / "index.json").read_text(encoding="utf-8"))


def test_a_class_holds_what_its_code_says() -> None:
    llama = find_class("LlamaForCausalLM")
    assert llama is not None
    assert llama.base == "model"
    assert "layers.{}.self_attn.q_proj.weight" in llama.parameters
    assert llama.optional["attention_bias=true"] == {f"layers.{{}}.self_attn.{p}_proj.bias" for p in "qkvo"}
    assert llama.ties == {"lm_head.weight": "embed_tokens.weight"}
    assert not llama.tied
    assert "rotary_emb.inv_freq" in llama.buffers


def test_a_class_that_nobody_knows_is_none() -> None:
    assert find_class("MysteryForCausalLM") is None
    assert find_class("") is None


@pytest.mark.parametrize(
    ("name", "template", "expected"),
    [
        ("GPT2LMHeadModel", "h.{}.attn.c_attn.weight", ("h.{}.attn.c_attn.weight", "parameter")),
        ("GPT2LMHeadModel", "transformer.wte.weight", ("wte.weight", "parameter")),
        ("LlamaForCausalLM", "layers.{}.mlp.up_proj.weight", ("layers.{}.mlp.up_proj.weight", "parameter")),
        ("LlamaForCausalLM", "model.layers.{}.self_attn.rotary_emb.inv_freq", (None, "buffer")),
        ("LlamaForCausalLM", "score.weight", ("score.weight", "not_loaded")),  # another class of the same file
        ("LlamaForCausalLM", "adapter.weight", ("adapter.weight", "unknown")),
        ("BertForMaskedLM", "bert.embeddings.LayerNorm.gamma", ("embeddings.LayerNorm.weight", "parameter")),
        ("BertForMaskedLM", "bert.pooler.dense.weight", ("pooler.dense.weight", "not_loaded")),
        ("BertModel", "embeddings.position_ids", ("embeddings.position_ids", "buffer")),
        ("DeepseekV3ForCausalLM", "model.layers.{}.mlp.gate.e_score_correction_bias", (None, "buffer")),
        ("MixtralForCausalLM", "model.layers.{}.block_sparse_moe.experts.{}.w1.weight", (None, "parameter")),
        ("MixtralForCausalLM", "model.layers.{}.mlp.experts.gate_up_proj", (None, "parameter")),  # as in memory
        ("Gemma3ForConditionalGeneration", "vision_tower.vision_model.post_layernorm.bias", (None, "parameter")),
        ("Gemma3ForConditionalGeneration", "model.vision_tower.post_layernorm.bias", (None, "parameter")),
        ("Gemma3ForConditionalGeneration", "language_model.model.layers.{}.mlp.up_proj.weight", (None, "parameter")),
        ("Qwen2VLForConditionalGeneration", "model.layers.{}.mlp.up_proj.weight", (None, "parameter")),
        ("Qwen2VLForConditionalGeneration", "visual.blocks.{}.mlp.fc1.weight", (None, "parameter")),
        ("DebertaV2ForMaskedLM", "deberta.encoder.LayerNorm.weight", ("encoder.LayerNorm.weight", "parameter")),  # v3
        ("DebertaV2Model", "encoder.conv.conv.weight", ("encoder.conv.conv.weight", "parameter")),  # v2-xlarge
        ("WhisperForConditionalGeneration", "model.encoder.embed_positions.weight", (None, "parameter")),
    ],
)
def test_names_of_real_files_are_found(name: str, template: str, expected: tuple[str | None, str]) -> None:
    model_class = find_class(name)
    assert model_class is not None
    found, status = model_class.locate(template)
    assert status == expected[1]
    assert expected[0] in (None, found)


def test_every_class_of_the_index_can_be_read() -> None:
    assert len(INDEX["classes"]) > 1_600
    for name in INDEX["classes"]:
        model_class = find_class(name)
        assert model_class is not None
        assert model_class.parameters or model_class.buffers, name


def test_what_is_not_in_the_table_has_a_reason() -> None:
    assert not INDEX["not_built"].keys() & INDEX["classes"].keys()
    assert all(INDEX["not_built"].values())


def test_the_table_is_small() -> None:
    files = [path.read_bytes() for path in (DATA / "classes").glob("*.json")]
    assert sum(map(len, files)) < 3_000_000
    assert sum(len(zlib.compress(data)) for data in files) < 600_000  # what it adds to the wheel


needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def generator(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "fixtures" / script), "--check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@needs_torch
def test_a_sample_of_the_table_is_up_to_date() -> None:
    version = importlib.metadata.version("transformers")
    if not INDEX["generator"].endswith(f"transformers {version}"):
        pytest.skip(f"the table is not of transformers {version}")
    result = generator("make_classes.py", "bert", "gpt2", "mixtral")
    assert result.returncode == 0, result.stdout + result.stderr


@needs_torch
def test_a_sample_of_the_snapshots_is_up_to_date() -> None:
    result = generator("make_snapshots.py", "gpt2", "sentence-transformers/all-MiniLM-L6-v2")
    assert result.returncode == 0, result.stdout + result.stderr
