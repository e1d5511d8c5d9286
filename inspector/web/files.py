"""What the page offers for download."""

from __future__ import annotations

from inspector.web.asked import Asked
from inspector.web.parts import report


def csv(asked: Asked) -> str:
    """The report as CSV, as `--format csv` prints it."""
    from inspector.report.tables import csv_text

    record = report(asked)
    del record["explain"]
    return csv_text([record])


def html(asked: Asked) -> str:
    """The report as a page of its own, as `--format html` prints it."""
    from inspector.api.drawn import drawn, drawn_training
    from inspector.report.html.writer import html_page

    if asked.training:
        return html_page([asked.name], [drawn_training(asked.trained)])
    return html_page([asked.name], [drawn(asked.name, asked.inspection, asked.question(asked.settings))])
