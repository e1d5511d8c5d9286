"""A config without weights, and one whose weights are left out: on a loopback Hub and on this disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.errors import FileMissing, InspectError, InvalidConfig, UnsupportedFormat, UsageError
from inspector.hub.repo_id import is_commit
from inspector.hub.resolver import Resolver
from tests.conftest import TINY_LLAMA, Run
from tests.hub_server import LoopbackHub, sparse

WEIGHTS: dict[str, tuple[str, list[int]]] = {"model.embed_tokens.weight": ("BF16", [1000, 64])}


def test_a_repo_that_holds_a_config_alone_is_a_design(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {"config.json": TINY_LLAMA, "README.md": b"x"})
    found = resolver.resolve("org/name")
    assert found.design is not None
    assert (found.tensors, found.files, found.config) == ((), (), TINY_LLAMA)
    assert is_commit(found.revision)


def test_it_is_kept_and_read_again(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {"config.json": TINY_LLAMA})
    first = resolver.resolve("org/name")
    again = resolver.resolve("org/name")
    assert again.source == "cache"
    assert again.design == first.design
    assert again.config == TINY_LLAMA


def test_config_only_asks_for_one_file_and_is_not_kept_for_the_model(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {"config.json": TINY_LLAMA, "model.safetensors": sparse(WEIGHTS)})
    found = resolver.resolve("org/name", config_only=True)
    assert found.design is not None
    assert found.network.requests == 2  # its address redirects
    assert found.tensors == ()
    assert resolver.resolve("org/name").tensors != ()


def test_config_only_of_a_kept_model_has_no_tensors_either(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {"config.json": TINY_LLAMA, "model.safetensors": sparse(WEIGHTS)})
    commit = resolver.resolve("org/name").revision
    found = resolver.resolve("org/name", commit, config_only=True)
    assert found.design is not None
    assert found.tensors == ()


def test_config_only_selects_nothing(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {"config.json": TINY_LLAMA})
    with pytest.raises(UsageError):
        resolver.resolve("org/name:Q4_K_M", config_only=True)
    hub.add_repo("org/none", {"README.md": b"x"})
    with pytest.raises(FileMissing):
        resolver.resolve("org/none", config_only=True)


@pytest.mark.parametrize("name", ["config.json", "design.json", "notes.txt", "config"])
def test_a_lone_file_of_any_name_may_hold_a_config(tmp_path: Path, resolver: Resolver, name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(TINY_LLAMA), "utf-8")
    found = resolver.resolve(path)
    assert found.design is not None
    assert found.config == TINY_LLAMA
    assert found.source == "local"


def test_a_config_beside_weights_is_read_alone_where_it_is_named(tmp_path: Path, resolver: Resolver) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY_LLAMA), "utf-8")
    assert resolver.resolve(tmp_path).design is not None
    (tmp_path / "model.safetensors").write_bytes(sparse(WEIGHTS).head + bytes(2 * 64_000))
    assert resolver.resolve(tmp_path).tensors != ()
    assert resolver.resolve(tmp_path, config_only=True).tensors == ()
    assert resolver.resolve(tmp_path / "config.json").design is not None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", InvalidConfig),
        ("[1]", InvalidConfig),
        ('{"a": 1}', UnsupportedFormat),
        ("[" * 200 + "]" * 200, InvalidConfig),
        ('{"model_type": 3}', UnsupportedFormat),
    ],
)
def test_a_file_that_holds_no_config_says_so(tmp_path: Path, resolver: Resolver, text: str, error: type) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, "utf-8")
    with pytest.raises(error):
        resolver.resolve(path)


def test_a_config_as_parsed_stands_for_itself(resolver: Resolver) -> None:
    found = resolver.resolve(TINY_LLAMA)
    assert found.config == TINY_LLAMA
    assert found.design is not None
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(300):
        inner["a"] = {}
        inner = inner["a"]
    for wrong in ({"a": object()}, deep):
        with pytest.raises(InspectError):
            resolver.resolve(wrong)


def test_the_command_tells_a_design_from_a_file(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY_LLAMA), "utf-8")
    result = run(str(path), "--json")
    record = json.loads(result.out)
    assert record["parameters"]["total"] == 2 * 1000 * 64 + 64 + 2 * (2 * 64 + 4 * 64 * 64 + 3 * 64 * 128)
    assert record["parameters"]["exact"] is True
    assert set(record["checkpoint"].values()) == {None}
    assert record["design"]["class"] == "LlamaForCausalLM"
    assert record["design"]["dtype"] == "BF16"
