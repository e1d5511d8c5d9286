"""Measures steps of TRL's own trainers with no GPU and no weights, and how far `llm-inspect train --objective` is off.

    python -m tests.oracles.objectives [--objectives NAME ...] [--models NAME ...] [--every N] [--known FILE]

The installed TRL decides what is measured: before 1.14 losses over whole logits, since then over a fused head's
log-probabilities; --known takes the other kind from an earlier --out. Prints the errors' table as Markdown.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import trl

from inspector.measure.step import Step, build
from inspector.memory.training.objectives.registry import OBJECTIVES
from tests.memory.training.objectives_replay import PEAKS, read_cases, table_of
from tests.oracles.objectives.harness import FUSED, Case, measure
from tests.oracles.training import described, sampled
from tests.oracles.training_grid import GRID, GridModel

MODELS = ("llama-3.2-1b", "qwen2.5-7b", "qwen3-0.6b", "gemma-3-4b", "gemma-2-9b", "qwen3-30b-a3b")
UNSEEN = ("granite-3-8b", "olmo-2-7b", "smollm3-3b", "glm-4-9b")
"""Types that nobody looked at while the objectives were written."""

ENCODERS = ("bert-base", "distilbert", "modernbert-base", "roberta-base")
"""Of which embeddings alone are trained; the last is unseen, too."""

WAYS = (
    {"precision": "bf16"},
    {"precision": "mixed"},
    {"precision": "bf16", "method": "lora"},
    {"precision": "mixed", "method": "lora"},
    {"precision": "fp32"},
)
SHAPES = ((1, 1024), (4, 256), (2, 512), (1, 2048), (3, 384))
OPTIMIZERS = (("adamw", "fused"), ("sgd", "foreach"), ("adamw", "foreach"))


def steps(model: GridModel) -> Iterator[Step]:
    """Every way to train one model; shapes and optimizers take turns."""
    attention = "eager" if model.model_type == "gemma2" else "sdpa"
    shapes, optimizers = itertools.cycle(SHAPES), itertools.cycle(OPTIMIZERS)
    for way, checkpointing in itertools.product(WAYS, ("full", "none")):
        (batch, context), (optimizer, how) = next(shapes), next(optimizers)
        step = Step(attention=attention, checkpointing=checkpointing, batch=batch, context=context, **way)  # type: ignore[arg-type]
        yield dataclasses.replace(step, optimizer=optimizer, optimizer_impl=how)


def measured(model: GridModel, objectives: list[str], every: int = 1) -> list[dict[str, Any]]:
    """The cases of one model, or one of so many of its steps, with what was measured."""
    found = []
    for name in objectives:
        try:
            oracle = import_module(f"tests.oracles.objectives.{name.replace('-', '_')}")
        except ModuleNotFoundError:
            continue  # from source
        if not getattr(oracle, "measures", lambda: True)():
            continue
        if model.encoder and name != "embedding":
            continue
        if not getattr(oracle, "takes", lambda _: True)(model.model_type):
            continue
        for step in sampled(steps(model), model.name + name, every):
            for case in _with_teacher(oracle.cases(step), getattr(oracle, "TEACHERS", {}).get(model.name)):
                start = time.monotonic()
                own_way = getattr(oracle, "measure", None)
                how = (model.model_type, model.config(), case)
                peaks = own_way(*how) if own_way else measure(*how, oracle)
                defaults = dataclasses.asdict(Step())
                settings = {
                    key: value for key, value in dataclasses.asdict(case.step).items() if value != defaults[key]
                }
                usual = ("auto", 0, False, "")
                own = {
                    key: value
                    for key, value in vars(case).items()
                    if key != "step" and value not in usual and (key, value) != ("accumulated", 1)
                }
                settings |= own | {"logits": "chunked" if FUSED else "all"}
                found.append(settings | {"measured": peaks})
                print(f"{model.name} {settings} {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
    return found


def _with_teacher(cases: Iterator[Case], teacher: str | None) -> Iterator[Case]:
    """The cases, and where the objective has a larger model for this one the same with that beside it."""
    for case in cases:
        yield case
        if teacher is not None:
            yield dataclasses.replace(case, teacher=teacher)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objectives", nargs="*", default=[name for name in OBJECTIVES if name != "sft"])
    parser.add_argument("--models", nargs="*", default=[*MODELS, *UNSEEN, *ENCODERS])
    parser.add_argument("--every", type=int, default=1, help="a sample: one of so many steps of each model")
    parser.add_argument("--out", type=Path, default=PEAKS)
    parser.add_argument("--known", type=Path, help="cases of an earlier --out that are kept, but for those made again")
    options = parser.parse_args()
    known = read_cases(options.known) if options.known and options.known.exists() else {"models": [], "versions": {}}
    kind = "chunked" if FUSED else "all"
    models = {model["name"]: model for model in known["models"]}
    names = ("torch", "transformers", "peft", "accelerate", "sentence-transformers")
    versions = known["versions"] | {name: version(name) for name in names} | {f"trl ({kind})": trl.__version__}
    order = [*MODELS, *UNSEEN, *ENCODERS]
    for model in (model for model in GRID if model.name in options.models):
        earlier = models.get(model.name, {"cases": []})["cases"]
        kept = [case for case in earlier if case["logits"] != kind or case["objective"] not in options.objectives]
        config = model.config()
        built = build(model.model_type, config, Step(attention="eager"), encoder=model.encoder)
        models[model.name] = {
            "name": model.name,
            "unseen": model.name in (*UNSEEN, ENCODERS[-1]),
            **described(built, config),
            "cases": [*kept, *measured(model, options.objectives, options.every)],
        }
        found = sorted(models.values(), key=lambda each: order.index(each["name"]))
        options.out.write_text(text_of({"versions": versions, "models": found}))  # a run that is stopped keeps these
    sys.stdout.write(table_of(read_cases(options.out)))


def text_of(result: dict[str, Any]) -> str:
    """JSON with a line for each case."""
    models = []
    for model in result["models"]:
        head = json.dumps({key: value for key, value in model.items() if key != "cases"}, separators=(",", ":"))
        cases = ",\n".join(json.dumps(case, separators=(",", ":")) for case in model["cases"])
        models.append(f'{head[:-1]},"cases":[\n{cases}\n]}}')
    return f'{{"versions":{json.dumps(result["versions"])},"models":[\n' + ",\n".join(models) + "\n]}\n"


if __name__ == "__main__":
    main()
