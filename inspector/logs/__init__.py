"""Start-up logs of serving engines: what a run printed, and a prediction beside it."""

from inspector.engines.common.comparison import Comparison, Row
from inspector.engines.common.log import LoggedRun, Printed
from inspector.logs.compare import compare
from inspector.logs.lines import UnreadableLog, clean_lines, open_log
from inspector.logs.read import read_log

__all__ = [
    "Comparison",
    "LoggedRun",
    "Printed",
    "Row",
    "UnreadableLog",
    "clean_lines",
    "compare",
    "open_log",
    "read_log",
]
