"""What the tests of packages need that a registry has: they are marked `packages`, and `make test-packages` runs them.

`make test` leaves them out, as it asks no network.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv" / "packages" / "bin"
DIST = ROOT / "dist"


def environment(home: Path, **variables: str) -> dict[str, str]:
    """A home of its own, no Python of the caller's, no Hub; the registry and the download caches are the caller's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "PYTHON", "VIRTUAL_ENV", "PYTEST", "GIT_"))
    }
    caches = {
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv")),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
    }
    own = {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never"}
    home.mkdir(parents=True, exist_ok=True)
    return kept | caches | own | {"PATH": f"{BIN}:{os.environ['PATH']}"} | variables


def run_tool(*command: str | Path, cwd: Path, env: dict[str, str], code: int = 0) -> str:
    """What a command printed on both streams; it must end with this code."""
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=600
    )
    printed = done.stdout + done.stderr
    assert done.returncode == code, f"{command}: {done.returncode}\n{printed}"
    return printed


def the_wheel() -> Path:
    """The wheel that `make dist` built."""
    (found,) = DIST.glob("*.whl")
    return found
