"""Times llm-inspect beside its peers in one run, on a loopback Hub (`make bench`).

Every run is a process of its own with an empty HF_HOME, start-up included. Each response waits `latency` milliseconds;
a new connection is free here, on the real Hub it costs two more round trips. Prints medians in milliseconds, requests,
and the ratio to the fastest peer that reads the headers.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import OURS, READ_HEADERS, installed, report, show_help
from tests.conftest import command_environment, repo_files
from tests.hub_server import LoopbackHub

MODELS = {
    "one file": ("sentence-transformers/all-MiniLM-L6-v2", 1),
    "8B, 4 shards": ("meta-llama/Meta-Llama-3-8B", 4),
    "70B, 30 shards": ("meta-llama/Meta-Llama-3-70B", 30),
    "DeepSeek-V3, 163 shards": ("deepseek-ai/DeepSeek-V3", 163),
}


def timed(command: list[str], home: Path, hub: LoopbackHub | None = None) -> tuple[float, int] | None:
    """Wall milliseconds and requests of one run; None where it failed."""
    if hub is not None:
        hub.seen.clear()
    environment = command_environment(home, hub.url if hub else None) | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled, as the peers are
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    wall = (time.perf_counter() - start) * 1000
    return (wall, len(hub.seen) if hub else 0) if done.returncode == 0 else None


def median(command: list[str], runs: int, hub: LoopbackHub | None = None) -> tuple[float, int] | None:
    """The median of cold runs; None where the tool cannot do it."""
    walls, requests = [], 0
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            result = timed(command, Path(home), hub)
        if result is None:
            return None
        walls.append(result[0])
        requests = result[1]
    return statistics.median(walls), requests


def start_up(runs: int, names: list[str], python: str) -> None:
    """`--help` of every tool."""
    print("| tool | `--help`, ms | ratio |\n|---|---|---|")
    found = {}
    for name in (OURS, *names):
        command = show_help(name, python)
        if command is not None and (result := median(command, runs)):
            found[name] = result[0]
    for name, wall in found.items():
        print(f"| {name} | {wall:.0f} | {wall / found[OURS]:.2f} |")
    print()


def warm(repo: str, hub: LoopbackHub, runs: int, *more: str) -> str:
    """The median of runs after a first one."""
    with tempfile.TemporaryDirectory() as home:
        command = [*report(OURS, repo, sys.executable), *more]
        timed(report(OURS, repo, sys.executable), Path(home), hub)
        walls = [result[0] for _ in range(runs) if (result := timed(command, Path(home), hub))]
    return f"{statistics.median(walls):.0f}" if walls else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--latency", type=int, nargs="*", default=[0, 20, 100], help="milliseconds a response")
    parser.add_argument("--peers", default=sys.executable, help="the Python that has the peers")
    arguments = parser.parse_args()
    names = installed(arguments.peers)
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, huggingface_hub {version('huggingface_hub')};"
        f" medians of {arguments.runs} cold runs, milliseconds of wall time (requests)\n"
    )
    with tempfile.TemporaryDirectory() as home:
        timed([sys.executable, "-m", "inspector", "--help"], Path(home))  # compiles
    start_up(arguments.runs, names, arguments.peers)
    print("| model | latency | " + " | ".join([OURS, *names]) + " | ratio | warm | offline |")
    print("|---|---|" + "---|" * (len(names) + 4))
    for label, (repo, shards) in MODELS.items():
        files = repo_files(repo, shards)
        for latency in arguments.latency:
            with LoopbackHub(latency=latency / 1000) as hub:
                hub.add_repo(repo, files)
                with tempfile.TemporaryDirectory() as home:
                    timed(report(OURS, repo, arguments.peers), Path(home), hub)  # compiles
                cells, medians = [], {}
                for name in (OURS, *names):
                    result = median(report(name, repo, arguments.peers), arguments.runs, hub)
                    cells.append("-" if result is None else f"{result[0]:.0f} ({result[1]})")
                    if result is not None:
                        medians[name] = result[0]
                rivals = [wall for name, wall in medians.items() if name in READ_HEADERS]
                ratio = f"{medians[OURS] / min(rivals):.2f}" if rivals and OURS in medians else "-"
                more = [ratio, warm(repo, hub, arguments.runs), warm(repo, hub, arguments.runs, "--offline")]
                print(f"| {label} | {latency} | " + " | ".join(cells + more) + " |", flush=True)


if __name__ == "__main__":
    main()
