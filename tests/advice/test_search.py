"""What is offered where a model does not fit: it fits, the device and the engine can do it, and least is lost first."""

from __future__ import annotations

import json
import random
import shlex
from functools import cache

import pytest

from inspector.advice.search import best_options, best_whole_option
from inspector.api.loaded import LoadedModel, load
from inspector.api.settings import Settings
from inspector.devices.spec import GpuSpec, parse_gpu
from inspector.engines.registry import engine_named, engines, names
from inspector.memory import Workload
from inspector.memory.precision import FILE_TYPE_NAMES
from inspector.memory.quantization.recipes import bits_of
from inspector.verdict.changes import Option
from tests.conftest import Done, Run

QWEN_7B, QWEN_32B, MIXTRAL = "Qwen/Qwen2.5-7B", "Qwen/Qwen3-32B", "mistralai/Mixtral-8x7B-v0.1"
LLAMA = "meta-llama/Llama-3.1-8B"

DEVICES = (
    *("RTX 4090", "RTX 5090", "RTX 3090", "RTX 3060 12GB", "RTX 4060", "RTX 4080", "RTX 2080 Ti", "T4", "V100 16GB"),
    *("L4", "L40S", "A10", "A100 40GB", "A100 80GB", "H100", "8xH100", "H200", "B200", "GB10", "4xA100 80GB", "2xL4"),
    *("M1 16GB", "M2 24GB", "M3 Max 64GB", "M4 Max 128GB", "MI300X", "RX 7900 XTX", "24GiB", "RTX 4090 + RTX 3090"),
    "RTX 4070",
)
MODELS = (
    *(
        QWEN_7B,
        QWEN_32B,
        MIXTRAL,
        LLAMA,
        "Qwen/Qwen2.5-0.5B",
        "Qwen/Qwen2.5-72B",
        "Qwen/Qwen3-30B-A3B",
        "Qwen/Qwen3-8B",
    ),
    *("Qwen/Qwen3-Next-80B-A3B-Instruct", "deepseek-ai/DeepSeek-V3", "google/gemma-2-9b", "google/gemma-3-4b-it"),
    *("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.2-3B", "microsoft/Phi-3-mini-4k-instruct"),
    *("mistralai/Mistral-Nemo-Base-2407", "openai/gpt-oss-20b", "openai/gpt-oss-120b", "tiiuae/falcon-7b"),
    "openai-community/gpt2",
)

SEED = 13


@cache
def loaded(name: str) -> LoadedModel:
    return load(name, offline=True)


def options(name: str, gpu: str, engine: str = "transformers", context: int | None = None) -> tuple[Option, ...]:
    model = loaded(name).model
    workload = Settings(engine=engine, gpus=(gpu,), context=context).workload(model)
    order = (engine, *(each for each in names() if each != engine))
    return best_options(model, parse_gpu(gpu), workload=workload, engines=order)


def asked(run: Run, option: str) -> Done:
    """The command line of an option, run."""
    words = shlex.split(option)
    assert words[:2] == ["llm-inspect", "fit"]
    return run(*words[1:], "--offline")


def lines(text: str) -> list[str]:
    """The commands that a report shows."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith("llm-inspect fit")]


@pytest.mark.parametrize(
    ("arguments", "engines"),
    [
        ((QWEN_7B, "--gpu", "M1 16GB"), {"mlx", "llama.cpp"}),
        ((QWEN_7B, "--gpu", "T4"), {"transformers", "llama.cpp", "vllm"}),
        ((QWEN_7B, "--gpu", "RTX 2080 Ti"), {"transformers", "llama.cpp", "vllm"}),
        ((MIXTRAL, "--gpu", "RTX 5090"), {"transformers", "llama.cpp", "vllm"}),
        ((QWEN_32B, "--gpu", "RTX 4090", "--engine", "llama.cpp"), {"llama.cpp", "transformers", "vllm"}),
        ((QWEN_7B, "--gpu", "16GiB", "--context", "128k"), {"transformers", "llama.cpp"}),
    ],
)
def test_the_best_options_are_commands_that_fit(run: Run, arguments: tuple[str, ...], engines: set[str]) -> None:
    done = run("fit", *arguments, "--offline")
    assert done.code == 1
    shown = lines(done.out)
    assert 1 <= len(shown) <= 3
    record = run("fit", *arguments, "--offline", "--json").record["fit"][0]
    assert [each["command"] for each in record["options"] if each["best"]][:3] == shown
    assert {each["engine"] for each in record["options"][:3]} <= engines
    for command in shown:
        assert asked(run, command).code == 0, command
    more = run("fit", *arguments, "--offline", "--all-options")
    assert lines(more.out) == [each["command"] for each in record["options"]]


def test_a_mac_is_one_and_has_one_memory(run: Run) -> None:
    done = run("fit", QWEN_7B, "--gpu", "M1 16GB", "--offline", "--all-options")
    assert "2x" not in done.out
    assert "CPU, which is slow" not in done.out
    assert "fp8" not in done.out
    first = options(QWEN_7B, "M1 16GB")[0]
    assert (first.engine, first.dtype, first.cache_bits) == ("mlx", "mlx-8bit", 16)


@pytest.mark.parametrize("gpu", ["T4", "RTX 2080 Ti", "M1 16GB", "V100 16GB"])
def test_what_has_no_fp8_is_offered_none(gpu: str) -> None:
    found = options(QWEN_7B, gpu)
    assert found
    assert not [each for each in found if each.dtype in ("fp8", "nvfp4", "mxfp4") or each.settings["kv_dtype"] == "fp8"]


def test_weights_alone_in_fp8_are_offered_where_a_kernel_unpacks_them() -> None:
    kinds = {(each.engine, each.dtype, each.cache_bits) for each in options(MIXTRAL, "2xA100 40GB", "vllm")}
    assert ("vllm", "fp8", 16) in kinds
    assert ("vllm", "fp8", 8) not in kinds  # Ampere does not multiply fp8: no cache of it
    assert ("vllm", "nvfp4", 16) not in kinds


def test_floors_are_never_offered_and_recipes_with_scales_are() -> None:
    found = options(MIXTRAL, "RTX 5090")
    assert {each.dtype for each in found} >= {"awq", "gptq", "nvfp4", "Q4_K_M"}
    assert not {"int4", "int8", "fp4"} & {each.dtype for each in found}
    (awq,) = [each for each in found if (each.engine, each.dtype, each.count) == ("transformers", "awq", 1)]
    assert round(awq.needed / 2**30, 2) == 24.77  # as the issue has it


def test_a_whole_model_in_fewer_bits_comes_before_layers_on_the_cpu() -> None:
    found = options(QWEN_32B, "RTX 4090", "llama.cpp")
    first, offloaded = found[0], next(each for each in found if each.layers_on_gpu is not None)
    assert (first.dtype, first.layers_on_gpu, first.engine) == ("Q5_K_M", None, "llama.cpp")
    assert found.index(offloaded) > max(
        found.index(each) for each in found if each.dtype == "Q4_K_M" and each.best is False
    )
    (whole,) = [each for each in found if (each.dtype, each.cache_bits, each.layers_on_gpu) == ("Q4_K_M", 16, None)]
    assert round(whole.needed / 2**30, 1) == 19.7


def test_another_engine_keeps_the_whole_context() -> None:
    found = options(QWEN_7B, "16GiB", context=131072)
    assert (found[0].engine, found[0].context) == ("llama.cpp", 131072)
    assert found[0].text.endswith("with llama.cpp")
    (four,) = [each for each in found if (each.dtype, each.cache_bits) == ("Q4_K_M", 16)]
    assert round(four.needed / 2**30, 1) == 11.8
    assert any(each.context < 131072 and each.engine == "transformers" for each in found)


def test_the_sizes_of_an_option_sum() -> None:
    for each in options(QWEN_32B, "RTX 4090", "vllm", 8192):
        assert each.needed + each.headroom == each.usable


def test_options_change_what_was_asked_as_little_as_they_say() -> None:
    for each in options(MIXTRAL, "RTX 5090"):
        assert each.settings["context"] == each.context == 4096
        assert each.text


def test_all_options_of_what_fits_are_other_ways(run: Run) -> None:
    plain = run("fit", LLAMA, "--gpu", "RTX 4090", "--offline")
    assert (plain.code, lines(plain.out)) == (0, [])
    done = run("fit", LLAMA, "--gpu", "RTX 4090", "--offline", "--all-options")
    assert done.code == 0
    assert "other ways to run it" in done.out
    assert len(lines(done.out)) > 10


def test_changes_are_the_options_that_change_one_thing(run: Run) -> None:
    record = run("fit", QWEN_7B, "--gpu", "T4", "--context", "8k", "--offline", "--json").record["fit"][0]
    found = [change["option"].split(" ")[0] for change in record["changes"]]
    assert found == sorted(set(found), key=["--context", "--batch", "--kv-dtype", "--dtype", "--gpu", ""].index)
    assert "--dtype" in found


@pytest.mark.parametrize("gpu", DEVICES)
def test_nothing_is_offered_that_the_device_cannot_do(gpu: str) -> None:
    spec = parse_gpu(gpu)
    for name in MODELS:
        for engine in ("transformers", "llama.cpp"):
            model = loaded(name).model
            workload = Settings(engine=engine, gpus=(gpu,)).workload(model)
            order = (engine, *(each for each in names() if each != engine))
            best = best_whole_option(model, spec, workload=workload, engines=order)
            if best is not None:
                check(best, spec, name)


def check(option: Option, spec: GpuSpec, name: str) -> None:
    """What the device's table and the engines' folders say an option needs is there."""
    about = f"{name} on {spec.label}: {option}"
    computes, capability = spec.computes or frozenset(), spec.compute_capability
    engine = engine_named(option.engine)
    assert 0 <= option.headroom == option.usable - option.needed, about
    assert spec.kind is None or engine.device_kinds is None or spec.kind in engine.device_kinds, about
    assert not (spec.unified and (option.layers_on_gpu is not None or option.count != spec.count)), about
    assert option.dtype not in ("int4", "int8", "fp4"), about
    assert option.dtype not in FILE_TYPE_NAMES or option.engine == "llama.cpp", about
    assert not option.dtype.startswith("mlx") or option.engine == "mlx", about
    if spec.kind is None:
        return
    if option.dtype == "fp8":
        assert "fp8" in computes or (capability is not None and capability >= (8, 0)), about
    if option.dtype in ("nvfp4", "mxfp4"):
        assert "fp4" in computes, about
    if option.dtype == "w8a8":
        assert "int8" in computes, about
    if option.settings["kv_dtype"] == "fp8":
        assert "fp8" in computes, about
    if option.dtype in ("awq", "gptq", "nf4", "nf4-dq", "bnb-int8"):
        assert spec.kind == "rocm" or (capability is not None and capability >= (6, 0)), about


def sample() -> list[tuple[str, str, str]]:
    """Pairs of devices and models, each with an engine."""
    chance = random.Random(SEED)
    pairs = [(gpu, model) for gpu in DEVICES for model in MODELS]
    return [(*pair, chance.choice(("transformers", "llama.cpp"))) for pair in chance.sample(pairs, 60)]


@pytest.mark.parametrize(("gpu", "name", "engine"), sample())
def test_a_suggested_command_fits(run: Run, gpu: str, name: str, engine: str) -> None:
    record = run("fit", name, "--gpu", gpu, "--engine", engine, "--offline", "--json").record["fit"][0]
    spec = parse_gpu(gpu)
    assert (record["fits"] is False) or not record["options"]
    chance = random.Random(f"{SEED} {gpu} {name}")
    for option in chance.sample(record["options"], min(2, len(record["options"]))):
        done = asked(run, option["command"] + " --json")
        assert done.code == 0, option["command"]
        fit = done.record["fit"][0]
        assert (fit["needed"], fit["usable"]) == (option["needed"], option["usable"]), option["command"]
        assert not (spec.unified and option["layers_on_gpu"])


@pytest.mark.parametrize("name", [name for name in FILE_TYPE_NAMES if name not in ("MXFP4_MOE",)])
def test_the_bits_of_a_file_type_are_within_its_name_s(name: str) -> None:
    """Of its tensors' blocks, scales included: "Q4_K_M" 4 to 5, "IQ2_XXS" 2 to 3."""
    whole = int(name.removeprefix("I").removeprefix("T")[1])
    assert whole <= bits_of(name) < whole + 1.1


@pytest.mark.parametrize("gpu", DEVICES)
def test_the_quick_search_finds_the_first_of_all_options_that_keep_the_workload(gpu: str) -> None:
    spec, workload = parse_gpu(gpu), Workload(2048)
    lighter = {name for engine in engines() for name, _ in engine.lighter}
    for name in random.Random(SEED).sample(MODELS, 6):
        model = loaded(name).model
        whole = (
            each
            for each in best_options(model, spec, workload=workload)
            if each.context >= 2048 and each.count == spec.count and each.layers_on_gpu is None
        )
        first = next((each for each in whole if not each.settings["serving"].keys() & lighter), None)
        assert best_whole_option(model, spec, workload=workload) == first, name


def test_show_and_batch_search_the_engine_that_is_asked_and_fit_all(run: Run) -> None:
    asked = ("Qwen/Qwen2.5-72B", "--gpu", "RTX 4090", "--offline")
    shown, fitted = run("show", *asked, "--json").record, run("fit", *asked, "--json").record
    batch = run("batch", "-", "--gpu", "RTX 4090", "--offline", stdin="Qwen/Qwen2.5-72B\n")
    engines = [
        {option["engine"] for verdict in record["fit"] for option in verdict["options"]}
        for record in (shown, json.loads(batch.out), fitted)
    ]
    assert engines[:2] == [{"transformers"}, {"transformers"}]
    assert engines[2] > {"transformers"}
