"""Which model types have changed since the tables were made: a digest of what their classes are made of.

Read of the installed transformers' source, and only where its release is newer than the tables': nothing is imported.
Of config classes all counts, of models what their constructors make and what is tied or left out of files; in which
precision is not told. None of it changes with a renamed argument of `forward`, a comment or a new way to compute.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from inspector.tables import table_text

NOT_IN_CONFIGS = frozenset(
    {
        "keys_to_ignore_at_inference",
        "base_model_tp_plan",
        "base_model_pp_plan",
        "base_model_ep_plan",
        "__all__",
        "logger",
    }
)
"""Assignments of a configuration file that no fact depends on."""
OF_MODELS = frozenset(
    {"__all__", "_tied_weights_keys"}
    | {"_keys_to_ignore_on_load_missing", "_keys_to_ignore_on_load_unexpected", "_keys_to_ignore_on_save"}
)
"""Assignments that parameters depend on, and the names of a folder's classes."""
NOT_IN_CODE = frozenset({"annotation", "returns", "decorator_list", "type_comment", "type_params", "kind", "ctx"})
"""Fields of Python's syntax tree that change no value, or that some versions of Python lack."""


def changed_types(types: Iterable[str], package: Path) -> list[str]:
    """Those of the model types whose classes are not those that the tables were made from.

    Args:
        types: of a config and of its parts; types that the tables do not have are left out.
        package: the folder of the installed transformers.
    """
    digests, folders = _table()
    wanted = {name: folders.get(name, name) for name in dict.fromkeys(types)}
    return [
        name
        for name, folder in wanted.items()
        if folder in digests and digest_of(package / "models" / folder) != digests[folder]
    ]


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, str], dict[str, str]]:
    """The digest of each folder of transformers/models, and the folders of types that are not called as theirs."""
    data = json.loads(table_text("digests.json"))
    return data["digests"], data["folders"]


@lru_cache(maxsize=1_024)
def digest_of(folder: Path) -> str | None:
    """The digest of a model's folder; None without its files, or where they are no Python that this one reads."""
    found = hashlib.sha256()
    try:
        paths = sorted([*folder.glob("configuration_*.py"), *folder.glob("modeling_*.py")])
        for path in paths:
            tree = ast.parse(path.read_text("utf-8"))
            for line in (_of_configs if path.name.startswith("configuration_") else _of_models)(tree):
                found.update(line.encode())
    except (OSError, SyntaxError, ValueError):
        return None
    return found.hexdigest()[:12] if paths else None


def _of_configs(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        inside = statement.body if isinstance(statement, ast.ClassDef) else [statement]
        if isinstance(statement, ast.ClassDef):
            yield f"class {statement.name} {_plain(statement.bases)}"
        yield from (_plain(each) for each in inside if not (_says_nothing(each) or _names(each) & NOT_IN_CONFIGS))


def _of_models(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        for inner in statement.body if isinstance(statement, ast.ClassDef) else (statement,):
            constructor = inner is not statement and getattr(inner, "name", "") == "__init__"
            if constructor or _names(inner) & OF_MODELS:
                yield f"class {getattr(statement, 'name', '')} {_plain(inner)}"


def _names(statement: ast.stmt) -> set[str]:
    """What an assignment assigns to."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _plain(value: Any) -> str:
    """A part of a syntax tree as text, the same for every version of Python; no docstrings, imports or types."""
    if isinstance(value, list):
        return f"[{','.join(_plain(item) for item in value if not _says_nothing(item))}]"
    if not isinstance(value, ast.AST):
        return repr(value)
    if isinstance(value, ast.Call):
        keywords = [each for each in value.keywords if each.arg != "dtype"]
        if isinstance(value.func, ast.Attribute) and value.func.attr == "to" and not (value.args or keywords):
            return _plain(value.func.value)
        value = ast.Call(value.func, value.args, keywords)
    fields = ((name, inner) for name, inner in ast.iter_fields(value) if name not in NOT_IN_CODE)
    text = " ".join(f"{name}={_plain(inner)}" for name, inner in fields if inner is not None and inner != [])
    return f"({type(value).__name__} {text})"


def _says_nothing(node: Any) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Pass)
