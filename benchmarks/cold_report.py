"""Times llm-inspect beside its peers in one run, on a loopback Hub (`make bench`).

Every run is a process of its own with an empty HF_HOME, start-up included. Each response waits `latency` milliseconds,
and a new connection costs two more of them, as TCP and TLS do. Prints medians of wall time in milliseconds; ratios to
the fastest peer that reads each header, and to huggingface_hub's one answer; and what crossed the network.
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


def medians(
    commands: dict[str, list[str]], runs: int, hub: LoopbackHub | None = None, home: Path | None = None
) -> dict[str, Ran]:
    """The median of each command's runs, each with an empty home or all with this one; without what it cannot do.

    In rounds, one run of each: what disturbs the machine for a while disturbs all of them.
    """
    found: dict[str, list[Ran]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            with tempfile.TemporaryDirectory() as empty:
                result = timed(command, home or Path(empty), hub)
            if result is not None:
                found[name].append(result)
    whole = {name: results for name, results in found.items() if len(results) == runs}
    return {name: middle(results) for name, results in whole.items()}


def middle(results: list[Ran]) -> Ran:
    """The last run, with the medians of wall and CPU time of all."""
    walls, cpus = ([each[i] for each in results] for i in (0, 1))
    return results[-1]._replace(wall=statistics.median(walls), cpu=statistics.median(cpus))


def start_up(runs: int, names: list[str], python: str) -> None:
    """`--help` and `--version` of every tool that has them."""
    print("| tool | `--help`, ms | `--version`, ms |\n|---|---|---|")
    found = {}
    for option in ("--help", "--version"):
        commands = {name: command for name in (OURS, *names) if (command := show(name, python, option))}
        found[option] = medians(commands, runs)
    for name in (OURS, *names):
        cells = [f"{results[name].wall:.0f}" if name in results else "-" for results in found.values()]
        if set(cells) != {"-"}:
            print(f"| {name} | " + " | ".join(cells) + " |")
    print(flush=True)


def again(repo: str, hub: LoopbackHub, runs: int, *more: str) -> str:
    """Wall and CPU time of runs after a first one."""
    command = report(OURS, repo, sys.executable)
    with tempfile.TemporaryDirectory() as home:
        timed(command, Path(home), hub)
        result = medians({OURS: [*command, *more]}, runs, hub, Path(home)).get(OURS)
    return f"{result.wall:.0f} ({result.cpu:.0f})" if result else "-"


def one_model(repo: str, files: dict[str, object], latency: int, names: list[str], asked: argparse.Namespace) -> str:
    """A row of the table, and beside it what crossed the network."""
    with LoopbackHub(latency=latency / 1000, connect_latency=CONNECT * latency / 1000) as hub:
        hub.add_repo(repo, files)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as home:
            timed(report(OURS, repo, asked.peers), Path(home), hub)  # compiles
        commands = {name: report(name, repo, asked.peers) for name in (OURS, *names)}
        found = medians(commands, asked.runs, hub)
        walls = {name: result.wall for name, result in found.items()}
        cells = [f"{walls[name]:.0f}" if name in walls else "-" for name in commands]
        for rivals in (READ_HEADERS, (ONE_ANSWER,)):
            theirs = [walls[name] for name in rivals if name in walls]
            cells.append(f"{walls[OURS] / min(theirs):.2f}" if theirs and OURS in walls else "-")
        cells += [again(repo, hub, asked.runs), again(repo, hub, asked.runs, "--offline")]
    network = [found.get(name) for name in commands]
    crossed = [f"{each.requests}, {each.kilobytes:,}, {each.connections}" if each else "-" for each in network]
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
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS), metavar="MODEL")
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
    columns = [OURS, *names, "x fastest reader", "x one answer", "warm", "offline"]
    print("| model | latency | " + " | ".join(columns) + " |")
    print("|---|---|" + "---|" * len(columns))
    crossed = []
    for label in arguments.models:
        repo, shards = MODELS[label]
        files: dict[str, object] = {**repo_files(repo, shards)}
        for latency in arguments.latency:
            row, network = one_model(repo, files, latency, names, arguments).split("\x00")
            print(f"| {label} | {latency} | {row}", flush=True)
        crossed.append(f"| {label} | {network}")
    print("\n| requests, kB, connections | " + " | ".join([OURS, *names]) + " |")
    print("|---|" + "---|" * (len(names) + 1))
    print("\n".join(crossed))
    hundred_models([name for name in names if name in (*READ_HEADERS, ONE_ANSWER)], 20, arguments)


if __name__ == "__main__":
    main()
