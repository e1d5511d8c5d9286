"""The light reader's parts: rules, names, common key names, and configs written by nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inspector
from inspector.errors import InvalidConfig
from inspector.model.architecture import read_architecture
from inspector.model.config.common import read_common
from inspector.model.config.derive import FUNCTIONS, apply_rule, evaluate
from inspector.model.config.light import read_light, table
from inspector.model.config.read import model_type_of
from inspector.model.config.text import KEYS, language_part
from inspector.model.layers import FullAttention, IndexedAttention, SlidingAttention, StateTensor


@pytest.mark.parametrize(
    ("rule", "current", "result"),
    [
        ("?num_attention_heads", None, 8),
        ("?num_attention_heads", 2, 2),
        ("?num_attention_heads", 0, 0),
        ("!num_attention_heads", 0, 8),
        ("=num_attention_heads", 2, 8),
        ("?hidden_size//num_attention_heads", None, 64),
        ("=4*hidden_size", None, 2048),
        ("=hidden_size+num_attention_heads", None, 520),
        ("=hidden_size//nothing", 3, None),
        ("=const:true", None, True),
    ],
)
def test_a_rule_fills_in_a_value(rule: str, current: object, result: object) -> None:
    assert apply_rule(rule, current, {"hidden_size": 512, "num_attention_heads": 8}) == result


@pytest.mark.parametrize(
    ("expression", "values", "kinds"),
    [
        ("every:sliding_attention:full_attention:2:1", {}, "sfsf"),
        ("every:sliding_attention:full_attention:sliding_window_pattern|3:1", {}, "ssfs"),
        ("every:sliding_attention:full_attention:sliding_window_pattern|3:1", {"sliding_window_pattern": 2}, "sfsf"),
        ("every:sliding_attention:full_attention:3:0", {}, "fssf"),
        ("from_max_window_layers", {"sliding_window": 8, "max_window_layers": 3}, "fffs"),
        ("from_max_window_layers", {"sliding_window": None, "max_window_layers": 3}, "ffff"),
        ("chunked_where_rope", {"no_rope_layer_interval": 2}, "cfcf"),
        ("chunked_where_rope", {"no_rope_layers": [0, 1, 1, 0]}, "fccf"),
        ("at:attn_layer_period:attn_layer_offset:linear_attention:full_attention", {"attn_layer_period": 4}, "flll"),
    ],
)
def test_a_rule_derives_layer_kinds(expression: str, values: dict[str, Any], kinds: str) -> None:
    found = evaluate(expression, {"num_hidden_layers": 4, **values})
    assert "".join(kind[0] for kind in found) == kinds


def test_every_rule_of_the_table_is_known() -> None:
    for name, entry in table().items():
        for key, rules in entry.get("rules", {}).items():
            assert key in KEYS, name
            for rule in rules:
                assert rule[0] in "=?!"
                if ":" in rule:
                    assert rule[1:].split(":")[0] in FUNCTIONS, (name, rule)


def test_the_table_names_its_generator_and_stays_small() -> None:
    path = Path(inspector.__file__).parent / "data" / "configs.json"
    text = path.read_text("utf-8")
    assert json.loads(text)["generator"] == "python fixtures/make_configs.py"
    assert len(text) < 500_000


def test_a_language_part_of_another_type_is_read_as_that_type() -> None:
    found = read_light({"model_type": "llava", "text_config": {"model_type": "mistral"}}, "llava")
    assert found is not None
    assert (found.text_type, found.get("num_key_value_heads"), found.get("intermediate_size")) == ("mistral", 8, 14336)


def test_flat_files_of_composite_types_go_to_the_class() -> None:
    assert read_light({"model_type": "qwen2_vl", "hidden_size": 1536}, "qwen2_vl") is None
    found = read_architecture({"model_type": "qwen2_vl", "hidden_size": 1536, "num_attention_heads": 12})
    assert (found.hidden_size, found.num_attention_heads, found.exact) == (1536, 12, True)


def test_per_layer_configs_go_to_the_class() -> None:
    config = {"model_type": "llama", "per_layer_config": {"1": {"num_key_value_heads": 4}}, "num_hidden_layers": 2}
    assert read_light(config, "llama") is None
    first, second = read_architecture({**config, "num_key_value_heads": 8}).layers
    assert (first.num_key_value_heads, second.num_key_value_heads) == (8, 4)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("architecture", "model_type"),
    [
        ("LlamaForCausalLM", "llama"),
        ("Llama4ForConditionalGeneration", "llama4"),
        ("Gemma3ForCausalLM", "gemma3"),
        ("BertForMaskedLM", "bert"),
        ("BertGenerationDecoder", "bert-generation"),
        ("NobodysForCausalLM", None),
    ],
)
def test_an_architecture_tells_its_model_type(architecture: str, model_type: str | None) -> None:
    assert model_type_of(architecture) == model_type


@pytest.mark.parametrize("key", ["text_config", "llm_config", "language_config", "decoder"])
def test_a_language_part_is_found_under_its_usual_names(key: str) -> None:
    assert language_part({key: {"hidden_size": 8}, "vision_config": {}}) == {"hidden_size": 8}
    assert language_part({"thinker_config": {key: {"hidden_size": 8}}}) == {"hidden_size": 8}


def test_common_names_of_other_releases_are_understood() -> None:
    text = read_common({"n_embd": 64, "n_layer": 2, "n_head": 4, "padded_vocab_size": 99}, "x", "unknown")
    assert [text.get(key) for key in ("hidden_size", "num_hidden_layers", "vocab_size")] == [64, 2, 99]
    assert text.get("num_key_value_heads") == 4
    assert not text.exact


REMOTE_CODE = {
    "chatglm3-6b": (
        {"model_type": "chatglm", "num_layers": 28, "hidden_size": 4096, "num_attention_heads": 32, "kv_channels": 128}
        | {"multi_query_attention": True, "multi_query_group_num": 2, "ffn_hidden_size": 13696, "seq_length": 8192}
        | {"padded_vocab_size": 65024},
        (28, 4096, 32, 2, 128, 13696, 65024, 8192),
        False,
    ),
    "chatglm without groups": (
        {"model_type": "chatglm", "num_layers": 28, "hidden_size": 4096, "num_attention_heads": 32, "kv_channels": 128}
        | {"multi_query_attention": False, "multi_query_group_num": 1, "seq_length": 2048},
        (28, 4096, 32, 32, 128, None, None, 2048),
        False,
    ),
    "Baichuan2-13B": (
        {"model_type": "baichuan", "hidden_size": 5120, "intermediate_size": 13696, "model_max_length": 4096}
        | {"num_attention_heads": 40, "num_hidden_layers": 40, "vocab_size": 125696},
        (40, 5120, 40, 40, 128, 13696, 125696, 4096),
        True,
    ),
    "internlm2-7b": (
        {"model_type": "internlm2", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768}
        | {"num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 92544},
        (32, 4096, 32, 8, 128, 14336, 92544, 32768),
        False,
    ),
    "Qwen-7B": (
        {"model_type": "qwen", "hidden_size": 4096, "intermediate_size": 22016, "kv_channels": 128}
        | {"max_position_embeddings": 32768, "seq_length": 8192, "num_attention_heads": 32, "num_hidden_layers": 32}
        | {"vocab_size": 151936},
        (32, 4096, 32, 32, 128, 22016, 151936, 32768),
        True,
    ),
    "an MPT": (
        {"model_type": "llmfoundry", "d_model": 2048, "n_heads": 16, "n_layers": 24, "max_seq_len": 2048}
        | {"vocab_size": 50368, "attn_config": {"kv_n_heads": 4}},
        (24, 2048, 16, 4, 128, None, 50368, 2048),
        False,
    ),
    "phi-msft": (
        {"model_type": "phi-msft", "n_embd": 2560, "n_head": 32, "n_head_kv": None, "n_layer": 32, "n_inner": None}
        | {"n_positions": 2048, "vocab_size": 51200},
        (32, 2560, 32, 32, 80, None, 51200, 2048),
        True,
    ),
}
"""Keys as the repos' own configuration classes name them: the facts, and whether the heads are but a bound."""


@pytest.mark.parametrize("name", REMOTE_CODE)
def test_configs_of_remote_code_are_read_by_common_names_and_marked(name: str) -> None:
    config, facts, bounded = REMOTE_CODE[name]
    found = read_architecture(config)
    assert (
        found.num_hidden_layers,
        found.hidden_size,
        found.num_attention_heads,
        found.num_key_value_heads,
        found.head_dim,
        found.intermediate_size,
        found.vocab_size,
        found.max_position_embeddings,
    ) == facts
    assert not found.exact
    assert "common key names" in found.notes[0]
    assert any("upper bound" in note for note in found.notes) == bounded
    assert found.layer_kinds == {"full_attention": facts[0]}


def test_an_unknown_type_s_window_is_an_upper_bound() -> None:
    config = {"model_type": "mystery", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4}
    found = read_architecture({**config, "num_key_value_heads": 2, "sliding_window": 8})
    assert found.layer_kinds == {"full_attention": 2}
    assert "sliding_window 8" in found.notes[1]
    assert "upper bound" in found.notes[1]
    told = {"layer_types": ["sliding_attention", "full_attention"], "num_key_value_heads": 2, "sliding_window": 8}
    found = read_architecture({**config, **told})
    assert found.layer_kinds == {"sliding_attention": 1, "full_attention": 1}
    assert len(found.notes) == 1


def test_an_unknown_type_with_a_latent_caches_it() -> None:
    config = {"model_type": "mystery", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4}
    config |= {"num_key_value_heads": 4, "kv_lora_rank": 16}
    found = read_architecture(config)
    assert "latent" in found.notes[1]
    assert "upper bound" in found.notes[1]
    found = read_architecture({**config, "qk_rope_head_dim": 8})
    assert found.layers[0].values_per_token == 24
    assert "latent" in found.notes[1]


def test_bidirectional_gemma_3_sees_half_its_window_to_each_side() -> None:
    config = {"model_type": "gemma3_text", "sliding_window": 512, "use_bidirectional_attention": True}
    assert read_architecture(config).sliding_window == 257  # 512 // 2 + 1, as the class has it (EmbeddingGemma)


def test_infinity_as_transformers_writes_it_is_read_by_the_class() -> None:
    config = {"model_type": "nemotron_h", "time_step_limit": [0.0, {"__float__": "Infinity"}]}
    found = read_architecture(config)
    assert found.exact
    assert found.num_hidden_layers == len(found.layers) > 0


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["llama", "qwen2", "gemma3_text", "gpt2", "t5", "mamba", "bert", "no_such_type", None]),
    st.dictionaries(st.sampled_from([*KEYS, "n_embd", "n_layer", "text_config", "architectures", "dtype"]), values),
)
def test_whatever_a_config_holds_it_is_read_or_refused(model_type: str | None, config: dict[str, Any]) -> None:
    try:
        found = read_architecture({**config, "model_type": model_type})
    except InvalidConfig:
        return
    assert found.num_hidden_layers is None or found.num_hidden_layers >= 0


def test_an_unknown_type_tells_its_indexer_windows_and_delta_rule_by_keys() -> None:
    base = {"model_type": "nobody", "hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8}
    base |= {"num_key_value_heads": 2, "head_dim": 64, "vocab_size": 100}
    sparse = {"sparse_index_dim": 32, "sparse_attention_freq": [0, 1]}
    found = read_architecture({**base, "sparse_attention_config": sparse}).layers
    assert found == (FullAttention(2, 64, 64), IndexedAttention(FullAttention(2, 64, 64), 32))
    found = read_architecture({**base, "window_sizes": [[511, 0], [-1, -1]]}).layers
    assert found == (SlidingAttention(2, 64, 64, 512), FullAttention(2, 64, 64))
    delta = {"linear_num_key_heads": 4, "linear_num_value_heads": 4, "linear_key_head_dim": 32}
    delta |= {"linear_value_head_dim": 32, "linear_conv_kernel_dim": 4}
    kinds = ["linear_attention", "full_attention"]
    found = read_architecture({**base, **delta, "layer_types": kinds}).layers
    assert found[0].states == (StateTensor((384, 4), "compute"), StateTensor((4, 32, 32), "F32"))


def test_rows_that_code_alone_shares_are_a_bound() -> None:
    """Phi-4-mini-flash: Mamba in every other layer; the full ones after the first may attend to that one's rows."""
    config = {"model_type": "nobody", "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8}
    config |= {"num_key_value_heads": 2, "vocab_size": 100, "mb_per_layer": 2}
    config |= {"sliding_window": [None, 64, None, 64, None, None, None, None]}
    found = read_architecture(config)
    full = FullAttention(2, 64, 64)
    assert [found.layers.count(full), found.layers_at_least.count(full)] == [2, 1]
    assert sum(layer.kind == "sliding_attention" for layer in found.layers_at_least) == 2
    assert any("upper bound" in note for note in found.notes)
