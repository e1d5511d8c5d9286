"""A serving engine of one module and one registry line works end to end through the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.test_structure import PACKAGE

LLAMA = "meta-llama/Meta-Llama-3-8B"

ENGINE = """
from dataclasses import dataclass

from inspector.engines.engine import Engine
from inspector.engines.registry import register
from inspector.engines.serving import Serving
from inspector.settings import setting


@dataclass(frozen=True)
class ToyOptions:
    toy_setting: int | None = setting(None, help="Toy's spare GiB. Default: 1.", metavar="N", least=0)


class Toy(Engine):
    name, title, options = "toy", "Toy", ToyOptions

    def account(self, model, workload, spec, options, *, suggest):
        weights, spare = model.parameters.stored_bytes, (options.toy_setting or 1) * 1024**3
        pool = spec.capacity - weights - spare
        sizes = {"weights": weights, "activations": spare, "kv_pool": pool, "total": spec.capacity}
        settings, devices = {"toy_setting": options.toy_setting or 1}, (spec.name, spec.count, spec.capacity)
        return Serving("toy", "0", *devices, settings, sizes, request_bytes=0, fits=pool > 0)


ENGINE = Toy()
register("toy", __name__)
"""
"""A serving engine: in the package it is a folder's engine.py, and its last line a line of engines/registry.py."""


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with the modules of a folder added to it."""
    modules = ", ".join(path.stem for path in sorted(folder.glob("*.py")))
    script = f"import sys, {modules}\nfrom inspector.cli.main import run\nsys.exit(run(sys.argv[1:]))"
    path = os.pathsep.join((str(folder), str(PACKAGE.parent)))
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )


def test_the_whole_of_an_engine_is_under_thirty_lines() -> None:
    assert len(ENGINE.strip().splitlines()) < 30


def test_a_toy_engine_plans_through_the_command(tmp_path: Path) -> None:
    (tmp_path / "toy_engine.py").write_text(ENGINE, encoding="utf-8")
    fit = ("fit", LLAMA, "--gpu", "24GiB", "--engine", "toy", "--offline")
    done = command(tmp_path, *fit, "--toy-setting", "3", "--json")
    record = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    weights = 8_030_261_248 * 2
    assert record["serving"]["settings"] == {"toy_setting": 3}
    assert record["serving"]["per_gpu"]["kv_pool"] == 24 * 1024**3 - weights - 3 * 1024**3
    assert (record["fit"][0]["fits"], record["fit"][0]["needed"]) == (True, weights + 3 * 1024**3)
    text = command(tmp_path, *fit)
    assert (text.returncode, "toy 0, " in text.stdout) == (0, True)
    assert command(tmp_path, *fit, "--toy-setting", "10").returncode == 1


def test_a_toy_engines_option_is_in_the_help_and_refused_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "toy_engine.py").write_text(ENGINE, encoding="utf-8")
    text = " ".join(command(tmp_path, "fit", "--help").stdout.split())
    assert "mlx|toy]" in text
    assert "--toy-setting N Toy's spare GiB. Default: 1." in text
    done = command(tmp_path, "fit", LLAMA, "--gpu", "24GiB", "--engine", "vllm", "--toy-setting", "3", "--offline")
    assert done.returncode == 2
    assert "--toy-setting is a setting of toy, not of vllm" in done.stderr
    done = command(tmp_path, "fit", LLAMA, "--gpu", "24GiB", "--engine", "toy", "--tp", "2", "--offline")
    assert (done.returncode, "toy has: --toy-setting." in done.stderr) == (2, True)
