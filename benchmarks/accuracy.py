"""How far the library is from what the engines print: every case of a folder, scored.

    python -m benchmarks.accuracy [FOLDER] [--details] [--trust AB]

FOLDER holds *.jsonl files, one published measurement a line: model_id, arch, dtype, quant, engine, engine_version, tp,
pp, gpu, gpu_mem_gib, settings, measured, trust, group (default: the repo's own, tests/memory/cases). Four scores:
what a KV cache of the printed size holds; the weights as loaded; the KV pool from nothing but model, card and
settings; a training step's peak. One score a group: the median of its cases. Models come from the case's own facts,
from tests/memory/cases/models.json and from the bundled snapshots; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.case_facts import Facts, load_models
from benchmarks.engine_cases import CACHE, POOL, WEIGHTS, Verdict, predict
from benchmarks.fit import Row, load_rows
from benchmarks.training_cases import PEAK, predict_peak

CASES = Path(__file__).parent.parent / "tests" / "memory" / "cases"

GOALS = {CACHE: (0.5, 0.95), WEIGHTS: (3.0, 0.90), POOL: (8.0, 0.90), PEAK: (10.0, 0.50)}
"""The error in per cent that so large a share of the groups is to stay within."""

SERVING = ("inference", "kv", "weights")


@dataclass(frozen=True, slots=True)
class Score:
    """One case's figure: predicted and measured, and the error between them in per cent."""

    case: str
    group: str
    engine: str
    kind: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        return 100 * (self.predicted / self.measured - 1)


@dataclass(slots=True)
class Scorecard:
    """All that a folder gave."""

    scores: list[Score] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    unscored: list[tuple[str, str]] = field(default_factory=list)

    def by_group(self, engine: str, kind: str) -> dict[str, float]:
        """The median absolute error of each group's cases, in per cent."""
        groups: dict[str, list[float]] = {}
        for score in self.scores:
            if score.engine == engine and score.kind == kind:
                groups.setdefault(score.group, []).append(abs(score.error))
        return {group: statistics.median(errors) for group, errors in groups.items()}


def load_cases(folder: Path) -> list[Facts]:
    """Every case of every *.jsonl in a folder.

    Raises:
        SystemExit: there is none.
    """
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise SystemExit(f"{folder}: no *.jsonl there")
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines() if line]


def score(cases: Iterable[Facts], *, trust: str = "A") -> Scorecard:
    """Run the cases of that trust through the library."""
    card, models, rows = Scorecard(), load_models(), load_rows()
    for case in cases:
        if case.get("trust", "A") not in trust:
            card.unscored.append((case["id"], f"trust {case.get('trust')}"))
            continue
        try:
            _score_case(case, card, models, rows)
        except Exception as error:  # a case of facts that nobody foresaw stops no run
            key = f"no '{error.args[0]}'" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
            card.unscored.append((str(case.get("id")), f"the case's facts cannot be read: {key}"))
    return card


def _score_case(case: Facts, card: Scorecard, models: Mapping[str, Facts], rows: Sequence[Row]) -> None:
    if case.get("kind") == "training":
        _score_training(case, card)
        return
    if case.get("kind") not in SERVING:
        card.unscored.append((case["id"], f"kind {case.get('kind')}: not a serving case"))
        return
    prediction = predict(case, models, rows)
    engine = str(case["engine"]).split()[0]
    for kind, (predicted, measured) in prediction.pairs.items():
        card.scores.append(Score(case["id"], case["group"], engine, kind, predicted, measured))
    if prediction.verdict is not None:
        card.verdicts.append(prediction.verdict)
    card.unscored.extend((case["id"], reason) for reason in prediction.reasons)


def _score_training(case: Facts, card: Scorecard) -> None:
    """A published peak, or whether it fitted."""
    predicted, measured, fitted, why = predict_peak(case)
    if predicted is None or measured is None:
        card.unscored.append((case["id"], why))
    elif fitted is not None or "oom_on_gib" in case["measured"]:
        card.verdicts.append(Verdict(case["id"], predicted <= measured, bool(fitted)))
    else:
        engine = str(case["engine"]).split()[0]
        card.scores.append(Score(case["id"], case["group"], engine, PEAK, predicted, measured))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def report(card: Scorecard) -> str:
    """The table, what missed its goal, what could not be scored, and the verdicts that were wrong."""
    lines = [f"{'engine':<14}{'what':<40}{'groups':>7}{'median':>9}{'90th':>9}{'within':>16}"]
    missed: list[str] = []
    for engine in sorted({score.engine for score in card.scores}):
        for kind in (CACHE, WEIGHTS, POOL, PEAK):
            groups = card.by_group(engine, kind)
            if not groups:
                continue
            limit, _ = GOALS[kind]
            errors = list(groups.values())
            inside = sum(error <= limit for error in errors)
            lines.append(
                f"{engine:<14}{kind:<40}{len(errors):>7}{statistics.median(errors):>8.2f}%"
                f"{percentile(errors, 0.9):>8.2f}%{f'{inside}/{len(errors)} in {limit:g}%':>16}"
            )
            missed += [f"  {group}: {kind}: {error:.2f}%" for group, error in groups.items() if error > limit]
    right = sum(verdict.right for verdict in card.verdicts)
    lines.append(f"verdicts (fits or not): {right} of {len(card.verdicts)} right")
    wrong = [f"  {v.case}: said {'fits' if v.predicted else 'does not fit'}" for v in card.verdicts if not v.right]
    reasons: dict[str, list[str]] = {}
    for case, reason in card.unscored:
        reasons.setdefault(reason, []).append(case)
    sections = (
        ("outside the goal", missed),
        ("wrong verdicts", wrong),
        ("not scored", [f"  {reason}: {_few(cases)}" for reason, cases in sorted(reasons.items())]),
    )
    for title, rows in sections:
        if rows:
            lines += ["", f"{title}:", *rows]
    return "\n".join(lines)


def details(card: Scorecard) -> str:
    """One line a figure."""
    return "\n".join(
        f"{score.case:<50} {score.kind:<40} {score.predicted:>14,.2f} {score.measured:>14,.2f} {score.error:>+8.2f}%"
        for score in card.scores
    )


def _few(cases: Sequence[str]) -> str:
    return ", ".join(cases[:3]) + (f" and {len(cases) - 3} more" if len(cases) > 3 else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Score a folder and print the table; 1 where a verdict is wrong."""
    parser = argparse.ArgumentParser(description="Score the library on published measurements.")
    parser.add_argument("folder", nargs="?", type=Path, default=CASES, help="holds *.jsonl (default: the repo's own)")
    parser.add_argument("--trust", default="A", help="the letters of trust to score (default: A)")
    parser.add_argument("--details", action="store_true", help="print every figure, too")
    options = parser.parse_args(arguments)
    card = score(load_cases(options.folder), trust=options.trust)
    if options.details:
        print(details(card), end="\n\n")
    print(report(card))
    return 0 if all(verdict.right for verdict in card.verdicts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
