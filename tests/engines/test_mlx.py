"""mlx-lm's caches against real ones, its peaks against published ones, and that more never takes less."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.engines.mlx.buffers import MlxFacts, mlx_facts, plan
from inspector.engines.mlx.cache import MlxSettings, Moment, cache_bytes, cached_rows, check_settings
from inspector.engines.mlx.graph import LARGE, NONE, SMALL, Op, Widths, peak
from inspector.engines.mlx.weights import LoadedWeights, loaded_weights, mlx_layers
from inspector.errors import UsageError
from inspector.hub.cache.snapshot import loads
from inspector.model import build_model
from inspector.model.architecture import read_architecture
from inspector.model.layers import (
    ChunkedAttention,
    FullAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    SlidingAttention,
    StateTensor,
)
from inspector.model.model import Model
from tests.conftest import SNAPSHOTS
from tests.oracles.mlx_models import CONFIGS, step_before
from tests.verdict.small_model import model as small_model

DATA = Path(__file__).parent.parent / "memory" / "data"
RUNS = json.loads((DATA / "mlx_runs.json").read_text())["runs"]
"""Made by tests/oracles/mlx.py with mlx-lm on a CPU."""

PEAKS = json.loads((DATA / "mlx_metal.json").read_text())["cases"]
FULL = FullAttention(num_key_value_heads=8, head_dim=128, v_head_dim=128)
WINDOW = SlidingAttention(num_key_value_heads=8, head_dim=128, v_head_dim=128, sliding_window=1024)


def model_of(repo_id: str) -> Model:
    return build_model(loads((SNAPSHOTS / f"{repo_id.replace('/', '--')}.json").read_bytes()))


def layers_of(name: str) -> tuple[Layer, ...]:
    """The layers of one of the oracle's configs, as mlx-lm's class has them."""
    architecture = read_architecture(CONFIGS[name])
    model = small_model(layers=architecture.layers)
    shape = model.architecture
    return mlx_layers(replace(model, architecture=replace(shape, model_type=architecture.model_type)))


@pytest.mark.parametrize("name", sorted({run["model"] for run in RUNS}))
def test_caches_are_what_mlx_lm_holds_to_the_byte(name: str) -> None:
    layers = layers_of(name)
    for run in (run for run in RUNS if run["model"] == name):
        settings = MlxSettings(**run["settings"])
        step = step_before(Moment(*run["moment"]), settings)
        held = cache_bytes(layers, step, settings, 2)
        assert held is not None
        if settings.prefill_step_size % 256:  # how an odd chunk's rows fall into steps is not played through
            assert run["bytes"] <= held
        else:
            assert held == run["bytes"], run


def test_a_cache_grows_by_steps_of_256_rows() -> None:
    rows = [cached_rows(FULL, Moment(before, 1, 1), MlxSettings(4096)) for before in (0, 255, 256, 2047, 2048)]
    assert rows == [256, 256, 512, 2048, 2304]


def test_a_window_holds_a_chunk_and_the_window_before_it_until_the_answer() -> None:
    settings = MlxSettings(8192)
    assert cached_rows(WINDOW, Moment(0, 2048, 1), settings) == 2048
    assert cached_rows(WINDOW, Moment(2048, 2048, 1), settings) == 1023 + 2048
    assert cached_rows(WINDOW, Moment(8191, 1, 1), settings) == 1024
    # a prompt of 300 tokens, whose rows are grown by 256 for the next token
    assert cached_rows(WINDOW, Moment(300, 1, 1), settings) == 556


def test_chunked_attention_keeps_a_chunk_and_what_is_added() -> None:
    layer = ChunkedAttention(8, 128, 128, attention_chunk_size=8192)
    assert cached_rows(layer, Moment(30720, 2048, 1), MlxSettings(32769)) == 8192 + 2048


def test_a_quantized_row_has_a_scale_and_a_bias_a_group() -> None:
    settings = MlxSettings(8192, kv_bits=4, quantized_kv_start=0)
    held = cache_bytes((FULL,), Moment(8191, 1, 1), settings, 2)
    # 8 heads * 256 values: half a byte each, and 4 B for each 64
    assert held == 8192 * (8 * 256 // 2 + 8 * 4 * 4)


def test_states_are_float32_and_convolutions_keep_one_input_less() -> None:
    layer = LinearAttention((StateTensor((512, 4), "compute"), StateTensor((8, 64, 64), "F32")))
    assert cache_bytes((layer,), Moment(99, 1, 2), MlxSettings(100, batch=2), 2) == 2 * (512 * 3 * 2 + 8 * 64 * 64 * 4)


@pytest.mark.parametrize(
    ("layer", "wanted", "why"),
    [
        (WINDOW, {"kv_bits": 8}, "cache of a sliding window"),
        (LatentAttention(512, 64), {"kv_bits": 8}, "cache of latents"),
        (FULL, {"kv_bits": 7}, "no cache of 7 bits"),
        (FULL, {"kv_bits": 8, "kv_group_size": 100}, "in groups of 100"),
        (FullAttention(8, 80, 80), {"kv_bits": 8}, "heads of 80 values"),
        (FULL, {"kv_bits": 8, "batch": 2}, "one request at a time"),
        (FULL, {"ranks": 3}, "8 key/value heads can't be cut over 3 machines"),
        (FULL, {"prefill_step_size": 0}, "at least 1"),
    ],
)
def test_what_mlx_lm_refuses_is_refused(layer: Layer, wanted: dict[str, int], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_settings((layer,), MlxSettings(8192, **wanted))


def test_a_short_context_never_comes_to_be_quantized() -> None:
    check_settings((WINDOW,), MlxSettings(5000, kv_bits=8))


def test_weights_by_hand_as_mlx_lm_converts_them() -> None:
    model = model_of("meta-llama/Meta-Llama-3-8B")
    norms = (2 * 32 + 1) * 4096
    loaded = loaded_weights(model, "int4")
    assert isinstance(loaded, LoadedWeights)
    # 4 bits and 32 bits for each 64, embedding and head too; norms in 16 bits
    assert loaded.total == (8_030_261_248 - norms) * 9 // 16 + 2 * norms
    stored = loaded_weights(model)
    assert isinstance(stored, LoadedWeights)
    assert stored.total == 2 * 8_030_261_248


def test_routers_keep_8_bits_where_the_class_says_so() -> None:
    loaded = loaded_weights(model_of("Qwen/Qwen3-30B-A3B"), "int4")
    assert isinstance(loaded, LoadedWeights)
    assert loaded.shares["router"] == 48 * 2048 * 128 * 17 // 16
    loaded = loaded_weights(model_of("deepseek-ai/DeepSeek-V3"), "int4")
    assert isinstance(loaded, LoadedWeights)
    assert loaded.shares["router"] == 2 * model_of("deepseek-ai/DeepSeek-V3").parameters.by_component["router"]


def test_what_mlx_lm_has_no_class_for_cannot_be_told() -> None:
    assert "no class for the model type 'bert'" in str(loaded_weights(model_of("google-bert/bert-base-uncased")))


def test_windows_that_the_class_ignores_are_no_windows() -> None:
    assert "sliding_attention" not in {layer.kind for layer in mlx_layers(model_of("google/gemma-2-2b"))}
    assert "sliding_attention" not in {layer.kind for layer in mlx_layers(model_of("mistralai/Mistral-7B-v0.1"))}
    assert "sliding_attention" in {layer.kind for layer in mlx_layers(model_of("openai/gpt-oss-20b"))}


def facts_of(case: dict[str, Any]) -> MlxFacts:
    if case["model"] != "Qwen3-4B":
        facts = mlx_facts(model_of(case["model"]), {8.5: "int8", 4.5: "int4"}[case["bits"]])
        assert isinstance(facts, MlxFacts)
        return facts
    words = 1.0 if case["bits"] == 16 else case["bits"] / 32
    weights = LoadedWeights({"all": int(4_022_468_096 * case["bits"] / 8)}, 2, "")
    widths = Widths(hidden=2560, inner=9728, heads=32, vocab=151936, weight_words=words)
    return MlxFacts((FULL,) * 36, weights, widths, "qwen3")


def error_of(case: dict[str, Any]) -> float:
    wanted = {name: case[name] for name in ("context", "kv_bits", "quantized_kv_start") if name in case}
    total = plan(facts_of(case), MlxSettings(**wanted), LARGE).total
    assert total is not None
    return total / case["peak_gb"] / 1e9 - 1


def test_published_peaks_of_macs_are_met() -> None:
    errors = [abs(error_of(case)) for case in PEAKS]
    assert max(errors) < 0.07
    assert median(errors) < 0.025


def test_results_wait_for_the_gpu_as_far_as_the_encoder_runs_ahead() -> None:
    big = 60 << 20  # each operation fills a command buffer
    ops = [Op(f"r{index}", big, (f"r{index - 1}" if index else "x",)) for index in range(20)]
    assert peak([ops], 2, NONE) == 2 * 2 * big
    # a result that was read waits for its reader's buffer: of 10 under way, and the one being made, and its input
    assert peak([ops], 2, LARGE) == 12 * 2 * big


def test_smaller_chips_let_less_wait() -> None:
    facts = facts_of(PEAKS[6])
    large, small = (plan(facts, MlxSettings(4096), queue).activations["waiting"] for queue in (LARGE, SMALL))
    assert small < large


LAYERS: tuple[Layer, ...] = (
    FULL,
    WINDOW,
    LatentAttention(512, 64),
    FullAttention(4, 256, 256),
    LinearAttention((StateTensor((512, 4), "compute"), StateTensor((8, 64, 64), "F32"))),
)
SMALLER = MlxFacts((), LoadedWeights({"mlp": 10**9}, 2, ""), Widths(1024, 4096, 16, 32000), "llama")


@settings(deadline=None, max_examples=100)
@given(
    layers=st.lists(st.sampled_from(LAYERS), min_size=1, max_size=3),
    context=st.integers(1, 20000),
    more=st.integers(0, 9000),
    batch=st.integers(1, 40),
    step=st.sampled_from((256, 2048, 1000, 100)),
)
def test_more_context_and_more_sequences_never_take_less(
    layers: list[Layer], context: int, more: int, batch: int, step: int
) -> None:
    facts = SMALLER._replace(layers=tuple(layers))

    def total(context: int, batch: int) -> int:
        size = plan(facts, MlxSettings(context, batch, prefill_step_size=step), LARGE).total
        assert size is not None
        return size

    assert total(context, batch) <= total(context + more, batch)
    assert total(context, batch) <= total(context, batch + 1)


BASE: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 64,
    "vocab_size": 128,
}
MLX_TYPES_CASES: dict[str, tuple[dict[str, Any], int]] = {
    "windows by a pattern that transformers' class does not read": (
        {
            "model_type": "mimo_v2_flash",
            "hybrid_layer_pattern": [0, 1, 1, 0],
            "sliding_window_size": 64,
            "v_head_dim": 32,
        }
        | {"swa_num_key_value_heads": 4},
        2 * 512 * 2 * 64 * 2 + 2 * 64 * 4 * 64 * 2,
    ),
    "a later round has a window": (
        {"model_type": "iquestloopcoder", "loop_num": 2, "loop_window_size": 64},
        4 * 512 * 2 * 64 * 2 + 4 * 64 * 2 * 64 * 2,
    ),
    "keys and values are convolved": (
        {"model_type": "baichuan_m1", "conv_window": 2, "sliding_window": 64, "sliding_window_layers": [1, 3]},
        2 * (512 + 64) * 2 * 64 * 2 + 4 * 2 * 64 * 2,
    ),
    "the last layers use the rows of those before": (
        {"model_type": "afm7", "num_kv_reuse_layers": 1},
        3 * 512 * 2 * 64 * 2,
    ),
    "token ids beside the rows": (
        {"model_type": "longcat_flash_ngram", "emb_neighbor_num": 4},
        4 * 512 * 2 * 64 * 2 + 3 * 8,
    ),
    "a language part beside an encoder's type": (
        {"model_type": "pixtral", "text_config": {**BASE, "model_type": "mistral"}},
        4 * 512 * 2 * 64 * 2,
    ),
    "an indexer's keys beside heads are held once": (
        {
            "model_type": "minimax_m3_vl",
            "text_config": {
                **BASE,
                "sparse_attention_config": {"sparse_index_dim": 16, "sparse_attention_freq": [0, 1, 1, 1]},
            },
        },
        4 * 512 * 2 * 64 * 2 + 3 * 512 * 16 * 2,
    ),
}
"""What the config says beside `BASE`, and the bytes after 300 tokens of prompt and one of the answer."""


@pytest.mark.parametrize("name", MLX_TYPES_CASES)
def test_caches_that_mlx_lm_keeps_by_keys_of_config_json(name: str) -> None:
    config, expected = MLX_TYPES_CASES[name]
    base = {} if "text_config" in config else BASE
    shape = read_architecture({**base, **config})
    layers = mlx_layers(replace(small_model(), architecture=shape))
    assert cache_bytes(layers, Moment(300, 1, 1), MlxSettings(302, prefill_step_size=2048), 2) == expected


def test_griffins_and_rwkvs_states_have_the_models_precision() -> None:
    griffin = LinearAttention(
        (StateTensor((64, 3), "compute", spare=64), StateTensor((64,), "F32")), ("lru_width", "conv1d_width")
    )
    rwkv = LinearAttention((StateTensor((64,), "compute"),) * 2 + (StateTensor((2, 32, 32), "F32"),))
    step = Moment(300, 1, 1)
    assert cache_bytes((griffin,), step, MlxSettings(302), 2) == 2 * (64 * 3 + 64)
    assert cache_bytes((rwkv,), step, MlxSettings(302), 2) == 2 * (64 + 64 + 2 * 32 * 32)


def test_one_type_has_a_class_by_the_architecture_that_it_names() -> None:
    state = LinearAttention((StateTensor((96, 4), "compute"), StateTensor((4, 32, 32), "F32")))
    shape = replace(
        small_model(layers=(state,)).architecture, model_type="bailing_hybrid", architecture="BailingMoeV2_5ForCausalLM"
    )
    older, newer = (
        mlx_layers(replace(small_model(), architecture=replace(shape, architecture=name)))
        for name in ("BailingMoeV2_5ForCausalLM", "BailingMoeV3ForCausalLM")
    )
    assert older == (LinearAttention((StateTensor((4, 32, 32), "F32"),)),)
    assert newer == (state,)
