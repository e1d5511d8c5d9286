"""The shape of the house: imports run one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import command_environment, repo_files
from tests.hub_server import LoopbackHub

PACKAGE = Path(__file__).parent.parent / "inspector"
STEPS = [
    "errors",
    "version",
    "settings",
    "hub",
    "model",
    "memory",
    "devices",
    "fit",
    "engines",
    "logs",
    "measure",
    "record",
    "api",
    "report",
    "batch",
    "manifest",
    "cli",
    "__main__",
]
"""Each may import those before it, never those after it."""

LLAMA = "meta-llama/Meta-Llama-3-8B"

CLIENT = {"anyio", "certifi", "filelock", "h11", "httpcore2", "httpx2", "idna", "truststore", "yaml"}
"""What huggingface_hub's session and token are made of."""

BACKPORTS = {"exceptiongroup", "typing_extensions"}
"""Loaded by an older Python."""

LAZY = {("engines", "logs"): "the rows of a comparison, until each engine has its own log reader"}


def imported_steps(path: Path) -> set[str]:
    """The steps that a module imports, type-only imports left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == "inspector":
                names = (child.module or "").split(".")
                found.update([names[1]] if len(names) > 1 else [alias.name for alias in child.names])
            elif isinstance(child, ast.Import):
                found.update(a.name.split(".")[1] for a in child.names if a.name.startswith("inspector."))
            walk(child)

    walk(tree)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_step_imports_only_the_steps_before_it(path: Path) -> None:
    step = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if step == "__init__":
        return
    allowed = set(STEPS[: STEPS.index(step) + 1]) | {later for (earlier, later) in LAZY if earlier == step}
    assert imported_steps(path) <= allowed


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_its_subject_in_its_first_line_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert text.count("\n") <= 400


def loaded_by(code: str, **environment: str) -> set[str]:
    """All modules that a fresh interpreter has after it ran `code`."""
    script = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return set(done.stdout.split("\n")[-2].split())


def packages(modules: set[str]) -> set[str]:
    """The packages of modules, without the standard library and what installers and compiled modules add."""
    found = {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names) - BACKPORTS
    return {name for name in found if not name.startswith(("_", "cython", "mypyc"))}


def own(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] == "inspector"}


def test_help_imports_click_and_nothing_heavier() -> None:
    loaded = loaded_by("from inspector.cli.main import run\nassert run(['--help']) == 0")
    assert packages(loaded) == {"click", "inspector"}
    assert not loaded & {"json", "asyncio", "urllib", "dataclasses"}
    assert len(own(loaded)) <= 6


def test_importing_the_library_imports_nothing_else_of_it() -> None:
    loaded = loaded_by("import inspector")
    assert packages(loaded) == {"inspector"}
    assert "json" not in loaded


def test_an_offline_report_of_a_llama_loads_no_client_and_no_code_for_other_questions() -> None:
    loaded = loaded_by(f"from inspector.cli.main import run\nassert run(['--offline', '{LLAMA}']) == 0")
    assert packages(loaded) == {"click", "huggingface_hub", "inspector", "rich"}
    assert len(own(loaded)) <= 60


def test_a_cold_report_of_a_llama_loads_the_client_and_what_it_reports_with(
    tmp_path: Path, loopback_hub: LoopbackHub
) -> None:
    """The budget of start-up, in modules: a process that asks the Hub spends nine tenths of its time on imports."""
    loopback_hub.add_repo(LLAMA, repo_files(LLAMA, 4))
    environment = command_environment(tmp_path, loopback_hub.url)
    loaded = loaded_by(f"from inspector.cli.main import run\nassert run(['{LLAMA}']) == 0", **environment)
    assert packages(loaded) - CLIENT == {"click", "huggingface_hub", "inspector", "rich"}
    assert not loaded & {"multiprocessing", "http.server", "xml"}
    questions = (
        "devices",
        "fit",
        "training",
        "engines",
        "logs",
        "measure",
        "batch",
        "manifest",
        "gguf",
        "pytorch",
        "layer_table",
    )
    assert not [name for name in own(loaded) if set(name.split(".")) & set(questions)]
    assert len(own(loaded)) <= 70
