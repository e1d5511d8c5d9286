"""What transformers refuses of a config has a note, and what it takes has none."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.model.architecture import read_architecture

FALCON: dict[str, Any] = {
    "model_type": "falcon_h1",
    "architectures": ["FalconH1ForCausalLM"],
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "mamba_n_heads": 8,
    "mamba_d_head": 4,
    "mamba_d_ssm": 32,
}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"mamba_d_head": 8}, True),  # 8 * 8 is not 32
        ({"mamba_d_ssm": None}, True),  # it is then mamba_expand * hidden_size, 128
        ({"mamba_d_ssm": None, "mamba_d_head": 16}, False),
        ({"mamba_d_ssm": None, "mamba_d_head": "auto"}, False),
    ],
)
def test_a_check_that_depends_on_a_null_is_made_both_ways(changes: dict[str, Any], refused: bool) -> None:
    notes = read_architecture({**FALCON, **changes}).notes
    assert bool(notes) == refused
    assert all("transformers refuses" in note for note in notes)


@pytest.mark.parametrize(("flag", "refused"), [({}, False), ({"use_bidirectional_attention": True}, True)])
def test_a_null_that_a_class_takes_without_a_flag_alone_has_a_note_with_it(flag: dict[str, Any], refused: bool) -> None:
    config = {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "sliding_window": None, **flag}
    read = read_architecture(config)
    assert any("refuses where use_bidirectional_attention is true" in note for note in read.notes) == refused
    assert not (refused and read.exact)


@pytest.mark.parametrize(("model_type", "refused"), [("d_fine", False), ("rt_detr", False), ("qwen3", True)])
def test_layer_types_of_a_class_that_has_them_as_choices_are_not_counted(model_type: str, refused: bool) -> None:
    found = read_architecture({"model_type": model_type, "layer_types": ["full_attention", "full_attention"]})
    assert any("layer_types" in note for note in found.notes) == refused
    assert found.exact != refused
