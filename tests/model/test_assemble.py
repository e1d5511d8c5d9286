"""Checkpoints that are made of parts, against what diffusers, peft and sentence-transformers hold in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inspector.hub import Checkpoint, File, Tensor
from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Part
from inspector.model import build_model
from inspector.model.assemble import checked_classes
from tests.hub.make_parts import CLIP_TEXT, CLIP_TEXT_PARAMETERS, clip_text, diffusers_cases

HERE = Path(__file__).parent
ADAPTERS: dict[str, Any] = json.loads((HERE / "adapters.json").read_text(encoding="utf-8"))["cases"]


def tensors(rows: list[list[Any]]) -> tuple[Tensor, ...]:
    return tuple(Tensor(name, dtype, tuple(shape)) for name, dtype, shape in rows)


def checkpoint(config: dict[str, Any], rows: tuple[Tensor, ...], repo_id: str = "org/name") -> Checkpoint:
    return Checkpoint(repo_id, "0" * 40, "hub", config, rows, files=(File("model.safetensors", None),))


def adapted(case: dict[str, Any]) -> Checkpoint:
    base = checkpoint(case["base_config"], tensors(case["base_tensors"]), "org/base")
    own = checkpoint(case["adapter_config"], tensors(case["tensors"]))
    parts = (Part("base", "base", None, base), Part("adapter", "adapter", "LORA", own))
    return replace(checkpoint(case["base_config"], ()), parts=parts)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_on_its_base_counts_as_peft_counts_it(name: str) -> None:
    case = ADAPTERS[name]
    model = build_model(adapted(case))
    parameters = model.parameters
    assert parameters.total == case["total"]
    assert sum(parameters.by_component.values()) == parameters.total
    assert parameters.exact
    assert model.parts[0].model.parameters.total == case["base_parameters"]
    assert model.adapter is not None
    assert model.adapter.peft_type == case["adapter_config"]["peft_type"]
    assert model.adapter.rank == case["adapter_config"].get("init_r", case["adapter_config"].get("r") or None)


def test_a_method_of_peft_that_is_not_known_counts_all_tensors_and_says_so() -> None:
    case = ADAPTERS["lora"]
    model = build_model(adapted({**case, "adapter_config": {**case["adapter_config"], "peft_type": "NEWEST"}}))
    assert model.parameters.total == case["total"]
    assert not model.parameters.exact
    assert any("NEWEST" in note for note in model.warnings)


def test_what_stands_in_for_a_base_s_tensor_is_not_counted_twice() -> None:
    """A resized embedding: 70 rows of 32 where the base has 64; the head is as large."""
    case = ADAPTERS["resized"]
    parameters = build_model(adapted(case)).parameters
    own = 2 * 4 * (32 + 32 + 32 + 16)
    assert parameters.by_component["adapter"] == own
    assert parameters.total == case["base_parameters"] + own + 2 * 6 * 32
    assert any("resized" in note for note in parameters.notes)


@pytest.mark.parametrize("index", range(0, len(diffusers_cases()), 4))
def test_a_class_of_diffusers_counts_as_its_module_does(index: int) -> None:
    """A sample; the whole table is checked where it is made (fixtures/make_diffusers.py)."""
    case = diffusers_cases()[index]
    model = build_model(checkpoint({"_class_name": case["class"]}, decode_tensors(case["tensors"])))
    assert model.parameters.total == case["total"]
    assert model.parameters.exact
    stored = sum(tensor.numel for tensor in decode_tensors(case["tensors"]))
    assert model.parameters.total + model.parameters.buffers == stored


def test_well_known_models_of_diffusers_have_the_parameters_that_are_published() -> None:
    """Stable Diffusion 1.5's UNet (860 M) and VAE (84 M), FLUX.1-schnell's transformer (11.9 B), Stable Video
    Diffusion's UNet (1.52 B)."""
    totals = {(case["class"], case["total"]) for case in diffusers_cases()}
    assert ("UNet2DConditionModel", 859_520_964) in totals
    assert ("AutoencoderKL", 83_653_863) in totals
    assert ("FluxTransformer2DModel", 11_891_178_560) in totals
    assert ("UNetSpatioTemporalConditionModel", 1_524_623_082) in totals


def test_every_checked_class_of_diffusers_is_in_the_sample() -> None:
    assert {case["class"] for case in diffusers_cases()} == checked_classes()
    assert len(checked_classes()) > 150


def test_a_class_that_diffusers_has_not_is_counted_with_a_note() -> None:
    model = build_model(checkpoint({"_class_name": "MyUNet"}, (Tensor("w", "F32", (3, 4)),)))
    assert model.parameters.total == 12
    assert not model.parameters.exact
    assert any("MyUNet" in note for note in model.warnings)


@pytest.mark.parametrize("name", [None, 3, [], {}, "", "x" * 10_000])
def test_an_odd_class_name_is_no_reason_to_fail(name: Any) -> None:
    model = build_model(checkpoint({"_class_name": name}, (Tensor("w", "F32", (3, 4)),)))
    assert model.parameters.total == 12


def test_a_quantized_transformer_of_diffusers_counts_unpacked() -> None:
    """nf4: 64 x 64 weights in 2,048 bytes, with their scales beside them."""
    recipe = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    config = {"_class_name": "FluxTransformer2DModel", "quantization_config": recipe}
    rows = tensors(
        [
            ["proj_out.weight", "U8", [2048, 1]],
            ["proj_out.weight.absmax", "F32", [64]],
            ["proj_out.weight.quant_map", "F32", [16]],
            ["proj_out.weight.quant_state.bitsandbytes__nf4", "U8", [80]],
            ["proj_out.bias", "BF16", [64]],
        ]
    )
    assert build_model(checkpoint(config, rows)).parameters.total == 64 * 64 + 64


def test_a_pipeline_s_components_are_told_apart_and_added_up() -> None:
    text = checkpoint(CLIP_TEXT, tensors([[name, dtype, shape] for name, (dtype, shape) in clip_text().items()]))
    other = checkpoint({"_class_name": "AutoencoderKL"}, (Tensor("w", "BF16", (5,)),))
    parts = (
        Part("text_encoder", "component", "CLIPTextModel", text),
        Part("text_encoder_2", "component", "CLIPTextModel", text),
        Part("vae", "component", "AutoencoderKL", other),
    )
    model = build_model(replace(checkpoint({"_class_name": "P"}, ()), parts=parts))
    assert model.parameters.by_component == {
        "text_encoder": CLIP_TEXT_PARAMETERS,
        "text_encoder_2": CLIP_TEXT_PARAMETERS,
        "vae": 5,
    }
    assert model.parameters.stored_bytes == 2 * 2 * CLIP_TEXT_PARAMETERS + 10
    assert dict(model.parameters.by_dtype) == {"F16": 2 * CLIP_TEXT_PARAMETERS, "BF16": 5}
    assert model.parameters.buffers == 2 * 77
    assert model.stored_dtype == "F16"
    assert not model.architecture.is_decoder
