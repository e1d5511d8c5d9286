"""The lowest versions that pyproject.toml allows, as a requirements file: `make oldest` installs them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def oldest() -> list[str]:
    """A pin for each requirement of the package and of its tests."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return [pin(requirement) for requirement in asked if "==" not in requirement]  # the tables' own release apart


def pin(requirement: str) -> str:
    """ "rich>=13.9,<15" -> "rich==13.9"."""
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)(?:,<[0-9.]+)?", requirement)
    assert match is not None, f"{requirement} has no lower bound"
    return f"{match[1]}=={match[2]}"


if __name__ == "__main__":
    print(*oldest(), sep="\n")
