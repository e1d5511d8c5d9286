"""Designs are told by their class itself: the installed transformers' own code builds it without torch, in a process of
its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.errors import InvalidConfig, UnreadableModel, UsageError
from inspector.model.design import by_class
from inspector.model.design.by_class import Unanswered, Worker, ask_class

TINY = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}
LAYER = 4 * 64 * 64 + 3 * 64 * 96 + 2 * 64
QUESTION = '{"class": "LlamaForCausalLM", "config": {"num_hidden_layers": 1}}'


def total(config: dict[str, Any], **settings: Any) -> int:
    parameters = inspector.inspect(config, **settings).model.parameters
    assert parameters.exact
    return parameters.total


def test_a_class_is_built_whatever_the_tables_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.model.design.by_tables.class_design", lambda _: None)
    assert total(TINY) == 2 * 100 * 64 + 64 + 2 * LAYER
    assert total(TINY, set=["num_hidden_layers=3"]) == total(TINY) + LAYER
    assert total(TINY, set=["tie_word_embeddings=true"]) == total(TINY) - 100 * 64
    with pytest.raises(UsageError, match="has no such key"):
        inspector.inspect(TINY, set=["num_hiden_layers=3"])


@pytest.mark.parametrize(
    ("config", "parameters"),
    [  # as model.num_parameters() of transformers 5.24 under torch; the tables cannot tell them, or were wrong
        ({"model_type": "encodec", "architectures": ["EncodecModel"]}, 14_851_810),
        ({**TINY, "model_type": "jamba", "architectures": ["JambaForCausalLM"], "num_experts": 1}, 115_336),
        ({**TINY, "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 0}, 82_816),
        ({**TINY, "model_type": "opt", "architectures": ["OPTForCausalLM"], "_remove_final_layer_norm": True}, 964_096),
        (
            {
                "model_type": "t5",
                "architectures": ["T5ForConditionalGeneration"],
                "feed_forward_proj": "relu",
                "is_gated_act": True,
                "d_model": 64,
                "num_layers": 2,
                "num_heads": 4,
                "d_kv": 16,
                "d_ff": 96,
                "vocab_size": 100,
            },
            179_456,
        ),
    ],
)
def test_what_no_table_tells(config: dict[str, Any], parameters: int) -> None:
    assert total(config) == parameters


def test_a_part_has_the_dtype_of_its_model() -> None:
    """As from_pretrained gives it; a part's own dtype may be left of another one (--set dtype=float32)."""
    part = {"model_type": "llama", "dtype": "bfloat16"}
    config = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "text_config": part}
    for dtype, stored in (("float16", "F16"), ("float32", "F32")):
        tensors = inspector.inspect(config, set=[f"dtype={dtype}"]).checkpoint.tensors
        assert {tensor.dtype for tensor in tensors} == {stored}


def test_a_config_that_the_class_refuses_is_no_design() -> None:
    with pytest.raises(InvalidConfig, match="refuses this config"):
        inspector.inspect({**TINY, "num_hidden_layers": "many"})


def test_what_a_class_stumbles_over_is_not_told_as_exact() -> None:
    """The tables know the tensors of a stage of one layer; the class takes its second step."""
    config = {"model_type": "cvt", "architectures": ["CvtForImageClassification"], "depth": [10, 2, 1]}
    asked = ask_class("CvtForImageClassification", config)
    assert (asked.refused, asked.unclear) == (False, True)
    assert not inspector.inspect(config).model.parameters.exact


def test_a_class_that_transformers_does_not_have_is_not_told() -> None:
    with pytest.raises(UnreadableModel, match="the installed transformers has no class NoSuchModel"):
        inspector.inspect({**TINY, "architectures": ["NoSuchModel"]})
    assert ask_class("PreTrainedConfig", TINY).tensors is None


def test_the_files_of_the_folder_that_one_stands_in_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a repo's: the process has the path of this one alone."""
    for name in ("torch", "transformers", "json", "numpy", "inspector"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    worker = Worker()
    assert worker.answer(QUESTION)["type"] == "llama"
    worker.end()
    assert not (tmp_path / "was_run").exists()


def test_no_secret_of_the_environment_reaches_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "hf_token", "MY_SECRET"):
        monkeypatch.setenv(name, "hidden")
    worker = Worker()
    monkeypatch.setattr(by_class, "START", "import json, os; print(json.dumps(dict(os.environ)))")
    seen = worker.answer(QUESTION)
    worker.end()
    assert seen["HF_HUB_OFFLINE"] == "1"
    assert "hidden" not in seen.values()


def test_a_process_that_does_not_answer_is_ended_and_the_next_question_has_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker()
    monkeypatch.setattr(by_class, "SECONDS", 0.01)
    with pytest.raises(Unanswered, match="more than"):
        worker.answer(QUESTION)
    monkeypatch.undo()
    assert worker.answer(QUESTION)["type"] == "llama"
    worker.end()


def test_a_process_that_was_killed_is_no_answer_that_is_kept() -> None:
    assert total(TINY, set=["num_hidden_layers=5"]) == total(TINY) + 3 * LAYER
    process = by_class.WORKER._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    timer = threading.Timer(0.1, process.kill)
    timer.start()
    changed = TINY | {"num_hidden_layers": 6}
    assert "ended" in ask_class("LlamaForCausalLM", changed).error
    timer.join()
    assert ask_class("LlamaForCausalLM", changed).model_type == "llama"


def test_who_interrupts_does_not_wait_for_the_class() -> None:
    total(TINY, set=["num_hidden_layers=7"])
    process = by_class.WORKER._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)

    def interrupt() -> None:
        while not by_class.WORKER._one.locked():
            time.sleep(0.01)
        time.sleep(0.05)  # it waits for the answer by now
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            inspector.inspect(TINY | {"num_hidden_layers": 8})
        interrupting.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.poll() is not None
    assert total(TINY, set=["num_hidden_layers=8"]) == total(TINY) + 6 * LAYER


def test_a_fork_has_a_process_of_its_own() -> None:
    total(TINY)
    mine = by_class.WORKER._process
    assert mine is not None
    told, tell = os.pipe()
    if os.fork() == 0:
        try:
            os.write(tell, ask_class("LlamaForCausalLM", TINY | {"num_hidden_layers": 9}).model_type.encode())
            by_class.WORKER.end()
        finally:
            os._exit(0)
    os.wait()
    assert os.read(told, 100) == b"llama"
    assert mine.poll() is None


def test_code_of_a_repo_is_not_looked_for() -> None:
    own = {"auto_map": {"AutoModelForCausalLM": "modeling_own.OwnModel"}}
    assert total(TINY | own) == total(TINY)


def test_more_tensors_than_any_model_has_are_refused() -> None:
    with pytest.raises(InvalidConfig):
        inspector.inspect({**TINY, "num_hidden_layers": 9_000})
