"""The layer table: its rows add up to the model's totals, and say where each number was found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from inspector.api.inspection import Inspection, inspect_checkpoint
from inspector.api.settings import Settings
from inspector.hub.cache import snapshot
from inspector.memory.layer_table import indices_text
from tests.conftest import Run

SNAPSHOTS = Path(__file__).resolve().parents[2] / "fixtures" / "snapshots"


def inspection(name: str, **config: object) -> Inspection:
    checkpoint = snapshot.loads((SNAPSHOTS / f"{name.replace('/', '--')}.json").read_text())
    checkpoint = dataclasses.replace(checkpoint, config={**checkpoint.config, **config})
    return inspect_checkpoint(checkpoint, Settings(context=8192, batch=2), ())


@pytest.mark.parametrize("path", sorted(SNAPSHOTS.glob("*--*.json")), ids=lambda path: path.stem)
def test_rows_add_up_to_the_models_totals(path: Path) -> None:
    found = inspect_checkpoint(snapshot.loads(path.read_text()), Settings(), ())
    rows = found.layer_table()
    parameters = found.model.parameters
    assert sum((row.parameters or 0) * row.count for row in rows) == parameters.total
    assert sum((row.bytes or 0) * row.count for row in rows) == parameters.stored_bytes
    assert sum((row.kv_bytes or 0) * row.count for row in rows) == found.estimate.kv_cache.bytes
    assert sorted(index for row in rows for index in row.layers) == list(range(len(found.model.architecture.layers)))


def test_a_plain_decoder_has_one_row_of_layers() -> None:
    layers, *rest = inspection("meta-llama/Meta-Llama-3-8B").layer_table()
    assert (layers.kind, layers.count, layers.parameters, layers.bytes) == (
        "full_attention",
        32,
        218_112_000,
        2 * 218_112_000,
    )
    # 8 KV heads x (128 + 128) x 2 B a token; two sequences of 8,192
    assert (layers.kv_bytes_per_token, layers.kv_bytes) == (4096, 4096 * 8192 * 2)
    assert layers.tensors == "9 tensors each of model.layers"
    assert layers.config["num_key_value_heads"] == (8, "config.json: num_key_value_heads")
    assert layers.config["head_dim"] == (128, "hidden_size / num_attention_heads")
    assert {row.name: (row.parameters, row.tensors) for row in rest} == {
        "embedding": (525_336_576, "1 tensor: model.embed_tokens.weight"),
        "head": (525_336_576, "1 tensor: lm_head.weight"),
        "norm": (4096, "1 tensor: model.norm.weight"),
    }


def test_layers_of_two_kinds_have_a_row_each_and_other_lists_are_apart() -> None:
    sliding, full, *rest = inspection("google/gemma-3-4b-it").layer_table()
    assert (sliding.kind, sliding.count) == ("sliding_attention", 29)
    assert (full.kind, full.layers) == ("full_attention", (5, 11, 17, 23, 29))
    assert sliding.kv_bytes == 1023 * 2 * 4096
    assert sliding.config["sliding_window"] == (1024, "config.json: text_config.sliding_window")
    assert sliding.config["num_key_value_heads"] == (4, "default of gemma3_text")
    assert next(row.parameters for row in rest if row.name == "vision_tower.vision_model.encoder.layers") == 411_466_608


def test_a_value_under_another_name_is_found_there() -> None:
    layers = inspection("openai-community/gpt2").layer_table()[0]
    assert layers.config["num_key_value_heads"] == (12, "num_attention_heads")
    assert layers.config["head_dim"] == (64, "hidden_size / num_attention_heads")


def test_dense_layers_and_mixtures_of_one_kind_are_told_apart() -> None:
    dense, mixture, *_ = inspection("deepseek-ai/DeepSeek-V3").layer_table()
    assert (dense.layers, mixture.layers) == (tuple(range(3)), tuple(range(3, 61)))
    assert dense.kv_bytes_per_token == mixture.kv_bytes_per_token == 2 * (512 + 64)


def test_indices_in_short() -> None:
    assert indices_text((0, 1, 2, 5)) == "0-2,5"
    assert indices_text((0, 2, 4, 6)) == "0-6 by 2"
    assert indices_text((3,)) == "3"
    assert indices_text((0, 1)) == "0-1"


def test_the_command_prints_it_as_text_and_as_json(run: Run) -> None:
    record = run("meta-llama/Meta-Llama-3-8B", "--layers", "--json", "--offline").record
    assert record["layers"][0]["kind"] == "full_attention"
    assert record["layers"][0]["config"]["head_dim"] == {"value": 128, "from": "hidden_size / num_attention_heads"}
    assert record["parameters"]["by_attention"] == {"full_attention": 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)}
    text = run("meta-llama/Meta-Llama-3-8B", "--layers", "--offline").out
    assert "full attention 0-31     32  218,112,000    416 MiB   4.00 KiB  16.0 MiB" in text
    assert "num_key_value_heads · 8, config.json: num_key_value_heads" in text
    refused = run("gpt2", "--layers", "--format", "csv", "--offline")
    assert (refused.code, refused.err) == (2, "Error: --layers prints text, json or html, not csv\n")
