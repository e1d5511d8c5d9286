"""Settings of training without an entry of their own in the table, against steps of the real class under fake tensors:
checkpointing of some blocks or of attention alone, dropout of adapters, a loss in chunks, steps in the backward pass.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inspector.errors import UsageError
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.memory import Workload
from inspector.memory.training import TrainingEstimate, TrainingSetup, read_weights, training_estimate
from inspector.memory.training.compiled import kept_by_type
from inspector.memory.training.recompute import recomputed_blocks, with_saved_ops, without_scores
from inspector.memory.training.sizes import Sizes
from inspector.memory.training.table import read_table
from inspector.model import build_model
from tests.measure.test_training import CONFIG, WORKLOAD, checkpoint, needs_torch

LARGE_VOCABULARY = 65536


def resized(vocabulary: int, *, tied: bool) -> Checkpoint:
    """The headers with another vocabulary; a tied head has no tensor of its own."""
    config = {**CONFIG, "vocab_size": vocabulary, "tie_word_embeddings": tied}
    tensors = tuple(
        Tensor(tensor.name, "BF16", (vocabulary, 512)) if tensor.shape[0] == CONFIG["vocab_size"] else tensor
        for tensor in checkpoint().tensors
        if not (tied and tensor.name == "lm_head.weight")
    )
    return Checkpoint("a/model", None, "local", config, tensors)


def estimated(setup: TrainingSetup, found: Checkpoint | None = None, workload: Workload = WORKLOAD) -> TrainingEstimate:
    found = found or checkpoint()
    model = build_model(found)
    return training_estimate(model, workload, setup, tensors=read_weights(found, model.architecture))


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("setup", [{}, {"precision": "mixed", "attention": "eager"}, {"method": "lora"}], ids=str)
def test_selective_checkpointing_is_within_three_percent_of_the_measured_step(
    setup: dict[str, str], every: int
) -> None:
    needs_torch()
    from inspector.measure.training import measure_training

    how = TrainingSetup(checkpointing="selective", checkpoint_every=every, **setup)  # type: ignore[arg-type]
    assert estimated(how).peak == pytest.approx(measure_training(CONFIG, WORKLOAD, how)["peak"], rel=0.03)


@pytest.mark.parametrize("context", [64, 512])
def test_checkpointing_by_operation_is_within_half_a_percent_of_the_measured_step(context: int) -> None:
    needs_torch()
    from inspector.measure.training import measure_training

    how, workload = TrainingSetup(checkpointing="selective-op", optimizer_impl="fused"), Workload(context, 16)
    measured = measure_training(CONFIG, workload, how)
    assert estimated(how, None, workload).peak == pytest.approx(measured["peak"], rel=0.005)


def test_every_first_block_checkpointed_is_full_checkpointing() -> None:
    full = estimated(TrainingSetup(checkpointing="full"))
    assert estimated(TrainingSetup(checkpointing="selective", checkpoint_every=1)).phases == full.phases
    assert recomputed_blocks(4, "selective", 3) == (False, False, True, False)


@pytest.mark.parametrize("targets", ["all-linear", "q_proj,v_proj"])
@pytest.mark.parametrize(
    "setup", [{}, {"precision": "mixed"}, {"adapter_dtype": "bf16"}, {"precision": "fp32"}], ids=str
)
@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_dropout_before_adapters_is_within_two_percent(setup: dict[str, str], targets: str, dropout: float) -> None:
    needs_torch()
    from inspector.measure.training import measure_training

    how = TrainingSetup(method="lora", lora_targets=targets, lora_dropout=dropout, **setup)  # type: ignore[arg-type]
    assert estimated(how).peak == pytest.approx(measure_training(CONFIG, WORKLOAD, how)["peak"], rel=0.02)


def test_a_mask_takes_a_byte_for_each_value_of_an_adapted_input() -> None:
    """Two adapted layers of 512 inputs in each of three blocks, 1,024 tokens."""
    plain, dropped = (
        estimated(TrainingSetup(method="lora", lora_targets="q_proj,v_proj", lora_dropout=p)).phases["loss"]
        for p in (0.0, 0.1)
    )
    assert dropped - plain == 3 * 2 * 512 * 1024


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "setup",
    [
        {"optimizer": "sgd"},
        {"optimizer_impl": "fused", "checkpointing": "full"},
        {"optimizer_impl": "foreach", "checkpointing": "full"},
    ],
    ids=str,
)
@pytest.mark.parametrize("context", [64, 512])
def test_steps_in_the_backward_pass_are_within_two_percent(setup: dict[str, str], context: int, tied: bool) -> None:
    needs_torch()
    from inspector.measure.training import measure_training

    how, workload = TrainingSetup(optimizer_in_backward=True, **setup), Workload(context)  # type: ignore[arg-type]
    found = resized(CONFIG["vocab_size"], tied=tied)
    measured = measure_training(found.config, workload, how)
    assert estimated(how, found, workload).peak == pytest.approx(measured["peak"], rel=0.02)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "setup",
    [{}, {"checkpointing": "full"}, {"method": "lora", "checkpointing": "full"}, {"precision": "fp32"}],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("logits", "chunks"), [("chunked-loss", 8), ("compiled-loss", 1)])
def test_a_compiled_loss_is_within_one_percent(setup: dict[str, str], tied: bool, logits: str, chunks: int) -> None:
    needs_torch()
    found = resized(LARGE_VOCABULARY, tied=tied)
    how = TrainingSetup(logits=logits, optimizer_impl="fused", **setup)  # type: ignore[arg-type]
    peak = estimated(how, found, Workload(1024, 2)).peak
    assert peak == pytest.approx(compiled_loss_peak(found.config, setup, chunks), rel=0.01)


def compiled_loss_peak(config: Any, setup: dict[str, Any], chunks: int) -> int:
    """The peak of a step as torchtune takes it: the head on eight chunks, and a loss that keeps a chunk's logits and
    writes their gradient at once, as compiled kernels do; torchtitan has one chunk."""
    import torch

    from inspector.measure.gpu import DEVICE, pretend_training_gpu
    from inspector.measure.step import Step, build, make_optimizer, move_to_gpu

    class CompiledLoss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, logits: Any) -> Any:
            ctx.save_for_backward(logits)
            return logits.new_empty((), dtype=torch.float32)

        @staticmethod
        def backward(ctx: Any, *_gradients: Any) -> Any:
            return torch.empty_like(ctx.saved_tensors[0])

    step = Step(optimizer_impl="fused", context=1024, batch=2, **setup)
    sizes = {key: value for key, value in config.items() if key not in ("model_type", "architectures")}
    model = build("llama", sizes, step)
    with pretend_training_gpu() as log:
        move_to_gpu(model)
        optimizer = make_optimizer(model, step)
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
        optimizer.step()
        optimizer.zero_grad()
        log.reset_peak()
        causal = model.get_base_model() if setup.get("method") else model
        hidden = causal.model(torch.ones(2, 1024, dtype=torch.long, device=DEVICE)).last_hidden_state
        logits = [causal.lm_head(chunk) for chunk in hidden.chunk(chunks, dim=1)]
        loss = sum(CompiledLoss.apply(chunk.reshape(-1, chunk.shape[-1])) for chunk in logits)
        del hidden, logits
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        del loss, optimizer
    return log.peak


@pytest.mark.parametrize(("hidden", "heads", "published"), [(12288, 96, 0.70), (20480, 128, 0.65)])
def test_recomputed_attention_saves_what_its_paper_says(hidden: int, heads: int, published: float) -> None:
    """Korthikanti et al. (2022, arXiv 2205.05198, section 5): 70 % of a layer of GPT-3's sizes, 65 % of MT-NLG's, by
    T * (34 h + 5 a s), which is what a BERT layer keeps (docs/training-accuracy.md). 2,048 tokens."""
    table = read_table("bert")
    assert table is not None
    layer = next(iter(table.profiles["full/bf16/eager/none"].layers.values()))
    letters = {"b": 1, "s": 2048, "T": 2048, "h": hidden, "f": 4 * hidden, "a": heads, "d": hidden // heads}
    sizes = Sizes(letters | {"q": hidden})
    whole, less = (sizes.bytes_of(entry.forward.end) for entry in (layer, without_scores(layer)))
    assert whole == pytest.approx(2048 * (34 * hidden + 5 * heads * 2048), rel=0.01)
    assert 1 - less / whole == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize("context", [512, 1024])
def test_recomputed_attention_is_within_three_percent_of_torchs_checkpoint_around_it(context: int) -> None:
    needs_torch()
    how = TrainingSetup(checkpointing="attention", attention="eager", optimizer="sgd")
    workload = Workload(context, 2)
    assert estimated(how, workload=workload).peak == pytest.approx(recomputed_attention_peak(context), rel=0.03)


def recomputed_attention_peak(context: int) -> int:
    import torch
    from torch.utils.checkpoint import checkpoint as again
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask
    from transformers.models.llama.modeling_llama import eager_attention_forward

    from inspector.measure.gpu import DEVICE, pretend_training_gpu
    from inspector.measure.step import Step, build, make_optimizer, move_to_gpu

    def attention(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        return again(eager_attention_forward, module, query, key, value, mask, use_reentrant=False, **options)

    AttentionInterface.register("eager_again", attention)
    AttentionMaskInterface.register("eager_again", eager_mask)
    step = Step(optimizer="sgd", context=context, batch=2, attention="eager_again")
    sizes = {key: value for key, value in CONFIG.items() if key not in ("model_type", "architectures")}
    model = build("llama", sizes, step)
    with pretend_training_gpu() as log:
        move_to_gpu(model)
        ids = torch.ones(2, context, dtype=torch.long, device=DEVICE)
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
        make_optimizer(model, step).step()
    return log.peak


@pytest.mark.parametrize(
    "setup",
    [
        {"checkpoint_every": 3},
        {"checkpointing": "selective", "checkpoint_every": 0},
        {"checkpointing": "attention"},
        {"logits": "chunked-loss", "precision": "mixed"},
        {"lora_dropout": 0.1},
        {"method": "lora", "lora_dropout": 1.0},
        {"old_bitsandbytes": True},
        {"method": "lora", "double_quant": False},
        {"compiled": True, "precision": "fp32"},
        {"compiled": True, "method": "lora"},
    ],
    ids=str,
)
def test_settings_that_no_run_can_have_are_refused(setup: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        TrainingSetup(**setup)


def test_old_bitsandbytes_keeps_the_inputs_of_its_layers() -> None:
    """Of the gated block: what goes into q, k, v (512), gate, up (512) and down (1,408), in bf16 for 1,024 tokens."""
    setup = TrainingSetup(method="qlora", lora_targets="q_proj,v_proj")
    old = replace(setup, old_bitsandbytes=True)
    assert estimated(old).phases["loss"] - estimated(setup).phases["loss"] == 3 * 2 * (512 + 512 + 1408) * 1024


def test_scales_that_are_not_quantized_take_four_bytes_for_64_values() -> None:
    """3 blocks x (4 x 512 x 512 + 3 x 512 x 1,408) weights in 4 bits: 4.5 bits each instead of 4.127."""
    double, single = (estimated(TrainingSetup(method="qlora", double_quant=value)) for value in (True, False))
    weights = 3 * (4 * 512 * 512 + 3 * 512 * 1408)
    assert single.parts[0].bytes is not None
    assert double.parts[0].bytes is not None
    assert single.parts[0].bytes - double.parts[0].bytes == pytest.approx(
        weights * (32 - 8 - 32 / 256) / 64 / 8, rel=1e-3
    )


def test_compiled_blocks_keep_what_torchs_partitioner_keeps() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    command = [sys.executable, "-m", "tests.oracles.training_compiled"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    found = json.loads(done.stdout)
    adapted, two = found.pop("llama with all-linear"), found.pop("llama with q_proj,v_proj")
    by_operation = found.pop("llama by operation")
    full = read_table("llama").profiles["full/bf16/sdpa/full"].layers["full_attention"]  # type: ignore[union-attr]
    assert by_operation == with_saved_ops(full, compiled=True, scattered=False).forward.end
    assert found == kept_by_type()
    assert adapted == {**kept_by_type()["llama"], "Tr": 14}  # two bytes for each of seven adapters, as in eager blocks
    # No adapter needs the input of gate and up, nor that of down.
    assert two == {**kept_by_type()["llama"], "Th": 6, "Tf": 4, "Tr": 4}


def test_compiling_spares_fp32_copies_and_outputs_of_activations() -> None:
    """An eager block keeps T * (16 h + 8 f + 8 q), a compiled one T * (8 h + 6 f + 8 q); 1,024 tokens, 3 blocks."""
    plain, compiled = (estimated(TrainingSetup(compiled=value)).phases["loss"] for value in (False, True))
    assert plain - compiled == pytest.approx(3 * 1024 * (8 * 512 + 2 * 1408), abs=100)
    checkpointed = TrainingSetup(checkpointing="full")
    assert estimated(replace(checkpointed, compiled=True)).phases == estimated(checkpointed).phases
