"""The JSON Schema that is shipped: every JSON output is of it, and has no key that it does not name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inspector.cli.schema import SCHEMA_FILE
from tests.conftest import Run

SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_bytes())
GPT2 = "openai-community/gpt2"
DEEPSEEK = "deepseek-ai/DeepSeek-V3"
LOG = "INFO 01-01 00:00:00 [gpu_worker.py:1] Available KV cache memory: 10.00 GiB\n"


def closed(schema: Any) -> Any:
    """The schema that refuses keys that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {key: closed(value) for key, value in schema.items()}
    if isinstance(shut.get("properties"), dict):
        shut.setdefault("additionalProperties", False)
    return shut


def validator(name: str) -> Draft202012Validator:
    defs = closed(copy.deepcopy(SCHEMA["$defs"]))
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": defs})


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("inspection", [GPT2]),
        ("inspection", [DEEPSEEK, "--layers", "--explain"]),
        ("inspection", ["google/gemma-3-4b-it", "--gpu", "RTX 4090 + RTX 3060 12GB", "--gpu", "H100", "--images", "2"]),
        ("inspection", ["fit", "openai/gpt-oss-20b", "--all-gpus"]),
        ("inspection", [GPT2, "--formulas", "article"]),
        ("inspection", ["fit", DEEPSEEK, "--gpu", "8xH100", "--engine", "vllm"]),
        ("inspection", ["fit", "Qwen/Qwen3-8B", "--gpu", "24GiB", "--gpu", "8GiB", "--engine", "sglang", "--explain"]),
        ("inspection", ["fit", "Qwen/Qwen3-8B", "--gpu", "RTX 4090", "--engine", "llama.cpp", "--dtype", "Q4_K_M"]),
        ("inspection", ["fit", "Qwen/Qwen3-8B", "--gpu", "M3 Max 64GB", "--engine", "mlx"]),
        ("inspection", ["fit", "Qwen/Qwen3-8B", "--gpu", "RTX 4090", "--emit", "vllm"]),
        ("inspection", ["fit", "Qwen/Qwen3-32B", "--gpu", "RTX 4090", "--emit", "compose"]),
        ("together", ["fit", GPT2, "Qwen/Qwen3-8B", "--gpu", "RTX 4090", "--together", "--emit", "vllm"]),
        ("together", ["fit", GPT2, "Qwen/Qwen3-8B", "--gpu", "RTX 4090", "--together"]),
        ("inspection", ["train", GPT2, "--gpu", "24GiB", "--explain"]),
        ("inspection", ["train", GPT2, "--method", "lora", "--gpu", "24GiB"]),
        ("inspection", ["train", GPT2, "--formulas", "article"]),
        ("inspection", ["train", GPT2, "--gpus", "4", "--gpu", "24GiB"]),
        ("error", ["org/never-seen"]),
        ("error", ["fit", "org/never-seen", "--gpu", "24GiB"]),
        ("difference", ["diff", GPT2, "Qwen/Qwen2.5-0.5B"]),
        ("devices", ["gpus"]),
        ("cache", ["cache", "info"]),
    ],
)  # fmt: skip
def test_an_output_is_of_the_schema_and_has_no_other_keys(run: Run, name: str, arguments: list[str]) -> None:
    record = run(*arguments, "--json").record
    validator(name).validate(record)
    Draft202012Validator(SCHEMA).validate(record)


def test_a_comparison_is_an_array(run: Run) -> None:
    records = json.loads(run(GPT2, "org/never-seen", "--json").out)
    for name, record in zip(("inspection", "error"), records, strict=True):
        validator(name).validate(record)
    Draft202012Validator(SCHEMA).validate(records)


@pytest.mark.parametrize(
    ("name", "arguments"), [("found", ["--gpu", "RTX 4090", "--search", "Qwen2.5-7B"]), ("bundled", [])]
)
def test_a_list_of_models(run: Run, name: str, arguments: list[str]) -> None:
    records = json.loads(run("find", "--bundled", *arguments, "--json").out)
    assert records
    for record in records:
        validator(name).validate(record)
    Draft202012Validator(SCHEMA).validate(records)


def test_lines_of_a_batch(run: Run, tmp_path: Path) -> None:
    tmp_path.joinpath("list").write_text(f"{GPT2}\norg/never-seen\n")
    lines = [json.loads(line) for line in run("batch", tmp_path / "list", "--gpu", "24GiB").out.splitlines()]
    assert len(lines) == 2
    for line in lines:
        Draft202012Validator({"$ref": "#/$defs/line", "$defs": SCHEMA["$defs"]}).validate(line)
        own = {key: value for key, value in line.items() if key not in ("id", "outcome")}
        validator("error" if "error" in line else "inspection").validate(own)


def test_a_verification_and_a_log(run: Run, tmp_path: Path) -> None:
    manifest = tmp_path / "models.yaml"
    run("lock", GPT2, "--output", manifest, "--offline")
    validator("verification").validate(run("verify", manifest, "--json", "--offline").record)
    log = tmp_path / "log"
    log.write_text("Initializing an LLM engine (v0.10.0) with config: model='x', dtype=torch.bfloat16\n" + LOG)
    validator("comparison").validate(run("check-log", log, GPT2, "--gpu", "24GiB", "--json").record)


def test_the_command_prints_it(run: Run) -> None:
    assert json.loads(run("schema").out) == SCHEMA


def test_columns_that_no_record_has_are_refused_before_anything_is_asked_for(run: Run, tmp_path: Path) -> None:
    tmp_path.joinpath("list").write_text(f"{GPT2}\n")
    asked = ["batch", tmp_path / "list", "--offline", "--columns"]
    good = "parameters.total,fit.0.fits,memory.by_precision.int4.total,parameters.by_component.attention,error.kind"
    assert run(*asked, good).code == 0
    done = run(*asked, "parameters.totl")
    assert done.code == 2
    assert "Did you mean parameters.total?" in done.err
    assert run(*asked, "fit.0.fit").code == 2
    assert run(*asked, "nonsense").code == 2
