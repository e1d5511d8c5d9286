"""How time and memory grow: with a model's tensors, its shards, and the models of a list (`make bench` runs it, too).

Every run is a process of its own, cold, on a loopback Hub of 20 ms a response. For each row: the median of the wall
time, the CPU time, the most memory (resident). To each column a line a + b x n is fitted by least squares; the exponent
is the slope between logarithms, of what comes on top of the smallest case, over the upper half of the cases: 1 is
linear, less is better. Exits with 1 where an exponent is above 1.15. `--plot FILE` draws them (needs matplotlib).
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from inspector.hub.cache.snapshot import loads
from tests.conftest import SNAPSHOTS, command_environment, repo_files
from tests.hub_server import Content, LoopbackHub, sharded

LATENCY = 0.02
MAX_EXPONENT = 1.15
MIXTURE = "deepseek-ai/DeepSeek-V3"
DENSE = "meta-llama/Meta-Llama-3-70B"
SMALL = "openai-community/gpt2"
EXPERTS = (1, 4, 16, 64, 128, 256)
SHARDS = (1, 4, 16, 64, 256)
MODELS = (10, 40, 160, 640)


class Row(NamedTuple):
    """One size of one kind: n, then milliseconds of wall and CPU time and megabytes."""

    n: int
    wall: float
    cpu: float
    memory: float


class Line(NamedTuple):
    """y = start + step x n, how well it fits (1: wholly), and the exponent of the growth."""

    start: float
    step: float
    fit: float
    exponent: float


LAUNCHER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
wall = time.perf_counter() - start
code = process.returncode = os.waitstatus_to_exitcode(status)
memory = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
print(code, wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000, memory)
"""
"""A small process between: a child's peak counts that of the process it was forked from, and here is the Hub's."""


def measured(command: list[str], url: str, runs: int) -> tuple[float, float, float]:
    """Medians of a command's wall and CPU milliseconds, and its most memory in MB, each run with an empty HF_HOME."""
    found = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            environment = command_environment(Path(home), url)
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            launcher = [sys.executable, "-c", LAUNCHER, *command]
            code, *numbers = subprocess.run(
                launcher, env=environment, capture_output=True, text=True, check=True
            ).stdout.split()
            if int(code):
                raise SystemExit(f"{' '.join(command)}: exit code {code}")
            found.append([float(number) for number in numbers])
    walls, cpus, memory = zip(*found, strict=True)
    return statistics.median(walls), statistics.median(cpus), max(memory)


def with_experts(count: int) -> dict[str, Content]:
    """DeepSeek-V3 with fewer experts, in 163 shards."""
    checkpoint = loads((SNAPSHOTS / f"{MIXTURE.replace('/', '--')}.json").read_bytes())
    expert = re.compile(r"\.experts\.(\d+)\.")
    tensors = {
        tensor.name: (tensor.dtype, list(tensor.shape))
        for tensor in checkpoint.tensors
        if (found := expert.search(tensor.name)) is None or int(found[1]) < count
    }
    return {"config.json": {**checkpoint.config, "n_routed_experts": count}, **sharded(tensors, 163)}


def by_tensors(runs: int) -> Iterator[Row]:
    """A mixture with more and more experts."""
    for count in EXPERTS:
        files = with_experts(count)
        with LoopbackHub(latency=LATENCY) as hub:
            hub.add_repo("org/model", files)
            index = files["model.safetensors.index.json"]
            assert isinstance(index, dict)
            found = measured([sys.executable, "-m", "inspector", "org/model"], hub.url, runs)
            yield Row(len(index["weight_map"]), *found)


def by_shards(runs: int, *, pinned: bool) -> Iterator[Row]:
    """A dense model in more and more shards; of a pinned commit the Hub has no answer with all headers in one."""
    for count in SHARDS:
        with LoopbackHub(latency=LATENCY) as hub:
            repo = hub.add_repo("org/model", repo_files(DENSE, count))
            name = f"org/model@{repo.head}" if pinned else "org/model"
            yield Row(count, *measured([sys.executable, "-m", "inspector", name], hub.url, runs))


def by_models(runs: int) -> Iterator[Row]:
    """A list of more and more models, in a batch."""
    files = repo_files(SMALL)
    for count in MODELS:
        with LoopbackHub(latency=LATENCY) as hub, tempfile.TemporaryDirectory() as folder:
            names = [f"org/model-{i}" for i in range(count)]
            for name in names:
                hub.add_repo(name, files)
            listed = Path(folder) / "models.txt"
            listed.write_text("\n".join(names))
            command = [sys.executable, "-m", "inspector", "batch", str(listed), "--output", os.devnull]
            yield Row(count, *measured(command, hub.url, runs))


def line(rows: list[Row], column: int) -> Line:
    """The straight line through one column (1: wall, 2: CPU, 3: memory)."""
    sizes, values = [float(row.n) for row in rows], [float(row[column]) for row in rows]
    mean_n, mean_y = statistics.fmean(sizes), statistics.fmean(values)
    spread = sum((n - mean_n) ** 2 for n in sizes)
    step = sum((n - mean_n) * (y - mean_y) for n, y in zip(sizes, values, strict=True)) / spread
    start = mean_y - step * mean_n
    missed = sum((y - start - step * n) ** 2 for n, y in zip(sizes, values, strict=True))
    total = sum((y - mean_y) ** 2 for y in values)
    upper = [(n - sizes[0], y - values[0]) for n, y in zip(sizes, values, strict=True)][len(rows) // 2 :]
    (n_low, y_low), (n_high, y_high) = upper[0], upper[-1]
    grows = y_low > 0 and y_high > 0
    exponent = math.log(y_high / y_low) / math.log(n_high / n_low) if grows else 0.0
    return Line(start, step, 1 - missed / total if total else 1.0, exponent)


def show(name: str, rows: list[Row]) -> bool:
    """Prints the rows and their lines; True where all grow linearly or better."""
    print(f"| {name} | wall, ms | CPU, ms | memory, MB |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.n:,} | {row.wall:,.0f} | {row.cpu:,.0f} | {row.memory:,.0f} |")
    lines = [line(rows, column) for column in (1, 2, 3)]
    print("| each | " + " | ".join(f"{each.step:.3g}" for each in lines) + " |")
    print("| fit (R²) | " + " | ".join(f"{each.fit:.3f}" for each in lines) + " |")
    print("| exponent | " + " | ".join(f"{each.exponent:.2f}" for each in lines) + " |\n", flush=True)
    return all(each.exponent <= MAX_EXPONENT for each in lines)


def plot(found: dict[str, list[Row]], path: Path) -> None:
    """The rows and their lines, a row of three pictures a kind."""
    import matplotlib  # type: ignore[import-not-found]

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9}
    from matplotlib import pyplot  # type: ignore[import-not-found]

    figure, axes = pyplot.subplots(len(found), 3, figsize=(10, 2.4 * len(found)), layout="constrained")
    for axis_row, (name, rows) in zip(axes, found.items(), strict=True):
        for column, what in enumerate(("wall, ms", "CPU, ms", "memory, MB")):
            axis, each = axis_row[column], line(rows, column + 1)
            ends = [rows[0].n, rows[-1].n]
            axis.plot(ends, [each.start + each.step * n for n in ends], color="0.7")
            axis.plot([row.n for row in rows], [row[column + 1] for row in rows], "o", markersize=4)
            axis.set(xlabel=name, ylabel=what, ylim=(0, None))
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="an SVG")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {LATENCY * 1000:.0f} ms a response\n")
    with tempfile.TemporaryDirectory() as home:  # compiles
        subprocess.run(
            [sys.executable, "-m", "inspector", SMALL, "--offline"],
            env=command_environment(Path(home), None),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    found = {
        "tensors": list(by_tensors(arguments.runs)),
        "shards": list(by_shards(arguments.runs, pinned=False)),
        "shards of a pinned commit": list(by_shards(arguments.runs, pinned=True)),
        "models": list(by_models(arguments.runs)),
    }
    linear = [show(name, rows) for name, rows in found.items()]
    if arguments.plot:
        plot(found, arguments.plot)
    return 0 if all(linear) else 1


if __name__ == "__main__":
    sys.exit(main())
