"""The engines that there are: what each says of itself, and what asking for it costs."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest

from inspector.devices.spec import parse_gpu
from inspector.engines.common.layer_rules import LayerRules, UnsupportedLayer
from inspector.engines.registry import engine_named, engines, names
from inspector.engines.settings import all_options, engine_settings
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.model import Model
from inspector.model.layers import Attention, FullAttention
from inspector.record import serving_record
from inspector.settings import settings_of
from tests.memory.test_ledger import inspection
from tests.test_structure import loaded_by, own
from tests.verdict.small_model import model as small_model

SERVERS = [name for name in names() if engine_named(name).needs_device]


def test_an_engine_has_the_name_that_it_is_registered_by() -> None:
    assert names() == tuple(engine.name for engine in engines()) == ("transformers", *SERVERS)


def test_all_engines_options_are_read_without_any_engines_code() -> None:
    loaded = own(loaded_by("from inspector.engines.settings import all_options\nassert all_options()"))
    files = {".".join(name.split(".")[3:]) for name in loaded if name.startswith("inspector.engines.")}
    assert files <= {"", "engine", "options", "registry", "settings"}
    assert not [
        name for name in loaded if name.split(".")[1:2] not in ([], ["engines"], ["errors"], ["settings"], ["version"])
    ]


def test_options_of_one_name_say_one_thing() -> None:
    for engine in engines():
        for name, option in settings_of(engine.options).items():
            assert option == all_options()[name]
            assert option.about.help.endswith(".")


@pytest.mark.parametrize("name", names())
def test_every_engine_refuses_an_option_that_nobody_has(name: str) -> None:
    with pytest.raises(UsageError, match="setting"):
        engine_settings(name, {"colour": 1})


@dataclasses.dataclass(frozen=True, slots=True)
class Novel(Attention):
    """A mechanism that no engine has a rule for, though it is derived from one that all have."""

    kind: ClassVar[str] = "novel"


def test_a_rule_is_for_the_classes_that_it_names_alone() -> None:
    widths: LayerRules[[int], int] = LayerRules("width")

    @widths.of(Attention, FullAttention)
    def _(layer: Attention, factor: int) -> int:
        return factor * layer.head_dim

    assert widths(FullAttention(8, 64, 64), 2) == 128
    assert widths.known(Novel(8, 64, 64), 2) is None
    with pytest.raises(UnsupportedLayer, match="no width for novel layers"):
        widths(Novel(8, 64, 64), 2)


@pytest.mark.parametrize("name", SERVERS)
def test_a_mechanism_without_a_rule_cannot_be_told(name: str) -> None:
    model, spec = inspection("meta-llama/Meta-Llama-3-8B").model, parse_gpu("64GiB")
    engine = engine_named(name)
    assert engine.plan(model, Workload(4096), spec, engine.options()).fits is True
    layers = (Novel(8, 128, 128), *model.architecture.layers[1:])
    assert (rules := engine.cache_rules()) is not None
    assert FullAttention in rules.mechanisms
    assert Novel not in rules.mechanisms
    changed = dataclasses.replace(model, architecture=dataclasses.replace(model.architecture, layers=layers))
    serving = engine.plan(changed, Workload(4096), spec, engine.options())
    assert serving.fits is serving.verdict.needed is None
    assert serving.notes[0] == "cannot tell: no cache rule for novel layers"


@pytest.mark.parametrize("name", SERVERS)
def test_a_cache_between_two_bounds_fits_by_the_most_and_does_not_by_the_least(name: str) -> None:
    engine, whole = engine_named(name), inspection("meta-llama/Meta-Llama-3-8B").model
    least = (FullAttention(1, 128, 128),) * 32
    model = dataclasses.replace(whole, architecture=dataclasses.replace(whole.architecture, layers_at_least=least))
    verdicts = []
    for size in range(54, 100, 2):
        spec = parse_gpu(f"{size / 4}GiB")
        options, workload = engine.options(), Workload(8192, batch=2)
        most, serving = (engine.plan(one, workload, spec, options, suggest=False) for one in (whole, model))
        verdicts.append(serving.fits)
        assert serving.fits is (most.fits or (None if serving.fits is None else False))
        assert serving.request_bytes == most.request_bytes
        record = serving_record(serving)
        if serving.request_bytes is not None:
            assert 0 < record["request_bytes_at_least"] < record["request_bytes_at_most"] == serving.request_bytes
            assert any("takes" in note and f"{serving.request_bytes:,} bytes" in note for note in serving.notes)
        assert any(note.startswith("cannot tell: it fits by the least") for note in serving.notes) is (
            serving.fits is None
        )
        assert serving.explanation()
    assert set(verdicts) == {False, None, True}


def refusal(name: str, model: Model) -> str | None:
    """Why an engine cannot tell for a model; None where it can."""
    engine = engine_named(name)
    serving = engine.plan(model, Workload(512), parse_gpu("64GiB"), engine.options(), suggest=False)
    return next((note.removeprefix("cannot tell: ") for note in serving.notes if note.startswith("cannot tell")), None)


def test_mlx_and_llama_cpp_say_why_they_do_not_load_a_model() -> None:
    model = inspection("openai/gpt-oss-20b").model
    assert refusal("llama.cpp", inspection("deepseek-ai/DeepSeek-V3").model) == (
        "nothing says what type of GGUF a fp8 checkpoint is converted to: name it with --dtype"
    )
    assert refusal("llama.cpp", model) is None
    changed = dataclasses.replace(model, architecture=dataclasses.replace(model.architecture, model_type="novel"))
    assert refusal("mlx", changed) == "mlx-lm has no class for the model type 'novel'"
    assert refusal("mlx", model) is None


@pytest.mark.parametrize(
    ("engine", "gpu", "version", "why"),
    [
        ("vllm", "P40", None, "vLLM 0.33 needs compute capability 7.5 or newer, and P40 has 6.1"),
        ("vllm", "V100 16GB", None, "vLLM 0.33 needs compute capability 7.5 or newer, and V100 16GB has 7.0"),
        ("vllm", "V100 16GB", "0.10", ""),
        ("vllm", "T4", None, ""),
        ("sglang", "P100", None, "SGLang needs compute capability 7.5 or newer, and P100 has 6.0"),
    ],
)
def test_gpus_that_are_older_than_a_release_runs_on(engine: str, gpu: str, version: str | None, why: str) -> None:
    chosen = engine_named(engine)
    serving = chosen.plan(small_model(), Workload(context=16), parse_gpu(gpu), chosen.options(version=version))
    assert [note for note in serving.notes if "compute capability" in note] == ([f"cannot tell: {why}"] if why else [])
