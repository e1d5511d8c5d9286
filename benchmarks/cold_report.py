"""Times a cold report of one model beside huggingface_hub's own header readers, on a loopback Hub (`make bench`).

Every run is a process of its own with an empty HF_HOME, start-up included. Each response waits `latency` milliseconds;
a new connection is free here, on the real Hub it costs two more round trips. Prints medians in milliseconds, requests,
and ratios to the fastest peer that reads the headers.
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

from tests.conftest import command_environment, repo_files
from tests.hub_server import LoopbackHub

MODELS = {
    "one file": ("sentence-transformers/all-MiniLM-L6-v2", 1),
    "8B, 4 shards": ("meta-llama/Meta-Llama-3-8B", 4),
    "70B, 30 shards": ("meta-llama/Meta-Llama-3-70B", 30),
    "DeepSeek-V3, 163 shards": ("deepseek-ai/DeepSeek-V3", 163),
}
OURS = "llm-inspect"
PEERS = {
    "hub: one answer": "from huggingface_hub import get_sharded_safetensors_metadata as get; get(REPO)",
    "hub: each shard": "from huggingface_hub import get_safetensors_metadata as get; get(REPO)",
}


def command(name: str, repo: str) -> list[str]:
    """The process to time."""
    if name == OURS:
        return [sys.executable, "-m", "inspector", repo]
    return [sys.executable, "-c", PEERS[name].replace("REPO", repr(repo))]


def timed(name: str, repo: str, hub: LoopbackHub, home: Path) -> tuple[float, int] | None:
    """Wall milliseconds and requests of one run; None where the peer cannot read such a repo."""
    hub.seen.clear()
    environment = command_environment(home, hub.url) | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled, as the peers are
    start = time.perf_counter()
    done = subprocess.run(command(name, repo), env=environment, capture_output=True, check=False)
    wall = (time.perf_counter() - start) * 1000
    return (wall, len(hub.seen)) if done.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--latency", type=int, nargs="*", default=[0, 20, 100], help="milliseconds a response")
    arguments = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, huggingface_hub {version('huggingface_hub')};"
        f" medians of {arguments.runs} cold runs, milliseconds of wall time (requests)\n"
    )
    print("| model | latency | " + " | ".join([OURS, *PEERS]) + " | ratio | warm |")
    print("|---|---|" + "---|" * (len(PEERS) + 3))
    for label, (repo, shards) in MODELS.items():
        files = repo_files(repo, shards)
        for latency in arguments.latency:
            with LoopbackHub(latency=latency / 1000) as hub:
                hub.add_repo(repo, files)
                medians: dict[str, float] = {}
                cells = []
                with tempfile.TemporaryDirectory() as home:
                    timed(OURS, repo, hub, Path(home))  # compiles
                for name in (OURS, *PEERS):
                    walls, requests = [], 0
                    for _ in range(arguments.runs):
                        with tempfile.TemporaryDirectory() as home:
                            result = timed(name, repo, hub, Path(home))
                        if result is not None:
                            walls.append(result[0])
                            requests = result[1]
                    if walls:
                        medians[name] = statistics.median(walls)
                        cells.append(f"{medians[name]:.0f} ({requests})")
                    else:
                        cells.append("-")
                with tempfile.TemporaryDirectory() as home:
                    timed(OURS, repo, hub, Path(home))
                    warm = [result[0] for _ in range(arguments.runs) if (result := timed(OURS, repo, hub, Path(home)))]
                ratio = medians[OURS] / min(wall for name, wall in medians.items() if name != OURS)
                cells += [f"{ratio:.2f}", f"{statistics.median(warm):.0f}"]
                print(f"| {label} | {latency} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
