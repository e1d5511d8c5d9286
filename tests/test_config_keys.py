"""The list of config keys that engines read: how their code is read, and that each decision stands on the page."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from inspector.model.architecture import read_architecture
from tests.oracles import config_keys
from tests.oracles.config_keys import DECISIONS, DOCUMENT, Reader, decided

LLAMA = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "max_position_embeddings": 8192,
}


@pytest.mark.parametrize(
    ("path", "code", "keys"),
    [
        ("config/model.py", "x = hf_config.a; y = getattr(self.hf_text_config, 'b', None)", {"a", "b"}),
        ("config/model.py", "cache_config.block_size = vllm_config.x", set()),
        ("config/model.py", "possible_keys = ['n_positions', 'max_seq_len']", {"n_positions", "max_seq_len"}),
        ("transformers_utils/config.py", "config.get('c'); config['d']; 'e' in config_dict", {"c", "d", "e"}),
        ("transformers_utils/config.py", "rope_scaling['factor']; f(x).get_text_config().g", {"factor", "g"}),
        ("layers/quantization/gptq.py", "cls.get_from_keys(config, ['bits']); self.quant_config.pack", {"bits"}),
        ("cache_utils.py", "config.sliding_window; hasattr(config, 'layer_types')", {"sliding_window", "layer_types"}),
    ],
)
def test_keys_are_found_where_a_checkpoints_config_is_asked(path: str, code: str, keys: set[str]) -> None:
    assert set(Reader(path).keys(ast.parse(code))) == keys


def test_a_key_on_which_nothing_is_decided_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "transformers"
    package.joinpath("quantizers").mkdir(parents=True)
    package.joinpath("quantizers/auto.py").write_text("AUTO_QUANTIZER_MAPPING = {'gptq': 1, 'unheard_of': 2}")
    package.joinpath("cache_utils.py").write_text("config.sliding_window; config.unheard_of_window; config.use_mla")
    monkeypatch.setattr(sys, "argv", ["config_keys", "--transformers", str(package)])
    assert config_keys.main() == 1
    said = capsys.readouterr().out
    assert "undecided: unheard_of_window (transformers)" in said
    assert "no packing: transformers: unheard_of" in said
    assert "sliding_window (" not in said.replace("unheard_of_window (", "")


def test_every_decision_stands_on_the_page_of_its_keys() -> None:
    decisions = json.loads(DECISIONS.read_text("utf-8"))
    page = DOCUMENT.read_text("utf-8")
    assert "nothing is decided" not in page.partition("| why")[2]
    rows = dict(re.findall(r"^\| (.*) \| (`.*) \|$", page, re.MULTILINE))
    assert rows.keys() == set(decisions.values())
    for pattern, why in decided(decisions).items():
        keys = re.findall("`([^`]+)`", rows[why])
        assert all(pattern.fullmatch(key) for key in keys)


def test_a_longer_maximum_beside_the_models_own_is_the_longest_context() -> None:
    """Command-R: 8,192 positions, and 131,072 tokens by its model card and vLLM."""
    longer = read_architecture({**LLAMA, "model_max_length": 131_072})
    assert (longer.max_position_embeddings, longer.longest_context) == (8192, 131_072)
    for said in (2048, 10**30, "131072", None):
        assert read_architecture({**LLAMA, "model_max_length": said}).longest_context == 8192


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"thinker_config": {"text_config": {**LLAMA, "dtype": "bfloat16"}}}, "bfloat16"),
        ({"text_config": LLAMA, "vision_config": {"torch_dtype": "float16"}}, "float16"),
        ({"dtype": "float32", "text_config": {**LLAMA, "dtype": "bfloat16"}}, "float32"),
    ],
)
def test_the_precision_is_found_however_deep_it_stands(config: dict[str, object], dtype: str) -> None:
    assert read_architecture({"model_type": "unheard_of", **config}).dtype == dtype


@pytest.mark.parametrize(
    "key", ["max_seq_length", "seq_len", "max_seq_len", "seq_length", "n_positions", "max_pos_emb"]
)
def test_every_vendors_name_for_the_longest_sequence_is_read(key: str) -> None:
    config = {name: value for name, value in LLAMA.items() if name != "max_position_embeddings"}
    assert read_architecture({**config, "model_type": "unheard_of", key: 4096}).max_position_embeddings == 4096


def test_heads_and_loops_by_other_names() -> None:
    config = {**LLAMA, "model_type": "unheard_of", "num_key_value_heads": 2}
    assert read_architecture({**config, "hidden_size_per_head": 128}).head_dim == 128
    assert len(read_architecture({**config, "loop_num": 3}).layers) == 6


@pytest.mark.parametrize("key", ["sliding_window", "attention_chunk_size"])
def test_of_an_unknown_type_a_limit_without_its_layers_bounds_the_cache_from_below(key: str) -> None:
    found = read_architecture({**LLAMA, "model_type": "unheard_of", key: 1024})
    assert {layer.kind for layer in found.layers} == {"full_attention"}
    assert {layer.kind for layer in found.layers_at_least} <= {"sliding_attention", "chunked_attention"}
    assert found.layers_at_least
    assert any(f"which layers {key} 1024 bounds is not known" in note for note in found.notes)
