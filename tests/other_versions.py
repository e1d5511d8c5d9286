"""Requirements files: of `make oldest` the lowest versions that pyproject.toml allows, of `make newest` no bounds."""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def asked() -> list[str]:
    """The requirements of the package and of its tests, but the release of the tables, and what old Pythons need."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    found = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return [requirement for requirement in found if "==" not in requirement and "python_version" not in requirement]


def oldest() -> list[str]:
    """A pin for each requirement."""
    return [pin(requirement) for requirement in asked()]


def newest() -> list[str]:
    """Each requirement without its bounds: "rich>=13.9,<15" -> "rich"."""
    return [pin(requirement).partition("==")[0] for requirement in asked()]


def pin(requirement: str) -> str:
    """ "rich>=13.9,<15" -> "rich==13.9"."""
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)(?:,<[0-9.]+)?", requirement)
    assert match is not None, f"{requirement} has no lower bound"
    return f"{match[1]}=={match[2]}"


if __name__ == "__main__":
    print(*(newest() if "--newest" in sys.argv else oldest()), sep="\n")
