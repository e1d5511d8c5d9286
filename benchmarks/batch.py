"""Times `llm-inspect batch` over many small repos on a loopback Hub with latency: cold, warm and offline.

Prints, for each run: wall time beside its floor, the larger of (requests x latency / jobs) and the CPU time; the most
memory that was held (the process's resident set), the most threads and connections; and whether the bounds are kept
(cold at most twice its floor, warm at most one request a model, offline none, memory under 300 MB). The Hub is a
process of its own. Exits with 1 where a bound is not kept. Linux alone: it reads /proc.

With --limits another run instead: 2,000 models, cold, on a Hub that keeps the real one's published limits of a free
account (1,000 API requests and 5,000 resolves in five minutes). Prints the requests of each window, and how many were
one too many; takes as long as the limits make it, six minutes or so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.batch.limited_hub import Limits, limit
from tests.conftest import command_environment, repo_files
from tests.hub_server import LoopbackHub

MODEL = "openai-community/gpt2"
MAX_MEMORY_BYTES = 300_000_000
MAX_RATIO = 2.0
MB = 1e6


WINDOW_SECONDS = 300.0
QUOTAS = {"api": 1000, "resolvers": 5000}
"""Of a free account, as the Hub publishes them."""


@dataclass
class Served:
    """What the Hub saw: requests, and where it keeps limits those of each window and those that were too many."""

    requests: int
    windows: list[dict[str, int]]
    over: dict[str, int]


def serve(pipe: Connection, names: list[str], latency: float, limited: bool) -> None:
    """The Hub: sends its address; then, each time it is asked, what it saw since it was asked last."""
    with LoopbackHub(latency=latency) as hub:
        files = repo_files(MODEL)
        for name in names:
            hub.add_repo(name, files)
        limits = Limits(WINDOW_SECONDS, QUOTAS)
        if limited:
            limit(hub, limits)
        pipe.send(hub.url)
        while pipe.recv():
            windows = [dict(window) for window in limits.windows if window]
            pipe.send(Served(len(hub.seen), windows, dict(limits.over)))
            hub.seen.clear()


@dataclass
class Ran:
    """One run: seconds, and the most that was seen of each."""

    code: int
    outcomes: Counter[str]
    wall: float
    cpu: float
    memory_bytes: int
    threads: int
    connections: int


def watch(pid: int, most: dict[str, int], stop: threading.Event) -> None:
    """Notes the most threads and open sockets of a process, ten times a second."""
    while not stop.wait(0.1):
        try:
            threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
            links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115
        except OSError:
            continue  # it has ended, or closed one meanwhile
        most["threads"] = max(most["threads"], threads)
        most["sockets"] = max(most["sockets"], sum(link.startswith("socket:") for link in links))


def run(folder: Path, url: str, jobs: int, *options: str) -> Ran:
    """One process of the command over the list in `folder`."""
    arguments = [sys.executable, "-m", "inspector", "batch", str(folder / "models.txt"), "--jobs", str(jobs), *options]
    most, stop = {"threads": 0, "sockets": 0}, threading.Event()
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            arguments, stdout=out, stderr=subprocess.DEVNULL, env=command_environment(folder / "home", url)
        )
        watcher = threading.Thread(target=watch, args=(process.pid, most, stop))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        stop.set()
        watcher.join()
        out.seek(0)
        outcomes = Counter(json.loads(line)["outcome"] for line in out)
    cpu = usage.ru_utime + usage.ru_stime
    return Ran(process.returncode, outcomes, wall, cpu, usage.ru_maxrss * 1024, most["threads"], most["sockets"])


def run_within_limits(folder: Path, url: str, jobs: int, hub: Connection, models: int) -> bool:
    """One cold run on a Hub that keeps its limits; whether it saw no request above them."""
    ran = run(folder, url, jobs)
    hub.send(True)
    served: Served = hub.recv()
    print("| window | API requests | resolves |\n|---|---|---|")
    for number, window in enumerate(served.windows, 1):
        print(f"| {number} | {window.get('api', 0):,} of 1,000 | {window.get('resolvers', 0):,} of 5,000 |")
    over = sum(served.over.values())
    print(
        f"\n{ran.outcomes.total():,} records {dict(ran.outcomes)} (exit code {ran.code}) in {ran.wall:.0f} s,"
        f" {ran.cpu:.1f} s of CPU, {ran.memory_bytes / MB:.0f} MB; {served.requests:,} requests, {over:,} above a limit"
    )
    return over == 0 and (ran.code, ran.outcomes) == (0, {"ok": models})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, help="default: 1,000, and 2,000 with --limits")
    parser.add_argument("--latency", type=int, default=50, help="milliseconds a response")
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--limits", action="store_true", help="on a Hub that keeps the real one's limits")
    arguments = parser.parse_args()
    models = arguments.models or (2000 if arguments.limits else 1000)
    names = [f"bench/model-{i}" for i in range(models)]
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(
        target=serve, args=(theirs, names, arguments.latency / 1000, arguments.limits), daemon=True
    )
    server.start()
    url = ours.recv()
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}; {models:,} repos,"
        f" {arguments.latency} ms a response, {arguments.jobs} jobs\n",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "models.txt").write_text("\n".join(names))
        if arguments.limits:
            kept = run_within_limits(folder, url, arguments.jobs, ours, models)
        else:
            kept = run_three(folder, url, arguments.jobs, ours, models, arguments.latency)
    ours.send(False)
    server.join()
    return 0 if kept else 1


def run_three(folder: Path, url: str, jobs: int, hub: Connection, models: int, latency: int) -> bool:
    """Cold, warm and offline; whether all bounds are kept."""
    print("| run | wall s | floor s | ratio | CPU s | requests | peak MB | threads | connections | bound |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    kept = True
    for label, options in (("cold", ()), ("warm", ()), ("offline", ("--offline",))):
        ran = run(folder, url, jobs, *options)
        hub.send(True)
        requests = hub.recv().requests
        floor = max(requests * latency / 1000 / jobs, ran.cpu)
        bound = {"cold": ran.wall <= MAX_RATIO * floor, "warm": requests <= models, "offline": requests == 0}[label]
        good = bound and ran.memory_bytes < MAX_MEMORY_BYTES and (ran.code, ran.outcomes) == (0, {"ok": models})
        kept = kept and good
        verdict = "kept" if good else "NOT KEPT"
        print(
            f"| {label} | {ran.wall:.1f} | {floor:.1f} | {ran.wall / floor:.2f} | {ran.cpu:.1f} | {requests:,}"
            f" | {ran.memory_bytes / MB:.0f} | {ran.threads} | {ran.connections} | {verdict} |",
            flush=True,
        )
    return kept


if __name__ == "__main__":
    sys.exit(main())
