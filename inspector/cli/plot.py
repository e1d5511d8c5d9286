"""`show --plot`: memory over the context and by precision, in the terminal or as a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.cli.options import PLOT_SUFFIXES, PLOTTED
from inspector.cli.output import Output, write_file
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.api.inspection import Inspection
    from inspector.api.settings import Settings

FILE_POINTS = 129


def check_plot(plot: str, models: Sequence[str], format: str) -> None:
    """Refuse before anything is read.

    Raises:
        UsageError: a file that no plot is written as, or of several models; or a plot in the midst of JSON, say.
    """
    if plot == PLOTTED:
        if format != "text":
            raise UsageError(f"--plot without a file prints text, not {format}", "Name one: --plot memory.svg.")
        return
    if not plot.lower().endswith(PLOT_SUFFIXES):
        raise UsageError(f"a plot is written as .svg or .png, not as '{plot}'")
    if len(models) > 1:
        raise UsageError("a file has the plot of one model", "Leave out its name: --plot prints several.")
    if plot.lower().endswith(".png"):
        from inspector.report.plot.png import check_png

        check_png()


def plot_all(out: Output, inspections: Iterable[Inspection], settings: Settings) -> None:
    """In the terminal, a point for each of its columns."""
    from inspector.api.curves import bars, curve
    from inspector.report.plot.terminal import plot_columns, print_plots

    for inspection in inspections:
        points = plot_columns(out.console.width)
        print_plots(
            out.console,
            inspection.checkpoint.repo_id,
            curve(inspection.model, settings, points=points),
            bars(inspection.model, settings),
        )


def write_plot(path: Path, inspection: Inspection, settings: Settings) -> None:
    """As a file.

    Raises:
        OutputFailed: it cannot be written.
    """
    from inspector.api.curves import bars, curve
    from inspector.report.plot.svg import plots_svg

    over = curve(inspection.model, settings, points=FILE_POINTS)
    svg = plots_svg(inspection.checkpoint.repo_id, over, bars(inspection.model, settings))
    if path.suffix.lower() == ".svg":
        write_file(path, svg)
        return
    from inspector.report.plot.png import png_of

    write_file(path, png_of(svg))
