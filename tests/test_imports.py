"""What a file imports of ours is there: the makers of data, the oracles and the benchmarks run seldom, and most need
libraries that `make test` does not install, so that a name that has moved would be found weeks later."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
FOLDERS = ("inspector", "tests", "fixtures", "benchmarks")
FILES = sorted(path for folder in FOLDERS for path in TOP.joinpath(folder).rglob("*.py"))


def file_of(module: str) -> Path | None:
    """A module's file, or the folder that it is."""
    path = TOP.joinpath(*module.split("."))
    found = (path.with_suffix(".py"), path / "__init__.py", path)
    return next((each for each in found if each.exists()), None)


@cache
def names(path: Path) -> frozenset[str]:
    """What a module's top level defines, imported names among them."""
    if path.is_dir():
        return frozenset()
    return frozenset(_defined(ast.parse(path.read_text(encoding="utf-8")).body))


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield from ((each.asname or each.name).partition(".")[0] for each in statement.names)
        for each in ast.walk(statement):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                yield each.id
            elif isinstance(each, ast.ImportFrom | ast.Import) and each is not statement:
                yield from ((alias.asname or alias.name).partition(".")[0] for alias in each.names)
            elif isinstance(each, ast.FunctionDef | ast.ClassDef):
                yield each.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TOP)))
def test_what_a_file_imports_of_ours_is_there(path: Path) -> None:
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(statement, ast.ImportFrom) or statement.level or not statement.module:
            continue
        if statement.module.partition(".")[0] not in FOLDERS:
            continue
        found = file_of(statement.module)
        assert found, f"line {statement.lineno}: no {statement.module}"
        if "__getattr__" in names(found):
            continue
        for each in statement.names:
            where = f"line {statement.lineno}: no {each.name} in {statement.module}"
            assert each.name in names(found) or file_of(f"{statement.module}.{each.name}"), where
