"""GGUF files, from the Hub, from disk, from the caches and through the command: which one, and what it holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from inspector.errors import AmbiguousModel, FileMissing, HubUnreachable, UnreadableModel, UnsupportedFormat, UsageError
from inspector.hub import File, Resolver, Tensor, resolve
from inspector.hub.cache.snapshot import dumps, loads
from inspector.model import build_model
from tests.conftest import Run
from tests.hub.formats.make_gguf import Header, Raw, array, text, u32
from tests.hub.make_models import gguf, llama_metadata, llama_shapes, vocabulary
from tests.hub.test_local import write
from tests.hub_server import Content, LoopbackHub, Sparse, sparse

LLAMA_8B = 8_030_261_248
KINDS = ("Q2_K", "Q3_K", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "F16")
NAMES = ("Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16")
EIGHT: dict[str, Content] = {
    f"Llama-3-8B-{name}.gguf": gguf(llama_shapes(), kind, llama_metadata())
    for name, kind in zip(NAMES, KINDS, strict=True)
}
SMALL = llama_shapes(2, 512, 1024)
SMALL_TOTAL = sum(_ for _ in (2 * 1024 * 512, 512, 2 * (2 * 512 + 2 * 512 * 512 + 2 * 128 * 512 + 3 * 1792 * 512)))
SMALL_METADATA = llama_metadata(2, 512, 1024)
ONE: dict[str, Content] = {"model-Q4_K_M.gguf": gguf(SMALL, "Q4_K", SMALL_METADATA), "README.md": b"x"}


def split(parts: int = 3) -> dict[str, Content]:
    """The small model as llama.cpp's gguf-split cuts it: the first part has the metadata."""
    names = list(SMALL)
    files: dict[str, Content] = {}
    for i in range(parts):
        some = {name: SMALL[name] for name in names[i * len(names) // parts : (i + 1) * len(names) // parts]}
        more: list[tuple[str, Raw]] = [
            ("split.no", Raw(2, i)),
            ("split.count", Raw(2, parts)),
            ("split.tensors.count", Raw(5, len(names))),
        ]
        metadata = [*SMALL_METADATA, *more] if i == 0 else more
        files[f"Q4_K_M/model-Q4_K_M-{i + 1:05}-of-{parts:05}.gguf"] = gguf(some, "Q4_K", metadata)
    return files


def size(content: Content) -> int:
    assert isinstance(content, Sparse)
    return len(content.head) + content.zeros


def test_eight_quantizations_are_listed_with_their_sizes(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", dict(reversed(EIGHT.items())))
    with pytest.raises(AmbiguousModel) as error:
        resolver.resolve("org/name")
    first, *lines = error.value.message.splitlines()
    assert "8 GGUF models" in first
    assert [line.split()[0] for line in lines] == list(NAMES)
    assert lines[0].split()[1:] == ["2.6", "GB"]
    assert lines[-1].split()[1:] == ["16.1", "GB"]
    assert error.value.hint == "Name the one you mean, such as org/name:Q4_K_M"
    assert (error.value.exit_code, error.value.kind) == (4, "ambiguous_model")


@pytest.mark.parametrize(("name", "kind"), list(zip(NAMES, KINDS, strict=True)))
def test_each_of_eight_is_counted_exactly(hub: LoopbackHub, resolver: Resolver, name: str, kind: str) -> None:
    repo = hub.add_repo("org/name", EIGHT)
    checkpoint = resolver.resolve(f"org/name:{name}")
    model = build_model(checkpoint)
    assert (model.parameters.total, model.parameters.exact, model.parameters.buffers) == (LLAMA_8B, True, 64)
    assert (checkpoint.format, checkpoint.revision) == ("gguf", repo.head)
    assert checkpoint.repo_id == f"org/name:{name}"
    file = f"Llama-3-8B-{name}.gguf"
    assert checkpoint.files == (File(file, size(EIGHT[file])),)
    content = EIGHT[file]
    assert isinstance(content, Sparse)
    assert 0 <= content.zeros - checkpoint.tensor_bytes < 32 * len(checkpoint.tensors)
    assert model.parameters.stored_bytes == checkpoint.tensor_bytes
    assert model.stored_dtype == kind
    assert model.architecture.num_hidden_layers == 32
    assert model.architecture.vocab_size == 128_256
    assert checkpoint.warnings == ()
    # no config.json, the list of files, the file's redirect and its first MiB
    assert len(hub.seen) == checkpoint.network.requests == 4
    assert checkpoint.network.bytes < 1_100_000


@pytest.mark.parametrize(
    "pick", ["q4_k_m", "Llama-3-8B-Q4_K_M.gguf", "Llama-3-8B-Q4_K_M", "main:", "commit:", "Q4_K_M"]
)
def test_a_model_is_picked_by_quantization_or_file(hub: LoopbackHub, resolver: Resolver, pick: str) -> None:
    repo = hub.add_repo("org/name", EIGHT)
    model = f"org/name:{pick}"
    if pick.endswith(":"):
        model = f"org/name@{repo.head if pick == 'commit:' else 'main'}:Q4_K_M"
    assert resolver.resolve(model).files[0].name == "Llama-3-8B-Q4_K_M.gguf"


def test_a_pick_that_is_not_there_names_those_that_are(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", EIGHT)
    hub.add_repo("org/plain", {"model.safetensors": sparse({"a": ("F32", [1])})})
    with pytest.raises(FileMissing, match="IQ1_S") as error:
        resolver.resolve("org/name:IQ1_S")
    assert error.value.hint == f"It has: {', '.join(NAMES)}."
    with pytest.raises(FileMissing, match="variant or GGUF model"):
        resolver.resolve("org/plain:Q4_K_M")


@pytest.mark.parametrize("model", ["org/name:", "org/name:a/../b", "org/name:Q4 K?", "org/name:Q4_K_M@main"])
def test_a_pick_that_cannot_be_is_a_wrong_command(resolver: Resolver, model: str) -> None:
    with pytest.raises(UsageError):
        resolver.resolve(model)


def test_the_pick_wins_over_safetensors_beside_it(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {**ONE, "model.safetensors": sparse({"a": ("F32", [1])})})
    assert resolver.resolve("org/name:Q4_K_M").format == "gguf"
    assert resolver.resolve("org/name").format == "safetensors"


def test_a_repo_of_one_model_needs_no_pick(hub: LoopbackHub, resolver: Resolver) -> None:
    projector = Sparse(Header([("general.architecture", text("clip"))]).bytes(), 10**9)
    hub.add_repo("org/name", {**ONE, "mmproj-F16.gguf": projector, "imatrix.gguf": b"GGUF"})
    checkpoint = resolver.resolve("org/name")
    assert checkpoint.repo_id == "org/name"
    assert build_model(checkpoint).parameters.total == SMALL_TOTAL
    assert checkpoint.metadata["gguf.quantization"] == "Q4_K_M"
    assert checkpoint.config["model_type"] == "llama"
    assert len(checkpoint.warnings) == 1
    assert "mmproj-F16.gguf (1.0 GB)" in checkpoint.warnings[0]


def test_parts_are_put_together(hub: LoopbackHub, resolver: Resolver, tmp_path: Path) -> None:
    hub.add_repo("org/name", {**split(), "model-Q8_0.gguf": gguf(SMALL, "Q8_0", SMALL_METADATA)})
    folder = write(tmp_path / "m", split())
    for model in ("org/name:Q4_K_M", str(folder), str(folder / next(iter(split()))), str(folder / list(split())[2])):
        checkpoint = resolver.resolve(model)
        assert build_model(checkpoint).parameters.total == SMALL_TOTAL
        assert len(checkpoint.files) == 3


def test_a_missing_part_is_said(hub: LoopbackHub, resolver: Resolver, tmp_path: Path) -> None:
    files = {name: content for name, content in split().items() if "00002" not in name}
    hub.add_repo("org/name", files)
    for model in ("org/name", "org/name:Q4_K_M", str(write(tmp_path / "m", files))):
        with pytest.raises(FileMissing, match="2 of the 3 parts"):
            resolver.resolve(model)


def test_a_file_cut_in_pieces_is_read_by_its_first(hub: LoopbackHub, resolver: Resolver) -> None:
    whole = gguf(SMALL, "Q4_K", SMALL_METADATA)
    half = whole.zeros // 2
    files: dict[str, Content] = {
        "m-Q4_K_M.gguf.part1of2": Sparse(whole.head, half),
        "m-Q4_K_M.gguf.part2of2": Sparse(b"", whole.zeros - half),
    }
    hub.add_repo("org/name", files)
    assert build_model(resolver.resolve("org/name")).parameters.total == SMALL_TOTAL


def test_a_header_with_a_large_vocabulary_takes_three_reads_at_most(hub: LoopbackHub, resolver: Resolver) -> None:
    file = gguf(SMALL, "Q4_K", [*SMALL_METADATA, *vocabulary(256_000)])
    hub.add_repo("org/name", {"model.gguf": file})
    checkpoint = resolver.resolve("org/name")
    assert build_model(checkpoint).parameters.total == SMALL_TOTAL
    reads = [seen for seen in hub.seen if seen.server == "cdn"]
    assert len(reads) <= 3
    assert len(file.head) > 10_000_000
    assert hub.bytes_sent < len(file.head) + 17_000_000
    assert len([path for path in hub.paths() if path.endswith("model.gguf")]) == 1


def test_the_repos_own_config_is_used_where_it_is_whole(hub: LoopbackHub, resolver: Resolver, tmp_path: Path) -> None:
    whole = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "rope_theta": 5e5}
    hub.add_repo("org/whole", {**ONE, "config.json": whole})
    hub.add_repo("org/stub", {**ONE, "config.json": {"model_type": "llama"}})
    folder = write(tmp_path / "m", {**ONE, "config.json": whole})
    for model in ("org/whole", str(folder), str(folder / "model-Q4_K_M.gguf")):
        checkpoint = resolver.resolve(model)
        kept = [{"rows": [1, 128, 128]}] * 2
        assert checkpoint.config == {**whole, "gguf_config": checkpoint.config["gguf_config"]}
        assert checkpoint.config["gguf_config"]["gguf_kept"] == kept
        assert build_model(checkpoint).parameters.exact
    assert resolver.resolve("org/stub").config["hidden_size"] == 512


def test_each_pick_is_kept_by_itself(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/name", EIGHT)
    first = {name: resolver.resolve(f"org/name:{name}") for name in ("Q2_K", "Q8_0")}
    hub.forget()
    for name, checkpoint in first.items():
        kept = resolver.resolve(f"org/name:{name}")
        assert (kept.source, kept.files, kept.tensor_bytes) == ("cache", checkpoint.files, checkpoint.tensor_bytes)
        assert {t: t.nbytes for t in kept.tensors} == {t: t.nbytes for t in checkpoint.tensors}
    assert len(hub.seen) == 2
    with Resolver(endpoint=hub.url, offline=True) as offline:
        assert offline.resolve("org/name:Q2_K").files == first["Q2_K"].files
        assert offline.resolve(f"org/name@{repo.head}:Q8_0").files == first["Q8_0"].files
        with pytest.raises(HubUnreachable, match="org/name:Q6_K is not cached"):
            offline.resolve("org/name:Q6_K")
    repo.commit({"other-Q2_K.gguf": gguf(SMALL, "Q2_K", SMALL_METADATA)})
    assert resolver.resolve("org/name:Q2_K").files[0].name == "other-Q2_K.gguf"


def test_a_downloaded_quantization_is_read_from_the_hugging_face_cache(
    hub: LoopbackHub, resolver: Resolver, home: Path
) -> None:
    repo = hub.add_repo("org/name", EIGHT)
    folder = home / "hub" / "models--org--name"
    write(folder / "snapshots" / repo.head, {"Llama-3-8B-Q4_K_M.gguf": EIGHT["Llama-3-8B-Q4_K_M.gguf"]})
    write(folder / "refs", {"main": repo.head.encode()})
    checkpoint = resolver.resolve("org/name:Q4_K_M")
    assert (checkpoint.source, checkpoint.revision, len(hub.seen)) == ("cache", repo.head, 1)
    with pytest.raises(AmbiguousModel):  # which others there are, the Hub knows
        resolver.resolve("org/name")
    shutil.rmtree(folder)
    assert resolver.resolve("org/name:Q4_K_M").source == "hub"


def test_a_folder_of_several_is_picked_from_by_path(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**ONE, "other-Q4_K_M.gguf": gguf(SMALL, "Q4_K", SMALL_METADATA)})
    with pytest.raises(AmbiguousModel) as error:
        resolve(str(folder))
    assert "model-Q4_K_M " in error.value.message
    assert "other-Q4_K_M " in error.value.message
    path = error.value.hint.removeprefix("Name the one you mean, such as ")
    assert Path(path).parent == folder
    assert build_model(resolve(path)).parameters.total == SMALL_TOTAL


def test_types_whose_layout_is_not_settled_have_the_bytes_that_the_file_gives_them(tmp_path: Path) -> None:
    infos = [("blk.0.attn_q.weight", (256, 2), 139, 0), ("blk.0.attn_k.weight", (256, 2), 139, 320)]
    data = Header([("general.architecture", text("llama")), ("llama.block_count", u32(1))], infos).bytes(640)
    (tmp_path / "model-IQ4_K.gguf").write_bytes(data)
    checkpoint = resolve(str(tmp_path))
    assert checkpoint.tensors[0] == Tensor("blk.0.attn_q.weight", "IQ4_K[320]", (2, 256))
    assert checkpoint.tensor_bytes == 640
    assert sorted(loads(dumps(checkpoint)).tensors) == sorted(checkpoint.tensors)
    model = build_model(checkpoint)
    assert (model.stored_dtype, dict(model.parameters.by_dtype)) == ("IQ4_K", {"IQ4_K": 1024})


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"", UnsupportedFormat, "not a GGUF file"),
        (b"ggml" + bytes(40), UnsupportedFormat, "not a GGUF file"),
        (Header(version=9).bytes(), UnsupportedFormat, "version 9"),
        (Header(tensor_count=10**15).bytes(), UnreadableModel, "claims"),
        (gguf(SMALL, "Q4_K", SMALL_METADATA).head, UnreadableModel, "cut off"),
        (Header([("general.name", text("x"))]).bytes(), UnreadableModel, "model: its metadata names no architecture"),
        (Header([("general.architecture", text("llama")), ("general.type", text("adapter"))]).bytes(), None, "adapter"),
    ],
)
def test_what_is_no_model_says_what_it_is(
    hub: LoopbackHub,
    resolver: Resolver,
    tmp_path: Path,
    content: bytes,
    error: type[UnreadableModel] | None,
    said: str,
) -> None:
    hub.add_repo("org/name", {"model.gguf": content})
    for model in ("org/name", str(write(tmp_path / "m", {"model.gguf": content}))):
        with pytest.raises(error or UnsupportedFormat, match=said):
            resolver.resolve(model)


def test_the_command_lists_and_counts(loopback_hub: LoopbackHub, run: Run) -> None:
    loopback_hub.add_repo("org/name", EIGHT)
    done = run("org/name", endpoint=loopback_hub.url)
    assert done.code == 4
    assert all(name in done.err for name in NAMES)
    assert "org/name:Q4_K_M" in done.err
    record = run("org/name:Q4_K_M", "--json", endpoint=loopback_hub.url).record
    assert record["repo_id"] == "org/name:Q4_K_M"
    assert record["parameters"]["total"] == LLAMA_8B
    assert record["checkpoint"]["format"] == "gguf"
    assert record["memory"]["inference"]["weights"] == record["checkpoint"]["tensor_bytes"]
    assert record["warnings"] == []
    assert "Q4_K" in run("org/name:Q4_K_M", endpoint=loopback_hub.url).out


def test_metadata_that_says_more_of_the_cache_stands_beside_a_whole_config(tmp_path: Path) -> None:
    whole = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2}
    rest = [(key, value) for key, value in SMALL_METADATA if key != "llama.attention.head_count_kv"]
    for name, heads in (("listed", [4, 2]), ("broken", [])):
        metadata = [*rest, ("llama.attention.head_count_kv", array(4, heads))]
        folder = write(tmp_path / name, {"m-Q4_K_M.gguf": gguf(SMALL, "Q4_K", metadata), "config.json": whole})
        config = resolve(str(folder)).config
        own = config.pop("gguf_config", None)
        assert config == whole
        assert own is None if not heads else own["gguf_per_layer"] == {"num_key_value_heads": heads}
