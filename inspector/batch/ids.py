"""Which models a batch is about: read from plain lines, CSV, JSON or YAML, from files or standard input, each once."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from inspector.errors import FileMissing, UsageError
from inspector.hub.repo_id import parse_model

STDIN = "-"
COLUMNS = ("model", "repo_id", "id")
"""The names a CSV's column, or a YAML entry's key, of model IDs may have; the first of them that is there counts."""
REVISION_KEY = "revision"
MODELS_KEY = "models"

_COMMENT = re.compile(r"(^|\s)#.*")
"""A `#` within a word belongs to it: a revision may have one."""

Located = tuple[int, str]
"""The line (from 1) that an ID stands on, and the ID."""


def read_ids(
    sources: Iterable[str | Path], *, revision: str | None = None, refuse: Callable[[UsageError], None] | None = None
) -> list[str]:
    """The model IDs of several files, in order, each once.

    Args:
        sources: paths, or "-" for standard input. `.csv` files need a header with a column `model`, `repo_id` or `id`
            (so does any file whose first line has a comma); `.yaml` and `.yml` files, and any text that begins as JSON
            does, hold a list of IDs or of mappings with such a key, at the top or under `models` (JSON Lines: one a
            line); all else is an ID a line, `#` begins a comment.
        revision: of every ID that names none; checked here so that a mistake costs no request.
        refuse: told of each line that names no model, which is kept: inspecting it gives its error. Raised where None.

    Raises:
        FileMissing: no such file.
        UsageError: a file that cannot be read, or a line that names no model; the message tells file and line.
    """
    found: dict[str, None] = {}
    for source in sources:
        name, text = _text(source)
        for line, model in _parse(name, text):
            try:
                parse_model(model, revision)
            except UsageError as error:
                located = UsageError(f"{name}, line {line}: {error.message}", error.hint)
                if refuse is None:
                    raise located from None
                refuse(located)
            found[model] = None
    return list(found)


def _text(source: str | Path) -> tuple[str, str]:
    """A source's name for messages, and what it holds."""
    name = "standard input" if source == STDIN else str(source)
    if source == STDIN and sys.stdin is None:
        raise UsageError("standard input is closed", "Give a file with a model ID a line.")
    try:
        data = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except FileNotFoundError:
        raise FileMissing(f"no such file: {name}", "Give a file with a model ID a line, or - for input.") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    try:
        return name, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}, line {line}: no UTF-8 text", "Save the list as UTF-8.") from None


def _parse(name: str, text: str) -> Iterator[Located]:
    suffix = Path(name).suffix.lower()
    if suffix in (".yaml", ".yml"):
        return _yaml(name, text)
    if text.lstrip()[:1] in ("[", "{"):  # no repo ID and no column begins so
        return _json(name, text)
    lines = list(_lines(text))
    if suffix == ".csv" or (lines and "," in lines[0][1]):
        return _csv(name, text)
    return iter(lines)


def _lines(text: str) -> Iterator[Located]:
    """Lines without comments and blank ones. Split at line ends alone: `splitlines` knows stranger ones."""
    for number, line in enumerate(text.split("\n"), 1):
        model = _COMMENT.sub("", line.rstrip("\r")).strip()
        if model:
            yield number, model


def _csv(name: str, text: str) -> Iterator[Located]:
    """The IDs of a CSV's column. Lines that are blank or begin with `#` are skipped, above the header as well."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    column: int | None = None
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells) or cells[0].startswith("#"):
                continue
            if column is None:
                heads = [cell.lower() for cell in cells]
                column = next((heads.index(head) for head in COLUMNS if head in heads), None)
                if column is None:
                    raise UsageError(
                        f"{name}, line {reader.line_num}: no column {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}",
                        "The first line of a CSV names its columns.",
                    )
                continue
            # A row without a model is kept as it stands: it gets an error, the others their answers.
            yield reader.line_num, cells[column] if len(cells) > column and cells[column] else ",".join(row)
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: no valid CSV: {error}") from None


def _json(name: str, text: str) -> Iterator[Located]:
    """The IDs of a JSON list, or of JSON Lines: texts, or objects as the Hub's lists and `batch` itself write them; a
    list may stand under `models`. An entry without an ID is kept as it stands, as a row of a CSV is."""
    for line, entry in _json_entries(name, text):
        model, revision = entry, None
        if isinstance(entry, dict):
            model = next((entry[key] for key in COLUMNS if isinstance(entry.get(key), str)), None)
            revision = entry.get(REVISION_KEY)
        if not isinstance(model, str):
            yield line, json.dumps(entry)[:80]
        elif isinstance(revision, str) and "@" not in model:
            repo, colon, selector = model.partition(":")
            yield line, f"{repo}@{revision}{colon}{selector}"
        else:
            yield line, model


def _json_entries(name: str, text: str) -> Iterator[tuple[int, Any]]:
    """The values of a list, or of lines, with the line that each begins on; those under `models` with the object's.

    Raises:
        UsageError: no JSON.
    """
    decode, between = json.JSONDecoder().raw_decode, re.compile(r"[\s,]*")
    is_list = text.lstrip()[:1] == "["
    at = between.match(text, text.find("[") + 1 if is_list else 0).end()  # type: ignore[union-attr]
    line, counted = 1, 0
    while at < len(text) and not (is_list and text[at] == "]"):
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decode(text, at)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{name}, line {line}: no valid JSON: {error}") from None
        listed = value.get(MODELS_KEY) if isinstance(value, dict) else None
        yield from ((line, each) for each in (listed if isinstance(listed, list) else (value,)))
        at = between.match(text, at).end()  # type: ignore[union-attr]
    if is_list and at >= len(text):
        raise UsageError(f"{name}: the JSON list has no end", "It may have been cut off.")


def _yaml(name: str, text: str) -> Iterator[Located]:
    from inspector.batch.yaml_nodes import compose, entries, is_text, line_of, value_of

    root = compose(name, text)
    if root is None:
        return
    for node in entries(root, MODELS_KEY, name):
        model = next((found for key in COLUMNS if (found := value_of(node, key)) is not None), node)
        revision = value_of(node, REVISION_KEY)
        if not is_text(model) or not (revision is None or is_text(revision)):
            raise UsageError(f"{name}, line {line_of(node)}: this entry names no model", "Give an ID, or `model: ID`.")
        yield line_of(node), model.value if revision is None else f"{model.value}@{revision.value}"
