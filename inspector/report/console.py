"""The terminal that a report is printed on."""

from __future__ import annotations

from rich.console import Console


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """rich would leave with code 1, which means "does not fit" here; the command line knows better."""
        raise BrokenPipeError


def stdout_console() -> Console:
    """Standard output: its width on a terminal (80 columns in a pipe), no markup, no colour where none is wanted."""
    return _Console(markup=False, highlight=False, emoji=False, soft_wrap=False)
