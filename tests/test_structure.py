"""The shape of the house: imports run one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import json
import os
import re
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
    "tables",
    "hub",
    "model",
    "memory",
    "devices",
    "verdict",
    "engines",
    "advice",
    "logs",
    "measure",
    "record",
    "api",
    "report",
    "batch",
    "trainers",
    "finding",
    "manifest",
    "web",
    "cli",
    "__main__",
]
"""Each may import those before it, never those after it."""

INNER_STEPS = {
    "hub": ["address", "repo_id", "dtypes", "checkpoint", "client", "formats", "cache", "repo", "resolver", "near"],
}
"""The order within a folder."""

MAX_FUNCTION_LINES = 60

BELOW_ALL = {"errors", "version", "settings", "tables"}
"""What any file may use, whatever else it uses."""
MAX_OTHER_FOLDERS = 6
MAX_NAMES_OF_OTHER_FOLDERS = 20
COUNTED_APART = {"inspector.api.inspection": (7, 30), "inspector.cli.batch": (6, 28)}
"""Folders and names of the two files that put a whole run together: a question's, a batch's."""

MAX_MODEL_TYPES_NAMED = 39
"""There were 453."""

ENGINES = {"transformers": "transformers", "vllm": "vllm", "sglang": "sglang", "llama.cpp": "llama_cpp", "mlx": "mlx"}
"""Name -> folder."""

LLAMA = "meta-llama/Meta-Llama-3-8B"

CLIENT = {"anyio", "certifi", "filelock", "h11", "httpcore2", "httpx2", "idna", "truststore", "yaml"}
"""What huggingface_hub's session and token are made of."""

BACKPORTS = {"exceptiongroup", "typing_extensions"}
"""Loaded by an older Python."""


def imported(path: Path) -> set[tuple[str, str]]:
    """Each module of the package that a file names, and the name that it takes from it ("" for the module itself):
    at the top, within functions, for types alike, and by a module's whole name in a string (`import_module`)."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "inspector":
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                found.add((module, "") if module in MODULES else (str(node.module), alias.name))
        elif isinstance(node, ast.Import):
            found.update((alias.name, "") for alias in node.names if alias.name in MODULES)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value in set(MODULES) - {"inspector"}
        ):
            found.add((node.value, ""))
    return found


def module_name(path: Path) -> str:
    return ".".join(("inspector", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {module_name(path): path for path in FILES}
IMPORTED = {name: imported(path) for name, path in MODULES.items()}
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))


def circles() -> list[list[str]]:
    """Files that import each other, by way of others or not (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in {module for module, _ in IMPORTED[name]} - {name}:
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            circle = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for name in MODULES:
        if name not in order:
            visit(name)
    return found


def test_no_two_files_import_each_other() -> None:
    """At the top, within functions and for types alike."""
    assert circles() == []


def rank(name: str) -> tuple[int, ...]:
    """A module's place in the order of the folders, and within hub/ in the order of its own."""
    steps = name.split(".")[1:]
    place = STEPS.index(steps[0])
    if steps[0] not in INNER_STEPS:
        return (place,)
    if len(steps) == 1:  # the folder's own names come after all that is in it
        return place, len(INNER_STEPS[steps[0]])
    return place, INNER_STEPS[steps[0]].index(steps[1])


@each_file
def test_a_step_imports_only_the_steps_before_it(path: Path) -> None:
    name = module_name(path)
    if name == "inspector":
        return
    for module, taken in IMPORTED[name]:
        other = f"inspector.{taken}" if module == "inspector" else module
        within = other.split(".")[1] == name.split(".")[1]
        assert rank(other) <= rank(name) if within else rank(other)[0] < rank(name)[0]


@each_file
def test_every_module_says_its_subject_in_its_first_line(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no docstring"


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring, its decorators and the tables in it: literals of constants alone."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= (function.body[0].end_lineno or 0) - function.body[0].lineno + 1
    for node in ast.walk(function):
        if isinstance(node, (ast.Dict, ast.List, ast.Set, ast.Tuple)):
            inner = [each for each in ast.walk(node) if isinstance(each, (ast.Call, ast.Name, ast.Attribute))]
            lines -= 0 if inner else (node.end_lineno or 0) - node.lineno
    return lines


@each_file
def test_no_function_is_long(path: Path) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    long = {
        (path.relative_to(PACKAGE).as_posix(), each.name) for each in functions if code_lines(each) > MAX_FUNCTION_LINES
    }
    assert not long


@each_file
def test_no_file_is_made_of_other_folders(path: Path) -> None:
    """A file that needs much of many folders has more than one subject."""
    name = module_name(path)
    if name == "inspector":
        return
    others = [(module, taken) for module, taken in IMPORTED[name] if module.split(".")[1:2] != name.split(".")[1:2]]
    folders = {taken if module == "inspector" else module.split(".")[1] for module, taken in others} - BELOW_ALL
    most_folders, most_names = COUNTED_APART.get(name, (MAX_OTHER_FOLDERS, MAX_NAMES_OF_OTHER_FOLDERS))
    assert len(folders) <= most_folders
    assert len(others) <= most_names


def texts(tree: ast.Module) -> list[ast.Constant]:
    """The strings of a file's code, docstrings left out."""
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    prose = {id(value) for value in statements if isinstance(value, ast.Constant)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]


def model_types() -> set[str]:
    """transformers' model types, but for those that are words of other meanings, too."""
    configs = json.loads((PACKAGE / "data" / "configs.json").read_text("utf-8"))
    known = set(configs["types"]) | {path.stem for path in (PACKAGE / "data" / "classes").glob("*.json")}
    return known - {"index"}


def test_code_names_few_model_types() -> None:
    """Which types have a mechanism is data: measured, generated, or in data/by_hand.json with its reason."""
    known = model_types()
    named = [
        (str(path.relative_to(PACKAGE)), text.value)
        for path in FILES
        for text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if text.value in known
    ]
    assert len(named) <= MAX_MODEL_TYPES_NAMED, named


def test_no_engine_is_named_in_a_comparison_outside_its_folder() -> None:
    named = [
        (str(path.relative_to(PACKAGE)), text.value)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Compare, ast.MatchValue))
        for text in ast.walk(node)
        if isinstance(text, ast.Constant) and text.value in ENGINES
        if path.relative_to(PACKAGE).parts[:2] != ("engines", ENGINES[text.value])
    ]
    assert named == []


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
        "verdict",
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
    assert len(own(loaded)) <= 69


def test_make_tables_runs_whatever_wrote_a_file_of_data() -> None:
    makefile = (PACKAGE.parent / "Makefile").read_text("utf-8")
    recipes = makefile.split("\ntables:")[1].split("\nclean:")[0]
    run = set(re.findall(r"(?:fixtures|benchmarks|tests[./]oracles)[./][\w./]+", recipes))
    made = {name.removesuffix(".py").replace("/", ".") for name in run}
    missing = {}
    for path in (PACKAGE / "data").rglob("*.json"):
        head = re.search(r'"(?:generator|made_by)": ?"(?:python )?(?:-m )?([\w./]+)', path.read_text("utf-8")[:400])
        if head and head[1].removesuffix(".py").replace("/", ".") not in made:
            missing[str(path.relative_to(PACKAGE))] = head[1]
    assert not missing
