"""PyTorch's files, from the Hub, from disk, from the caches and through the command: counted, and nothing unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from inspector.errors import FileMissing, HubError, UnreadableModel, UnsupportedFormat
from inspector.hub import File, Resolver, resolve
from inspector.model import build_model
from tests.conftest import Run
from tests.hub.formats.make_torch import archive, mapping, name, number, pickled, tensor, text
from tests.hub.make_models import torch_file, torch_shards
from tests.hub.test_local import write
from tests.hub_server import Content, Fault, LoopbackHub, Sparse, sparse

LLAMA: dict[str, Content] = {
    "config.json": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": 4,
        "hidden_size": 256,
        "intermediate_size": 896,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 2048,
        "tie_word_embeddings": False,
    }
}
SHAPES = {"model.embed_tokens.weight": (2048, 256)}
for i in range(4):
    SHAPES |= {
        f"model.layers.{i}.input_layernorm.weight": (256,),
        f"model.layers.{i}.self_attn.q_proj.weight": (256, 256),
        f"model.layers.{i}.self_attn.k_proj.weight": (128, 256),
        f"model.layers.{i}.self_attn.v_proj.weight": (128, 256),
        f"model.layers.{i}.self_attn.o_proj.weight": (256, 256),
        f"model.layers.{i}.post_attention_layernorm.weight": (256,),
        f"model.layers.{i}.mlp.gate_proj.weight": (896, 256),
        f"model.layers.{i}.mlp.up_proj.weight": (896, 256),
        f"model.layers.{i}.mlp.down_proj.weight": (256, 896),
    }
SHAPES |= {"model.norm.weight": (256,), "lm_head.weight": (2048, 256)}
TOTAL = 2 * 2048 * 256 + 4 * (2 * 256**2 + 2 * 128 * 256 + 3 * 896 * 256 + 2 * 256) + 256
SHARDED: dict[str, Content] = {**LLAMA, **torch_shards(SHAPES, 3)}
ONE_FILE: dict[str, Content] = {**LLAMA, "pytorch_model.bin": torch_file(SHAPES)}


def size(content: Content) -> int:
    assert isinstance(content, bytes)
    return len(content)


def weight_bytes(files: dict[str, Content]) -> int:
    return sum(size(content) for file, content in files.items() if file.endswith(".bin"))


def test_shards_are_counted_from_less_than_a_hundredth_of_their_bytes(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/name", SHARDED)
    checkpoint = resolver.resolve("org/name")
    parameters = build_model(checkpoint).parameters
    assert (parameters.total, parameters.exact) == (TOTAL, True)
    assert (checkpoint.format, checkpoint.revision, checkpoint.source) == ("pytorch", repo.head, "hub")
    assert checkpoint.tensor_bytes == 4 * TOTAL
    assert checkpoint.files == tuple(
        File(file, size(content)) for file, content in SHARDED.items() if file.endswith(".bin")
    )
    assert checkpoint.warnings == ()
    assert hub.bytes_sent < weight_bytes(SHARDED) // 100
    # config 2, no model.safetensors, no headers, no index, the list, the index 2, and of each shard 1 + 2 reads
    assert len(hub.seen) == checkpoint.network.requests == 17
    assert not [seen for seen in hub.seen if seen.server == "cdn" and "range" not in seen.headers]


def test_a_single_file_is_read_at_its_end_and_its_beginning(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", ONE_FILE)
    checkpoint = resolver.resolve("org/name")
    assert build_model(checkpoint).parameters.total == TOTAL
    ranges = [seen.headers["range"] for seen in hub.seen if seen.server == "cdn"]
    assert len(ranges) == 2
    assert ranges[0].endswith(f"-{size(ONE_FILE['pytorch_model.bin']) - 1}")
    assert ranges[1].startswith("bytes=0-")
    assert [path for path in hub.paths() if path.endswith("pytorch_model.bin")] == [
        f"/org/name/resolve/{checkpoint.revision}/pytorch_model.bin"
    ]


def test_safetensors_come_first(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {**ONE_FILE, "model.safetensors": sparse({"a": ("F32", [3])})})
    assert resolver.resolve("org/name").format == "safetensors"
    assert not [path for path in hub.paths() if ".bin" in path]


def test_the_answer_is_kept_by_commit(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/name", SHARDED)
    first = resolver.resolve("org/name")
    hub.forget()
    kept = resolver.resolve("org/name")
    assert (kept.source, kept.format, kept.tensor_bytes, len(hub.seen)) == ("cache", "pytorch", first.tensor_bytes, 1)
    repo.commit(ONE_FILE)
    assert resolver.resolve("org/name").files[0].name == "pytorch_model.bin"


def test_a_tied_weight_counts_once_where_it_is_one_storage(hub: LoopbackHub, resolver: Resolver) -> None:
    shapes = {key: shape for key, shape in SHAPES.items() if key != "lm_head.weight"}
    twin = torch_file(shapes, {"lm_head.weight": "model.embed_tokens.weight"})
    config = {**LLAMA["config.json"], "tie_word_embeddings": True}  # type: ignore[dict-item]
    hub.add_repo("org/one", {"config.json": config, "pytorch_model.bin": twin})
    hub.add_repo("org/two", {"config.json": config, "pytorch_model.bin": torch_file(SHAPES)})
    one, two = resolver.resolve("org/one"), resolver.resolve("org/two")
    assert [t.name for t in one.tensors] == list(shapes)
    assert [t.name for t in two.tensors] == list(SHAPES)  # saved twice
    totals = {build_model(checkpoint).parameters.total for checkpoint in (one, two)}
    assert totals == {TOTAL - 2048 * 256}
    assert build_model(two).parameters.stored_only == {"duplicate_head": 2048 * 256}


def test_a_twin_that_the_index_names_is_not_called_lost(hub: LoopbackHub, resolver: Resolver) -> None:
    shapes = {"a.weight": (4, 4)}
    hub.add_repo(
        "org/name",
        {
            **LLAMA,
            "pytorch_model.bin.index.json": {"weight_map": {"a.weight": "x.bin", "b.weight": "x.bin"}},
            "x.bin": torch_file(shapes, {"b.weight": "a.weight"}),
        },
    )
    assert resolver.resolve("org/name").warnings == ()


@pytest.mark.parametrize("how", ["lists", "lists and ranges", "redirects"])
def test_mirrors_are_read_as_far_as_they_go(hub: LoopbackHub, resolver: Resolver, how: str) -> None:
    hub.add_repo("org/one", ONE_FILE)
    hub.add_repo("org/many", SHARDED)
    hub.api = "lists" not in how
    hub.ranges = "ranges" not in how
    hub.redirects = "redirects" not in how
    for repo in ("org/one", "org/many"):
        checkpoint = resolver.resolve(repo)
        assert build_model(checkpoint).parameters.total == TOTAL
        assert all(file.size for file in checkpoint.files)


def test_a_server_that_sends_files_whole_is_not_listened_to_for_gigabytes(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.ranges = False
    hub.add_repo("org/name", {**LLAMA, "pytorch_model.bin": Sparse(b"PK\3\4", 10**10)})
    with pytest.raises(HubError, match="sends files whole"):
        resolver.resolve("org/name")
    assert hub.bytes_sent < 50_000_000


def test_a_lost_answer_is_asked_for_again(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", SHARDED)
    hub.faults.append(Fault("reset_body", server="cdn", times=2))
    hub.faults.append(Fault("status", path="00002-of-00003.bin", server="cdn", status=403, skip=1))  # signature ran out
    assert build_model(resolver.resolve("org/name")).parameters.total == TOTAL


def test_a_missing_shard_is_named(hub: LoopbackHub, resolver: Resolver, tmp_path: Path) -> None:
    files = {file: content for file, content in SHARDED.items() if "00002" not in file}
    hub.add_repo("org/name", files)
    for model in ("org/name", str(write(tmp_path / "m", files))):
        with pytest.raises(FileMissing, match="00002-of-00003"):
            resolver.resolve(model)


def test_folders_and_single_files_are_read_from_disk(tmp_path: Path) -> None:
    one, many = write(tmp_path / "one", ONE_FILE), write(tmp_path / "many", SHARDED)
    for file in ("model.pt", "model.pth", "epoch=3.ckpt"):
        write(one, {file: ONE_FILE["pytorch_model.bin"]})
    for given in (one, many, one / "pytorch_model.bin", one / "model.pt", one / "model.pth", one / "epoch=3.ckpt"):
        checkpoint = resolve(str(given))
        assert build_model(checkpoint).parameters.total == TOTAL
        assert (checkpoint.format, checkpoint.source) == ("pytorch", "local")
        assert checkpoint.network.requests == 0


def test_a_file_under_another_name_can_be_picked(hub: LoopbackHub, resolver: Resolver) -> None:
    files: dict[str, Content] = {"weights.00.pth": torch_file({"w": (2, 2)}), "b/x.pt": torch_file({"v": (3,)})}
    hub.add_repo("org/name", files)
    with pytest.raises(UnsupportedFormat, match=r"PyTorch \.pth"):
        resolver.resolve("org/name")
    first, second = (resolver.resolve(f"org/name:{file}") for file in files)
    assert [t.name for t in first.tensors + second.tensors] == ["w", "v"]
    assert second.repo_id == "org/name:b/x.pt"
    hub.forget()
    assert resolver.resolve("org/name:b/x.pt").tensors == second.tensors
    assert len(hub.seen) == 1


def test_a_training_checkpoint_is_read_for_its_model(tmp_path: Path) -> None:
    state = mapping({"state_dict": mapping({"w": tensor()}), "optimizer": mapping({"m": tensor("1")})})
    file = tmp_path / "last.ckpt"
    file.write_bytes(archive(pickled(state), {"0": 24, "1": 24}))
    checkpoint = resolve(str(file))
    assert [t.name for t in checkpoint.tensors] == ["w"]
    assert any("training checkpoint" in warning and "1 tensors" in warning for warning in checkpoint.warnings)


def strange() -> bytes:
    """A tensor of a kind that is not understood."""
    return name("torch._utils", "_rebuild_sparse_tensor") + b"(" + number(1) + b"tR"


def test_what_cannot_be_counted_is_no_answer(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**LLAMA, "pytorch_model.bin": torch_file({"w": (2,)}, extra={"lost": strange()})})
    with pytest.raises(UnreadableModel, match="'lost'"):
        resolve(str(folder))
    write(folder, {"pytorch_model.bin": torch_file({"w": (2,)}, extra={"bert.position_ids": strange()})})
    checkpoint = resolve(str(folder))
    assert [t.name for t in checkpoint.tensors] == ["w"]
    assert "position_ids" in checkpoint.warnings[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "legacy torch file"),
        (archive(pickled(mapping({"w": tensor()})), more={"constants.pkl": b"x"}), "TorchScript"),
        (torch_file({"w": (2, 2)})[:-30], "cut off"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"", "not a file that torch.save wrote"),
    ],
)
def test_other_files_of_the_name_say_what_they_are(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path, content: bytes, said: str
) -> None:
    files: dict[str, Content] = {**LLAMA, "pytorch_model.bin": content}
    hub.add_repo("org/name", files)
    for model in ("org/name", str(write(tmp_path / "m", files))):
        with pytest.raises(UnreadableModel, match=said):
            resolver.resolve(model)


class Malicious:
    """Runs a command where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.mark}",)


def call(mark: Path) -> bytes:
    return name("posix", "system") + b"(" + text(f"touch {mark}") + b"tR"


@pytest.mark.parametrize("where", ["in a tensor's place", "instead of a state dict"])
def test_a_malicious_pickle_runs_nothing(loopback_hub: LoopbackHub, run: Run, tmp_path: Path, where: str) -> None:
    mark = tmp_path / "it-ran"
    bad = (
        torch_file({"x": (2, 2)}, extra={"evil": call(mark)})
        if where == "in a tensor's place"
        else archive(pickle.dumps(Malicious(mark), 2))
    )
    files = dict(SHARDED)
    files["pytorch_model-00002-of-00003.bin"] = bad
    loopback_hub.add_repo("org/evil", files)
    done = run("org/evil", "--json", endpoint=loopback_hub.url)
    run(write(tmp_path / "folder", files))
    assert done.code in (0, 4)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Malicious(mark)))
    assert mark.exists()  # the bait works


def test_the_command_counts_a_sharded_repo(loopback_hub: LoopbackHub, run: Run) -> None:
    loopback_hub.add_repo("org/name", SHARDED)
    record = run("org/name", "--json", endpoint=loopback_hub.url).record
    assert record["parameters"]["total"] == TOTAL
    assert record["parameters"]["exact"] is True
    assert record["checkpoint"] | {"tensors": 0} == {
        "format": "pytorch",
        "dtype": "F32",
        "files": 3,
        "tensors": 0,
        "tensor_bytes": 4 * TOTAL,
        "download_bytes": weight_bytes(SHARDED),
    }


def test_what_torch_itself_saves_is_read(hub: LoopbackHub, resolver: Resolver, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {key: torch.zeros(shape, dtype=torch.bfloat16) for key, shape in SHAPES.items()}
    folder = write(tmp_path / "m", LLAMA)
    torch.save(state, folder / "pytorch_model.bin")
    hub.add_repo("org/name", folder)
    for model in ("org/name", str(folder)):
        checkpoint = resolver.resolve(model)
        assert build_model(checkpoint).parameters.total == TOTAL
        assert {t.dtype for t in checkpoint.tensors} == {"BF16"}
    tied = {"a": state["lm_head.weight"], "b": state["lm_head.weight"], "c": state["lm_head.weight"][:4]}
    torch.save({"model": tied, "step": 3}, tmp_path / "tied.pt")
    assert [t.name for t in resolve(str(tmp_path / "tied.pt")).tensors] == ["a", "c"]
    torch.save(tied, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(UnsupportedFormat, match="legacy"):
        resolve(str(tmp_path / "old.bin"))
