"""Times llm-inspect beside its peers in one run, on a loopback Hub (`make bench`).

Every run is a process of its own with an empty HF_HOME, start-up included. Each response waits `latency` milliseconds,
and a new connection costs two more of them, as TCP and TLS do. Prints medians of wall time in milliseconds; ratios to
the fastest peer that reads the headers, and to huggingface_hub's one answer; and what crossed the network.
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
from typing import NamedTuple

from benchmarks.peers import ONE_ANSWER, OURS, READ_HEADERS, installed, many, report, show
from tests.conftest import command_environment, repo_files
from tests.hub_server import LoopbackHub

MODELS = {
    "one file": ("sentence-transformers/all-MiniLM-L6-v2", 1),
    "8B, 4 shards": ("meta-llama/Meta-Llama-3-8B", 4),
    "70B, 30 shards": ("meta-llama/Meta-Llama-3-70B", 30),
    "DeepSeek-V3, 163 shards": ("deepseek-ai/DeepSeek-V3", 163),
}
LIST_MODEL = "openai-community/gpt2"
LIST_LENGTH = 100
CONNECT = 2
"""Responses' worth of time that a new connection costs: TCP's and TLS's round trips."""


class Ran(NamedTuple):
    """Medians of wall and CPU milliseconds, and what one run asked for."""

    wall: float
    cpu: float
    requests: int = 0
    kilobytes: int = 0
    connections: int = 0


def timed(command: list[str], home: Path, hub: LoopbackHub | None = None) -> Ran | None:
    """One run; None where it failed."""
    if hub is not None:
        hub.seen.clear()
    environment = command_environment(home, hub.url if hub else None) | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled, as the peers are
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    wall, after = (time.perf_counter() - start) * 1000, os.times()
    if done.returncode != 0:
        return None
    cpu = 1000 * (after.children_user + after.children_system - before.children_user - before.children_system)
    return Ran(wall, cpu, *((len(hub.seen), hub.bytes_sent // 1000, hub.connections) if hub else ()))


def median(command: list[str], runs: int, hub: LoopbackHub | None = None, home: Path | None = None) -> Ran | None:
    """The median of runs, each with an empty home or all with this one; None where the tool cannot do it."""
    found = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as empty:
            result = timed(command, home or Path(empty), hub)
        if result is None:
            return None
        found.append(result)
    walls, cpus = ([each[i] for each in found] for i in (0, 1))
    return found[-1]._replace(wall=statistics.median(walls), cpu=statistics.median(cpus))


def start_up(runs: int, names: list[str], python: str) -> None:
    """`--help` and `--version` of every tool that has them."""
    print("| tool | `--help`, ms | `--version`, ms |\n|---|---|---|")
    for name in (OURS, *names):
        cells = []
        for option in ("--help", "--version"):
            command = show(name, python, option)
            result = command and median(command, runs)
            cells.append(f"{result.wall:.0f}" if result else "-")
        if set(cells) != {"-"}:
            print(f"| {name} | " + " | ".join(cells) + " |")
    print()


def again(repo: str, hub: LoopbackHub, runs: int, *more: str) -> str:
    """Wall and CPU time of runs after a first one."""
    with tempfile.TemporaryDirectory() as home:
        timed(report(OURS, repo, sys.executable), Path(home), hub)
        result = median([*report(OURS, repo, sys.executable), *more], runs, hub, Path(home))
    return f"{result.wall:.0f} ({result.cpu:.0f})" if result else "-"


def one_model(repo: str, files: dict[str, object], latency: int, names: list[str], asked: argparse.Namespace) -> str:
    """A row of the table, and beside it what crossed the network."""
    with LoopbackHub(latency=latency / 1000, connect_latency=CONNECT * latency / 1000) as hub:
        hub.add_repo(repo, files)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as home:
            timed(report(OURS, repo, asked.peers), Path(home), hub)  # compiles
        found = {name: median(report(name, repo, asked.peers), asked.runs, hub) for name in (OURS, *names)}
        walls = {name: result.wall for name, result in found.items() if result is not None}
        cells = [f"{walls[name]:.0f}" if name in walls else "-" for name in (OURS, *names)]
        rivals = [wall for name, wall in walls.items() if name in READ_HEADERS]
        cells.append(f"{walls[OURS] / min(rivals):.2f}" if rivals and OURS in walls else "-")
        cells.append(f"{walls[OURS] / walls[ONE_ANSWER]:.2f}" if {OURS, ONE_ANSWER} <= walls.keys() else "-")
        cells += [again(repo, hub, asked.runs), again(repo, hub, asked.runs, "--offline")]
    crossed = [f"{each.requests}, {each.kilobytes:,}, {each.connections}" if each else "-" for each in found.values()]
    return " | ".join(cells) + " |" + "\x00" + " | ".join(crossed) + " |"


def hundred_models(names: list[str], latency: int, asked: argparse.Namespace) -> None:
    """A list: ours in a batch; a library's calls one after the other in one process; a tool's runs one by one."""
    files = repo_files(LIST_MODEL)
    repos = [f"org/model-{i}" for i in range(LIST_LENGTH)]
    print(f"\n| {LIST_LENGTH} models, {latency} ms a response | seconds | requests | connections |\n|---|---|---|---|")
    with LoopbackHub(latency=latency / 1000, connect_latency=CONNECT * latency / 1000) as hub:
        for name in repos:
            hub.add_repo(name, files)
        for name in (OURS, *names):
            requests = connections = 0
            seconds = 0.0
            with tempfile.TemporaryDirectory() as home:
                for command in many(name, repos, Path(home), asked.peers):
                    result = timed(command, Path(home), hub)
                    if result is None:
                        break
                    seconds += result.wall / 1000
                    requests += result.requests
                    connections += result.connections
                else:
                    print(f"| {name} | {seconds:.1f} | {requests} | {connections} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--latency", type=int, nargs="*", default=[0, 20, 100], help="milliseconds a response")
    parser.add_argument("--peers", default=sys.executable, help="the Python that has the peers")
    arguments = parser.parse_args()
    names = installed(arguments.peers)
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, huggingface_hub {version('huggingface_hub')};"
        f" medians of {arguments.runs} cold runs, milliseconds of wall time; warm and offline: (CPU time)\n"
    )
    with tempfile.TemporaryDirectory() as home:
        timed([sys.executable, "-m", "inspector", "--help"], Path(home))  # compiles
    start_up(arguments.runs, names, arguments.peers)
    columns = [OURS, *names, "x fastest", "x one answer", "warm", "offline"]
    print("| model | latency | " + " | ".join(columns) + " |")
    print("|---|---|" + "---|" * len(columns))
    crossed = []
    for label, (repo, shards) in MODELS.items():
        files: dict[str, object] = {**repo_files(repo, shards)}
        for latency in arguments.latency:
            row, network = one_model(repo, files, latency, names, arguments).split("\x00")
            print(f"| {label} | {latency} | {row}", flush=True)
        crossed.append(f"| {label} | {network}")
    print("\n| requests, kB, connections | " + " | ".join([OURS, *names]) + " |")
    print("|---|" + "---|" * (len(names) + 1))
    print("\n".join(crossed))
    hundred_models([name for name in names if name in READ_HEADERS], 20, arguments)


if __name__ == "__main__":
    main()
