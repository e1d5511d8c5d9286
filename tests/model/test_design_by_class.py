"""Designs of classes that the tables do not tell: the class itself is asked, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.errors import UnreadableModel, UsageError
from inspector.model.design import by_class
from inspector.model.design.by_class import built_by_class, can_build

ENCODEC = {"model_type": "encodec", "architectures": ["EncodecModel"]}
TINY = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}


def test_no_file_of_the_folder_that_one_stands_in_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a repo's: the process has the path of this one alone."""
    for name in ("torch", "transformers", "json", "inspector"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    by_class._built.cache_clear()
    by_class._built('{"class": "LlamaForCausalLM", "config": {}}')
    assert not (tmp_path / "was_run").exists()


def test_without_torch_nothing_is_asked_and_the_error_says_what_would_help() -> None:
    if can_build():
        pytest.skip("torch is installed")
    assert built_by_class("EncodecModel", ENCODEC) is None
    with pytest.raises(UnreadableModel, match="the tables do not have") as refused:
        inspector.inspect({"model_type": "no_such", "architectures": ["NoSuchModel"]})
    assert "pip install torch" in str(refused.value.hint)


def test_the_class_is_asked_where_the_tables_do_not_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("inspector.model.design.by_tables.class_design", lambda _: None)
    found = inspector.inspect(TINY)
    layer = 4 * 64 * 64 + 3 * 64 * 96 + 2 * 64
    assert found.model.parameters.total == 2 * 100 * 64 + 64 + 2 * layer
    assert found.model.parameters.exact
    assert "built on torch's meta device" in found.to_dict()["warnings"][0]
    more = inspector.inspect(TINY, set=["num_hidden_layers=3"]).model.parameters
    assert more.total == found.model.parameters.total + layer
    with pytest.raises(UsageError, match="has no such key"):
        inspector.inspect(TINY, set=["num_hiden_layers=3"])


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("NoSuchClass", TINY),
        ("PreTrainedConfig", TINY),
        ("LlamaForCausalLM", {**TINY, "num_hidden_layers": "many"}),
    ],
)
def test_what_cannot_be_built_is_not_told(class_name: str, config: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    assert built_by_class(class_name, config) is None


def test_an_error_does_not_advise_what_is_installed() -> None:
    pytest.importorskip("torch")
    with pytest.raises(UnreadableModel, match="the tables do not have") as refused:
        inspector.inspect({**TINY, "architectures": ["NoSuchModel"]})
    assert refused.value.hint == by_class.UNBUILT
