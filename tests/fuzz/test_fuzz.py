"""A few cases of every target, the same each time; `make fuzz` runs more of them. What it found is below, by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fuzz.harness import assert_inert, command_for, limited, plain, run_command
from tests.fuzz.targets import COMMIT, TARGETS, packed, put, report_of, weights_of
from tests.hub.make_parts import LLAMA, llama
from tests.hub_server import sparse

CASES = {"safetensors": 1500, "headers": 150, "listing": 1000, "pickle": 1000, "cache": 300, "manifest": 100}
OTHERWISE = 25
"""Cases of the targets that run a whole command."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks(name: str) -> None:
    target, random = TARGETS[name], Random(f"test {name}")
    seeds = list(target.seeds())
    for _ in range(CASES.get(name, OTHERWISE)):
        case = target.mutate(random, random.choice(seeds))
        try:
            with limited(60):
                target.check(case)
        except BaseException:
            print(f"the case: {case[:2000]!r}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_seeds_that_pass(name: str) -> None:
    seeds = TARGETS[name].seeds()
    assert seeds
    TARGETS[name].check(seeds[0])


def test_the_judge_of_headers_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that accepts what the library refuses is found."""
    from tests.fuzz import targets

    real = targets.deserialize
    monkeypatch.setattr(targets, "deserialize", lambda data: real(data) if b"BF16" not in data else real(b""))
    target = TARGETS["safetensors"]
    (case,) = (seed for seed in target.seeds() if b"BF16" in seed)
    with pytest.raises(AssertionError, match="the library refuses it"):
        target.check(case)


def test_what_steers_a_terminal_is_noticed() -> None:
    for text in ("a\x1b[31m", "a\u202eb", "a\x07", "a\u200bb", "a\x9b"):
        with pytest.raises(AssertionError):
            assert_inert(text)
    assert_inert("8.03 B · 16 GiB\n")


def test_the_command_of_a_case_is_always_the_same() -> None:
    assert {command_for(b"x") for _ in range(3)} == {command_for(b"x")}


# What was found.

SERVED = (
    ("show", "--json"),
    ("fit", "--gpu", "24GiB", "--engine", "llama.cpp", "--json"),
    ("fit", "--gpu", "24GiB", "--engine", "mlx", "--json"),
    ("fit", "--gpu", "H100", "--engine", "vllm", "--json"),
    ("fit", "--gpu", "H100", "--engine", "sglang", "--json"),
)


def a_llama_with(folder: Path, **changes: Any) -> str:
    files = {"config.json": plain({**LLAMA, **changes}), "model.safetensors": sparse(llama(), {"format": "pt"})}
    return str(put(folder, files))


@pytest.mark.parametrize("command", SERVED)
@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 152064},  # wider than the model: a head dimension of 0, a division by it
        {"head_dim": 0},
        {"head_dim": -5},  # a KV cache of less than nothing
        {"head_dim": 2**70},
        {"model_type": "bert", "architectures": ["BertModel"], "head_dim": -5},  # no layer with a cache said so
        {"model_type": "mistral", "sliding_window": -5},
        {"num_hidden_layers": 3_584},  # a minute of --all-gpus
        {"model_type": "bert", "architectures": ["BertModel"], "num_hidden_layers": 2**32},  # all the memory
        {"hidden_size": [0]},  # experts' shares were divided by it
        {"model_type": "moonshine", "decoder_num_hidden_layers": 65_535},
        {"model_type": "mimo_v2_flash", "v_head_dim": "a.b.c"},  # a width that is a word
        {"model_type": "mistral", "num_attention_heads": 5e-324},  # an infinite head dimension
    ],
)
def test_a_layer_of_a_size_that_none_can_have_is_refused(
    tmp_path: Path, changes: dict[str, Any], command: tuple[str, ...]
) -> None:
    code, printed = run_command(command[0], a_llama_with(tmp_path, **changes), "--offline", *command[1:])
    assert code == 4
    assert json.loads(printed)["error"]["kind"] == "invalid_config"


@pytest.mark.parametrize("command", SERVED)
def test_a_vocabulary_of_nothing_beside_an_embedding_divides_by_nothing(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    code, _ = run_command(command[0], a_llama_with(tmp_path, vocab_size=0), "--offline", *command[1:])
    assert code in (0, 1, 4)


@pytest.mark.parametrize("layers", [0, {"a": 1}])
def test_a_training_step_of_no_layers_is_not_known(tmp_path: Path, layers: Any) -> None:
    """Its first layer was asked for."""
    code, printed = run_command("train", a_llama_with(tmp_path, num_hidden_layers=layers), "--offline", "--json")
    assert code == 4
    assert "num_hidden_layers" in json.loads(printed)["warnings"][-1]


def test_a_training_step_of_a_type_with_a_name_of_300_characters_is_not_known(tmp_path: Path) -> None:
    """It was looked for as a file."""
    code, printed = run_command("train", a_llama_with(tmp_path, model_type="x" * 300), "--offline", "--json")
    assert code == 4
    assert json.loads(printed)["training"]["peak"] is None


def test_chunks_of_a_vocabulary_of_nothing_are_not_known(tmp_path: Path) -> None:
    """Their number was divided by it."""
    folder = a_llama_with(tmp_path, vocab_size=0)
    assert run_command("train", folder, "--offline", "--json", "--logits", "chunked")[0] == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "mistral", "sliding_window": 0},
        {"model_type": "deepseek_v3", "kv_lora_rank": 8, "qk_rope_head_dim": 4, "sliding_window": "0"},
        {"model_type": "llama4_text", "attention_chunk_size": 0, "layer_types": ["chunked_attention"]},
    ],
)
def test_a_window_of_no_tokens_is_not_known_to_be_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Its cache was one row less than nothing, or broke the count."""
    folder = a_llama_with(tmp_path, num_hidden_layers=1, **changes)
    code, printed = run_command("show", folder, "--offline", "--json")
    assert code == 0
    assert json.loads(printed)["memory"]["inference"]["kv_cache"] is None


def test_as_many_labels_as_there_are_numbers_take_no_memory() -> None:
    """Config classes make a dict of them: all the memory there is."""
    from inspector.model.config.from_class import arguments

    parts = {"text_config": {"num_labels": 2**64, "hidden_size": 8}, "others": [{"num_labels": 2**64}]}
    config = {"model_type": "pegasus", "num_labels": 2**64, **parts}
    assert arguments(config) == {"text_config": {"hidden_size": 8}, "others": [{}]}


def test_a_nan_of_a_config_is_printed_as_json(tmp_path: Path) -> None:
    kinds = ["full_attention", float("nan")]
    folder = a_llama_with(tmp_path, model_type="mistral", num_hidden_layers=2, layer_types=kinds, sliding_window=8)
    code, printed = run_command("show", folder, "--offline", "--json", "--layers")
    assert code == 0
    assert "NaN" not in printed


def test_a_language_part_whose_type_is_a_list_is_read_all_the_same(tmp_path: Path) -> None:
    inner = {**LLAMA, "model_type": ["full_attention", 1]}
    config = {"model_type": "hyperclovax_vision_v2", "text_config": inner}
    folder = put(tmp_path, {"config.json": plain(config), "model.safetensors": sparse(llama())})
    assert run_command("show", str(folder), "--offline", "--json")[0] == 0


def test_a_long_value_of_a_config_makes_no_long_error(tmp_path: Path) -> None:
    code, printed = run_command("show", a_llama_with(tmp_path, vocab_size="x" * 300_000), "--offline", "--json")
    assert code == 4
    assert len(printed) < 1000


def test_a_recipe_with_a_number_of_300_digits_counts_without_it() -> None:
    """The parameters it made were more than a float can hold, and could not be printed."""
    label = "vptq residual and outliers"
    config = copy.deepcopy(packed()[label]["config"])
    for layer in config["quantization_config"]["config_for_layers"].values():
        layer["vector_lens"] = [4, 10**330]
    folder = weights_of(label)
    (folder / "config.json").write_bytes(plain(config))
    code, printed = run_command("show", str(folder), "--offline")
    assert code == 0
    assert "0" * 100 not in printed


def test_a_kept_answer_of_another_commit_than_it_is_kept_under_is_not_taken(tmp_path: Path) -> None:
    """Its name stood in the report's head, escape sequences and all."""
    import hashlib

    from inspector.hub.cache.store import MAGIC, Cache
    from inspector.hub.checkpoint import Checkpoint, Tensor
    from inspector.hub.repo_id import RepoId, parse_model

    repo = parse_model("org/name")
    assert isinstance(repo, RepoId)
    cache = Cache(tmp_path, "http://hub.test")
    cache.store(repo, Checkpoint("org/name", COMMIT, "hub", dict(LLAMA), (Tensor("a", "F32", (1,)),)))
    assert cache.load(repo, COMMIT) is not None
    (path,) = tmp_path.rglob(f"{COMMIT}.json")
    payload = path.read_bytes().partition(b"\n")[2]
    changed = payload.replace(f'"revision":"{COMMIT}"'.encode(), b'"revision":"\\u001b[31m"')
    assert changed != payload
    path.write_bytes(f"{MAGIC} {hashlib.sha256(changed).hexdigest()}\n".encode() + changed)
    assert cache.load(repo, COMMIT) is None


def test_a_commit_and_a_date_are_printed_inert() -> None:
    from inspector.hub.checkpoint import Checkpoint, Tensor

    tensors = (Tensor("model.norm.weight", "F32", (64,)),)
    report_of(Checkpoint("org/name", "\x1b[31m\u202e", "cache", dict(LLAMA), tensors))
    report_of(Checkpoint("org/name", None, "bundled", dict(LLAMA), tensors, snapshot_date="\x1b]0;x\x07"))
