"""`python -m tests.fuzz [--seconds N] [TARGET...]`: real files, each changed in a few places, for a while.

A case that breaks something is written to .fuzz/, and run again by `python -m tests.fuzz TARGET --case FILE`. With
atheris installed, `--atheris` lets it choose the cases by the lines that they reach.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

from tests.fuzz.harness import Target, limited
from tests.fuzz.targets import TARGETS

FOUND = Path(".fuzz")
MOST_BYTES = 4 * 1024**3
"""Of address space, all that the process may take: what wants more ends with a MemoryError, which is a finding."""
MOST_GROWTH = 400 * 1024 * 1024
"""Bytes that the largest resident size may grow by within one case."""
MOST_KEPT = 20
"""Findings of one kind after which a target is left."""


def main() -> int:
    """Run the targets; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60, help="for each target (default: 60)")
    parser.add_argument("--seed", type=int, help="of the random numbers (default: another one each time)")
    parser.add_argument("--case", type=Path, help="run this one case")
    parser.add_argument("--atheris", action="store_true", help="cases chosen by coverage")
    asked = parser.parse_args()
    if unknown := set(asked.targets) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        if asked.case is not None:
            with limited():
                TARGETS[asked.targets[0]].check(asked.case.read_bytes())
            print("nothing broke")
            return 0
        chosen = [TARGETS[name] for name in asked.targets or TARGETS]
        if asked.atheris:
            return with_atheris(chosen[0], asked.seconds)
        seed = asked.seed if asked.seed is not None else time.time_ns() % 2**32
        print(f"seed {seed}", flush=True)
        return max([fuzz(target, asked.seconds, Random(f"{seed} {target.name}")) for target in chosen])


def fuzz(target: Target, seconds: float, random: Random) -> int:
    """Cases of one target until the time is over."""
    seeds = list(target.seeds())
    found: dict[str, int] = {}
    end, count, peak = time.monotonic() + seconds, 0, 0
    while (time.monotonic() < end and sum(found.values()) < MOST_KEPT * 5) or count < len(seeds):
        case = seeds[count] if count < len(seeds) else target.mutate(random, random.choice(seeds))
        count += 1
        if count == len(seeds) // 2 + 1:  # what is imported once has been
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with limited():
                target.check(case)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
            peak = peak + max(grown, 0) if peak else 0
            assert not peak or grown * 1024 < MOST_GROWTH, f"{grown / 1024:.0f} MiB for one case"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            kind = place_of(error)
            found[kind] = found.get(kind, 0) + 1
            if found[kind] == 1:
                keep(target, case, error, kind)
            if found[kind] >= MOST_KEPT:
                break
            if peak:  # what a failed case took is not the next one's
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{target.name}: {count:,} cases, {sum(found.values())} findings of {len(found)} kinds", flush=True)
    return 1 if found else 0


def place_of(error: BaseException) -> str:
    """Where it broke: the kind of error and the innermost line of the package."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "inspector" in Path(frame.filename).parts] or list(frames)
    return f"{type(error).__name__} {Path(own[-1].filename).name}:{own[-1].lineno}"


def keep(target: Target, case: bytes, error: BaseException, kind: str) -> None:
    """Write the case down and say what it did."""
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{target.name}-{hashlib.sha256(case).hexdigest()[:12]}"
    path.write_bytes(case)
    said = " ".join(str(error).split())[:300]
    print(f"FOUND {target.name} {kind}: {said}\n  {path} ({len(case):,} bytes)", flush=True)


def with_atheris(target: Target, seconds: float) -> int:
    """Coverage chooses which cases are changed further; the changes are the same."""
    import atheris  # type: ignore[import-not-found]

    seeds = FOUND / "seeds" / target.name
    seeds.mkdir(parents=True, exist_ok=True)
    for i, case in enumerate(target.seeds()):
        (seeds / str(i)).write_bytes(case)
    atheris.instrument_all()

    def one(data: bytes) -> None:
        target.check(data)

    def changed(data: bytes, most: int, seed: int) -> bytes:
        try:
            return target.mutate(Random(seed), data)[:most]
        except Exception:  # a case that the changes do not understand any more
            return data[:most]

    atheris.Setup([sys.argv[0], str(seeds), f"-max_total_time={seconds:.0f}"], one, custom_mutator=changed)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
