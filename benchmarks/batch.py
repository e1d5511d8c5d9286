"""Times `llm-inspect batch` over many small repos on a loopback Hub with latency: cold, warm and offline.

Prints, for each run: wall time beside its floor, the larger of (requests x latency / jobs) and the CPU time; the most
memory that was held (the process's resident set), the most threads and connections; and whether the bounds are kept
(cold at most twice its floor, warm at most one request a model, offline none, memory under 300 MB). The Hub is a
process of its own. Exits with 1 where a bound is not kept. Linux alone: it reads /proc.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.conftest import command_environment, repo_files
from tests.hub_server import LoopbackHub

MODEL = "openai-community/gpt2"
MAX_MEMORY_BYTES = 300_000_000
MAX_RATIO = 2.0
MB = 1e6


def serve(pipe: Connection, names: list[str], latency: float) -> None:
    """The Hub: sends its address; then, each time it is asked, the number of requests since it was asked last."""
    with LoopbackHub(latency=latency) as hub:
        files = repo_files(MODEL)
        for name in names:
            hub.add_repo(name, files)
        pipe.send(hub.url)
        while pipe.recv():
            count = len(hub.seen)
            hub.seen.clear()
            pipe.send(count)


@dataclass
class Ran:
    """One run: seconds, and the most that was seen of each."""

    code: int
    lines: int
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
        lines = sum(1 for _ in out)
    cpu = usage.ru_utime + usage.ru_stime
    return Ran(process.returncode, lines, wall, cpu, usage.ru_maxrss * 1024, most["threads"], most["sockets"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--latency", type=int, default=50, help="milliseconds a response")
    parser.add_argument("--jobs", type=int, default=16)
    arguments = parser.parse_args()
    names = [f"bench/model-{i}" for i in range(arguments.models)]
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, names, arguments.latency / 1000), daemon=True)
    server.start()
    url = ours.recv()
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}; {arguments.models:,} repos,"
        f" {arguments.latency} ms a response, {arguments.jobs} jobs\n"
    )
    print("| run | wall s | floor s | ratio | CPU s | requests | peak MB | threads | connections | bound |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    kept = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "models.txt").write_text("\n".join(names))
        for label, options in (("cold", ()), ("warm", ()), ("offline", ("--offline",))):
            ran = run(folder, url, arguments.jobs, *options)
            ours.send(True)
            requests = ours.recv()
            floor = max(requests * arguments.latency / 1000 / arguments.jobs, ran.cpu)
            bound = {
                "cold": ran.wall <= MAX_RATIO * floor,
                "warm": requests <= arguments.models,
                "offline": requests == 0,
            }[label]
            good = bound and ran.memory_bytes < MAX_MEMORY_BYTES and (ran.code, ran.lines) == (0, arguments.models)
            kept = kept and good
            verdict = "kept" if good else "NOT KEPT"
            print(
                f"| {label} | {ran.wall:.1f} | {floor:.1f} | {ran.wall / floor:.2f} | {ran.cpu:.1f} | {requests:,}"
                f" | {ran.memory_bytes / MB:.0f} | {ran.threads} | {ran.connections} | {verdict} |",
                flush=True,
            )
    ours.send(False)
    server.join()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
