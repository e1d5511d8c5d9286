"""The library's functions take the settings as typed keywords: a type checker finds a wrong name and a wrong type."""

from __future__ import annotations

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
import inspector
from inspector.memory.training import Sharding

inspector.inspect("gpt2", context=8192, images=2, image_size=(448, 448), gpus=("RTX 4090",), offline=True)
inspector.fit("gpt2", "24GiB", engine="vllm", serving={"max_num_seqs": 8}, dtype="fp8")
inspector.fit(model="gpt2", gpu="24GiB", formulas="article")
inspector.train("gpt2", method="lora", lora_rank=8, sharding=Sharding(fsdp=8))
model = inspector.load("gpt2", revision="main")
total: int | None = model.estimate(context=8192).total
fits: bool | None = model.fit("24GiB", batch=4).fits
peak: int | None = model.train(method="qlora").peak

inspector.inspect("gpt2", contxt=3)  # wrong
inspector.inspect("gpt2", context="3")  # wrong
inspector.inspect("gpt2", 8192)  # wrong
inspector.fit("gpt2", "24GiB", gpus=("24GiB",))  # wrong
inspector.fit("gpt2")  # wrong
inspector.train("gpt2", method="lora", lora_rnk=8)  # wrong
inspector.train("gpt2", kv_dtype="fp8")  # wrong
inspector.inspect_each(["gpt2"], context=3)  # wrong
inspector.ainspect("gpt2", images="none")  # wrong
inspector.inspect_many(["gpt2"], jbs=3)  # wrong
inspector.ainspect_many(["gpt2"], context="3")  # wrong
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
    with pytest.raises(TypeError, match="contxt"):
        inspector.inspect("gpt2", contxt=3)  # type: ignore[call-arg]


def test_no_module_takes_the_place_of_a_public_name() -> None:
    """Once `inspector.fit.anything` was imported, `inspector.fit` would be the folder."""
    modules = {module.name for module in pkgutil.iter_modules(inspector.__path__)}
    assert not modules & set(inspector.__all__)
    assert inspector.fit("openai-community/gpt2", "24GiB", offline=True).fits
