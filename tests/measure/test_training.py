"""`--measure`: the real class under fake tensors beside the estimate, and clear words where it cannot run."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.cli.main import run
from inspector.errors import InspectError, UsageError
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.memory import Workload
from inspector.memory.training import TrainingSetup, read_weights, training_estimate
from inspector.model import build_model

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 3,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "vocab_size": 8192,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
WORKLOAD = Workload(context=512, batch=2)


def checkpoint() -> Checkpoint:
    """The headers of such a model."""
    square, wide = (512, 512), (1408, 512)
    block = {f"self_attn.{name}_proj": square for name in "qkvo"}
    block |= {"mlp.gate_proj": wide, "mlp.up_proj": wide, "mlp.down_proj": (512, 1408)}
    shapes: dict[str, tuple[int, ...]] = {
        f"model.layers.{i}.{name}.weight": shape
        for i in range(3)
        for name, shape in {**block, "input_layernorm": (512,), "post_attention_layernorm": (512,)}.items()
    }
    shapes |= {"model.embed_tokens.weight": (8192, 512), "model.norm.weight": (512,), "lm_head.weight": (8192, 512)}
    return Checkpoint("a/model", None, "local", CONFIG, tuple(Tensor(n, "BF16", s) for n, s in shapes.items()))


def needs_torch() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("peft")
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")


@pytest.mark.parametrize(
    "setup",
    [
        {},
        {"precision": "mixed", "checkpointing": "full"},
        {"method": "lora", "lora_targets": "q_proj,v_proj"},
        {"method": "frozen-except", "trained": "model.layers.2.*"},
        {"optimizer": "adafactor"},
        {"optimizer": "adafactor-torch", "optimizer_impl": "foreach"},
        {"optimizer": "muon"},
    ],
    ids=str,
)
def test_the_estimate_is_within_three_percent_of_the_measured_step(setup: dict[str, str]) -> None:
    needs_torch()
    from inspector.measure.training import measure_training

    how, found = TrainingSetup(**setup), checkpoint()  # type: ignore[arg-type]
    model = build_model(found)
    estimated = training_estimate(model, WORKLOAD, how, tensors=read_weights(found, model.architecture))
    measured = measure_training(CONFIG, WORKLOAD, how)
    assert estimated.peak == pytest.approx(measured["peak"], rel=0.03)
    states = estimated.part("optimizer_states")
    assert states is not None
    assert states.bytes == pytest.approx(measured["optimizer_states"], rel=0.01, abs=2**16)


def test_what_cannot_be_measured_is_refused_and_says_why() -> None:
    needs_torch()
    from inspector.measure.training import measure_training

    for setup in ({"optimizer": "adamw-8bit"}, {"logits": "chunked"}, {"precision": "bf16-master"}):
        with pytest.raises(UsageError, match="--measure"):
            measure_training(CONFIG, WORKLOAD, TrainingSetup(**setup))
    with pytest.raises(InspectError, match="could not be measured"):
        measure_training({"model_type": "no_such_type"}, WORKLOAD, TrainingSetup())
    with pytest.raises(InspectError, match="no model_type"):
        measure_training({"model_type": 3}, WORKLOAD, TrainingSetup())


def test_without_torch_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("inspector.measure")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(["train", "meta-llama/Llama-3.2-1B", "--offline", "--measure"]) == 2
    assert "pip install 'torch>=2.13' 'peft>=0.21'" in capsys.readouterr().err


def test_only_one_gpu_is_measured() -> None:
    with pytest.raises(UsageError, match="one GPU"):
        inspector.train("meta-llama/Llama-3.2-1B", offline=True, measure=True, sharding={"fsdp": 2})


def test_the_routers_own_loss_keeps_4_bytes_a_token_layer_and_expert_at_most() -> None:
    """What `inspector.trainers.common.router_loss` says, on a mixture of 16 experts with 4 a token."""
    pytest.importorskip("torch")
    from inspector.measure.step import Step, measure

    sizes = {key: value for key, value in CONFIG.items() if key not in ("model_type", "architectures")}
    mixture = {"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 256}
    plain, told = (
        measure("qwen3_moe", {**sizes, **mixture, "output_router_logits": on}, Step(batch=2, context=512))
        for on in (False, True)
    )
    most = 4 * 2 * 512 * 3 * 16
    assert 0 < told["forward"] - plain["forward"] <= most
    assert told["peak"] - plain["peak"] <= most


VISION: dict[str, Any] = {
    "model_type": "qwen2_5_vl",
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "image_token_id": 7,
    "text_config": {
        "model_type": "qwen2_5_vl_text",
        "hidden_size": 512,
        "intermediate_size": 1408,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 8192,
    },
    "vision_config": {
        "depth": 3,
        "hidden_size": 320,
        "intermediate_size": 864,
        "out_hidden_size": 512,
        "num_heads": 4,
        "window_size": 112,
        "fullatt_block_indexes": [2],
    },
}


@pytest.mark.parametrize(
    "asked",
    [{"method": "lora"}, {"vision": "projector"}, {"vision": "trained", "checkpointing": "full"}, {"images": 0}],
    ids=str,
)
def test_a_step_with_images_is_measured_as_it_is_estimated(asked: dict[str, Any], tmp_path: Path) -> None:
    needs_torch()
    (tmp_path / "config.json").write_text(json.dumps(VISION), "utf-8")
    how = {"images": 1, "image_size": (448, 448), "context": 1024, "optimizer": "sgd", "offline": True, **asked}
    training = inspector.train(tmp_path, measure=True, **how).training
    assert training.peak == pytest.approx(training.measured["peak"], rel=0.04)
