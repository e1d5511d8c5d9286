"""Checkpoint lint: a checkpoint that is as its config says is passed in silence, each fault gets its sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from inspector.hub.cache import snapshot
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.model import build_model

SNAPSHOTS = Path(__file__).resolve().parents[2] / "fixtures" / "snapshots"
LLAMA, MIXTRAL = "meta-llama/Llama-3.2-1B", "mistralai/Mixtral-8x7B-v0.1"
TWICE = {"Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "tiiuae/falcon-7b", "tiiuae/falcon-7b-instruct"}
"""Published repos whose files really repeat their tied head."""
HEADLESS = {"Qwen/Qwen3-Embedding-8B"}
"""Published repos whose config names a causal class, untied, and whose files really hold no head."""


def bundled(name: str) -> Checkpoint:
    return snapshot.loads((SNAPSHOTS / f"{name.replace('/', '--')}.json").read_text())


def changed(checkpoint: Checkpoint, change: Callable[[Tensor], Tensor | None], **config: object) -> tuple[str, ...]:
    """The warnings of a checkpoint whose tensors and config were changed."""
    tensors = tuple(after for after in map(change, checkpoint.tensors) if after is not None)
    return build_model(
        dataclasses.replace(checkpoint, tensors=tensors, config={**checkpoint.config, **config})
    ).warnings


@pytest.mark.parametrize("path", sorted(SNAPSHOTS.glob("*--*.json")), ids=lambda path: path.stem)
def test_published_checkpoints_are_passed_in_silence(path: Path) -> None:
    checkpoint = snapshot.loads(path.read_text())
    warnings = build_model(checkpoint).warnings
    twice = ["the head is stored twice"] if checkpoint.repo_id in TWICE else []
    headless = ["the file holds no lm_head.weight"] if checkpoint.repo_id in HEADLESS else []
    assert [text.split(":")[0] for text in warnings] == twice + headless


def test_a_layer_that_no_file_has_is_named() -> None:
    lost = lambda tensor: None if tensor.name.startswith("model.layers.7.") else tensor  # noqa: E731
    assert changed(bundled(LLAMA), lost) == ("config.json says 16 layers; the files hold nothing of layer 7",)
    more = changed(bundled(LLAMA), lambda tensor: tensor, num_hidden_layers=18)
    assert more == ("config.json says 18 layers; the files hold nothing of layers 16-17",)


def test_a_padded_vocabulary_is_told() -> None:
    def padded(tensor: Tensor) -> Tensor:
        return tensor._replace(shape=(128_264, 2048)) if tensor.name == "model.embed_tokens.weight" else tensor

    assert changed(bundled(LLAMA), padded) == (
        "model.embed_tokens.weight has 128,264 rows, config.json's vocab_size is 128,256 (padded): transformers refuses"
        " such a file",
    )


def test_an_encoder_s_checkpoint_is_not_compared_with_a_decoders_keys() -> None:
    lost = lambda tensor: None if ".layer.3." in tensor.name else tensor  # noqa: E731
    assert changed(bundled("google-bert/bert-base-uncased"), lost) == ()


def test_a_tied_head_in_the_file_is_told_with_its_bytes() -> None:
    checkpoint = bundled(LLAMA)
    head = Tensor("lm_head.weight", "BF16", (128_256, 2048))
    twice = dataclasses.replace(checkpoint, tensors=(*checkpoint.tensors, head))
    assert build_model(twice).warnings == (
        "the head is stored twice: lm_head.weight is tied, its 525,336,576 B hold nothing new",
    )


def test_a_mixture_with_experts_cut_off_is_told() -> None:
    def pruned(tensor: Tensor) -> Tensor | None:
        return None if ".experts.7." in tensor.name and ".layers.3." in tensor.name else tensor

    assert changed(bundled(MIXTRAL), pruned) == ("config.json says 8 experts; the files hold 7 in layer 3",)


@pytest.mark.parametrize(
    ("stored", "named", "share"),
    [("F32", "bfloat16", ", half of that"), ("BF16", "float32", ", twice that"), ("BF16", "float16", "")],
)
def test_weights_that_are_loaded_in_another_precision(stored: str, named: str, share: str) -> None:
    found = changed(bundled(LLAMA), lambda tensor: tensor._replace(dtype=stored), torch_dtype=named, dtype=named)
    assert found == (
        f"the files hold {stored}, config.json says {named}: transformers loads the weights as {named}{share}",
    )
