"""Parameters where the class is unknown: real classes under another name, and what names and shapes tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.model.build import build_model
from inspector.model.model import Parameters
from tests.model.test_class_sample import BUILDS

NAMES = {"model_type": "nobody-knows", "architectures": ["NobodyKnowsForCausalLM"]}
ROOT = Path(__file__).resolve().parents[2]


def shuffled(value: Any) -> Any:
    return {key: NAMES.get(key, shuffled(item)) for key, item in value.items()} if isinstance(value, dict) else value


def counted(tensors: dict[str, tuple[int, ...]], **config: Any) -> Parameters:
    stored = tuple(Tensor(name, "BF16", shape) for name, shape in tensors.items())
    return build_model(Checkpoint("a/b", None, "local", {**NAMES, **config}, stored)).parameters


def test_a_class_under_a_name_that_nobody_knows_holds_as_many_parameters() -> None:
    wrong = {}
    for build in BUILDS:
        config = {**shuffled(build["config"]), **NAMES}
        found = build_model(Checkpoint("a/b", None, "local", config, decode_tensors(build["tensors"]))).parameters
        assert not found.exact
        assert found.notes
        if found.total != build["parameters"]:
            wrong[build["class"]] = found.total - build["parameters"]
    assert len(wrong) <= len(BUILDS) // 50, wrong  # over all classes: tests/oracles/shuffled.py


def test_buffers_table_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "fixtures" / "make_buffers.py"), "--check"]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 0


def test_a_frozen_batch_norm_is_buffers_and_a_trained_one_is_not() -> None:
    norm = {f"body.bn.{leaf}": (8,) for leaf in ("weight", "bias", "running_mean", "running_var")}
    convolution = {"body.conv.weight": (8, 3, 7, 7)}
    assert counted({**convolution, **norm}).total == 8 * 3 * 49
    assert counted({**convolution, **norm, "body.bn.num_batches_tracked": ()}).total == 8 * 3 * 49 + 16


def test_a_sequence_of_a_convolution_and_a_frozen_norm_keeps_its_convolution() -> None:
    norm = {f"body.1.{leaf}": (8,) for leaf in ("weight", "bias", "running_mean", "running_var")}
    assert counted({"body.0.weight": (8, 3, 7, 7), **norm}).total == 8 * 3 * 49


def test_both_token_embedding_and_head_are_one_where_all_flags_tie() -> None:
    both = {"model.embed_tokens.weight": (100, 8), "lm_head.weight": (100, 8)}
    assert counted(both, vocab_size=100, tie_word_embeddings=True).total == 800
    assert counted(both, vocab_size=100, tie_word_embeddings=False).total == 1600
    inner = {"text_config": {"vocab_size": 100, "tie_word_embeddings": True}}
    assert counted(both, tie_word_embeddings=False, **inner).total == 1600


def test_a_classifier_of_the_shape_of_a_small_embedding_is_no_twin_of_it() -> None:
    tensors = {
        "embeddings.word_embeddings.weight": (100, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
        "classifier.weight": (2, 8),
    }
    assert counted(tensors, vocab_size=100, tie_word_embeddings=True).total == 816 + 16


def test_a_head_that_no_file_holds_is_noted_where_the_config_does_not_tie() -> None:
    found = counted({"model.embed_tokens.weight": (100, 8)}, vocab_size=100, tie_word_embeddings=False)
    assert found.total == 800
    assert any("hold no head" in note for note in found.notes)


def test_layers_beyond_the_number_that_the_config_says_count_where_the_class_is_unknown() -> None:
    tensors = {f"model.layers.{index}.mlp.up_proj.weight": (4, 8) for index in range(3)}
    assert counted(tensors, num_hidden_layers=2).total == 96
