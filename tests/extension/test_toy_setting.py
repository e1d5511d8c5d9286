"""To add a setting is to write one dataclass field and the formula that reads it: all else follows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODEL = "meta-llama/Llama-3.2-1B"
EDITS = {
    "memory/estimate.py": (
        "    kv_dtype: str | None = setting(",
        '    toy: int = setting(0, help="Bytes of a toy.", unit="bytes", least=0)\n    kv_dtype: str | None = setting(',
    ),
    "memory/inference/total.py": ("            OVERHEAD_BYTES,", "            OVERHEAD_BYTES + workload.toy,"),
}
"""File -> what is replaced there, once, and by what. The whole of the new setting."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package that has the new setting."""
    folder = tmp_path_factory.mktemp("toy")
    shutil.copytree(ROOT / "inspector", folder / "inspector", ignore=shutil.ignore_patterns("data", "__pycache__"))
    (folder / "inspector" / "data").symlink_to(ROOT / "inspector" / "data")
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    for name, (old, new) in EDITS.items():
        path = folder / "inspector" / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
    return folder


def output(package: Path, *arguments: str, code: int = 0) -> str:
    """What the command prints; with "-c", what a script does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(package / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(package)}
    start = arguments if arguments[0] == "-c" else ("-m", "inspector", *arguments)
    done = subprocess.run(
        [sys.executable, *start], capture_output=True, text=True, env=environment, cwd=package, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_the_option_works_in_show_fit_and_batch_and_its_value_is_in_the_json(package: Path) -> None:
    plain = json.loads(output(package, MODEL, "--json"))["memory"]["inference"]
    toy = json.loads(output(package, MODEL, "--json", "--toy", "1000"))["memory"]["inference"]
    assert (toy["toy"], toy["total"] - plain["total"]) == (1000, 1000)
    (fits,) = json.loads(output(package, "fit", MODEL, "--gpu", "24GiB", "--toy", "1000", "--json"))["fit"]
    assert fits["needed"] == toy["total"]
    output(package, "fit", MODEL, "--gpu", "24GiB", "--toy", str(30 * 2**30), code=1)
    (package / "list.txt").write_text(MODEL)
    assert json.loads(output(package, "batch", "list.txt", "--toy", "1000"))["memory"]["inference"] == toy


def test_help_names_it(package: Path) -> None:
    for command in ("show", "fit", "batch", "lock", "diff"):
        assert "Bytes of a toy.  [default: 0; x>=0]" in " ".join(output(package, command, "--help").split()).replace(
            ". [", ".  ["
        )
    assert "--toy" not in output(package, "train", "--help")


def test_it_survives_lock_and_verify(package: Path) -> None:
    output(package, "lock", MODEL, "--offline", "--toy", "1000", "-o", "toy.yaml")
    assert "    toy: 1000\n" in (package / "toy.yaml").read_text()
    assert output(package, "verify", "--offline", "toy.yaml").startswith("ok ")
    (package / "toy.yaml").write_text((package / "toy.yaml").read_text().replace("toy: 1000", "toy: 2000"))
    output(package, "verify", "--offline", "toy.yaml", code=1)


def test_the_librarys_functions_take_it(package: Path) -> None:
    script = f"""
import inspector
model = inspector.load("{MODEL}")
print(inspector.inspect("{MODEL}", toy=3).estimate.total - inspector.inspect("{MODEL}").estimate.total)
print(model.estimate(toy=3).total - model.estimate().total)
print(model.fit("24GiB", toy=3).needed - model.fit("24GiB").needed)
"""
    assert output(package, "-c", script).split() == ["3", "3", "3"]
