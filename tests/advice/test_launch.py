"""`fit --emit`: a verdict's own settings as a command or a file, and the log lines that it should lead to."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import inspector
from inspector.advice.launch import AROUND, _escaped, _label, emit_names, yaml_text
from inspector.api.launching import launch_inspected
from inspector.api.settings import Settings
from inspector.engines.launch import Launch
from inspector.engines.registry import engine_named
from inspector.errors import UsageError
from tests.conftest import SNAPSHOTS, Run, repo_files
from tests.hub_server import Sparse
from tests.logs import excerpts

OPTIONS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "engines" / "data" / "launch_options.json").read_text("utf-8")
)
"""Every option of the engines' own argument parsers: `make oracle-launch` wrote it."""

QWEN, QWEN32 = "Qwen/Qwen3-8B", "Qwen/Qwen3-32B"
TOKEN = "hf_" + "s" * 34

CASES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "vLLM": (
        "vllm",
        QWEN,
        "2xRTX 4090",
        {
            "context": "16k",
            "kv_dtype": "fp8",
            "dtype": "fp8",
            "serving": {
                "gpu_memory_utilization": 0.9,
                "max_num_seqs": 64,
                "max_num_batched_tokens": 4096,
                "enforce_eager": True,
            },
        },
    ),
    "vLLM experts": ("vllm", "Qwen/Qwen3-30B-A3B", "2xH100", {"serving": {"expert_parallel": 2}}),
    "vLLM data": ("vllm", QWEN, "4xH100", {"serving": {"data_parallel": 2, "tensor_parallel": 2}}),
    "vLLM stages": ("vllm", QWEN, "2xH100", {"serving": {"pipeline_parallel": 2}}),
    "vLLM text": ("vllm", "google/gemma-3-4b-it", "H100", {"images": 0}),
    "vLLM images": ("vllm", "google/gemma-3-4b-it", "H100", {"images": 3}),
    "SGLang": ("sglang", QWEN, "2xH100", {"kv_dtype": "fp8", "dtype": "fp8", "serving": {"mem_fraction_static": 0.8}}),
    "SGLang 4 bits": ("sglang", QWEN, "H100", {"dtype": "nf4-dq"}),
    "llama.cpp": (
        "llama-server",
        QWEN,
        "RTX 4090",
        {
            "dtype": "Q4_K_M",
            "batch": 2,
            "serving": {"n_gpu_layers": 20, "n_ubatch": 256, "cache_type_k": "q8_0", "cache_type_v": "q4_0"},
        },
    ),
    "llama.cpp steps": ("llama-server", QWEN, "RTX 4090", {"dtype": "Q8_0", "serving": {"n_ubatch": 4096}}),
    "mlx": (
        "mlx",
        QWEN,
        "M3 Max 64GB",
        {"dtype": "int4", "serving": {"kv_bits": 4, "kv_group_size": 32, "quantized_kv_start": 0}},
    ),
    "mlx steps": ("mlx", QWEN, "M1 16GB", {"dtype": "int4", "serving": {"prefill_step_size": 512}}),
}


def launch(case: str) -> Launch:
    emit, model, gpu, settings = CASES[case]
    found = inspector.launch(model, gpu, emit, offline=True, engine=engine_of(emit), **settings)
    assert found is not None
    return found


def engine_of(emit: str) -> str:
    return {"llama-server": "llama.cpp", "ollama": "llama.cpp"}.get(emit, emit)


@pytest.mark.parametrize("case", CASES)
def test_every_option_is_one_of_the_engines_parser(case: str) -> None:
    found = launch(case)
    known = OPTIONS[found.emit]
    rest = list(found.command)
    options = [at for at, each in enumerate(rest) if each.startswith("--")]
    assert len({rest[at] for at in options}) == len(options), "an option stands twice"
    for at in options:
        followed = at + 1 < len(rest) and at + 1 not in options
        assert rest[at] in known["with_value" if followed else "alone"]


@pytest.mark.parametrize("case", CASES)
def test_what_a_shell_reads_is_the_command(case: str) -> None:
    found = launch(case)
    assert tuple(shlex.split(found.text.splitlines()[-1])) == found.command
    assert [tuple(shlex.split(line)) for line in found.text.splitlines()[:-1]] == list(found.before)


def test_only_what_is_not_as_usual_is_told() -> None:
    found = inspector.launch(QWEN, "RTX 4090", "vllm", offline=True)
    assert found is not None
    assert found.text == "vllm serve Qwen/Qwen3-8B --max-model-len 4096\n"
    server = inspector.launch(QWEN, "RTX 4090", "llama-server", offline=True, dtype="Q8_0")
    assert server is not None
    assert shlex.join(server.command) == (
        "llama-server --model ./Qwen3-8B-Q8_0.gguf --ctx-size 4096 --parallel 1 --n-gpu-layers 37"
    )


def test_the_settings_of_the_verdict_are_all_told() -> None:
    assert launch("vLLM").text == (
        "vllm serve Qwen/Qwen3-8B --quantization fp8 --max-model-len 16384 --gpu-memory-utilization 0.9"
        " --max-num-batched-tokens 4096 --max-num-seqs 64 --kv-cache-dtype fp8 --tensor-parallel-size 2"
        " --enforce-eager\n"
    )
    assert "--enable-expert-parallel" in launch("vLLM experts").command
    assert launch("vLLM images").command[-2:] == ("--limit-mm-per-prompt", '{"image": 3}')
    assert launch("vLLM text").command[-1] == "--language-model-only"
    assert (
        launch("llama.cpp")
        .text.splitlines()[-1]
        .endswith(
            "--ctx-size 8192 --parallel 2 --ubatch-size 256 --n-gpu-layers 20 --cache-type-k q8_0 --cache-type-v q4_0"
            " --flash-attn on"
        )
    )
    assert "--batch-size 4096" in launch("llama.cpp steps").text


def test_unlike_gpus_that_need_a_split_get_it() -> None:
    found = inspector.launch(
        "Qwen/Qwen3-32B", "RTX 4090 + RTX 3060 12GB", "llama-server", offline=True, dtype="Q6_K", context="16k"
    )
    assert found is not None
    notes = inspector.inspect(
        QWEN32, gpus="RTX 4090 + RTX 3060 12GB", engine="llama.cpp", dtype="Q6_K", context="16k", offline=True
    ).servings[0]
    split = notes.settings.get("tensor_split")
    assert ("--tensor-split" in found.command) == (split is not None)


def test_a_model_that_is_made_first_says_how() -> None:
    text = launch("llama.cpp").text.splitlines()
    assert text[0].startswith("python3 convert_hf_to_gguf.py Qwen/Qwen3-8B ")
    assert text[1] == "llama-quantize ./Qwen3-8B-bf16.gguf ./Qwen3-8B-Q4_K_M.gguf Q4_K_M"
    assert launch("mlx").text.startswith(
        "mlx_lm.convert --hf-path Qwen/Qwen3-8B --mlx-path ./Qwen3-8B-int4 -q --q-bits 4\n"
    )
    awq = inspector.launch(QWEN32, "RTX 4090", "vllm", offline=True, dtype="awq")
    assert awq is not None
    assert awq.command[:3] == ("vllm", "serve", "./Qwen3-32B-awq")
    assert "Qwen/Qwen3-32B stored so" in awq.notes[0]


@pytest.mark.parametrize(
    ("emit", "gpu", "recipe"),
    [
        (emit, gpu, recipe)
        for emit, gpu in (("mlx", "M3 Max 64GB"), ("llama-server", "RTX 4090"))
        for recipe in engine_named(engine_of(emit)).recipes
    ],
)
def test_what_advice_offers_can_be_made(emit: str, gpu: str, recipe: str) -> None:
    found = inspector.launch(QWEN, gpu, emit, offline=True, dtype=recipe)
    assert found is not None
    assert found.before[-1][0] in ("mlx_lm.convert", "llama-quantize")
    assert recipe in found.loads


@pytest.mark.parametrize("case", [name for name in CASES if not name.startswith("mlx")])
def test_the_lines_to_expect_are_read_by_check_logs_reader_as_the_account(case: str) -> None:
    emit, model, gpu, settings = CASES[case]
    engine = engine_named(engine_of(emit))
    reader = engine.log_reader()
    assert reader is not None
    lines = launch(case).log
    for line in lines:
        reader.feed(f"(EngineCore pid=41) INFO 12-01 19:48:59 [file.py:1] {line}")
    run = reader.finish().result()
    assert run is not None
    serving = inspector.inspect(model, gpus=gpu, offline=True, engine=engine.name, **settings).servings[0]
    printed = {part: each.value for part, each in run.printed.items()}
    assert {"weights"} <= set(printed) <= {"weights", "kv_pool", "kv_tokens", "max_concurrency", "activations"}
    wanted = {**serving.per_gpu, "kv_tokens": serving.kv_tokens}
    wanted["max_concurrency"] = (serving.max_concurrency or 0) / serving.settings.get("data_parallel_size", 1)
    for part, value in printed.items():
        assert value == pytest.approx(wanted[part], abs=0.01 * 1024**3 if "max" not in part else 0.01)


def test_a_published_log_shows_what_was_expected() -> None:
    """The log of two L40S with vLLM 0.12 that tests/logs keeps an excerpt of."""
    logged, expected = engine_named("vllm").log_reader(), engine_named("vllm").log_reader()
    assert logged is not None
    assert expected is not None
    for line in excerpts.VLLM_V1.splitlines():
        logged.feed(line)
    run = logged.finish().result()
    assert run is not None
    own = ("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens")
    found = inspector.launch(
        "meta-llama/Llama-3.1-8B-Instruct",
        "2xL40S",
        "vllm",
        offline=True,
        context=run.settings["max_model_len"],
        kv_dtype="fp8",
        serving={"version": run.version} | {name: run.settings[name] for name in own},
    )
    assert found is not None
    for line in found.log:
        expected.feed(line)
    promised = expected.finish().result()
    assert promised is not None
    near = {"weights": 0.001, "kv_pool": 0.03, "kv_tokens": 0.03, "max_concurrency": 0.03}
    for part, share in near.items():
        assert promised.printed[part].value == pytest.approx(run.printed[part].value, rel=share)


PUBLISHED = [
    case
    for line in (Path(__file__).parent.parent / "memory" / "cases" / "vllm.jsonl").read_text("utf-8").splitlines()
    if (case := json.loads(line))["kind"] == "inference"
    and case["engine"] == "vllm"
    and case["dtype"] != "float32"
    and case["gpu"]
    and SNAPSHOTS.joinpath(f"{case['model_id'].replace('/', '--')}.json").exists()
    and all(
        type(case["settings"].get(name)) in (int, type(None)) for name in ("max_num_seqs", "max_num_batched_tokens")
    )
]


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case["id"])
def test_published_runs_printed_what_is_expected(case: dict[str, Any]) -> None:
    """Each with its source in tests/memory/cases; pools as near as docs/accuracy.md says of them."""
    own = ("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "enforce_eager")
    serving = {name: case["settings"][name] for name in own if case["settings"].get(name) is not None}
    if case["engine_version"]:
        serving["version"] = case["engine_version"]
    ranks = (case["tp"] or 1) * (case["pp"] or 1)
    if ranks > 1:
        serving |= {"tensor_parallel": case["tp"] or 1, "pipeline_parallel": case["pp"] or 1}
    cache = {"fp8": "fp8", "fp8_e4m3": "fp8"}.get(case["settings"].get("kv_cache_dtype"))
    gpu = f"{ranks}x{case['gpu']}" if ranks > 1 else case["gpu"]
    found = inspector.launch(
        case["model_id"],
        gpu,
        "vllm",
        offline=True,
        context=case["settings"].get("max_model_len"),
        kv_dtype=cache,
        serving=serving,
    )
    reader = engine_named("vllm").log_reader()
    assert found is not None
    assert reader is not None
    for line in found.log:
        reader.feed(line)
    run = reader.finish().result()
    assert run is not None
    parts = {"weights": ("weights_gib", 2**30, 0.01), "kv_tokens": ("kv_tokens", 1, 0.04)}
    for part, (name, unit, share) in parts.items():
        if case["measured"].get(name):
            assert run.printed[part].value / unit == pytest.approx(case["measured"][name], rel=share)


def test_there_are_published_runs() -> None:
    assert len(PUBLISHED) >= 6


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([QWEN32, "--gpu", "RTX 4090", "--emit", "vllm"], 1),
        (["openai-community/gpt2", "--gpu", "M3 Max 64GB", "--engine", "vllm", "--emit", "compose"], 4),
        ([QWEN, "--gpu", "RTX 4090", "--emit", "mlx", "--engine", "vllm"], 2),
        ([QWEN, "--gpu", "RTX 4090", "--emit", "vllm", "--engine", "transformers"], 2),
        ([QWEN, "--gpu", "RTX 4090", "--gpu", "H100", "--emit", "vllm"], 2),
        ([QWEN, "--all-gpus", "--emit", "vllm"], 2),
        ([QWEN, "--gpu", "RTX 4090", "--emit", "vllm", "--format", "csv"], 2),
        ([QWEN, "--gpu", "RTX 4090", "--emit", "nothing"], 2),
        ([QWEN, "--gpu", "M3 Max 64GB", "--engine", "mlx", "--emit", "compose"], 2),
        ([QWEN, "--gpu", "RTX 4090", "--engine", "llama.cpp", "--dtype", "Q8_0", "--emit", "kserve"], 2),
        ([QWEN, "--gpu", "RTX 4090", "--dtype", "int4", "--emit", "llama-server"], 4),
    ],
)
def test_what_is_not_launched_leaves_standard_output_empty(run: Run, arguments: list[str], code: int) -> None:
    done = run("fit", "--offline", *arguments)
    assert (done.code, done.out) == (code, "")
    assert done.error_lines


def test_the_command_is_on_standard_output_and_what_to_expect_beside_it(run: Run) -> None:
    done = run("fit", "--offline", QWEN, "--gpu", "RTX 4090", "--emit", "vllm", HF_TOKEN=TOKEN)
    assert (done.code, done.out) == (0, "vllm serve Qwen/Qwen3-8B --max-model-len 4096\n")
    assert "Model loading took 15.27 GiB" in done.err
    assert "llm-inspect check-log LOG Qwen/Qwen3-8B" in done.err
    assert run("fit", "--offline", QWEN, "--gpu", "RTX 4090", "--emit", "vllm", "-q").err == ""


@pytest.mark.parametrize("emit", ["vllm", "compose", "kserve", "ollama"])
def test_no_token_is_in_any_output(run: Run, emit: str) -> None:
    dtype = ("--dtype", "Q8_0") if emit == "ollama" else ()
    for format in ("text", "json"):
        done = run(
            *("fit", "--offline", QWEN, "--gpu", "H100", *dtype, "--emit", emit, "--token", TOKEN, "--format", format),
            HF_TOKEN=TOKEN,
        )
        assert done.code == 0
        assert TOKEN not in done.out + done.err


def test_the_revision_that_was_named_is_launched() -> None:
    settings = Settings(gpus=("H100",), engine="vllm")
    inspection = inspector.load(QWEN, offline=True).inspect(gpus=("H100",), engine="vllm")
    for model, revision, wanted in ((f"{QWEN}@v1", None, "v1"), (QWEN, "v2", "v2"), (QWEN, None, None)):
        found = launch_inspected(inspection, settings, "vllm", model, revision)
        assert found is not None
        assert ("--revision" in found.command) is (wanted is not None)
        assert wanted is None or wanted in found.command


def test_compose_and_kserve_wrap_the_engines_command() -> None:
    for emit in AROUND:
        for engine in ("vllm", "sglang"):
            found = inspector.launch(QWEN, "2xH100", emit, offline=True, engine=engine)
            assert found is not None
            content = yaml.safe_load(found.text)
            if emit == "compose":
                (service,) = content["services"].values()
                command = service["entrypoint"]
                assert service["deploy"]["resources"]["reservations"]["devices"][0]["count"] == 2
                assert "HF_TOKEN" in service["environment"]
            else:
                (pod,) = content["spec"]["predictor"]["containers"]
                command = [*pod["command"], *pod["args"]]
                assert pod["resources"]["limits"] == {"nvidia.com/gpu": "2"}
            assert command[: len(found.command)] == list(found.command)
            assert all(f"#   {line}" in found.text for line in found.log)
    assert "image: " in (inspector.launch(QWEN, "MI300X", "compose", offline=True) or found).text


def test_ollama_gets_a_modelfile_and_its_variables() -> None:
    found = inspector.launch(
        QWEN,
        "RTX 4090",
        "ollama",
        offline=True,
        dtype="Q4_K_M",
        batch=2,
        serving={"cache_type_k": "q8_0", "cache_type_v": "q8_0"},
    )
    assert found is not None
    lines = [line for line in found.text.splitlines() if not line.startswith("#")]
    assert lines == ["FROM ./Qwen3-8B-Q4_K_M.gguf", "PARAMETER num_ctx 4096", "PARAMETER num_gpu 37"]
    assert found.environment == {
        "OLLAMA_NUM_PARALLEL": "2",
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
    }
    with pytest.raises(UsageError, match="one type"):
        inspector.launch(QWEN, "RTX 4090", "ollama", offline=True, dtype="Q8_0", serving={"cache_type_k": "q8_0"})


HOSTILE = [
    "a b",
    "$(touch x)",
    "`id`",
    "'; rm -rf x; '",
    '"$HOME"',
    "-rf",
    "a: b # c",
    "${X}",
    "naïve 🤗",
    "{{x}}",
    "!x",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_does_not_leave_its_quotes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    folder.mkdir()
    files = repo_files("openai-community/gpt2")
    folder.joinpath("config.json").write_text(json.dumps(files["config.json"]))
    weights = files["model.safetensors"]
    assert isinstance(weights, Sparse)
    with folder.joinpath("model.safetensors").open("wb") as file:
        file.write(weights.head)
        file.truncate(len(weights.head) + weights.zeros)
    model = f"./{name}"
    found = inspector.launch(model, "2xH100", "vllm", offline=True)
    assert found is not None
    assert shlex.split(found.text) == list(found.command)
    assert found.command[2] == model
    wrapped = inspector.launch(model, "2xH100", "compose", offline=True)
    assert wrapped is not None
    (service,) = yaml.safe_load(wrapped.text)["services"].values()
    assert service["entrypoint"][2] == "/model"
    assert service["volumes"][1]["source"].replace("$$", "$") == model
    assert "$" not in service["volumes"][1]["source"].replace("$$", "")
    with pytest.raises(UsageError, match="cluster"):
        inspector.launch(model, "2xH100", "kserve", offline=True)


@given(st.text(), st.text())
def test_yaml_reads_back_any_text(first: str, second: str) -> None:
    content = {"a": [first, {"b": second, "c": [True, 3]}], "d": {"e": [second]}}
    assert yaml.safe_load(yaml_text(content)) == content


@given(st.text())
def test_no_variable_is_put_into_a_text(text: str) -> None:
    assert _escaped(text, "$").replace("$$", "") == text.replace("$", "")
    label = _label(text)
    assert label[:1].isalpha()
    assert label.isascii()
    assert len(label) <= 52
    assert label == label.lower()
    assert not label.endswith("-")


def test_the_json_has_the_launch_and_null_where_there_is_none(run: Run) -> None:
    record = run("fit", "--offline", QWEN, "--gpu", "RTX 4090", "--emit", "vllm", "--json").record
    assert record["launch"]["command"] == ["vllm", "serve", QWEN, "--max-model-len", "4096"]
    assert record["launch"]["log"][0] == "Model loading took 15.27 GiB memory"
    done = run("fit", "--offline", QWEN32, "--gpu", "RTX 4090", "--emit", "vllm", "--json")
    assert (done.code, done.record["launch"]) == (1, None)


def test_the_names_are_the_engines_own() -> None:
    assert emit_names() == ("vllm", "sglang", "llama-server", "ollama", "mlx", "compose", "kserve")


@pytest.mark.parametrize(
    ("engine", "variable"),
    [("vllm", "VLLM_ALLOW_LONG_MAX_MODEL_LEN"), ("sglang", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN")],
)
def test_a_request_longer_than_the_models_own_needs_a_variable_and_says_so(
    run: Run, engine: str, variable: str
) -> None:
    """Both refuse to start without it: "is greater than the derived max_model_len"."""
    words = ("fit", "Qwen/Qwen3-8B", "--gpu", "H200", "--engine", engine, "--offline", "--context")
    emitted = run(*words, "131072", "--emit", engine)
    assert emitted.out.startswith(f"{variable}=1 ")
    assert f"unless {variable}=1 is set" in " ".join(run(*words, "131072").out.split())
    assert variable not in run(*words, "40960", "--emit", engine).out
