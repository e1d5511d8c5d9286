"""Weights under other names and in other places: variants, folders, files, and how one is picked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.errors import AmbiguousModel, FileMissing, UnsupportedFormat, UsageError
from inspector.hub import Resolver, resolve
from inspector.model import build_model
from tests.hub.make_models import gguf, llama_metadata, llama_shapes, torch_file
from tests.hub.make_parts import BASE, LLAMA, LLAMA_PARAMETERS, adapter, in_shards, llama
from tests.hub.test_local import write
from tests.hub_server import INDEX, Content, LoopbackHub, sharded, sparse

HALF = sparse(llama("F16"), {"format": "pt"})
FULL = sparse(llama("F32"), {"format": "pt"})
CONFIG: dict[str, Content] = {"config.json": LLAMA}


def variant_shards(late: bool) -> dict[str, Content]:
    """model-00001-of-00002.fp16.safetensors, or model.fp16-00001-of-00002.safetensors, and their index."""
    files: dict[str, Content] = {}
    for name, content in sharded(llama("F16"), 2).items():
        if isinstance(content, dict):
            places = {key: renamed(shard, late) for key, shard in content["weight_map"].items()}
            index: Content = {**content, "weight_map": places}
            files["model.safetensors.index.fp16.json"] = index
        else:
            files[renamed(name, late)] = content
    return files


def renamed(shard: str, late: bool) -> str:
    return shard.replace(".safetensors", ".fp16.safetensors") if late else shard.replace("model-", "model.fp16-")


@pytest.mark.parametrize("how", ["one file", "late", "early"])
def test_a_repo_with_nothing_but_a_variant_is_read_with_a_note(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path, how: str
) -> None:
    files = {**CONFIG, **({"model.fp16.safetensors": HALF} if how == "one file" else variant_shards(how == "late"))}
    repo = hub.add_repo("org/half", files)
    for checkpoint in (resolver.resolve("org/half"), resolve(str(write(tmp_path / "half", files)))):
        assert build_model(checkpoint).parameters.total == LLAMA_PARAMETERS
        assert checkpoint.tensor_bytes == 2 * LLAMA_PARAMETERS
        assert [text for text in checkpoint.warnings if "fp16" in text] == [
            "read from the fp16 files, as there are no others"
        ]
    hub.forget()
    warm = resolver.resolve("org/half")
    assert (warm.source, warm.revision, len(hub.seen)) == ("cache", repo.head, 1)
    assert any("fp16" in text for text in warm.warnings)


def test_a_variant_beside_plain_files_is_read_where_it_is_picked(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/both", {**CONFIG, "model.safetensors": FULL, "model.fp16.safetensors": HALF})
    hub.add_repo("org/shards", {**CONFIG, **sharded(llama("F32"), 3), **variant_shards(late=True)})
    for name in ("both", "shards"):
        assert resolver.resolve(f"org/{name}").tensor_bytes == 4 * LLAMA_PARAMETERS
        picked = resolver.resolve(f"org/{name}:fp16")
        assert picked.repo_id == f"org/{name}:fp16"
        assert picked.tensor_bytes == 2 * LLAMA_PARAMETERS
        assert resolver.resolve(f"org/{name}:fp16").source == "cache"
    assert resolver.resolve("org/both:model.fp16.safetensors").tensor_bytes == 2 * LLAMA_PARAMETERS
    by_index = resolver.resolve("org/shards:model.safetensors.index.fp16.json")
    assert by_index.tensor_bytes == 2 * LLAMA_PARAMETERS
    with pytest.raises(FileMissing, match="bf16"):
        resolver.resolve("org/both:bf16")


def test_pytorch_s_plain_file_comes_before_a_variant(hub: LoopbackHub, resolver: Resolver) -> None:
    """As from_pretrained has it, which does not look for variants that nobody named."""
    torch = torch_file({name: shape for name, (_, shape) in llama().items()})
    hub.add_repo("org/torch", {**CONFIG, "pytorch_model.bin": torch, "model.fp16.safetensors": HALF})
    assert resolver.resolve("org/torch").format == "pytorch"
    assert resolver.resolve("org/torch:fp16").format == "safetensors"


@pytest.mark.parametrize("pick", ["sub", "sub/", "sub/model.safetensors"])
def test_a_folder_and_a_file_in_it_are_read_with_their_own_config(
    hub: LoopbackHub, resolver: Resolver, pick: str
) -> None:
    wide = {**llama(), "lm_head.weight": ("BF16", [1000, 64])}
    outer: dict[str, Content] = {
        "config.json": {"model_type": "bert"},
        "model.safetensors": sparse({"x": ("F32", [2])}),
    }
    hub.add_repo("org/repo", {**outer, "sub/config.json": LLAMA, "sub/model.safetensors": sparse(wide)})
    checkpoint = resolver.resolve(f"org/repo:{pick}")
    assert checkpoint.config["model_type"] == "llama"
    assert build_model(checkpoint).parameters.total == LLAMA_PARAMETERS
    assert [file.name for file in checkpoint.files] == ["sub/model.safetensors"]
    assert not checkpoint.warnings


def test_a_folder_may_hold_shards_torch_files_or_an_adapter(hub: LoopbackHub, resolver: Resolver) -> None:
    torch = torch_file({name: shape for name, (_, shape) in llama().items()})
    files: dict[str, Content] = {"README.md": b"x"}
    files |= {f"a/{name}": content for name, content in {**CONFIG, **sharded(llama(), 3)}.items()}
    files |= {"b/config.json": LLAMA, "b/pytorch_model.bin": torch}
    files |= {f"c/checkpoint-100/{name}": content for name, content in adapter().items()}
    hub.add_repo("org/base", BASE)
    hub.add_repo("org/repo", files)
    for pick, total in (
        ("a", LLAMA_PARAMETERS),
        ("b", LLAMA_PARAMETERS),
        ("c/checkpoint-100", LLAMA_PARAMETERS + 3584),
    ):
        assert build_model(resolver.resolve(f"org/repo:{pick}")).parameters.total == total
    with pytest.raises(UnsupportedFormat) as error:
        resolver.resolve("org/repo")
    assert "no weights at its root, but in a, b" in error.value.message
    assert error.value.hint.endswith("org/repo:a")


def test_weights_in_one_folder_alone_are_pointed_to(hub: LoopbackHub, resolver: Resolver, tmp_path: Path) -> None:
    files: dict[str, Content] = {"README.md": b"x", "ckpt/config.json": LLAMA, "ckpt/model.safetensors": FULL}
    hub.add_repo("org/repo", files)
    with pytest.raises(UnsupportedFormat) as error:
        resolver.resolve("org/repo")
    assert error.value.hint == "Name the folder: org/repo:ckpt"
    folder = write(tmp_path / "repo", files)
    with pytest.raises(UnsupportedFormat, match="ckpt") as error:
        resolve(str(folder))
    assert error.value.hint == f"Name the folder: {folder / 'ckpt'}"
    assert build_model(resolve(str(folder / "ckpt"))).parameters.total == LLAMA_PARAMETERS


def test_one_file_under_a_name_of_its_own_is_read_with_a_note(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path
) -> None:
    files: dict[str, Content] = {**CONFIG, "consolidated.safetensors": HALF}
    hub.add_repo("org/repo", files)
    for checkpoint in (resolver.resolve("org/repo"), resolve(str(write(tmp_path / "repo", files)))):
        assert build_model(checkpoint).parameters.total == LLAMA_PARAMETERS
        assert any("consolidated.safetensors" in text for text in checkpoint.warnings)
    assert not resolver.resolve("org/repo:consolidated.safetensors").warnings


def test_of_several_files_under_their_own_names_one_must_be_picked(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/repo", {**CONFIG, "big.safetensors": FULL, "small.safetensors": HALF})
    with pytest.raises(AmbiguousModel) as error:
        resolver.resolve("org/repo")
    lines = error.value.message.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["small.safetensors", "big.safetensors"]
    assert lines[1].endswith("kB")
    assert error.value.hint.endswith("org/repo:big.safetensors")
    assert resolver.resolve("org/repo:small.safetensors").tensor_bytes == 2 * LLAMA_PARAMETERS


def test_a_lora_file_without_a_config_is_no_whole_model(hub: LoopbackHub, resolver: Resolver) -> None:
    """As diffusers' trainers push them."""
    front = "transformer.single_transformer_blocks.0.attn.to_q"
    shapes: Any = {f"{front}.lora_A.weight": ("BF16", [16, 3072]), f"{front}.lora_B.weight": ("BF16", [3072, 16])}
    hub.add_repo("org/flux-lora", {"pytorch_lora_weights.safetensors": sparse(shapes)})
    with pytest.raises(UnsupportedFormat, match=r"LoRA adapter \(98,304 parameters\)"):
        resolver.resolve("org/flux-lora")
    picked = resolver.resolve("org/flux-lora:pytorch_lora_weights.safetensors")
    assert any("LoRA adapter alone" in text for text in picked.warnings)


def test_a_gguf_pick_still_means_its_quantization(hub: LoopbackHub, resolver: Resolver) -> None:
    shapes = llama_shapes(layers=1, hidden=512, vocabulary=100)
    model = gguf(shapes, "F16", llama_metadata(layers=1, hidden=512, vocabulary=100))
    files: dict[str, Content] = {"m-F16.gguf": model, "Q8_0/m-Q8_0.gguf": model, "model.fp16.safetensors": HALF}
    hub.add_repo("org/repo", {**files, **CONFIG})
    assert resolver.resolve("org/repo:F16").format == "gguf"
    assert resolver.resolve("org/repo:Q8_0").format == "gguf"
    assert resolver.resolve("org/repo:fp16").format == "safetensors"


@pytest.mark.parametrize("pick", ["../x", "a//b", "/etc/passwd", "x" * 300, ""])
def test_a_pick_that_cannot_be_is_a_usage_error(resolver: Resolver, pick: str) -> None:
    with pytest.raises(UsageError) as error:
        resolver.resolve(f"org/repo:{pick}")
    assert "org/name:FOLDER" in error.value.hint


def test_a_pick_is_read_from_the_hugging_face_cache(hub: LoopbackHub, home: Path) -> None:
    folder = home / "hub" / "models--org--repo"
    files: dict[str, Content] = {**CONFIG, "model.fp16.safetensors": HALF, "sub/config.json": LLAMA}
    write(folder / "snapshots" / ("c" * 40), {**files, "sub/model.safetensors": FULL})
    write(folder / "refs", {"main": b"c" * 40})
    with Resolver(endpoint=hub.url, offline=True) as offline:
        assert offline.resolve("org/repo:fp16").tensor_bytes == 2 * LLAMA_PARAMETERS
        assert offline.resolve("org/repo:sub").tensor_bytes == 4 * LLAMA_PARAMETERS


def test_a_variant_that_was_downloaded_alone_is_not_taken_for_the_repo(
    hub: LoopbackHub, resolver: Resolver, home: Path
) -> None:
    repo = hub.add_repo("org/repo", {**CONFIG, "model.safetensors": FULL, "model.fp16.safetensors": HALF})
    folder = home / "hub" / "models--org--repo"
    write(folder / "snapshots" / repo.head, {**CONFIG, "model.fp16.safetensors": HALF})
    write(folder / "refs", {"main": repo.head.encode()})
    assert resolver.resolve("org/repo").tensor_bytes == 4 * LLAMA_PARAMETERS


HELD = 2 * LLAMA_PARAMETERS


@pytest.mark.parametrize(
    ("said", "warned"),
    [
        (HELD, False),
        (float(HELD), False),
        (0, False),
        (None, False),
        ("big", False),
        (True, False),
        (HELD + 1000, False),  # with the headers, as DeepSeek's counts it
        (HELD - 2, True),
        (2 * HELD, True),
        (HELD + 10**6, True),
    ],
)
@pytest.mark.parametrize("where", ["one answer", "shards", "local"])
def test_an_index_whose_total_is_wrong_is_told(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path, said: object, warned: bool, where: str
) -> None:
    files = {**CONFIG, **sharded(llama(), 3, {"total_size": said})}
    hub.headers_endpoint = where == "one answer"
    hub.add_repo("org/repo", files)
    given = str(write(tmp_path / "repo", files)) if where == "local" else "org/repo"
    warnings = resolver.resolve(given).warnings
    assert any("index says" in text for text in warnings) == warned, warnings


def test_flags_counted_as_an_eighth_of_a_byte_are_no_contradiction(hub: LoopbackHub, resolver: Resolver) -> None:
    """As transformers counted causal masks."""
    shapes: Any = {"a": ("F32", [10]), "mask": ("BOOL", [8000])}
    hub.add_repo("org/repo", {**CONFIG, **sharded(shapes, 2, {"total_size": 40 + 1000})})
    assert not [text for text in resolver.resolve("org/repo").warnings if "index says" in text]


def test_shards_that_no_index_names_are_told(hub: LoopbackHub, resolver: Resolver, tmp_path: Path) -> None:
    old = {name: content for name, content in in_shards(llama(), 4, "model").items() if name != INDEX}
    files = {**CONFIG, **old, **sharded(llama(), 3), "sub/model.safetensors": HALF}
    hub.add_repo("org/repo", files)
    for given in ("org/repo", str(write(tmp_path / "repo", files))):
        checkpoint = resolver.resolve(given)
        assert build_model(checkpoint).parameters.total == LLAMA_PARAMETERS
        told = [text for text in checkpoint.warnings if "no index names" in text]
        assert len(told) == 1
        assert told[0].startswith("4 safetensors files")


def test_an_index_beside_a_single_file_is_told_to_be_ignored(tmp_path: Path) -> None:
    files = {**CONFIG, "model.safetensors": HALF, **sharded(llama(), 3)}
    checkpoint = resolve(str(write(tmp_path / "repo", files)))
    assert len(checkpoint.files) == 1
    assert any(text.startswith(INDEX) for text in checkpoint.warnings)
