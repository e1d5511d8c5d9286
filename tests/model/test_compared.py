"""Keys of which no table tells all that they change: the files are compared with what their class itself writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import inspector
from inspector.hub.cache.snapshot import loads
from inspector.hub.checkpoint import Tensor
from inspector.model.design.by_class import ask_class
from inspector.model.design.compared import ASKED, differing
from inspector.model.lint import states_untold
from inspector.model.parameters.classes import find_class
from inspector.model.parameters.names import MTP_LAYERS, Group, TensorGroup, group_tensors
from tests.conftest import SNAPSHOTS
from tests.hub_server import sparse

NAME = "LlamaForCausalLM"
DUE = (
    Tensor("model.embed_tokens.weight", "F32", (100, 64)),
    Tensor("lm_head.weight", "F32", (100, 64)),
    *(Tensor(f"model.layers.{layer}.mlp.up_proj.weight", "F32", (96, 64)) for layer in range(3)),
)


def told(*files: Tensor) -> list[str]:
    known = find_class(NAME)
    assert known is not None
    groups = [
        TensorGroup(group, known.locate(group.template)[0], group.numel, group.layers, group.count)
        for group in group_tensors(files)
    ]
    return list(differing(group_tensors(DUE), known, {}, groups))


def test_files_that_are_as_their_class_has_them_give_no_note() -> None:
    assert told(*DUE) == []
    assert told(*DUE[:1], *DUE[2:]) == []  # the head is tied, or not


HERE = "LlamaForCausalLM itself has"


def test_each_kind_of_difference_is_named_with_both_sides() -> None:
    narrow = [each._replace(shape=(80, 64)) for each in DUE[2:]]
    assert told(*DUE[:2], *narrow) == [
        f"layers.{{}}.mlp.up_proj.weight is of shape [80, 64] in the files; {HERE} [96, 64] with this config"
    ]
    assert told(*DUE[:4]) == [
        "layers.{}.mlp.up_proj.weight is there for layers 0-1; LlamaForCausalLM itself has it for 0-2 with this config"
    ]
    (more,) = told(*DUE, Tensor("model.layers.0.mlp.up_proj.bias", "F32", (96,)))
    assert more.startswith("the files hold layers.{}.mlp.up_proj.bias, which LlamaForCausalLM itself has not")
    assert told(*DUE[:2])[0].startswith(
        "the files hold no layers.{}.mlp.up_proj.weight, which LlamaForCausalLM itself has"
    )


def test_layers_that_predict_more_tokens_are_there_or_not() -> None:
    known = find_class(NAME)
    assert known is not None
    up = group_tensors(DUE)[-1]
    inside = TensorGroup(up, "layers.{}.mlp.up_proj.weight", up.numel, {0: 1, 1: 1}, 2)
    beyond = TensorGroup(up, inside.name, up.numel, {2: 1}, 1, MTP_LAYERS)
    assert not list(differing([up], known, {}, [inside, beyond]))  # the class writes them, too
    assert not list(differing([Group(up.template, up.dtype, up.shape, 2, {0: 1, 1: 1})], known, {}, [inside, beyond]))
    assert list(differing([up], known, {}, [inside]))


JANUS: dict[str, Any] = {
    "model_type": "janus",
    "architectures": ["JanusModel"],
    "text_config": {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "vocab_size": 100,
    },
    "vision_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "depth": 2},
    "vq_config": {"base_channels": 32, "num_res_blocks": 1},
}
"""How many layers its projections have, no rows of the tables tell."""


def with_depth(depth: int) -> dict[str, Any]:
    return {**JANUS, "vision_config": {**JANUS["vision_config"], "depth": depth}}


def test_a_size_that_no_table_tells_is_compared_with_the_class_itself(tmp_path: Path) -> None:
    asked = ask_class("JanusModel", JANUS)
    assert asked.tensors, asked.error
    tensors = {each.name: (each.dtype, list(each.shape)) for each in asked.tensors}
    written = sparse(tensors, {"format": "pt"})
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(written.head)
        file.truncate(len(written.head) + written.zeros)
    for depth, same in ((2, True), (3, False)):
        (tmp_path / "config.json").write_text(json.dumps(with_depth(depth)), "utf-8")
        found = inspector.inspect(str(tmp_path)).model.parameters
        assert found.exact == same
        assert (not found.notes) == same
        assert all(ASKED in note for note in found.notes)


def test_a_class_is_asked_where_its_config_states_such_a_key() -> None:
    assert states_untold("JanusModel", with_depth(3), doubted=False)
    assert not states_untold("JanusModel", {"model_type": "janus"}, doubted=False)
    assert states_untold("JanusModel", {"model_type": "janus"}, doubted=True)
    assert not states_untold("BertModel", {"num_hidden_layers": 3}, doubted=True)
    assert not states_untold('Janus"Model\n', with_depth(3), doubted=True)


def test_no_class_of_the_bundled_checkpoints_is_asked() -> None:
    """The cold report of what most people load starts no process."""
    configs = [loads(path.read_bytes()).config for path in SNAPSHOTS.glob("*--*.json")]
    named = [(config["architectures"][0], config) for config in configs if config.get("architectures")]
    assert len(named) > 100
    assert not [name for name, config in named if states_untold(name, config, doubted=False)]
