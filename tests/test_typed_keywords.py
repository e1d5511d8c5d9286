"""The library's functions take the settings as typed keywords: a type checker finds a wrong name and a wrong type."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import inspector
from inspector.api.settings import Settings
from inspector.settings import settings_of

SCRIPT = """
from pathlib import Path

import inspector
from inspector.memory.training import Sharding

inspector.inspect("gpt2", context=8192, images=2, image_size=(448, 448), gpus=("RTX 4090",), offline=True)
inspector.inspect(Path("gpt2"), context="8k", gpus="RTX 4090")
inspector.fit("gpt2", "24GiB", engine="vllm", serving={"max_num_seqs": 8}, dtype="fp8")
inspector.fit(model="gpt2", gpu="24GiB", formulas="article")
trained = inspector.train("gpt2", method="lora", lora_rank=8, sharding=Sharding(fsdp=8))
bytes_at_peak: int | None = trained.peak
inspection, training = trained
phase: str | None = training.peak_phase
model = inspector.load("gpt2", revision="main")
total: int | None = model.estimate(context=8192).total
fits: bool | None = model.fit("24GiB", batch=4).fits
peak: int | None = model.train(method="qlora").peak

inspector.inspect("gpt2", contxt=3)  # wrong
inspector.inspect("gpt2", context=3.5)  # wrong
inspector.inspect("gpt2", 8192)  # wrong
inspector.fit("gpt2", "24GiB", gpus=("24GiB",))  # wrong
inspector.fit("gpt2")  # wrong
inspector.train("gpt2", method="lora", lora_rnk=8)  # wrong
inspector.train("gpt2", kv_dtype="fp8")  # wrong
inspector.inspect_each(["gpt2"], context=3)  # wrong
inspector.ainspect("gpt2", images="none")  # wrong
inspector.inspect_many(["gpt2"], jbs=3)  # wrong
inspector.ainspect_many(["gpt2"], context=b"3")  # wrong
inspector.inspect_many_on_ray(["gpt2"], contxt=3)  # wrong
model.estimate(contxt=3)  # wrong
model.fit("24GiB", batch="4")  # wrong
model.train(sharding=3)  # wrong
"""


def test_a_type_checker_finds_a_wrong_keyword_and_a_wrong_type(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", str(script)],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    found = {int(line) for line in re.findall(r"script\.py:(\d+): error", done.stdout)}
    wrong = {number for number, line in enumerate(SCRIPT.splitlines(), 1) if line.endswith("# wrong")}
    assert found == wrong, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name", ["inspect", "fit", "train", "ainspect", "inspect_each", "inspect_pair", "inspect_many", "load"]
)
def test_help_shows_the_arguments(name: str) -> None:
    function = getattr(inspector, name)
    assert function.__name__ == name
    assert function.__doc__
    signature = inspect.signature(function)
    assert str(signature.return_annotation) != "None"
    assert not [each for each in signature.parameters.values() if each.kind is each.VAR_KEYWORD]


def test_every_setting_is_a_keyword_of_inspect() -> None:
    assert set(settings_of(Settings)) <= set(inspect.signature(inspector.inspect).parameters)


def test_a_wrong_keyword_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match=r"inspect\(\) .*'contxt'; did you mean context\?"):
        inspector.inspect("gpt2", contxt=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"'gpu'; did you mean gpus\?"):
        inspector.inspect("gpt2", gpu="24GiB")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"'zzz'$"):
        inspector.inspect("gpt2", zzz=1)  # type: ignore[call-arg]


def test_a_path_object_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    (tmp_path / "gpt2" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for model in (tmp_path / "gpt2", Path("gpt2")):
        assert inspector.inspect(model).checkpoint.source == "local"
        assert [each["outcome"] for each in inspector.inspect_many([model])] == ["ok"]
    with pytest.raises(inspector.InspectError, match="does not exist"):
        inspector.inspect(Path("org/name"))


def test_no_module_takes_the_place_of_a_public_name() -> None:
    """Once `inspector.fit.anything` was imported, `inspector.fit` would be the folder."""
    modules = {module.name for module in pkgutil.iter_modules(inspector.__path__)}
    assert not modules & set(inspector.__all__)
    assert inspector.fit("openai-community/gpt2", "24GiB", offline=True).fits


MODEL = "openai-community/gpt2"


def test_arguments_are_read_as_the_command_line_reads_them() -> None:
    asked = {"gpus": ("RTX 4090",), "context": 1024, "engine": "vllm", "serving": {"max_num_seqs": 8}}
    written = {**asked, "gpus": "RTX 4090", "context": "1k", "engine": "vLLM"}
    first, second = (inspector.inspect(MODEL, offline=True, **each) for each in (asked, written))  # type: ignore[arg-type]
    assert first.to_dict() == second.to_dict()
    assert inspector.train(MODEL, offline=True, method="LoRA").training.setup.method == "lora"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"context": "8x"}, {"context": 0}, {"context": 1.5}, {"context": True}, {"batch": None}, {"batch": "4"},
        {"images": 1.5}, {"image_size": "1xa"}, {"image_size": (1, "a")}, {"image_size": (1, 2, 3)}, {"dtype": 3},
        {"formulas": 3}, {"gpus": 3}, {"gpus": [3]}, {"gpus": "RTX 4900"}, {"serving": 3}, {"engine": None},
        {"engine": "vllm", "gpus": "24GiB", "serving": {"max_num_seqs": "8"}}, {"all_gpus": 1}, {"revision": 3},
        {"token": 3}, {"resolver": 3}, {"model": None},
    ],
)  # fmt: skip
def test_a_wrong_argument_is_an_error_at_once_that_names_it(wrong: dict[str, object]) -> None:
    name = next(reversed(wrong))
    with pytest.raises((inspector.InspectError, TypeError)) as error:
        inspector.inspect(**{"model": MODEL, "offline": True, **wrong})  # type: ignore[arg-type]
    assert name.rstrip("s").replace("_", " ") in str(error.value).replace("_", " ") or str(wrong[name]) in str(
        error.value
    )


def test_a_verdict_is_true_or_false_and_an_unknown_one_neither() -> None:
    model = inspector.load(MODEL, offline=True)
    yes, no = model.fit("24GiB"), model.fit("1MiB")
    assert yes
    assert not no
    with pytest.raises(ValueError, match="is not known"):
        bool(dataclasses.replace(yes, fits=None))


def test_results_say_what_they_are_in_one_line() -> None:
    model = inspector.load(MODEL, offline=True)
    report = model.inspect(gpus="24GiB")
    trained = inspector.train(MODEL, offline=True, gpus="24GiB")
    assert repr(model) == "<LoadedModel openai-community/gpt2: 124,439,808 parameters>"
    assert repr(report.fits[0]).startswith("<Fit 24GiB: fits, needs ")
    for each in (model, report, report.fits[0], report.estimate, trained, trained.training, *trained.fits):
        assert "\n" not in repr(each)
        assert len(repr(each)) < 250
    assert trained.peak == trained.training.peak
    assert trained.to_dict()["training"]["peak"] == trained.peak


def test_a_notebook_shows_the_report_and_a_name_is_no_markup() -> None:
    report = inspector.inspect(MODEL, offline=True)
    shown = report._repr_html_()
    assert "124,439,808" in shown
    assert shown.startswith("<pre")
    hostile = dataclasses.replace(
        report, checkpoint=dataclasses.replace(report.checkpoint, repo_id="<script>x</script>")
    )
    assert "<script>" not in hostile._repr_html_()
