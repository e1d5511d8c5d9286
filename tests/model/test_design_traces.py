"""Traces of the classes of designs: which keys of a config a size, a count and a condition are made of."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fixtures.design_points import Build, Point
from fixtures.design_proposals import Proposals, _grown, calculated_keys
from fixtures.traced import BUILTINS, RECORD, TracedInt, simpler, text_of, traced
from inspector.model.config.expressions import holds, size_of

CONFIG = {"hidden_size": 64, "heads": 4, "mlp_ratio": 3.5, "depths": [2, 2, 6], "rates": [8, 5]}


@pytest.fixture
def values() -> dict[str, Any]:
    return {key: traced(value, ("key", key)) for key, value in CONFIG.items()}


def text(value: Any) -> str:
    return text_of(simpler(value.tree))


def test_what_is_calculated_has_its_expression_and_its_value(values: dict[str, Any]) -> None:
    hidden, heads, ratio, depths = (values[key] for key in ("hidden_size", "heads", "mlp_ratio", "depths"))
    whole, length, most = BUILTINS["int"], BUILTINS["len"], BUILTINS["max"]
    made = {
        "hidden_size//heads": hidden // heads,
        "3*hidden_size+heads": 3 * hidden + heads,
        "int(hidden_size*mlp_ratio)": whole(hidden * ratio),
        "hidden_size//3": whole(hidden / 3),
        "-(-hidden_size//24)": math.ceil(hidden / 24),
        "round(hidden_size*mlp_ratio)": round(hidden * ratio),
        "max(heads,hidden_size//32)": most(heads, hidden // 32),
        "hidden_size*2**(len(depths)-1)": hidden * 2 ** (length(depths) - 1),
        "depths[-1]": depths[-1],
        "hidden_size": 2 * hidden // 2,
        "heads": (heads + 1) - 1,
        "rates[3 % len(rates)]": (values["rates"] * 9)[3],
    }
    for expected, value in made.items():
        assert text(value) == expected
        assert isinstance(value, TracedInt)
        assert size_of(expected, CONFIG) == int(value), expected


def test_a_plain_value_beside_a_traced_one_is_seen_too(values: dict[str, Any]) -> None:
    assert [text(each) for each in (5 % values["heads"], 100 - values["heads"])] == ["5 % heads", "100-heads"]


def test_comparisons_of_a_module_are_kept(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        def __init__(self, at: int) -> None:
            self.is_wide = at >= values["heads"] and at in values["rates"]

    monkeypatch.setattr(RECORD, "on", True)
    monkeypatch.setattr(RECORD, "events", [])
    monkeypatch.setattr(RECORD, "is_module", lambda each: isinstance(each, Module))
    module = Module(5)
    assert module.is_wide
    assert [text_of(event.tree) for event in RECORD.events] == ["heads <= 5", "5 in rates"]
    assert {event.owner for event in RECORD.events} == {id(module)}
    assert all(holds(text_of(event.tree), CONFIG) for event in RECORD.events)


def test_a_class_tells_what_its_tensors_are_made_of() -> None:
    pytest.importorskip("torch", reason="classes are made by torch")
    from fixtures import stand_ins

    stand_ins.provide()  # before transformers looks for what this torch may not load
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    from fixtures.design_trace import trace_of

    config = DeepseekV3Config(
        hidden_size=64,
        num_hidden_layers=4,
        first_k_dense_replace=2,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
    )
    found = trace_of(DeepseekV3ForCausalLM, config)
    expert = "model.layers.{}.mlp.experts.{}.down_proj.weight"
    assert found["sizes"]["model.layers.{}.self_attn.o_proj.weight"] == [
        ["hidden_size"],
        ["num_attention_heads*v_head_dim"],
    ]
    assert found["sizes"][expert] == [["hidden_size"], ["moe_intermediate_size"]]
    assert found["counts"]["model.layers"][0] == "num_hidden_layers"
    assert found["counts"]["model.layers.{}.mlp.experts"][0] == "n_routed_experts"
    assert "first_k_dense_replace <= i" in found["compared"][expert]
    assert "q_lora_rank" in found["read"]["model.layers.{}.self_attn.q_a_proj.weight"]


TRACE: dict[str, Any] = {
    "texts": [["a*b", "a+b"], ["n"], ["first <= i"], ["flag", "first"], ["wide", "narrow"], ["a", "n"], []],
    "sizes": {"l.{}.w": [0], "l.{}.v": [4]},
    "counts": {"l": 1, "l.{}.k": 6},
    "others": {"l": 5},
    "compared": {"l.{}.v": 2, "l.{}.k.{}.u": 6},
    "read": {"l.{}.v": 3, "l.{}.w": 3, "l.{}.k.{}.u": 3},
}
FULLS: list[dict[str, Any]] = [
    {"a": 2, "b": 2, "n": 3, "first": 1, "flag": True, "wide": 9, "narrow": 7, "tie_word_embeddings": False},
    {"a": 3, "b": 4, "n": 2, "first": 0, "flag": False, "wide": 8, "narrow": 6, "tie_word_embeddings": True},
    {"a": 4, "b": 4, "n": 5, "first": 0, "flag": False, "wide": 8, "narrow": 6, "tie_word_embeddings": True},
]


def builds(*traces: dict[str, Any] | None) -> list[Build]:
    row = {"class": "C", "type": "c", "changes": {}, "read": [], "tensors": []}
    return [Build({**row, "full": full}, trace) for full, trace in zip(FULLS, traces, strict=True)]


def test_of_what_is_proposed_that_is_taken_which_is_right_in_all_builds() -> None:
    found = Proposals(builds(TRACE, TRACE, TRACE))
    once = [Point(0), Point(1)]
    assert found.cases(found.sizes("~l.{}.w", 0), "~l.{}.w", once, [4, 7]) == [["a+b", ""]]
    assert found.cases(found.sizes("~l.{}.w", 0), "~l.{}.w", once, [4, 99]) == []
    assert found.count_cases("~l", once, [3, 2]) == [["n", ""]]
    assert found.count_cases("~l", [*once, Point(2)], [5, 3, 9]) == [["2*(n)-1", ""]]
    layers = [Point(0, (0,)), Point(0, (1,)), Point(1, (0,))]
    cases = found.cases(found.sizes("~l.{}.v", 0), "~l.{}.v", layers, [7, 9, 8])
    assert cases == [["wide", "first <= i"], ["narrow", ""]]
    assert found.condition("~l.{}.v", layers, 0b110) == "first <= i"
    assert found.condition("~l.{}.v", layers, 0b011) == "flag"


def test_what_no_trace_sees_is_told_too() -> None:
    """A number that a class has in its own code, and the switch that ties a head, which is looked at afterwards."""
    found = Proposals(builds(TRACE, TRACE, TRACE))
    every = [Point(0), Point(1), Point(2)]
    assert found.cases([], "~unknown", every, [768, 768, 768]) == [["768", ""]]
    assert found.cases([], "~unknown", every, [768, 768, 99]) == []
    assert found.count_cases("~l.{}.k", every, [3, 2, 2]) == [["3", "flag"], ["2", ""]]
    assert found.condition("~lm_head.weight", every, 0b001) == "not tie_word_embeddings"


def test_keys_that_sizes_are_made_of_are_known_where_each_class_has_a_trace() -> None:
    assert calculated_keys(builds(TRACE, TRACE, TRACE)) == {"a", "b", "n", "first", "wide", "narrow"}
    assert calculated_keys(builds(None, None, None)) is None


def test_a_condition_of_several_is_grown_where_no_pair_tells() -> None:
    every = {0b00111100: "a", 0b01101101: "b", 0b01110110: "c"}
    assert sorted(str(_grown(every, 0b00100100, 0b11111111)).split(" and ")) == ["a", "b", "c"]
    assert _grown(every, 0b00000100 | 0b00100000 | 0b10000000, 0b11111111) is None


def test_tensors_of_two_ranks_under_one_name_kept_axes_and_numbers_by_place_are_traced() -> None:
    pytest.importorskip("torch", reason="classes are made by torch")
    from fixtures import stand_ins

    stand_ins.provide()
    from transformers import ConvNextConfig, ConvNextModel, FocalNetConfig, FocalNetModel, JambaConfig, JambaModel

    from fixtures.design_trace import trace_of

    norm_and_convolution = trace_of(ConvNextModel, ConvNextConfig(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1]))
    first, second, *_ = norm_and_convolution["sizes"]["encoder.stages.{}.downsampling_layer.{}.weight"]
    assert "hidden_sizes[i]" in first
    assert "hidden_sizes[i-1]" in second
    config = JambaConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2)
    expanded = trace_of(JambaModel, config)["sizes"]["layers.{}.mamba.A_log"]
    assert [axis[0] for axis in expanded] == ["mamba_expand*hidden_size", "mamba_d_state"]
    config = FocalNetConfig(embed_dim=8, depths=[1, 1], focal_levels=[3, 2], focal_windows=[5, 3], hidden_sizes=[8, 16])
    kernels = trace_of(FocalNetModel, config)["sizes"][
        "encoder.stages.{}.layers.{}.modulation.focal_layers.{}.{}.weight"
    ]
    assert "2*k+focal_windows[i]" in kernels[2]
