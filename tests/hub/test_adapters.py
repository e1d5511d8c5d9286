"""PEFT adapters over the loopback Hub and on the disk: the base is found, and what both hold together is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.errors import (
    FileMissing,
    GatedRepo,
    HubUnreachable,
    InvalidConfig,
    InvalidHeader,
    RepoNotFound,
    RevisionNotFound,
    UnreadableModel,
    UnsupportedFormat,
)
from inspector.hub import Resolver, resolve
from inspector.model import build_model
from tests.hub.make_models import torch_file
from tests.hub.make_parts import ADAPTER_PARAMETERS, BASE, LLAMA, LLAMA_PARAMETERS, adapter, llama, lora, pipeline
from tests.hub.test_local import write
from tests.hub_server import Content, LoopbackHub, sharded, sparse

TOTAL = LLAMA_PARAMETERS + ADAPTER_PARAMETERS


def test_the_numbers_of_these_tests_are_those_of_their_shapes() -> None:
    """By hand: two heads of 1000 x 64, a norm, and two layers; 8 x (64 + 64) + 8 x (64 + 32) a layer of LoRA."""
    assert LLAMA_PARAMETERS == 202_048
    assert ADAPTER_PARAMETERS == 3_584


def test_an_adapter_is_read_with_its_base(hub: LoopbackHub, resolver: Resolver) -> None:
    base, own = hub.add_repo("org/base", BASE), hub.add_repo("org/lora", adapter())
    checkpoint = resolver.resolve("org/lora")
    model = build_model(checkpoint)
    assert model.parameters.total == TOTAL
    assert model.parameters.by_component["adapter"] == ADAPTER_PARAMETERS
    assert model.parameters.exact
    assert model.architecture.num_hidden_layers == 2
    assert (checkpoint.repo_id, checkpoint.revision) == ("org/lora", own.head)
    assert [(part.kind, part.checkpoint.repo_id, part.checkpoint.revision) for part in checkpoint.parts] == [
        ("base", "org/base", base.head),
        ("adapter", "org/lora", own.head),
    ]
    assert checkpoint.tensor_bytes == 2 * LLAMA_PARAMETERS + 4 * ADAPTER_PARAMETERS
    assert model.adapter is not None
    assert model.adapter.base_model == "org/base"
    assert model.adapter.base_revision == base.head
    assert (model.adapter.peft_type, model.adapter.rank, model.adapter.alpha) == ("LORA", 8, 16)
    assert model.adapter.target_modules == ("q_proj", "v_proj")
    assert (model.adapter.parameters, model.adapter.bytes) == (ADAPTER_PARAMETERS, 4 * ADAPTER_PARAMETERS)
    assert not checkpoint.warnings


def test_an_adapter_is_kept_and_its_base_is_asked_for_anew(hub: LoopbackHub, resolver: Resolver) -> None:
    base = hub.add_repo("org/base", BASE)
    hub.add_repo("org/lora", adapter())
    resolver.resolve("org/lora")
    hub.forget()
    warm = resolver.resolve("org/lora")
    assert (len(hub.seen), warm.network.requests, warm.network.cached) == (2, 2, True)
    assert build_model(warm).parameters.total == TOTAL
    with Resolver(endpoint=hub.url, offline=True) as offline:
        assert build_model(offline.resolve("org/lora")).parameters.total == TOTAL
    wider = {**llama(), "lm_head.weight": ("BF16", [1100, 64]), "model.embed_tokens.weight": ("BF16", [1100, 64])}
    base.commit({"config.json": {**LLAMA, "vocab_size": 1100}, "model.safetensors": sparse(wider)})
    moved = resolver.resolve("org/lora")
    assert moved.parts[0].checkpoint.revision == base.head
    assert build_model(moved).parameters.total == TOTAL + 2 * 100 * 64


def test_an_adapter_whose_base_was_never_read_is_an_error_offline(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/base", {}, gated=True)
    hub.add_repo("org/lora", adapter())
    with pytest.raises(GatedRepo):
        resolver.resolve("org/lora")
    with (
        Resolver(endpoint=hub.url, offline=True) as offline,
        pytest.raises(HubUnreachable, match="base model org/base"),
    ):
        offline.resolve("org/lora")


def test_the_adapter_s_revision_of_its_base_counts(hub: LoopbackHub, resolver: Resolver) -> None:
    base = hub.add_repo("org/base", {"config.json": LLAMA, **sharded(llama(), 2)})
    sha = base.commit(BASE, branch="v1")
    hub.add_repo("org/lora", adapter(revision="v1"))
    assert resolver.resolve("org/lora").parts[0].checkpoint.revision == sha
    hub.add_repo("org/lost", adapter(revision="v9"))
    with pytest.raises(RevisionNotFound, match="base model org/base cannot be read"):
        resolver.resolve("org/lost")


def test_a_base_of_any_format_serves(hub: LoopbackHub, resolver: Resolver) -> None:
    quantized = {name: shape for name, shape in llama("F16").items() if not name.endswith("_proj.weight")}
    for name, (_, shape) in llama().items():
        if name.endswith("_proj.weight"):
            rows, columns = shape
            quantized |= {
                name: ("U8", [rows * columns // 2, 1]),
                f"{name}.absmax": ("U8", [rows * columns // 64]),
                f"{name}.quant_map": ("F32", [16]),
                f"{name}.quant_state.bitsandbytes__nf4": ("U8", [90]),
            }
    recipe = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    config = {**LLAMA, "quantization_config": recipe}
    hub.add_repo("org/nf4", {"config.json": config, "model.safetensors": sparse(quantized)})
    torch = {"config.json": LLAMA, "pytorch_model.bin": torch_file({n: s for n, (_, s) in llama().items()})}
    hub.add_repo("org/torch", torch)
    hub.add_repo("org/shards", {"config.json": LLAMA, **sharded(llama(), 3)})
    for base in ("org/nf4", "org/torch", "org/shards"):
        hub.add_repo(f"{base}-lora", adapter(base))
        assert build_model(resolver.resolve(f"{base}-lora")).parameters.total == TOTAL, base


def test_an_adapter_in_a_pytorch_file_is_read_without_unpickling(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/base", BASE)
    files = adapter()
    del files["adapter_model.safetensors"]
    files["adapter_model.bin"] = torch_file({name: shape for name, (_, shape) in lora().items()})
    hub.add_repo("org/lora", files)
    assert build_model(resolver.resolve("org/lora")).parameters.total == TOTAL


def test_a_missing_or_gated_base_says_whose_base_it_is(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/gated", BASE, gated=True)
    hub.add_repo("org/one", adapter("org/gated"))
    hub.add_repo("org/two", adapter("org/nothing"))
    for name, base, kind in (("one", "org/gated", GatedRepo), ("two", "org/nothing", RepoNotFound)):
        with pytest.raises(kind) as error:
            resolver.resolve(f"org/{name}")
        assert error.value.exit_code == 3
        assert f"base model {base}" in error.value.message
        assert "LORA, rank 8, 3,584 parameters" in error.value.message


@pytest.mark.parametrize(
    "given", ["/etc/passwd", "./base", "../base", "~/base", "C:\\models\\base", "a/b/c", "x" * 500]
)
def test_an_adapter_of_the_hub_is_never_followed_to_the_disk(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    write(tmp_path / "base", BASE)
    write(tmp_path / "a" / "b" / "c", BASE)
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    hub.add_repo("org/lora", adapter(given))
    with pytest.raises(UnreadableModel, match="path of its author's"):
        resolver.resolve("org/lora")


def test_a_base_that_looks_like_a_folder_here_is_still_asked_of_the_hub(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "org" / "base", {"config.json": LLAMA})
    monkeypatch.chdir(tmp_path)
    hub.add_repo("org/base", BASE)
    hub.add_repo("org/other", adapter("org/base"))
    assert resolver.resolve("org/other").parts[0].checkpoint.source == "hub"


@pytest.mark.parametrize("base", [None, 3, [], {}, "", ["org/base"], True])
def test_an_adapter_without_base_says_so(hub: LoopbackHub, resolver: Resolver, base: object) -> None:
    hub.add_repo("org/lora", adapter(base))
    with pytest.raises(UnreadableModel, match="names no base model"):
        resolver.resolve("org/lora")


@pytest.mark.parametrize(
    "name", ["org/base:Q4_K_M", "org/base@main", "org/ba\nse", "..", "https://host/org/base", "org//base", "-x/y"]
)
def test_a_base_that_is_no_repo_is_refused(hub: LoopbackHub, resolver: Resolver, name: str) -> None:
    hub.add_repo("org/base", BASE)
    hub.add_repo("org/lora", adapter(name))
    with pytest.raises(UnreadableModel):
        resolver.resolve("org/lora")


def test_adapters_of_adapters_end(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/self", adapter("org/self"))
    hub.add_repo("org/one", adapter("org/two"))
    hub.add_repo("org/two", adapter("org/one"))
    hub.add_repo("org/pipe", pipeline())
    hub.add_repo("org/flux", adapter("org/pipe"))
    for name, said in (("self", "an adapter itself"), ("one", "an adapter itself"), ("flux", "pipeline")):
        with pytest.raises(UnsupportedFormat, match=said):
            resolver.resolve(f"org/{name}")


HOSTILE: dict[str, Any] = {
    "r": [[1], "x", -1, 10**30, True, None, {}],
    "lora_alpha": ["x", [], float("nan"), -5, True],
    "target_modules": [3, [1, [2], None], {"a": 1}, "all-linear", ["x" * 10_000] * 1000],
    "modules_to_save": [3, [1, ""], {"a": []}, "lm_head", [None]],
    "peft_type": [3, [], "LO\nRA", "", "x" * 1000, None],
    "revision": [3, [], None, ""],
    "num_virtual_tokens": ["x", -3, [1]],
}


@pytest.mark.parametrize("key", HOSTILE)
def test_odd_values_in_adapter_config_never_break(hub: LoopbackHub, resolver: Resolver, key: str, run: Any) -> None:
    hub.add_repo("org/base", BASE)
    for i, value in enumerate(HOSTILE[key]):
        hub.add_repo(f"org/lora{i}", adapter(**{key: value}))
        model = build_model(resolver.resolve(f"org/lora{i}"))
        assert model.parameters.total == TOTAL
    done = run("org/lora0", "--json", endpoint=hub.url)
    assert done.code == 0, done.err


@pytest.mark.parametrize(("name", "body"), [("adapter_config.json", b"[1]"), ("adapter_config.json", b"{")])
def test_an_adapter_config_that_is_no_object_is_refused(
    hub: LoopbackHub, resolver: Resolver, name: str, body: bytes
) -> None:
    hub.add_repo("org/lora", {**adapter(), name: body})
    with pytest.raises(InvalidConfig, match=name):
        resolver.resolve("org/lora")


def test_damaged_adapter_weights_are_refused(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/lora", {**adapter(), "adapter_model.safetensors": b"\0" * 100})
    with pytest.raises(InvalidHeader):
        resolver.resolve("org/lora")
    files = adapter()
    del files["adapter_model.safetensors"]
    hub.add_repo("org/empty", files)
    with pytest.raises(UnsupportedFormat, match=r"adapter_config\.json"):
        resolver.resolve("org/empty")


def test_an_adapter_beside_whole_weights_does_not_count(hub: LoopbackHub, resolver: Resolver, tmp_path: Path) -> None:
    both: dict[str, Content] = {**BASE, **adapter()}
    hub.add_repo("org/both", both)
    assert build_model(resolver.resolve("org/both")).parameters.total == LLAMA_PARAMETERS
    checkpoint = resolve(str(write(tmp_path / "both", both)))
    assert build_model(checkpoint).parameters.total == LLAMA_PARAMETERS
    assert any("adapter beside it" in text for text in checkpoint.warnings)
    torch = {"config.json": LLAMA, "pytorch_model.bin": torch_file({n: s for n, (_, s) in llama().items()})}
    hub.add_repo("org/torch", {**torch, **adapter()})
    checkpoint = resolver.resolve("org/torch")
    assert build_model(checkpoint).parameters.total == LLAMA_PARAMETERS
    assert any("adapter beside it" in text for text in checkpoint.warnings)


def test_a_local_adapter_finds_its_base_on_the_disk_and_on_the_hub(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/base", BASE)
    write(tmp_path / "base", BASE)
    monkeypatch.chdir(tmp_path)
    for given in ("org/base", "./base", str(tmp_path / "base")):
        folder = write(tmp_path / "lora", adapter(given))
        checkpoint = resolver.resolve(str(folder))
        assert checkpoint.source == "local"
        assert build_model(checkpoint).parameters.total == TOTAL
        assert checkpoint.parts[0].checkpoint.source in ("local", "hub")
    with pytest.raises(FileMissing, match=r"base model \./gone"):
        resolver.resolve(str(write(tmp_path / "lora", adapter("./gone"))))


def test_an_adapter_in_the_hugging_face_cache_is_read_offline(hub: LoopbackHub, home: Path) -> None:
    for name, files in (("base", BASE), ("lora", adapter())):
        folder = home / "hub" / f"models--org--{name}"
        write(folder / "snapshots" / ("b" * 40), files)
        write(folder / "refs", {"main": b"b" * 40})
    with Resolver(endpoint=hub.url, offline=True) as offline:
        assert build_model(offline.resolve("org/lora")).parameters.total == TOTAL


def test_the_command_shows_what_an_adapter_is(hub: LoopbackHub, run: Any) -> None:
    hub.add_repo("org/base", BASE)
    hub.add_repo("org/lora", adapter())
    done = run("org/lora", "--json", endpoint=hub.url)
    assert done.code == 0, done.err
    record = done.record
    assert record["parameters"]["total"] == TOTAL
    assert record["adapter"]["rank"] == 8
    assert record["adapter"]["base_model"] == "org/base"
    assert record["adapter"]["parameters"] == ADAPTER_PARAMETERS
    assert [part["kind"] for part in record["parts"]] == ["base", "adapter"]
    assert record["memory"]["inference"]["weights"] == 2 * LLAMA_PARAMETERS + 4 * ADAPTER_PARAMETERS
    assert record["memory"]["inference"]["total"] is not None
    text = run("org/lora", endpoint=hub.url)
    assert "rank 8, alpha 16, on q_proj, v_proj" in text.out
