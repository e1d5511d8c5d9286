"""The process: `python -m inspector` and the console script.

Only built-in modules are imported before Ctrl-C is in hand, so that it ends cleanly from the first moment on.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn, TextIO

INTERRUPTED = 130
UNWRITTEN = 120
"""What Python, too, ends with where its last output could not be written."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code; 130 after Ctrl-C."""
    try:
        import signal

        signal.signal(signal.SIGINT, _leave)
        # A large model is 90,000 small tuples that hold no cycles: looking for some takes longer than reading them.
        gc.set_threshold(200_000, 20, 20)
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by who started us
                setattr(sys, name, _closed(name))
            elif "utf" not in (getattr(sys, name).encoding or "").lower():
                getattr(sys, name).reconfigure(errors="replace")  # a bar's block is no reason to fail
        from inspector.cli.main import run

        _end(run(sys.argv[1:]))
    except KeyboardInterrupt:
        _leave(INTERRUPTED, None)


def _closed(name: str) -> TextIO:
    """What stands for a closed stream: standard output's cannot be written to, which the command line tells where it
    has something to print; of notes and errors nobody wants to hear."""
    if name == "stderr":
        return open(os.devnull, "w")  # noqa: PTH123  # open to the end
    return os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")


def _end(code: int) -> NoReturn:
    """End with everything written, but without Python's taking itself apart, object by object: that is a tenth of a
    cold run, and a fifth of a second for a large model. With LLM_INSPECT_DEBUG it does, so that profilers can print."""
    if os.environ.get("LLM_INSPECT_DEBUG"):
        sys.exit(code)
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or UNWRITTEN
    os._exit(code)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End at once. An exception could be swallowed wherever it came up, and threads that wait for a slow server must
    not hold the process; the cache is safe, since its files are renamed into place when they are whole."""
    os.write(2, b"\nInterrupted.\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
