"""The process: `python -m inspector` and the console script. Everything else is imported inside the guard, so that
Ctrl-C ends cleanly from the first moment on."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and leave with its exit code; 130 after Ctrl-C."""
    try:
        from inspector.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    if code == 130:
        # Threads that wait for a slow server must not hold the process: nothing of theirs is worth waiting for.
        os.write(2, b"\nInterrupted.\n")
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
