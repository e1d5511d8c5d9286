"""`inspector.web.answer`: the same objects as `--json`, and an error object for whatever cannot be answered."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from inspector.api.settings import Settings, Source
from inspector.settings import settings_of
from inspector.web import answer
from inspector.web.form import form
from inspector.web.models import KEPT, Models
from inspector.web.names import known_models
from tests.conftest import Run

LLAMA = "meta-llama/Meta-Llama-3-8B"
GPT2 = "openai-community/gpt2"


@pytest.fixture(scope="module")
def models() -> Models:
    return Models()


def asked(models: Models, settings: Any = None, *want: str, model: str = LLAMA, task: str = "inference") -> Any:
    return answer({"model": model, "task": task, "settings": settings or {}, "want": list(want or ("report",))}, models)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("inference", {}),
        ("inference", {"context": "8k", "batch": 4, "kv_dtype": "fp8", "dtype": "awq"}),
        ("inference", {"gpus": ["RTX 4090", "2xH100"], "context": 131072}),
        ("inference", {"gpus": ["RTX 4090"], "engine": "vllm", "serving": {"max_num_seqs": 8, "enforce_eager": True}}),
        ("inference", {"gpus": ["24GiB"], "engine": "llama.cpp", "dtype": "Q4_K_M", "all_options": True}),
        ("inference", {"formulas": "article", "dtype": "int8"}),
        ("inference", {"set": ["num_hidden_layers=40"], "gpus": ["RTX 4090"]}),
        ("training", {}),
        ("training", {"set": ["num_hidden_layers=16"], "method": "lora"}),
        ("training", {"method": "qlora", "lora_rank": 8, "gpus": ["RTX 4090"], "double_quant": False}),
        ("training", {"formulas": "article", "optimizer": "sgd", "trainable_parameters": "50%", "dtype": "fp32"}),
        ("training", {"objective": "gkd", "reference_repo": "meta-llama/Llama-3.1-8B", "method": "lora"}),
        ("training", {"sharding": {"fsdp": 8, "offload": ["optimizer"]}, "checkpointing": "full", "context": 2048}),
    ],
)
def test_the_report_is_what_the_command_prints_that_is_shown_beside_it(
    run: Run, models: Models, task: str, settings: Any
) -> None:
    found = asked(models, settings, "report", "command", task=task)
    program, *arguments = shlex.split(found["command"])
    assert program == "llm-inspect"
    printed = run(*arguments, "--offline", "--json", "--explain").record
    record = json.loads(json.dumps(found["report"]))
    for each in (record, printed):  # the page's commands have no --offline
        each.pop("network")
    assert record == printed


def test_the_devices_are_those_of_all_gpus(run: Run, models: Models) -> None:
    found = asked(models, {"gpus": ["RTX 3060"], "dtype": "awq"}, "devices")["devices"]
    printed = run("fit", LLAMA, "--all-gpus", "--dtype", "awq", "--offline", "--json").record["fit"]
    assert [(each["gpu"], each["count"], each["headroom"]) for each in found] == [
        (each["gpu"], each["count"], each["headroom"]) for each in printed
    ]


def test_the_devices_of_training_are_those_that_it_fits(models: Models) -> None:
    found = asked(models, {"method": "qlora", "gpus": ["H100"]}, "report", "devices", task="training")
    needed = found["report"]["fit"][0]["needed"]
    assert any(each["gpu"].startswith("H100") for each in found["devices"])
    assert all(each["needed"] == needed <= each["capacity"] for each in found["devices"])


def test_what_launches_it_is_what_emit_prints(run: Run, models: Models) -> None:
    settings = {"gpus": ["RTX 4090"], "engine": "vllm"}
    found = asked(models, settings, "launch")["launch"]
    printed = run("fit", LLAMA, "--gpu", "RTX 4090", "--engine", "vllm", "--emit", "vllm", "--offline").out
    assert found["text"] == printed
    for other in ({}, {"gpus": ["RTX 4090"]}, {"gpus": ["RTX 4090", "H100"], "engine": "vllm"}):
        assert asked(models, other, "launch") == {"launch": None}
    assert asked(models, settings | {"gpus": ["8GiB"]}, "launch") == {"launch": None}


def test_the_article_answers_beside_the_exact_formulas(models: Models) -> None:
    found = asked(models, {"context": 4096, "engine": "vllm", "gpus": ["H100"]}, "report", "article")
    weights = 8_030_261_248 * 2
    activations = 4096 * (34 * 4096 + 5 * 4096 * 32)
    inference = found["article"]["memory"]["inference"]
    assert (inference["weights"], inference["activations"]) == (weights, activations)
    assert found["report"]["memory"]["inference"]["formulas"] == "exact"
    trained = asked(models, {"method": "lora", "optimizer": "sgd"}, "report", "article", task="training")
    number = trained["report"]["training"]["trainable_parameters"]
    assert trained["article"]["training"]["optimizer_states"] == 4 * number


WRONG: list[tuple[Any, str]] = [
    ([], "a request is an object"),
    (None, "a request is an object"),
    ({}, "a request names a model"),
    ({"model": ["gpt2"]}, "a request names a model"),
    ({"model": GPT2, "token": "x"}, "there is no key of a request 'token'"),
    ({"model": GPT2, "task": "cooking"}, "there is no task 'cooking'"),
    ({"model": GPT2, "want": ["everything"]}, "there is no part of an answer 'everything'"),
    ({"model": GPT2, "want": [{}]}, "unhashable"),
    ({"model": GPT2, "settings": []}, "settings are an object"),
    ({"model": GPT2, "settings": {"resolver": 1}}, "there is no setting of inference 'resolver'"),
    ({"model": GPT2, "settings": {"token": "x"}}, "there is no setting of inference 'token'"),
    ({"model": GPT2, "settings": {"offline": False}}, "there is no setting of inference 'offline'"),
    ({"model": GPT2, "task": "training", "settings": {"measure": True}}, "there is no setting of training 'measure'"),
    ({"model": GPT2, "settings": {"batch": "many"}}, "batch must be int"),
    ({"model": GPT2, "settings": {"batch": 0}}, "batch must be at least 1"),
    ({"model": GPT2, "settings": {"context": "long"}}, "'long' is not a number of tokens"),
    ({"model": GPT2, "settings": {"gpus": ["RTX 9999999"]}}, "unknown GPU"),
    ({"model": GPT2, "settings": {"engine": "vllm"}}, "depends on the GPU"),
    ({"model": GPT2, "settings": {"serving": {"n_ubatch": 3}}}, "--n-ubatch"),
    ({"model": GPT2, "task": "training", "settings": {"sharding": {"speed": 3}}}, "sharding"),
    ({"model": "/etc/passwd"}, "was not named when the page was started"),
    ({"model": "../../etc"}, "was not named when the page was started"),
    ({"model": "~"}, "was not named when the page was started"),
    ({"model": "a\u202eb/c"}, "names no model"),
    ({"model": "no/such"}, "not cached"),
]


@pytest.mark.parametrize(("request_", "said"), WRONG, ids=[text for _, text in WRONG])
def test_what_cannot_be_answered_is_an_error_object(models: Models, request_: Any, said: str) -> None:
    found = answer(request_, models)
    assert set(found) == {"schema", "repo_id", "error"}
    assert said in found["error"]["message"]
    assert found["error"]["exit_code"] in (2, 3, 4, 5)
    json.dumps(found)


def test_a_size_of_images_is_read_as_the_command_line_reads_it(models: Models) -> None:
    settings = {"images": 1, "image_size": "448x336"}
    found = asked(models, settings, "report", "command", model="Qwen/Qwen2.5-VL-3B-Instruct")
    assert found["report"]["memory"]["inference"]["image_size"] == (448, 336)
    assert "--image-size 448x336" in found["command"]


def test_a_model_is_read_once_and_the_last_few_are_kept(models: Models) -> None:
    first = models.of(Source(GPT2))
    assert models.of(Source(GPT2)) is first
    names = [each["name"] for each in known_models(models) if each["where"] == "bundled"][: KEPT + 1]
    for name in names:
        models.of(Source(name))
    assert models.of(Source(GPT2)) is not first


def test_the_form_has_every_setting_of_the_library() -> None:
    found = json.loads(json.dumps(form()))
    names = {each["name"] for each in found["inference"]}
    assert names == {name for name, each in settings_of(Settings).items() if each.about.option}
    vllm = next(each for each in found["engines"] if each["name"] == "vllm")
    assert "tensor_parallel" in {each["name"] for each in vllm["serving"]}
    optimizer = next(each for each in found["training"] if each["name"] == "optimizer")
    assert (optimizer["default"], "adamw-8bit" in optimizer["values"]) == ("adamw", True)


def test_the_articles_eight_models_are_there_by_name(models: Models) -> None:
    named = {
        "meta-llama/Meta-Llama-3-70B-Instruct",
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "meta-llama/Meta-Llama-3-8B",
        "microsoft/Phi-3-mini-4k-instruct",
        "microsoft/phi-2",
        "mistralai/Mistral-7B-Instruct-v0.3",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "Qwen/Qwen2-72B-Instruct",
    }
    assert named <= {each["name"] for each in known_models(models)}
    for name in named:
        assert asked(models, {"formulas": "article"}, model=name)["report"]["memory"]["inference"]["total"]


def test_a_pasted_config_is_a_design(models: Models) -> None:
    config = models.of(Source(LLAMA)).checkpoint.config
    found = answer({"model": {**config, "sliding_window": None}, "want": ["report", "command", "curve"]}, models)
    assert found["report"]["parameters"]["total"] == 8_030_261_248
    assert found["command"] == "llm-inspect config.json"
    short = answer({"model": config, "settings": {"gpus": ["RTX 3060"]}}, models)["report"]["fit"][0]
    assert short["options"][0]["command"].startswith("llm-inspect fit config.json --gpu")
    assert answer({"model": {"model_type": 5}}, models)["error"]["exit_code"] == 4


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        (
            '{"model": "gpt2", "settings": {"gpus": ["RTX 4090"], "price": 1e308}}',
            "price must be",
        ),
        ('{"model": "gpt2", "settings": {"gpus": ["RTX 4090"], "price": Infinity}}', "price must be"),
        ('{"model": "gpt2", "settings": {"gpus": ["RTX 4090"], "price": NaN}}', "price must be"),
        (
            '{"model": "gpt2", "settings": {"context": 99999999999999999999999999}}',
            "context must be at",
        ),
        ('{"model": "\\ud800"}', "half of a pair"),
        ('{"model": {"model_type": "\\ud800", "architectures": ["LlamaForCausalLM"]}}', "half of a pair"),
        ('{"model": "gpt2", "\\udfff": 1}', "half of a pair"),
    ],
)
def test_what_json_cannot_answer_is_an_error_that_it_can(models: Models, request_text: str, message: str) -> None:
    found = answer(json.loads(request_text), models)
    assert message in found["error"]["message"]
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


def test_a_value_of_another_type_is_told_without_the_names_of_functions(models: Models) -> None:
    for task in ("inference", "training"):
        message = asked(models, {"context": 1.5}, task=task)["error"]["message"]
        assert message == "context must be int | str | None, not 1.5"
