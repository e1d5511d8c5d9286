"""Finds the Chromium that browser tests drive: `python tests/browser/chromium.py` prints its path, or exits with 1."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
NONE = "no Chromium on this machine: apt-get install chromium, or name one: CHROMIUM=path"


def chromium() -> str | None:
    """Its path: what CHROMIUM names, else what this machine has; None where there is none."""
    named = os.environ.get("CHROMIUM")
    found = [named] if named else [*map(shutil.which, NAMES), *(place for place in PLACES if Path(place).exists())]
    return next(filter(None, found), None)


if __name__ == "__main__":
    path = chromium()
    sys.exit(NONE) if path is None else print(path)
