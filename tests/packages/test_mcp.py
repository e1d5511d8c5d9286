"""`llm-inspect mcp`: what its tools take and answer; and where the package mcp is installed (`make test-mcp`), what the
official client is served over standard input and output."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inspector.api.settings import Settings
from inspector.cli.mcp import called, input_schema, listed
from inspector.cli.mcp_tools import tools
from inspector.hub import Resolver
from inspector.settings import settings_of
from tests.conftest import Run, command_environment, repo_files
from tests.hub_server import LoopbackHub
from tests.test_schema import SCHEMA, validator

GPT2 = "openai-community/gpt2"
LLAMA = "meta-llama/Meta-Llama-3-8B"
TOKEN = "hf_" + "A" * 34

with_mcp = pytest.mark.skipif(find_spec("mcp") is None, reason="make test-mcp installs mcp")


def record_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The keys of a tool's record, of each where it answers with several."""
    keys: dict[str, Any] = schema["properties"].get("models", {"items": schema})["items"]["properties"]
    return keys


@pytest.mark.parametrize("name", tools())
def test_what_a_tool_tells_of_itself_is_sound(name: str) -> None:
    told = listed(name)
    for key in ("inputSchema", "outputSchema"):
        Draft202012Validator.check_schema(told[key])
    assert set(record_of(told["outputSchema"])) == set(SCHEMA["$defs"][tools()[name].record]["properties"])
    assert "--" not in json.dumps(told["inputSchema"])
    assert all(each.get("description") for each in told["inputSchema"]["properties"].values())
    assert len(json.dumps(told)) < 13_750, "an agent reads all of it"


def test_every_setting_of_the_library_is_an_argument() -> None:
    arguments = input_schema(tools()["inspect"])["properties"]
    assert set(settings_of(Settings)) <= set(arguments)
    assert arguments["engine"]["enum"][0] == arguments["engine"]["default"] == "transformers"
    assert arguments["batch"]["minimum"] == 1
    assert "tensor_parallel" in arguments["serving"]["properties"]
    assert not [name for name, tool in tools().items() if "token" in input_schema(tool)["properties"]]


@dataclasses.dataclass(frozen=True)
class Answer:
    failed: bool
    text: str
    record: Any


Ask = Callable[..., Answer]


@pytest.fixture
def ask() -> Any:
    """A tool's answer, offline and without the protocol."""
    with Resolver(offline=True) as resolver:
        yield lambda name, **arguments: Answer(*called(name, arguments, resolver))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("inspect", {"model": GPT2, "context": "1k"}),
        ("inspect", {"model": GPT2, "dtype": "int8", "revision": None}),
        ("fit", {"model": LLAMA, "gpus": ["RTX 4090", "24GiB"], "context": "8k"}),
        ("fit", {"model": LLAMA, "gpus": "H100", "engine": "vLLM", "serving": {"max_num_seqs": 64}}),
        ("fit", {"model": LLAMA, "all_gpus": True}),
        ("train", {"model": LLAMA, "method": "lora", "gpus": ["H100"], "sharding": {"fsdp": 2, "offload": ["params"]}}),
        ("compare", {"before": GPT2, "after": LLAMA, "image_size": None}),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_tool_answers_with_the_record_of_its_command(ask: Ask, name: str, arguments: dict[str, Any]) -> None:
    answer = ask(name, **arguments)
    assert not answer.failed, answer.text
    assert json.loads(answer.text) == json.loads(json.dumps(answer.record))
    for schema in (validator(tools()[name].record), Draft202012Validator(listed(name)["outputSchema"])):
        schema.validate(json.loads(answer.text))


def test_find_tells_the_first_of_what_runs(ask: Ask) -> None:
    answer = ask("find", gpu="RTX 4090", context="8k", engine="vllm")
    assert not answer.failed, answer.text
    record = json.loads(answer.text)
    assert record["gpu"] == "RTX 4090"
    assert record["found"] >= len(record["models"]) == 20
    for each in record["models"]:
        validator("found").validate(each)
    Draft202012Validator(listed("find")["outputSchema"]).validate(record)


def test_a_verdict_is_the_commands(ask: Ask, run: Run) -> None:
    arguments = ("fit", LLAMA, "--gpu", "RTX 4090", "--context", "8k", "--offline", "--json")
    answer = ask("fit", model=LLAMA, gpus=["RTX 4090"], context="8k")
    assert json.loads(answer.text)["fit"] == run(*arguments).record["fit"]


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("inspect", {"model": "org/none"}, "offline"),
        ("inspect", {}, "inspect needs model"),
        ("fit", {"model": GPT2}, "fit needs a device\nName one in gpus"),
        ("fit", {"model": GPT2, "gpus": ["RTX 9999"]}, "unknown GPU"),
        ("fit", {"model": GPT2, "gpus": ["H100"], "serving": {"max_num_seqs": 1}}, "--max-num-seqs is a setting"),
        ("inspect", {"model": GPT2, "kv-dtpe": "fp8"}, "Did you mean kv_dtype?"),
        ("inspect", {"model": GPT2, "batch": "two"}, "batch must be int"),
        ("inspect", {"model": GPT2, "context": "many"}, "'many' is not a number of tokens"),
        ("train", {"model": GPT2, "method": "most"}, "most"),
        ("compare", {"before": GPT2}, "compare needs after"),
        ("guess", {}, "there is no tool 'guess'\nThere are: inspect, fit"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_error_is_told_in_a_line_or_two(ask: Ask, name: str, arguments: dict[str, Any], text: str) -> None:
    answer = ask(name, **arguments)
    assert answer.failed
    assert answer.text.startswith("Error: ")
    assert text in answer.text
    assert answer.text.count("\n") <= 1
    validator("error").validate(answer.record)


@pytest.mark.skipif(find_spec("mcp") is not None, reason="mcp is installed")
def test_without_the_package_a_hint_says_what_to_install(run: Run) -> None:
    done = run("mcp")
    assert done.code == 2
    assert done.error_lines == ["Error: the MCP server needs mcp", "Install it: pip install 'mcp>=2.1'."]


def test_no_other_command_imports_it() -> None:
    text = "import sys; from inspector.cli.main import run; run(['gpt2', '--offline']); assert 'mcp' not in sys.modules"
    subprocess.run([sys.executable, "-c", text], check=True, capture_output=True)


def served(home: Path, talk: Callable[[Any], Awaitable[None]], *options: str, **variables: str) -> None:
    """Start the server as an agent does, and talk to it by the package's own client."""
    import anyio
    from mcp import Client, StdioServerParameters, stdio_client

    environment = command_environment(home, **variables)
    command = StdioServerParameters(command=sys.executable, args=["-m", "inspector", "mcp", *options], env=environment)

    async def session() -> None:
        with anyio.fail_after(60):
            async with Client(stdio_client(command)) as client:
                await talk(client)

    anyio.run(session)


@with_mcp
def test_the_client_lists_and_calls_the_tools(tmp_path: Path) -> None:
    async def talk(client: Any) -> None:
        found = (await client.list_tools()).tools
        assert [each.name for each in found] == list(tools())
        assert all(each.output_schema and each.annotations.read_only_hint for each in found)
        for name, arguments in (
            ("inspect", {"model": GPT2}),
            ("fit", {"model": LLAMA, "gpus": ["RTX 4090"]}),
            ("train", {"model": GPT2, "method": "lora"}),
            ("compare", {"before": GPT2, "after": LLAMA}),
        ):
            answer = await client.call_tool(name, arguments)  # the client checks it against the tool's schema
            assert not answer.is_error, answer.content
            validator(tools()[name].record).validate(answer.structured_content)
            assert json.loads(answer.content[0].text) == answer.structured_content

    served(tmp_path, talk, "--offline")


@with_mcp
def test_the_client_is_told_errors_and_the_server_goes_on(tmp_path: Path) -> None:
    async def talk(client: Any) -> None:
        for name, arguments in (("fit", {"model": GPT2}), ("inspect", {"model": "org/none"}), ("guess", {})):
            answer = await client.call_tool(name, arguments)
            assert answer.is_error
            assert answer.content[0].text.startswith("Error: ")
            validator("error").validate(answer.structured_content)
        assert not (await client.call_tool("inspect", {"model": GPT2})).is_error

    served(tmp_path, talk, "--offline")


@with_mcp
def test_the_hub_is_asked_with_the_token_and_no_answer_has_it(tmp_path: Path, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo(LLAMA, repo_files(LLAMA, 4))
    loopback_hub.tokens[TOKEN] = {"*"}

    async def talk(client: Any) -> None:
        answers = [
            await client.call_tool(name, {"model": model, "gpus": ["H100"]})
            for name in ("inspect", "fit", "train")
            for model in (LLAMA, "org/none", LLAMA + "@none")
        ]
        assert answers[0].structured_content["source"] == "hub"
        assert [each.is_error for each in answers] == [False, True, True] * 3
        assert TOKEN not in "".join(each.model_dump_json() for each in answers)

    served(tmp_path, talk, HF_ENDPOINT=loopback_hub.url, HF_TOKEN=TOKEN)
    assert any(TOKEN in request.headers.get("authorization", "") for request in loopback_hub.seen)
