"""docs/api.md is made from what `import inspector` has: signatures, docstrings, settings.

To write it anew: python -m tests.test_api_docs
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inspector
from inspector import errors
from inspector.api.settings import Settings
from inspector.engines.registry import engines
from inspector.memory.training import Sharding, TrainingSetup
from inspector.settings import Setting, settings_of
from tests.test_options_docs import table

DOCS = Path(__file__).parent.parent / "docs" / "api.md"
INTRODUCTION = """\
# Python API

<!-- python -m tests.test_api_docs writes this page from the code -->

`import inspector` has these names, and they are stable: a release adds names, keywords and attributes, and takes
none away without a release in which the old one still works. What is not on this page may change at any time. All
functions are typed (`py.typed`), take keywords that a type checker knows, and read values as the command line does:
`context="8k"`, `gpus="RTX 4090"`, `engine="vLLM"`. A name is imported when it is first used: `import inspector` itself
costs nothing.

```python
import inspector

report = inspector.inspect("Qwen/Qwen2.5-7B", context="32k", gpus="RTX 4090")
report.model.parameters.total, report.estimate.total, report.fits[0].fits
```
"""
GROUPS = {
    "Asking about a model": ("inspect", "ainspect", "fit", "train", "load", "grid", "train_grid"),
    "Several models": (
        "inspect_each",
        "inspect_many",
        "ainspect_many",
        "inspect_many_on_ray",
        "published",
        "inspect_pair",
        "compare",
    ),
    "What comes back": ("Inspection", "Fit", "Serving", "LoadedModel", "Trained", "Grid", "Cell", "Difference"),
    "What it is made of": (
        *("Checkpoint", "Tensor", "Model", "Architecture", "Parameters"),
        *("Workload", "Estimate", "Part", "TrainingEstimate", "Sharding"),
    ),
    "Connections": ("Resolver",),
    "Errors": ("InspectError",),
}
SECTIONS = ("Args", "Attributes", "Raises", "Returns")
INNER = ("explained_by", "bounded_by", "needs", "priced", "words", "away", "gradients_leave", "gathers", "buckets")
"""Of its classes, what only the package itself uses."""
SETTINGS = {"settings": Settings, "training": TrainingSetup}


def kept(kind: type) -> set[str]:
    """The names of a dataclass's settings."""
    return set(settings_of(kind))


def signature(name: str, found: Any) -> str:
    """A function's or a method's, with the settings that it takes in a word."""
    own = inspect.signature(found)
    many = {word: kept(kind) for word, kind in SETTINGS.items()}
    words, used = [], set()
    for each in own.parameters.values():
        group = next((word for word, names in many.items() if each.name in names), None)
        if each.name == "self":
            continue
        if group is not None and each.kind is each.KEYWORD_ONLY:
            used.add(group)
        else:
            words.append(each)
    text = str(own.replace(parameters=words)).replace("'", "").replace(" = <factory>", " = {}")
    extra = "".join(f", **{word}" for word in SETTINGS if word in used)
    if extra and "*, " not in text and not any(each.kind is each.KEYWORD_ONLY for each in words):
        extra = extra if words else extra[2:]
    head, arrow, back = text.rpartition(" -> ")
    return f"{name}{head[:-1]}{extra}){arrow}{back}" if arrow else f"{name}{text[:-1]}{extra})"


def docstring(found: Any) -> Iterator[str]:
    """Its text as Markdown: sections become lists."""
    section = ""
    for paragraph in inspect.cleandoc(found.__doc__ or "").split("\n\n"):
        lines = paragraph.split("\n")
        if lines[0].rstrip(":") in SECTIONS and lines[0].endswith(":"):
            section = lines.pop(0)
            yield f"{section}\n"
        if lines and lines[0].startswith("    "):
            yield from entries(lines)
            yield ""
        elif lines:
            yield "\n".join(lines) + "\n"


def entries(lines: list[str]) -> Iterator[str]:
    """`name: what it is`, each with the lines that go on below it."""
    whole: list[str] = []
    for line in lines:
        if line.startswith("     ") and whole:
            whole[-1] += " " + line.strip()
        else:
            whole.append(line.strip())
    for each in whole:
        names, colon, text = each.partition(": ")
        quoted = re.sub(r"[\w.]+", lambda found: f"`{found[0]}`", names) if colon else names
        yield f"- {quoted}{colon}{text}"


def members(kind: type) -> Iterator[str]:
    """The public methods and properties of a class, with the first line of what each says."""
    for name, member in vars(kind).items():
        plain = getattr(member, "__func__", member)
        is_alias = getattr(plain, "__name__", name) != name
        if (
            name.startswith("_")
            or name in INNER
            or is_alias
            or not (inspect.isfunction(plain) or isinstance(member, property))
        ):
            continue
        text = inspect.cleandoc((member.fget if isinstance(member, property) else plain).__doc__ or "")
        first = " ".join(text.split("\n\n")[0].split("\n"))
        called = name if isinstance(member, property) else signature(name, plain)
        yield f"- `.{called}`" + (f": {first}" if first else "")


def described(name: str) -> Iterator[str]:
    found = getattr(inspector, name)
    yield f"### {name}\n"
    if not isinstance(found, type):
        yield f"```python\n{wrapped(signature(name, found))}\n```\n"
    yield from docstring(found)
    if isinstance(found, type):
        documented = "Attributes:" in (found.__doc__ or "")
        fields = list(dataclasses.fields(found)) if dataclasses.is_dataclass(found) else []
        if fields and not documented:
            yield "Attributes: " + ", ".join(f"`{each.name}`" for each in fields) + ".\n"
        own = list(members(found))
        if own:
            yield "\n".join(["Methods and properties:\n", *own]) + "\n"


def wrapped(text: str) -> str:
    """A signature in lines of a hundred columns."""
    if len(text) <= 100:
        return text
    lines = [""]
    for word in re.findall(r"[^,]+(?:\[[^\]]*\])?[^,]*,? ?", text):
        if len(lines[-1]) + len(word) > 100:
            lines.append("    ")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def settings_table(kind: type) -> str:
    def meaning(each: Setting) -> str:
        values = [value for value in each.about.values() if value not in each.about.help]
        return each.about.help + (f" One of {', '.join(values)}." if values else "")

    rows = (
        (f"`{each.name}`", f"`{each.type}`".replace("|", "\\|"), f"`{each.default!r}`", meaning(each))
        for each in settings_of(kind).values()
    )
    return table(("keyword", "type", "default", "meaning"), rows)


def errors_table() -> str:
    def below(kind: type[errors.InspectError]) -> Iterator[type[errors.InspectError]]:
        for each in kind.__subclasses__():
            if each.__module__ == errors.__name__:
                yield each
                yield from below(each)

    rows = (
        (f"`{each.__name__}`", str(each.exit_code), f"`{each.kind}`", " ".join((each.__doc__ or "").split()))
        for each in below(errors.InspectError)
    )
    return table(("class of `inspector.errors`", "exit code", "kind", "meaning"), rows)


def page() -> str:
    named = [name for names in GROUPS.values() for name in names]
    rest = sorted(set(inspector.__all__) - set(named) - {"__version__"})
    parts = [INTRODUCTION]
    for heading, names in (GROUPS | ({"More": tuple(rest)} if rest else {})).items():
        parts.append(f"## {heading}\n")
        for name in names:
            parts.extend(described(name))
        if heading == "Errors":
            parts.append(errors_table() + "\n")
    parts.append("## Settings\n\nWhat `**settings` stands for: keywords of the functions above, each with its type.\n")
    parts.append(settings_table(Settings) + "\n")
    parts.append("What `**training` stands for, keywords of `train`:\n")
    parts.append(settings_table(TrainingSetup) + "\n")
    parts.append("Keys of `sharding`, a mapping or an `inspector.Sharding`:\n")
    parts.append(settings_table(Sharding) + "\n")
    for engine in engines():
        if settings_of(engine.options):
            parts.append(f'Keys of `serving` with `engine="{engine.name}"`:\n')
            parts.append(settings_table(engine.options) + "\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def test_the_page_is_what_the_code_says() -> None:
    assert DOCS.read_text(encoding="utf-8") == page(), "python -m tests.test_api_docs writes it anew"


def test_every_public_name_is_documented() -> None:
    text = page()
    for name in set(inspector.__all__) - {"__version__"}:
        assert f"### {name}\n" in text
        assert getattr(inspector, name).__doc__, name


if __name__ == "__main__":
    DOCS.write_text(page(), encoding="utf-8")
