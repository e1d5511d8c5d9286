"""The shape of the house: imports run one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "inspector"
STEPS = [
    "errors",
    "version",
    "hub",
    "model",
    "memory",
    "hardware",
    "logs",
    "measure",
    "api",
    "differences",
    "report",
    "batch",
    "manifest",
    "cli_options",
    "cli_batch",
    "cli_logs",
    "cli_cache",
    "cli_diff",
    "cli_manifest",
    "cli",
    "__main__",
]
"""Each may import those before it, never those after it."""

LAZY = {("api", "report"): "Inspection.to_dict() renders itself; imported when called"}


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


def modules_after(code: str) -> set[str]:
    """Top-level packages loaded by a fresh interpreter that ran `code`."""
    script = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


def test_help_imports_click_and_nothing_heavier() -> None:
    loaded = modules_after("from inspector.cli import run\nassert run(['--help']) == 0")
    heavy = {"transformers", "torch", "numpy", "huggingface_hub", "httpx2", "safetensors", "rich", "json", "asyncio"}
    assert "click" in loaded
    assert loaded & heavy == set()


def test_importing_the_library_imports_nothing_else_of_it() -> None:
    assert modules_after("import inspector") & {"click", "rich", "huggingface_hub", "httpx2", "json"} == set()


def test_an_offline_report_of_a_llama_imports_no_transformers() -> None:
    code = "from inspector.cli import run\nassert run(['--offline', 'meta-llama/Meta-Llama-3-8B']) == 0"
    assert modules_after(code) & {"transformers", "torch", "numpy", "safetensors", "httpx2"} == set()
