"""fp8: torchao's own Float8Linear and optimizers where they are installed, and Transformer Engine's copies by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from inspector.errors import UsageError
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.memory import Workload
from inspector.memory.training import Sharding, TrainingEstimate, TrainingSetup, read_weights, training_estimate
from inspector.memory.training.optimizers import Trained, optimizer_states
from inspector.model import build_model
from tests.measure.test_training import CONFIG, checkpoint, needs_torch

VOCABULARY = 512
"""Small, so that the peak is not the loss's."""


def estimated(setup: TrainingSetup, context: int = 512, **sharding: Any) -> TrainingEstimate:
    tensors = tuple(
        Tensor(name, "BF16", (VOCABULARY, 512) if shape[0] == CONFIG["vocab_size"] else shape)
        for name, shape in ((tensor.name, tensor.shape) for tensor in checkpoint().tensors)
    )
    found = Checkpoint("a/model", None, "local", {**CONFIG, "vocab_size": VOCABULARY}, tensors)
    model = build_model(found)
    tensors_read = read_weights(found, model.architecture)
    return training_estimate(model, Workload(context, 2), setup, Sharding(**sharding), tensors_read)


def measured(recipe: str, context: int, setup: dict[str, str]) -> int:
    """The peak of a step of the class with torchao's layers in the blocks."""
    import torch
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    from inspector.measure.gpu import DEVICE, autocast, pretend_training_gpu
    from inspector.measure.step import Step, build, make_optimizer, move_to_gpu

    step = Step(context=context, batch=2, optimizer="sgd", **setup)
    sizes = {key: value for key, value in CONFIG.items() if key not in ("model_type", "architectures")}
    model = build("llama", {**sizes, "vocab_size": VOCABULARY}, step)
    config = Float8LinearConfig.from_recipe_name(recipe)
    convert_to_float8_training(model, config=config, module_filter_fn=lambda _, name: "lm_head" not in name)
    with pretend_training_gpu() as log:
        move_to_gpu(model)
        ids = torch.ones(2, context, dtype=torch.long, device=DEVICE)
        with autocast(setup.get("precision") == "mixed"):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        make_optimizer(model, step).step()
    return log.peak


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("context", [64, 512])
@pytest.mark.parametrize("recipe", ["tensorwise", "rowwise"])
@pytest.mark.parametrize("setup", [{}, {"precision": "mixed"}, {"checkpointing": "full"}], ids=str)
def test_torchaos_layers_are_within_five_percent(setup: dict[str, str], recipe: str, context: int) -> None:
    needs_torch()
    pytest.importorskip("torchao")
    how = TrainingSetup(fp8="torchao", optimizer="sgd", **setup)  # type: ignore[arg-type]
    assert estimated(how, context).peak == pytest.approx(measured(recipe, context, setup), rel=0.05)


def test_torchaos_layers_keep_what_bf16_keeps_and_no_copies_of_fp32_weights() -> None:
    """3 blocks of 4 x 512 x 512 + 3 x 512 x 1,408 weights, whose bf16 copies autocast keeps."""
    plain, fp8 = (kept(TrainingSetup(fp8=name)) for name in ("none", "torchao"))
    assert plain == fp8
    plain, fp8 = (kept(TrainingSetup(precision="mixed", fp8=name)) for name in ("none", "torchao"))
    assert plain - fp8 == 2 * 3 * (4 * 512 * 512 + 3 * 512 * 1408)


def kept(setup: TrainingSetup) -> int:
    """The peak of the loss, when all blocks are done and no layer of them is at work."""
    return estimated(setup).phases["loss"]


def test_transformer_engine_keeps_its_own_copies_of_inputs_and_two_of_weights() -> None:
    """Of each of 3 blocks, 1,024 tokens: seven inputs of a byte a value in place of three of two bytes, and two bytes a
    weight; none where the weights themselves are fp8 both ways round."""
    weights = 4 * 512 * 512 + 3 * 512 * 1408
    own, shared = 6 * 512 + 1408, 2 * (512 + 512 + 1408)
    plain = kept(TrainingSetup())
    assert kept(TrainingSetup(fp8="te")) - plain == 3 * (1024 * (own - shared) + 2 * weights)
    masters = TrainingSetup(precision="bf16-master")
    assert kept(replace(masters, fp8="te-primary")) - kept(masters) == 3 * 1024 * (own - shared)


def test_blocks_are_gathered_in_a_byte_a_value() -> None:
    """Three blocks at once in the forward pass."""
    setup = TrainingSetup(fp8="torchao")
    block = 4 * 512 * 512 + 3 * 512 * 1408 + 2 * 512
    plain, fp8 = (estimated(setup, fsdp=8, fp8_gather=value).phases["forward"] for value in (False, True))
    assert plain - fp8 == 3 * block
    with pytest.raises(UsageError):
        estimated(TrainingSetup(), fsdp=8, fp8_gather=True)


@pytest.mark.parametrize(
    "setup",
    [
        {"fp8": "torchao", "method": "lora"},
        {"fp8": "torchao", "precision": "fp32"},
        {"fp8": "te-primary"},
        {"fp8": "nvfp4"},
    ],
    ids=str,
)
def test_what_no_run_can_have_is_refused(setup: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        TrainingSetup(**setup)  # type: ignore[arg-type]


SHAPES = ((64, 1024), (63, 65), (100,), (4096,), (64, 96))


@pytest.mark.parametrize(
    ("optimizer", "each"),
    # (65,536 + 4,096 + 6,144 values) x (size + 4 / block) and a table of codes for each of three, 4,195 values whole
    [
        ("torchao-adamw-8bit", 75_776 * (1 + 4 / 256) + 3 * 1024),
        ("torchao-adamw-4bit", 75_776 * (0.5 + 4 / 128) + 3 * 64),
        ("torchao-adamw-fp8", 75_776 * (1 + 4 / 256)),
    ],
)
def test_torchaos_states_are_counted_by_tensor(optimizer: str, each: float) -> None:
    total = sum(math.prod(shape) for shape in SHAPES)
    trained = Trained(total, 65_536, tuple((shape, 1) for shape in SHAPES))
    states = optimizer_states(TrainingSetup(optimizer=optimizer), trained).bytes
    assert states == 2 * (each + 2 * (63 * 65 + 100))


@pytest.mark.parametrize("optimizer", ["torchao-adamw-8bit", "torchao-adamw-4bit", "torchao-adamw-fp8"])
def test_torchaos_states_are_those_of_its_optimizer(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    optim = pytest.importorskip("torchao.optim")
    monkeypatch.setattr(torch, "compile", lambda function=None, **_: function)
    made = {"8bit": optim.AdamW8bit, "4bit": optim.AdamW4bit, "fp8": optim.AdamWFp8}[optimizer.rpartition("-")[2]]
    parameters = [torch.nn.Parameter(torch.randn(shape, dtype=torch.bfloat16)) for shape in SHAPES]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    real = made(parameters)
    real.step()
    size = sum(
        tensor.numel() * tensor.element_size()
        for state in real.state.values()
        for name, value in state.items()
        if name != "step"
        for tensor in inner(value)
    )
    total = sum(math.prod(shape) for shape in SHAPES)
    trained = Trained(total, 65_536, tuple((shape, 1) for shape in SHAPES))
    assert optimizer_states(TrainingSetup(optimizer=optimizer), trained).bytes == size


def inner(tensor: Any) -> Iterator[Any]:
    """The tensors that a subclass is made of."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from inner(getattr(tensor, name))


def test_fp8_lm_keeps_three_bytes_a_parameter() -> None:
    assert optimizer_states(TrainingSetup(optimizer="fp8-lm"), Trained(1000, 100)).bytes == 3000
