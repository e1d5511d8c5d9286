"""Sets of shards whose index is missing or out of date, and an index that knows more than the one file of its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.errors import FileMissing, UnsupportedFormat
from inspector.hub import Resolver, resolve
from tests.hub.test_local import CONFIG, TENSORS, write
from tests.hub_server import INDEX, Content, LoopbackHub, sharded, sparse

SHARDS = sharded(TENSORS, 3)
NAMES = sorted(name for name in SHARDS if name != INDEX)


def index_of(count: int) -> Content:
    """An index of another number of shards than there are."""
    shards = sorted(name for name in sharded(TENSORS, count) if name != INDEX)
    return {"metadata": {}, "weight_map": {name: shards[i % count] for i, name in enumerate(TENSORS)}}


def check_whole(found: object, files: list[str]) -> None:
    names = {tensor.name for tensor in found.tensors}  # type: ignore[attr-defined]
    assert names == set(TENSORS)
    assert [file.name for file in found.files] == files  # type: ignore[attr-defined]


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_a_whole_set_without_an_index_is_read(where: str, tmp_path: Path, hub: LoopbackHub, resolver: Resolver) -> None:
    files: dict[str, Content] = {**CONFIG, **{name: SHARDS[name] for name in NAMES}}
    hub.add_repo("org/name", files)
    found = resolver.resolve("org/name") if where == "hub" else resolve(str(write(tmp_path / "m", files)))
    check_whole(found, NAMES)
    assert found.warnings == ("3 shards, which no index names",)


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_beside_an_index_of_other_shards_a_whole_set_is_read_and_the_index_called_stale(
    where: str, tmp_path: Path, hub: LoopbackHub, resolver: Resolver
) -> None:
    files: dict[str, Content] = {**CONFIG, **{name: SHARDS[name] for name in NAMES}, INDEX: index_of(6)}
    hub.add_repo("org/name", files)
    found = resolver.resolve("org/name") if where == "hub" else resolve(str(write(tmp_path / "m", files)))
    check_whole(found, NAMES)
    assert [note for note in found.warnings if "out of date: it names model-00001-of-00006" in note]


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_a_set_cut_short_is_no_whole_one(where: str, tmp_path: Path, hub: LoopbackHub, resolver: Resolver) -> None:
    files: dict[str, Content] = {**CONFIG, **{name: SHARDS[name] for name in NAMES[:2]}, INDEX: SHARDS[INDEX]}
    hub.add_repo("org/name", files)
    model = "org/name" if where == "hub" else str(write(tmp_path / "m", files))
    with pytest.raises(FileMissing, match="which its index names"):
        resolver.resolve(model)


def test_an_index_wins_over_the_file_that_is_one_of_its_shards(tmp_path: Path) -> None:
    """Qwen3.6: model.safetensors, and model-mtp.safetensors for multi-token prediction."""
    more = {"mtp.w": ("BF16", [8, 8])}
    weights: dict[str, Content] = {"model.safetensors": sparse(TENSORS), "model-mtp.safetensors": sparse(more)}
    weight_map = dict.fromkeys(TENSORS, "model.safetensors") | {"mtp.w": "model-mtp.safetensors"}
    files: dict[str, Content] = {**CONFIG, **weights, INDEX: {"metadata": {}, "weight_map": weight_map}}
    found = resolve(str(write(tmp_path / "m", files)))
    assert {tensor.name for tensor in found.tensors} == {*TENSORS, "mtp.w"}
    (tmp_path / "m" / "model-mtp.safetensors").unlink()
    assert {tensor.name for tensor in resolve(str(tmp_path / "m")).tensors} == set(TENSORS)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"config.json": {}, "model.bin": b"x", "vocabulary.json": []}, "CTranslate2"),
        ({"config.json": {}, "model.bin": b"x", "shared_vocabulary.txt": b"a"}, "CTranslate2"),
        ({"mlc-chat-config.json": {}, "params_shard_0.bin": b"x", "params_shard_1.bin": b"x"}, "MLC (2 files"),
        ({"model.bin": b"x"}, "fastText"),
        ({"cc.en.300.bin": b"x"}, "fastText"),
        ({"lid.176.ftz": b"x"}, "fastText"),
        ({"config.json": {}, "weights.bin": b"x"}, "PyTorch .bin"),
    ],
)
def test_a_foreign_format_gets_its_name(tmp_path: Path, files: dict[str, Content], named: str) -> None:
    with pytest.raises(UnsupportedFormat, match="it holds") as caught:
        resolve(str(write(tmp_path / "m", files)))
    assert named in caught.value.message
