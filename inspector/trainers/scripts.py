"""The calls by which a Python script or a notebook trains, as dotted keys: it is parsed, and never run.

`SFTConfig(per_device_train_batch_size=2)` gives {"args.per_device_train_batch_size": 2}: "load." stands for the class
that loads a model, "adapters." for what puts adapters on it, "args." for the trainer's arguments, "trainer." for its
own; "load.class" and "trainer.class" are their names. Values are literals, names that have one and no other, and simple
arithmetic of them; what is more than that is its own text, which is no number and no yes.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from inspector.errors import UsageError

SUFFIXES = (".py", ".ipynb")

SUPPORTED = ("is_bfloat16_supported", "is_bf16_supported")
"""Calls that ask whether the GPU has bf16: taken as yes, as of Ampere and newer."""

LONGEST = 80
"""Characters of a value's own text."""

MOST = 10**12
"""Of a number that is computed."""


def script_values(name: str, text: str) -> dict[str, Any]:
    """The arguments of a script's calls by dotted keys.

    Raises:
        UsageError: no Python, or no notebook.
    """
    sources = _cells(name, text) if name.endswith(".ipynb") else [text]
    body: list[ast.stmt] = []
    for source in sources:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in its strings
                body += ast.parse(source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            # A notebook's cell of another language, or for people, says nothing here.
            if len(sources) == 1 or any(word in source for word in WORDS):
                raise UsageError(f"{name}: no valid Python: {error}"[:200]) from None
    try:
        return _arguments(ast.Module(body, []))
    except RecursionError:
        raise UsageError(f"{name}: its expressions are nested too deep") from None


WORDS = ("from_pretrained(", "get_peft_model(", "Config(", "Arguments(", "Trainer(")
"""A cell with one of these is needed."""


def _cells(name: str, text: str) -> list[str]:
    """The code of a notebook's cells, without what IPython adds to Python: each of its lines does nothing."""
    try:
        cells = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{name}: no notebook: {type(error).__name__}") from None
    return [re.sub(r"^([ \t]*)[%!?].*$", r"\1pass", source, flags=re.MULTILINE) for source in sources]


def _arguments(tree: ast.Module) -> dict[str, Any]:
    """Each kind's first call; "args.again" where the trainer's arguments stand there twice."""
    names = _names(tree)
    found: dict[str, Any] = {}
    seen: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        kind, title, positions = _kind(node)
        if kind and kind in seen:
            found |= {f"{kind}.again": title} if kind == "args" else {}
        elif kind:
            seen.add(kind)
            found[f"{kind}.class"] = title
            found |= {f"{kind}.{key}": _value(value, names) for key, value in _given(node, positions)}
    return found | _set_later(tree)


def _names(tree: ast.Module) -> dict[str, Any]:
    """The names that have one value: none of a loop, of a function's arguments, or changed later."""
    values: dict[str, list[ast.expr]] = defaultdict(list)
    given = Counter[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    values[target.id].append(node.value)
                    given[target.id] -= 1
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            given[node.id] += 1
        elif isinstance(node, ast.arg):
            given[node.arg] += 1
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in CHANGES:
            given[node.value.id] += 1
    names: dict[str, Any] = {}
    for name, nodes in values.items():
        if not given[name] and len({ast.dump(node) for node in nodes}) == 1:
            names[name] = _value(nodes[0], names)
    return names


CHANGES = ("append", "extend", "insert", "remove", "pop", "clear")
"""Methods that change a list."""


def _set_later(tree: ast.Module) -> dict[str, Any]:
    """What is set as an attribute of what an arguments' class made, or of a trainer's `args`: its own text."""
    holders: set[str] = set()
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AugAssign):
            continue
        if isinstance(node.value, ast.Call) and _kind(node.value)[0] == "args":
            holders.update(_last(target) for target in getattr(node, "targets", ()))
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            owner = target.value if isinstance(target, ast.Attribute) else None
            if owner and ((isinstance(owner, ast.Attribute) and owner.attr == "args") or _last(owner) in holders):
                found[f"args.{_last(target)}"] = _text(node)
    return found


def _kind(call: ast.Call) -> tuple[str, str, tuple[str, ...]]:
    """What a call is: the kind's prefix, the class's name, the names of its first arguments; "" for any other."""
    function = call.func
    name, owner = _last(function), _last(function.value) if isinstance(function, ast.Attribute) else ""
    if owner.startswith("Fast") and name == "from_pretrained":
        return "load", owner, ("model_name", "max_seq_length", "dtype", "load_in_4bit")
    if owner.startswith("Fast") and name == "get_peft_model":
        return "adapters", owner, ("", "r")
    if name.endswith("Trainer") and not name.startswith("Patch"):
        return "trainer", name, ()
    if name in ARGUMENTS:
        return "args", name, ()
    return "", "", ()


def _last(node: ast.expr | None) -> str:
    """The last of a dotted name: SFTConfig of trl.SFTConfig."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


ARGUMENTS = (
    *("TrainingArguments", "UnslothTrainingArguments", "Seq2SeqTrainingArguments", "SFTConfig", "DPOConfig"),
    *("ORPOConfig", "KTOConfig", "CPOConfig", "GRPOConfig", "RewardConfig", "SentenceTransformerTrainingArguments"),
)
"""Classes of a trainer's arguments (transformers, TRL, Unsloth, sentence-transformers)."""


def _given(call: ast.Call, positions: tuple[str, ...]) -> Iterator[tuple[str, ast.expr]]:
    """A call's arguments by name; those of a dict that is unpacked are not known."""
    for name, value in zip(positions, call.args, strict=False):
        if name and not isinstance(value, ast.Starred):
            yield name, value
    for keyword in call.keywords:
        yield keyword.arg or "**", keyword.value


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """A node's value where it can be told, else its text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | int | float | bool | None) else str(node.value)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each, names) for each in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        value = _value(node.operand, names)
        return not value if isinstance(value, bool) else _text(node)
    if isinstance(node, ast.BinOp):
        return _computed(node, names)
    if isinstance(node, ast.Call):
        return True if _last(node.func) in SUPPORTED else _text(node)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
        return node.attr
    return _text(node)


def _computed(node: ast.BinOp, names: Mapping[str, Any]) -> Any:
    """Sums, differences, products and whole quotients of whole numbers."""
    left, right = _value(node.left, names), _value(node.right, names)
    if type(left) is int and type(right) is int and max(abs(left), abs(right)) < MOST:
        if isinstance(node.op, ast.Add | ast.Sub):
            return left + right if isinstance(node.op, ast.Add) else left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.FloorDiv) and right:
            return left // right
    return _text(node)


def _text(node: ast.expr | ast.stmt) -> str:
    return ast.unparse(node)[:LONGEST]
