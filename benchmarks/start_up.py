"""Where the time of a cold report goes when the Hub answers at once (`make bench` runs it, too).

Floors are processes that do a part of it and nothing else; imports are `python -X importtime`'s own times, by whose
they are (it makes each a little slower). What neither names is the work itself: options, requests, headers, the table.
Medians, in milliseconds.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cold_report import MODELS, medians
from benchmarks.peers import ONE_ANSWER, OURS, report
from tests.conftest import command_environment, repo_files
from tests.hub_server import LoopbackHub

MODEL = "8B, 4 shards"
FLOORS = {
    "python alone": "pass",
    "and huggingface_hub's session": "from huggingface_hub.utils._http import get_session; get_session()",
    "and its way to find the token": "import huggingface_hub.utils._headers as h; h.get_token_to_send(None);"
    " from huggingface_hub.utils._http import get_session; get_session()",
}
SESSION = {
    "anyio",
    "certifi",
    "h11",
    "httpcore2",
    "httpx2",
    "huggingface_hub",
    "idna",
    "truststore",
    "typing_extensions",
}
TOKEN = {"filelock", "yaml"}
OWN = {"click", "inspector", "rich"}

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def whose(module: str) -> str:
    """The row of the table that a module's own time is counted in."""
    package = module.partition(".")[0]
    if package in SESSION:
        return "imports: huggingface_hub and its HTTP client"
    if package in TOKEN:
        return "imports: what finds the token (yaml, filelock)"
    return f"imports: {package}" if package in OWN else "imports: Python's own library"


def imports(command: list[str], home: Path, url: str) -> dict[str, float]:
    """Milliseconds of imports of one run, by whose they are."""
    environment = command_environment(home, url)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = {}
    for own, module in _LINE.findall(done.stderr):
        found[whose(module)] = found.get(whose(module), 0.0) + int(own) / 1000
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    repo, shards = MODELS[MODEL]
    with LoopbackHub() as hub:
        hub.add_repo(repo, repo_files(repo, shards))
        ours = report(OURS, repo, sys.executable)
        commands = {name: [sys.executable, "-c", code] for name, code in FLOORS.items()}
        commands |= {ONE_ANSWER: report(ONE_ANSWER, repo, sys.executable), OURS: ours}
        medians(commands, 1, hub)  # compiles
        floors = medians(commands, runs, hub)
        profiles = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as home:
                profiles.append(imports(ours, Path(home), hub.url))
    print(f"{MODEL}: {os.cpu_count()} cores, Python {platform.python_version()}, medians of {runs} runs\n")
    print("| process | wall, ms | CPU, ms |\n|---|---|---|")
    for name, ran in floors.items():
        print(f"| {name} | {ran.wall:.0f} | {ran.cpu:.0f} |")
    print("\n| of llm-inspect | ms |\n|---|---|")
    rows = {name: statistics.median(each.get(name, 0.0) for each in profiles) for name in profiles[0]}
    for name, milliseconds in sorted(rows.items(), key=lambda row: -row[1]):
        print(f"| {name} | {milliseconds:.0f} |")


if __name__ == "__main__":
    main()
