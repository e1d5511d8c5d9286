"""diffusers pipelines over the loopback Hub and on the disk: every component, of one commit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inspector.errors import (
    FileMissing,
    GatedRepo,
    HubError,
    InspectError,
    InvalidConfig,
    RepoNotFound,
    UnreadableModel,
)
from inspector.hub import Checkpoint, Resolver, resolve
from inspector.model import build_model
from tests.hub.make_models import torch_file
from tests.hub.make_parts import (
    CLIP_TEXT,
    CLIP_TEXT_PARAMETERS,
    PIPELINE_INDEX,
    clip_text,
    diffusers_shapes,
    in_shards,
    pipeline,
)
from tests.hub.test_local import write
from tests.hub_server import Content, Fault, LoopbackHub, sparse

_, UNET = diffusers_shapes("UNet2DConditionModel")
_, VAE = diffusers_shapes("AutoencoderKL")
TOTAL = UNET + VAE + CLIP_TEXT_PARAMETERS


def components(checkpoint: Checkpoint) -> dict[str, int]:
    return dict(build_model(checkpoint).parameters.by_component)


def test_a_pipeline_is_the_sum_of_its_components(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/sd", pipeline())
    checkpoint = resolver.resolve("org/sd")
    model = build_model(checkpoint)
    assert components(checkpoint) == {"text_encoder": CLIP_TEXT_PARAMETERS, "unet": UNET, "vae": VAE}
    assert model.parameters.total == TOTAL
    assert model.parameters.exact
    assert model.parameters.buffers == 77  # the text encoder's position ids
    assert checkpoint.tensor_bytes == 2 * TOTAL + 8 * 77
    assert {part.checkpoint.revision for part in checkpoint.parts} == {checkpoint.revision} == {repo.head}
    assert [part.class_name for part in checkpoint.parts] == ["CLIPTextModel", "UNet2DConditionModel", "AutoencoderKL"]
    assert sorted(file.name for file in checkpoint.files)[0] == "text_encoder/model.safetensors"
    assert len(checkpoint.files) == 5
    assert all(file.size for file in checkpoint.files)


def test_a_pipeline_is_kept_and_read_again_offline(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/sd", pipeline())
    cold = resolver.resolve("org/sd")
    hub.forget()
    warm = resolver.resolve("org/sd")
    assert (len(hub.seen), warm.source) == (1, "cache")
    with Resolver(endpoint=hub.url, offline=True) as offline:
        away = offline.resolve("org/sd")
    assert len(hub.seen) == 1
    for kept in (warm, away):
        assert components(kept) == components(cold)
        assert kept.files == cold.files


def test_all_components_are_read_in_a_few_rounds(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/sd", pipeline())
    resolver.resolve("org/sd")
    asked = [path for path in hub.paths() if "/resolve/" in path]
    assert len([path for path in asked if path.endswith(".safetensors")]) == 6  # a try at the root, and five files
    assert not [path for path in asked if "tokenizer" in path or "scheduler" in path]
    pinned = [path for path in asked if "/resolve/main/" not in path]
    assert len(pinned) >= 10
    assert hub.bytes_sent < 1_500_000


def test_a_pipeline_on_the_disk_is_read_as_on_the_hub(tmp_path: Path) -> None:
    folder = write(tmp_path / "sd", pipeline())
    checkpoint = resolve(str(folder))
    assert checkpoint.source == "local"
    assert components(checkpoint) == {"text_encoder": CLIP_TEXT_PARAMETERS, "unet": UNET, "vae": VAE}


def test_a_pipeline_in_the_hugging_face_cache_is_read_without_the_hub(hub: LoopbackHub, home: Path) -> None:
    commit = "a" * 40
    folder = home / "hub" / "models--org--sd"
    write(folder / "snapshots" / commit, pipeline())
    write(folder / "refs", {"main": commit.encode()})
    with Resolver(endpoint=hub.url, offline=True) as offline:
        checkpoint = offline.resolve("org/sd")
    assert (checkpoint.source, checkpoint.revision) == ("cache", commit)
    assert build_model(checkpoint).parameters.total == TOTAL


def test_half_a_pipeline_in_the_hugging_face_cache_is_not_taken_for_a_whole_one(
    hub: LoopbackHub, resolver: Resolver, home: Path
) -> None:
    files = pipeline()
    hub.add_repo("org/sd", files)
    folder = home / "hub" / "models--org--sd"
    write(folder / "snapshots" / ("a" * 40), {n: c for n, c in files.items() if not n.startswith("vae/")})
    write(folder / "refs", {"main": b"a" * 40})
    with Resolver(endpoint=hub.url, offline=True) as offline, pytest.raises(InspectError):
        offline.resolve("org/sd")
    assert build_model(resolver.resolve("org/sd")).parameters.total == TOTAL


def test_one_component_alone_is_read_by_its_folder(hub: LoopbackHub, resolver: Resolver, tmp_path: Path) -> None:
    hub.add_repo("org/sd", pipeline())
    folder = write(tmp_path / "sd", pipeline())
    for name, expected in (("unet", UNET), ("vae", VAE), ("text_encoder", CLIP_TEXT_PARAMETERS)):
        checkpoint = resolver.resolve(f"org/sd:{name}")
        assert checkpoint.repo_id == f"org/sd:{name}"
        assert build_model(checkpoint).parameters.total == expected
        assert build_model(resolver.resolve(f"org/sd:{name}")).parameters.total == expected  # from the cache
        assert build_model(resolve(str(folder / name))).parameters.total == expected
        assert all(file.name.startswith(f"{name}/") for file in checkpoint.files)


def test_plain_files_come_before_variants_and_a_variant_before_nothing(hub: LoopbackHub, resolver: Resolver) -> None:
    files = pipeline()
    vae, _ = diffusers_shapes("AutoencoderKL", "F32")
    half = files.pop("vae/diffusion_pytorch_model.safetensors")
    files["vae/diffusion_pytorch_model.fp16.safetensors"] = half
    files["text_encoder/model.fp16.safetensors"] = files["text_encoder/model.safetensors"]
    files["text_encoder/model.safetensors"] = sparse(clip_text("F32"))
    hub.add_repo("org/one", files)
    hub.add_repo("org/both", {**files, "vae/diffusion_pytorch_model.safetensors": sparse(vae)})
    one, both = resolver.resolve("org/one"), resolver.resolve("org/both")
    assert build_model(one).parameters.total == build_model(both).parameters.total == TOTAL
    assert [text for text in one.warnings if "fp16" in text] == [
        "vae: read from the fp16 files, as there are no others"
    ]
    assert not [text for text in both.warnings if "fp16" in text]
    assert both.tensor_bytes - one.tensor_bytes == 2 * VAE
    half_both = resolver.resolve("org/both:fp16")
    assert half_both.tensor_bytes == 2 * TOTAL + 8 * 77
    assert [text for text in half_both.warnings if "fp16" in text] == ["unet: no fp16 files, so the plain ones count"]


@pytest.mark.parametrize("late", [True, False])
def test_shards_of_a_variant_are_read_under_either_spelling(hub: LoopbackHub, resolver: Resolver, late: bool) -> None:
    """diffusion_pytorch_model-00001-of-00002.fp16.safetensors, and diffusion_pytorch_model.fp16-00001-of-00002..."""
    files = {name: content for name, content in pipeline().items() if not name.startswith("unet/diff")}
    unet, _ = diffusers_shapes("UNet2DConditionModel")
    for name, content in in_shards(unet, 2, "diffusion_pytorch_model").items():
        if isinstance(content, dict):
            places = {key: _variant(shard, late) for key, shard in content["weight_map"].items()}
            index: Content = {**content, "weight_map": places}
            files["unet/diffusion_pytorch_model.safetensors.index.fp16.json"] = index
        else:
            files[f"unet/{_variant(name, late)}"] = content
    hub.add_repo("org/sd", files)
    assert build_model(resolver.resolve("org/sd")).parameters.total == TOTAL


def _variant(shard: str, late: bool) -> str:
    if late:
        return shard.replace(".safetensors", ".fp16.safetensors")
    return shard.replace("diffusion_pytorch_model-", "diffusion_pytorch_model.fp16-")


def test_a_component_in_pytorch_files_is_read_without_unpickling(hub: LoopbackHub, resolver: Resolver) -> None:
    files = pipeline()
    del files["text_encoder/model.safetensors"]
    shapes = {name: shape for name, (dtype, shape) in clip_text().items() if dtype != "I64"}
    files["text_encoder/pytorch_model.bin"] = torch_file(shapes)
    hub.add_repo("org/sd", files)
    checkpoint = resolver.resolve("org/sd")
    assert checkpoint.format == "mixed"
    assert components(checkpoint)["text_encoder"] == CLIP_TEXT_PARAMETERS


def test_a_safety_checker_counts_and_what_the_index_does_not_use_is_named(hub: LoopbackHub, resolver: Resolver) -> None:
    checker, count = diffusers_shapes("StableDiffusionSafetyChecker")
    index = {**PIPELINE_INDEX, "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    files = {
        **pipeline(index),
        "safety_checker/config.json": {"architectures": ["StableDiffusionSafetyChecker"], "model_type": "clip"},
        "safety_checker/model.safetensors": sparse(checker),
    }
    hub.add_repo("org/with", files)
    hub.add_repo("org/without", {**files, "model_index.json": PIPELINE_INDEX, "v1-5-pruned.safetensors": b"x"})
    model = build_model(resolver.resolve("org/with"))
    assert model.parameters.by_component["safety_checker"] == count
    assert model.parameters.exact
    without = resolver.resolve("org/without")
    assert build_model(without).parameters.total == TOTAL
    assert any("safety_checker" in text for text in without.warnings)
    assert any("v1-5-pruned.safetensors" in text for text in without.warnings)


def test_a_component_without_weights_is_an_error_and_not_left_out(hub: LoopbackHub, resolver: Resolver) -> None:
    files = {name: content for name, content in pipeline().items() if not name.startswith("vae/diff")}
    hub.add_repo("org/sd", files)
    with pytest.raises(FileMissing, match="vae"):
        resolver.resolve("org/sd")
    shard = "unet/diffusion_pytorch_model-00002-of-00003.safetensors"
    hub.add_repo("org/cut", {name: content for name, content in pipeline().items() if name != shard})
    with pytest.raises(FileMissing, match="00002-of-00003"):
        resolver.resolve("org/cut")


HOSTILE: dict[str, Any] = {
    "a list": [1, 2],
    "nothing": {},
    "no components": {"_class_name": "P", "scheduler": ["diffusers", "PNDMScheduler"]},
    "a step up": {"../other": ["diffusers", "AutoencoderKL"]},
    "an absolute path": {"/etc": ["diffusers", "AutoencoderKL"]},
    "a deep path": {"a/b": ["diffusers", "AutoencoderKL"]},
    "wrong types": {"unet": "x", "vae": [1, 2], "a": [["b"]], "b": {"c": 1}, "": ["diffusers", "AutoencoderKL"]},
    "10,000 components": {f"part{i}": ["diffusers", "AutoencoderKL"] for i in range(10_000)},
    "not JSON": b"{",
    "deep": b'{"a":' * 500 + b"1" + b"}" * 500,
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("where", ["hub", "local"])
def test_a_hostile_index_gives_an_error(
    hub: LoopbackHub, resolver: Resolver, tmp_path: Path, case: str, where: str
) -> None:
    files: dict[str, Content] = {"model_index.json": HOSTILE[case], "sub/x.txt": b""}
    read: Callable[[], Checkpoint] = lambda: resolver.resolve("org/sd")  # noqa: E731
    if where == "hub":
        hub.add_repo("org/sd", files)
    else:
        folder = write(tmp_path / "in" / "sd", files)
        write(tmp_path / "in" / "other", pipeline())
        read = lambda: resolve(str(folder))  # noqa: E731
    with pytest.raises((UnreadableModel, InvalidConfig)):
        read()
    assert all(path.startswith(("/org/sd/resolve/", "/api/")) for path in hub.paths())


def test_wrong_types_beside_real_components_are_ignored(hub: LoopbackHub, resolver: Resolver) -> None:
    odd = {**PIPELINE_INDEX, "a": 3, "b": ["x"], "c": [None, "Model"], "d": {"e": []}, "e": [[], []], "f": None}
    hub.add_repo("org/sd", pipeline(odd))
    assert build_model(resolver.resolve("org/sd")).parameters.total == TOTAL


def test_a_model_of_diffusers_by_itself_is_counted_by_its_class(hub: LoopbackHub, resolver: Resolver) -> None:
    shapes, count = diffusers_shapes("SD3Transformer2DModel", "BF16")
    files: dict[str, Content] = {
        "config.json": {"_class_name": "SD3Transformer2DModel", "_diffusers_version": "0.42.1"},
        "diffusion_pytorch_model.safetensors": sparse(shapes),
    }
    hub.add_repo("org/transformer", files)
    model = build_model(resolver.resolve("org/transformer"))
    assert model.parameters.total == count == 856_159_552
    assert model.parameters.buffers == 9216 * 1152  # its positions are a buffer
    assert model.parameters.exact


def test_the_command_shows_a_pipeline_without_a_total(hub: LoopbackHub, run: Any) -> None:
    hub.add_repo("org/sd", pipeline())
    done = run("org/sd", "--json", endpoint=hub.url)
    assert done.code == 0, done.err
    record = done.record
    assert record["parameters"]["total"] == TOTAL
    assert [part["name"] for part in record["parts"]] == ["text_encoder", "unet", "vae"]
    assert record["parts"][1]["class"] == "UNet2DConditionModel"
    assert record["parts"][0]["model_type"] == "clip_text_model"
    assert record["parts"][1]["parameters"]["total"] == UNET
    inference = record["memory"]["inference"]
    assert (inference["weights"], inference["kv_cache"]) == (2 * TOTAL, 0)
    assert inference["activations"] is None
    assert inference["total"] is None
    assert any("activations" in text for text in record["warnings"])
    assert record["checkpoint"]["tensors"] == len(clip_text()) + sum(
        len(diffusers_shapes(name)[0]) for name in ("UNet2DConditionModel", "AutoencoderKL")
    )
    text = run("org/sd", endpoint=hub.url)
    assert text.code == 0
    for name in ("text_encoder", "unet", "vae", "UNet2DConditionModel"):
        assert name in text.out


def test_text_encoders_count_by_the_class_that_the_pipeline_loads(hub: LoopbackHub, resolver: Resolver) -> None:
    saved_from = {**CLIP_TEXT, "architectures": ["CLIPModel"]}
    hub.add_repo("org/sd", {**pipeline(), "text_encoder/config.json": saved_from})
    assert components(resolver.resolve("org/sd"))["text_encoder"] == CLIP_TEXT_PARAMETERS


def test_a_push_between_the_requests_never_mixes_commits(hub: LoopbackHub, resolver: Resolver) -> None:
    new = {name: content for name, content in pipeline().items() if not name.startswith("text_encoder/")}
    new["model_index.json"] = {name: value for name, value in PIPELINE_INDEX.items() if name != "text_encoder"}
    for number in (0, 1, 2, 4, 6, 8, 10, 14):
        repo = hub.add_repo(f"org/sd{number}", pipeline())
        old = repo.head
        hub.forget()
        hub.on_request = lambda n, repo=repo, number=number: repo.commit(new) if n == number else None
        checkpoint = resolver.resolve(f"org/sd{number}")
        expected = TOTAL if checkpoint.revision == old else TOTAL - CLIP_TEXT_PARAMETERS
        assert build_model(checkpoint).parameters.total == expected


@pytest.mark.parametrize("kind", ["status", "reset", "truncate", "hang"])
def test_a_component_that_does_not_come_fails_the_whole(hub: LoopbackHub, kind: str) -> None:
    hub.add_repo("org/sd", pipeline())
    hub.faults.append(Fault(kind, path="vae/diffusion", times=None))
    with Resolver(endpoint=hub.url, timeout=1) as resolver, pytest.raises(HubError):
        resolver.resolve("org/sd")


def test_a_pipeline_that_is_gated_or_missing_says_so(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/sd", pipeline(), gated=True)
    with pytest.raises(GatedRepo):
        resolver.resolve("org/sd")
    with pytest.raises(RepoNotFound):
        resolver.resolve("org/nothing")
    hub.add_repo("org/open", pipeline())
    with pytest.raises(FileMissing, match="no file, folder, variant or GGUF model 'nothing'") as error:
        resolver.resolve("org/open:nothing")
    assert "folders with weights: text_encoder, unet, vae" in error.value.hint
