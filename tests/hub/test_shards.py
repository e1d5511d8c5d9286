"""Sets of shards whose index is missing or out of date, and an index that knows more than the one file of its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.errors import AmbiguousModel, FileMissing, UnsupportedFormat
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


@pytest.mark.parametrize(
    "form", ["model-{:05}-of-{:05}", "model_{:05}_of_{:05}", "model-{:06}-of-{:06}", "model.safetensors-{:05}-of-{:05}"]
)
@pytest.mark.parametrize("first", [0, 1])
def test_a_whole_set_is_known_by_whatever_numbers_it_has(form: str, first: int, tmp_path: Path) -> None:
    files = {f"{form.format(first + i, 3)}.safetensors": SHARDS[name] for i, name in enumerate(NAMES)}
    check_whole(resolve(str(write(tmp_path / "m", {**CONFIG, **files}))), sorted(files))
    files.pop(min(files))
    with pytest.raises((UnsupportedFormat, AmbiguousModel)):
        resolve(str(write(tmp_path / "cut", {**CONFIG, **files})))


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


MTP = {"mtp.w": ("BF16", [8, 8])}
QWEN: dict[str, Content] = {
    **CONFIG,
    "model.safetensors": sparse(TENSORS),
    "model-mtp.safetensors": sparse(MTP),
    INDEX: {
        "metadata": {},
        "weight_map": dict.fromkeys(TENSORS, "model.safetensors") | {"mtp.w": "model-mtp.safetensors"},
    },
}
"""Qwen3.6: model.safetensors, and model-mtp.safetensors for multi-token prediction."""


def names_of(found: object) -> set[str]:
    return {tensor.name for tensor in found.tensors}  # type: ignore[attr-defined]


@pytest.mark.parametrize("where", ["folder", "hub", "mirror", "revision", "pinned", "selected folder", "hf cache"])
def test_an_index_wins_over_the_file_that_is_one_of_its_shards(
    where: str, tmp_path: Path, home: Path, hub: LoopbackHub, resolver: Resolver
) -> None:
    files = {f"sub/{name}": content for name, content in QWEN.items()} if where == "selected folder" else QWEN
    hub.headers_endpoint = where != "mirror"
    repo = hub.add_repo("org/name", {**CONFIG, **files})
    branch = repo.commit(QWEN, branch="refs/pr/1")
    given = {"revision": "org/name@refs/pr/1", "pinned": f"org/name@{branch}", "selected folder": "org/name:sub"}
    if where == "folder":
        found = resolve(str(write(tmp_path / "m", QWEN)))
    elif where == "hf cache":
        folder = home / "hub" / "models--org--name"
        write(folder / "snapshots" / branch, QWEN)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(branch)
        found = resolve("org/name", offline=True)
    else:
        found = resolver.resolve(given.get(where, "org/name"))
    assert names_of(found) == {*TENSORS, "mtp.w"}
    assert {Path(file.name).name for file in found.files} == {"model.safetensors", "model-mtp.safetensors"}
    assert not found.warnings


@pytest.mark.parametrize("where", ["folder", "hub", "mirror", "revision"])
def test_of_an_index_whose_shard_is_gone_the_file_that_is_there_answers_and_says_so(
    where: str, tmp_path: Path, hub: LoopbackHub, resolver: Resolver
) -> None:
    files = {name: content for name, content in QWEN.items() if name != "model-mtp.safetensors"}
    hub.headers_endpoint = where != "mirror"
    hub.add_repo("org/name", files).commit(files, branch="dev")
    given = {"hub": "org/name", "mirror": "org/name", "revision": "org/name@dev"}
    found = resolve(str(write(tmp_path / "m", files))) if where == "folder" else resolver.resolve(given[where])
    assert names_of(found) == set(TENSORS)
    notes = [note for note in found.warnings if "out of date" in note]
    # Of main, the one answer with all headers says as much of an index with a shard missing as of none.
    assert bool(notes) == (where != "hub")
    assert all("model-mtp.safetensors" in note for note in notes)


@pytest.mark.parametrize("where", ["folder", "hub", "revision"])
def test_an_index_that_has_all_of_a_single_file_and_more_is_the_whole_model(
    where: str, tmp_path: Path, hub: LoopbackHub, resolver: Resolver
) -> None:
    """A model.safetensors of half the layers beside a whole set; of the same tensors, the file counts."""
    half = dict(list(TENSORS.items())[:10])
    files = {**CONFIG, **SHARDS, "model.safetensors": sparse(half)}
    hub.add_repo("org/half", files).commit(files, branch="dev")
    same = {**CONFIG, **SHARDS, "model.safetensors": sparse(TENSORS)}
    hub.add_repo("org/same", same).commit(same, branch="dev")
    at = "@dev" if where == "revision" else ""
    for name, content in (("half", files), ("same", same)):
        given = str(write(tmp_path / name, content)) if where == "folder" else f"org/{name}{at}"
        found = resolve(given) if where == "folder" else resolver.resolve(given)
        assert names_of(found) == set(TENSORS)
        assert len(found.files) == (3 if name == "half" else 1)
        notes = [note for note in found.warnings if "do not count" in note or "no index names" in note]
        assert notes or (name, where) == ("half", "revision")  # which has no list of files


@pytest.mark.parametrize("revision", ["main", "dev"])
def test_an_ordinary_single_file_takes_no_request_more(hub: LoopbackHub, resolver: Resolver, revision: str) -> None:
    files = {**CONFIG, "model.safetensors": sparse(TENSORS)}
    hub.add_repo("org/name", files).commit(files, branch="dev")
    resolver.resolve(f"org/name@{revision}")
    assert len(hub.seen) == 5


def test_a_file_that_is_named_is_read_alone(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", QWEN)
    assert names_of(resolver.resolve("org/name:model.safetensors")) == set(TENSORS)


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
        ({"config.json": {}, "rank0.engine": b"x", "rank1.engine": b"x"}, "TensorRT-LLM (2 files"),
        ({"model.plan": b"x"}, "TensorRT (1 file"),
        ({"onnx/model_q4.onnx": b"x", "onnx/model_q4.onnx_data_1": b"x"}, "ONNX (2 files"),
        ({"model.xml": b"x", "model.bin": b"x"}, "OpenVINO (1 file"),
        ({"A.mlmodelc/weights/weight.bin": b"x"}, "Core ML"),
        ({"tf_model.h5": b"x"}, "TensorFlow .h5"),
        ({"model.keras": b"x"}, "Keras"),
        ({"saved_model.pb": b"x", "variables/variables.data-00000-of-00002": b"x"}, "TensorFlow SavedModel (2 files"),
        ({"model.ckpt-1000.data-00000-of-00001": b"x", "model.ckpt-1000.index": b"x"}, "TensorFlow checkpoint (2"),
        ({"flax_model-00001-of-00002.msgpack": b"x"}, "Flax .msgpack"),
        ({"model_state.pdparams": b"x"}, "PaddlePaddle"),
        ({"stt_en.nemo": b"x"}, "NeMo"),
        ({"weights/__0_0.distcp": b"x", "weights/.metadata": b"x"}, "PyTorch distributed checkpoint (.distcp)"),
        ({"model.tflite": b"x"}, "TFLite"),
        ({"Llama-3.2-1B.Q6_K.llamafile": b"x"}, "llamafile"),
        ({"meta.json": {}, "config.cfg": b"x", "ner/model": b"x", "transformer/model": b"x"}, "spaCy (2 files"),
        ({"RWKV-x070-World-1.5B-v3-ctx4096.pth": b"x"}, "RWKV .pth"),
        ({"llama7b-4bit-128g.pt": b"x"}, "GPTQ .pt"),
        ({"global_step10/mp_rank_00_model_states.pt": b"x", "zero_to_fp32.py": b"x"}, "DeepSpeed checkpoint"),
        ({"iter_0000100/mp_rank_00_000/model_optim_rng.pt": b"x"}, "Megatron checkpoint"),
        ({"checkpoint_1/manifest.ocdbt": b"x", "checkpoint_1/ocdbt.process_0/d/ab": b"x"}, "Orbax checkpoint (2"),
        ({"ggml-base.en.bin": b"x"}, "GGML"),
        ({"llm.mnn": b"x", "llm.mnn.weight": b"x"}, "MNN (2 files"),
        ({"model.pte": b"x"}, "ExecuTorch"),
        ({"model.joblib": b"x"}, "joblib"),
        ({"optimizer.pt": b"x", "rng_state_0.pth": b"x", "training_args.bin": b"x"}, "no weights"),
    ],
)
def test_a_foreign_format_gets_its_name(tmp_path: Path, files: dict[str, Content], named: str) -> None:
    with pytest.raises(UnsupportedFormat, match="it holds") as caught:
        resolve(str(write(tmp_path / "m", files)))
    assert named in caught.value.message
    assert len(str(caught.value).splitlines()) <= 2
