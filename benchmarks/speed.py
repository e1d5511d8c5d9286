"""What share of the bounds of speed published measurements reach: benchmarks/measured_speed.json, scored.

    python -m benchmarks.speed [--write] [--rows]

--write makes inspector/data/speed.json and the tables of docs/tokens-per-second.md of it. Measurements are grouped by
what they are alike in (inspector.devices.forecast); in a group every device counts the same, however many models were
measured on it. What our own account says does not fit the device is left out: a part of it was with the CPU.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import inspector
from inspector.devices.forecast import PACES, Alike, Shares, alike
from inspector.devices.spec import GpuSpec, parse_gpu
from inspector.devices.speed import decode_bound, prefill_bound
from inspector.engines.engine import Sized, Sizer
from inspector.engines.registry import engine_named
from inspector.engines.serving import CannotTell
from inspector.memory import Workload, estimated_cache
from inspector.model import Model

ROOT = Path(__file__).parent.parent
MEASURED = Path(__file__).parent / "measured_speed.json"
TABLE = ROOT / "inspector" / "data" / "speed.json"
PAGE = ROOT / "docs" / "tokens-per-second.md"
BEGIN, END = "<!-- python -m benchmarks.speed --write: from here -->", "<!-- to here -->"

FEWEST = 4
"""A group of fewer measurements gives no range."""

USUAL_CONTEXT = 4096
"""Tokens that a server makes room for, whatever was measured in it."""


class Row(NamedTuple):
    """A published measurement, as benchmarks/measured_speed.json says it."""

    source: str
    device: str
    count: int
    model: str
    dtype: str
    engine: str
    batch: int
    context: int
    decode: float
    prompt: int | None
    prefill: float | None

    @property
    def workload(self) -> Workload:
        """What was timed."""
        return Workload(max(1, self.context), batch=self.batch, dtype=self.dtype)

    @property
    def spec(self) -> GpuSpec:
        """The devices."""
        return replace(parse_gpu(self.device), count=self.count)


@dataclass(frozen=True, slots=True)
class Score:
    """One speed of a row beside its bound, and what it is compared with."""

    row: Row
    kind: Alike
    measured: float
    bound: float

    @property
    def share(self) -> float:
        """Of the bound that is reached."""
        return self.measured / self.bound


def load_rows() -> tuple[list[Row], dict[str, dict[str, str]]]:
    """The measurements, and their sources by key."""
    data = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert tuple(data["columns"]) == Row._fields
    return [Row(*row) for row in data["rows"]], data["sources"]


@cache
def model_of(name: str) -> Model:
    """A bundled model."""
    return inspector.load(name, offline=True).model


@cache
def _sizer(engine: str, name: str) -> Sizer:
    return engine_named(engine).sizer(model_of(name))


def sized(row: Row) -> Sized:
    """Our account of the row's model in its device, with room for the usual context."""
    model, engine = model_of(row.model), engine_named(row.engine)
    context = min(max(row.context, USUAL_CONTEXT), model.architecture.longest_context or USUAL_CONTEXT)
    try:
        return _sizer(row.engine, row.model)(replace(row.workload, context=context), row.spec, engine.options())
    except CannotTell:
        return Sized()


def scores(row: Row) -> Iterator[Score]:
    """A row's decode, and its prefill where that was published and has a bound."""
    model, spec, workload = model_of(row.model), row.spec, row.workload
    split = sized(row).split
    assert spec.device is not None
    bound = decode_bound(model, workload, estimated_cache(model, workload).bytes, spec, split)
    if bound:
        yield Score(row, alike("decode", row.engine, spec.device, model, bound), row.decode, bound)
    bound = prefill_bound(model, spec, split)
    if bound and row.prefill:
        yield Score(row, alike("prefill", row.engine, spec.device, model, bound), row.prefill, bound)


class Scored(NamedTuple):
    """Every measurement beside its bound; those that are left out; the sources by key."""

    scores: list[Score]
    left_out: list[Row]
    sources: dict[str, dict[str, str]]


def scored() -> Scored:
    """benchmarks/measured_speed.json, scored."""
    rows, sources = load_rows()
    left_out = [row for row in rows if sized(row).fits is False]
    return Scored([score for row in rows if row not in left_out for score in scores(row)], left_out, sources)


def quantile(found: Sequence[Score], share: float) -> float:
    """Of the shares, each device's with the same weight in all: linear between the middles of their weights."""
    devices = [score.row.device for score in found]
    ordered = sorted((score.share, 1 / devices.count(score.row.device)) for score in found)
    total, before = sum(weight for _, weight in ordered), 0.0
    last: tuple[float, float] | None = None
    for value, weight in ordered:
        middle = (before + weight / 2) / total
        if middle >= share:
            if last is None:
                return value
            return last[1] + (value - last[1]) * (share - last[0]) / (middle - last[0])
        last, before = (middle, value), before + weight
    return ordered[-1][0]


def grouped(found: Iterable[Score]) -> dict[Alike, list[Score]]:
    """Those of one sequence on one GPU, by what they are alike in."""
    groups: dict[Alike, list[Score]] = {}
    for score in found:
        if score.row.batch == score.row.count == 1:
            groups.setdefault(score.kind, []).append(score)
    return dict(sorted(groups.items()))


def shares_of(found: Sequence[Score]) -> Shares | None:
    """What the product is told of a group; None of too few."""
    if len(found) < FEWEST:
        return None
    sources = len({score.row.source for score in found})
    return Shares(round(quantile(found, 0.1), 3), round(quantile(found, 0.9), 3), len(found), sources)


def held_out(groups: dict[Alike, list[Score]]) -> dict[str, tuple[int, int]]:
    """For each part: how many measurements lie in the range of the other sources of their group, of how many whose
    group has enough of them."""
    counts: dict[str, list[int]] = {}
    for kind, found in groups.items():
        for source in sorted({score.row.source for score in found}):
            ranged = shares_of([score for score in found if score.row.source != source])
            if ranged is None:
                continue
            inside, of = counts.setdefault(kind.part, [0, 0])
            own = [score.share for score in found if score.row.source == source]
            counts[kind.part] = [inside + sum(ranged.low <= each <= ranged.high for each in own), of + len(own)]
    return {part: (inside, of) for part, (inside, of) in counts.items()}


def table_text(groups: dict[Alike, list[Score]]) -> str:
    """inspector/data/speed.json."""
    lines = [
        json.dumps(kind._asdict() | shares._asdict())
        for kind, found in groups.items()
        if (shares := shares_of(found)) is not None
    ]
    rows = ",\n".join(f"  {line}" for line in lines)
    return f'{{\n "generator": "python -m benchmarks.speed --write",\n "shares": [\n{rows}\n ]\n}}\n'


def page_text(found: Scored) -> str:
    """The generated part of docs/tokens-per-second.md."""
    groups, text = grouped(found.scores), []
    inside = held_out(groups)
    for part, heading in (("decode", "Decode"), ("prefill", "Prefill")):
        hits, of = inside.get(part, (0, 0))
        count = sum(len(scores) for kind, scores in groups.items() if kind.part == part)
        text += [f"### {heading}: {count} measurements", "", *_table(part, groups), ""]
        text += [f"One source held out at a time: {hits} of {of} lie in the range of the others of their group.", ""]
    text += ["### Several sequences or GPUs: no range is given", "", *_others(found.scores), ""]
    text += [f"Left out, since our account says that they do not fit the device: {len(found.left_out)}.", ""]
    text += ["### Sources", ""]
    return "\n".join([*text, *(f"- [{key}]({each['url']}): {each['what']}." for key, each in found.sources.items())])


def _others(found: Iterable[Score]) -> Iterator[str]:
    """Those that are in no group."""
    yield "| engine | GPUs | model | dtype | sequences | measured, tok/s | the bound | share |"
    yield "|---|---|---|---|---|---|---|---|"
    for score in found:
        row = score.row
        if score.kind.part == "decode" and (row.batch > 1 or row.count > 1):
            cells = [row.engine, f"{row.count} x {row.device}", row.model, row.dtype, str(row.batch)]
            yield (
                "| "
                + " | ".join([*cells, f"{score.measured:,.0f}", f"{score.bound:,.0f}", f"{score.share:.0%}"])
                + " |"
            )


def _table(part: str, groups: dict[Alike, list[Score]]) -> Iterator[str]:
    yield "| engine | devices | model | the bound, tok/s | n | devices, sources | 10th | median | 90th |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for kind, found in groups.items():
        if kind.part != part:
            continue
        devices, sources = ({getattr(score.row, name) for score in found} for name in ("device", "source"))
        cells = [f"{quantile(found, share):.0%}" if len(found) >= FEWEST else "-" for share in (0.1, 0.5, 0.9)]
        model = "mixture" if kind.mixture else "dense"
        pace = _pace(kind.pace) if part == "decode" else ""
        of = f"{len(devices)}, {len(sources)}"
        yield "| " + " | ".join([kind.engine, kind.devices, model, pace, str(len(found)), of, *cells]) + " |"


def _pace(pace: int) -> str:
    after = next((each for each in PACES if each > pace), None)
    return f"{pace} and more" if after is None else f"{pace} to {after}"


def page_with(page: str, made: str) -> str:
    """The page with its generated part put in."""
    front, _, rest = page.partition(BEGIN)
    return f"{front}{BEGIN}\n\n{made}\n\n{END}{rest.partition(END)[2]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table and the page")
    parser.add_argument("--rows", action="store_true", help="print every measurement beside its bound")
    options = parser.parse_args(arguments)
    found = scored()
    if options.write:
        TABLE.write_text(table_text(grouped(found.scores)), encoding="utf-8")
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), page_text(found)), encoding="utf-8")
        return
    print(page_text(found))
    for score in sorted(found.scores, key=lambda score: (score.kind, score.share)) if options.rows else ():
        row, of = score.row, f"{score.measured:,.1f} of {score.bound:,.1f} ({score.share:.0%})"
        print(score.kind.part, row.engine, row.device, row.model, row.dtype, row.context, of)


if __name__ == "__main__":
    main()
