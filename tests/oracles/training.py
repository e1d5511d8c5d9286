"""Measures training steps with no GPU and no weights, and how far the estimate of `llm-inspect train` is from them.

    python -m tests.oracles.training [--models NAME ...] [--every N] [--known FILE] [--out FILE] [--table FILE]

Builds the real class at full width under fake tensors on a pretend GPU, takes a step (forward, the model's own loss,
backward, optimizer) and follows every tensor from birth to death. --out stores the peaks that the tests replay without
torch (tests/memory/data/training_peaks.json); --table writes the errors as Markdown (docs/training-accuracy.md).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from itertools import islice, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
import transformers
from transformers import AutoConfig

from inspector.hub.cache.snapshot import encode_tensors
from inspector.hub.checkpoint import Tensor
from inspector.measure.step import Step, build, measure
from inspector.memory.training.table import known_types
from tests.memory.training.objectives_replay import read_cases, table_of
from tests.memory.training.replay import PEAKS, estimate_of, read_peaks, summary
from tests.oracles.training_grid import GRID, GridModel, steps

KERNELS = ("-liger", "-xielu")
"""Ends of the names of tables of fused kernels."""
TYPES = sorted(
    {name.removesuffix("-gated").removesuffix("-direct") for name in known_types() if not name.endswith(KERNELS)}
)
NAMES = [model.name for model in GRID]

VERSIONS = {
    "Python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    **{name: version(name) for name in ("peft", "bitsandbytes")},
}

COMMAND = (
    "python -m tests.oracles.training --out tests/memory/data/training_peaks.json --table docs/training-accuracy.md"
)


UNREAD = (
    *("transformers_version", "output_hidden_states", "output_attentions", "return_dict", "problem_type"),
    *("chunk_size_feed_forward", "_name_or_path"),
)
"""Keys of every config that say nothing of the model."""

OBJECTIVES = (
    "Steps of TRL's own trainers (`--objective`; tests/oracles/objectives), and of sentence-transformers' own losses",
    "over its own modules (`embedding`): each trainer computes its own loss on the",
    "same pretend GPU, with what it logs beside, and under autocast with the fp32 outputs that accelerate makes. TRL",
    "1.12 has whole logits (`--logits all`), TRL 1.16 a fused head (`--logits chunked`), whose kernels work in place.",
    "",
    "PPO runs the trainer's own `train` for two updates, with completions that are already there in the place of",
    "generation, which is from source.",
)


def run_model(model: GridModel, known: dict[str, Any] | None = None, every: int = 1) -> dict[str, Any]:
    """The model's config and size, and its cases with their measured peaks; those that are known are not run again."""
    warnings.simplefilter("ignore")
    config = model.config()
    cases = cases_of(
        model.name,
        sampled(steps(model), model.name, every),
        known,
        lambda step: measure(model.model_type, config, step, encoder=model.encoder),
        label,
    )
    return stored_model(model, cases)


def stored_model(model: GridModel, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """A model with its measured cases, as the tests read it."""
    config = model.config()
    built = build(model.model_type, config, Step(attention="eager"), encoder=model.encoder)
    return {"name": model.name, "held_out": model.held_out, **described(built, config), "cases": cases}


def described(built: Any, config: dict[str, Any], parts: bool = False) -> dict[str, Any]:
    """A built model as the estimate reads it: its config, its size, and the names and shapes of what it saves.

    Args:
        config: that it was built from.
        parts: keep the configs of a model's parts, as one that takes images has them.
    """
    full = AutoConfig.for_model(built.config.model_type, **config).to_dict() | {"architectures": [type(built).__name__]}
    return {
        "config": {
            key: value
            for key, value in full.items()
            if key not in UNREAD and (parts or not isinstance(value, dict) or key == "rope_parameters")
        },
        "parameters": sum(parameter.numel() for parameter in built.parameters()),
        "tensors": encode_tensors(
            Tensor(name, "BF16", tuple(parameter.shape))
            for name, parameter in built.named_parameters()
            if name not in (built._keys_to_ignore_on_save or ())
        ),
    }


def cases_of(
    name: str,
    steps: Iterable[Step],
    known: dict[str, Any] | None,
    peaks_of: Callable[[Step], dict[str, int]],
    label: Callable[[dict[str, Any]], str],
) -> list[dict[str, Any]]:
    """A model's steps with their peaks; those that `known`, the model of an earlier run, has are not run again."""
    measured = {key(case): case for case in (known or {}).get("cases", ())}
    cases = []
    for step in steps:
        settings = dataclasses.asdict(step)
        if key(settings) in measured:
            cases.append(measured[key(settings)])
            continue
        start = time.monotonic()
        cases.append({**settings, "measured": peaks_of(step)})
        print(f"{name} {label(cases[-1])} {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
    return cases


def sampled(steps: Iterable[Step], name: str, every: int) -> Iterator[Step]:
    """Every so many of a model's steps, from a first one that its name decides."""
    return islice(steps, crc32(name.encode()) % every, None, every)


def key(case: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """What tells a case from others: all its settings but those at their defaults."""
    defaults = dataclasses.asdict(Step())
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in case.items()}
    return tuple(sorted((name, value) for name, value in plain.items() if name in defaults and value != defaults[name]))


def print_errors(rows: list[dict[str, Any]], label_of: Callable[[dict[str, Any]], str]) -> None:
    """Every case with its error, the largest first, and what is true of all."""
    for row in sorted(rows, key=lambda row: -abs(row["error"] or 9)):
        told = f"{row['error']:+.2%} passes {row['passes']:+.2%}" if row["error"] is not None else row["reason"]
        print(row["model"], label_of(row["case"]), told)
    print(summary(rows), "|", summary(rows, "passes"))


def label(case: dict[str, Any]) -> str:
    """One case in a few words."""
    words = [case[key] for key in ("method", "precision", "attention", "optimizer", "optimizer_impl")]
    words.append(f"{case['batch']} x {case['context']}")
    if case["checkpointing"] == "full":
        words.append("checkpointing")
    if case.get("lora_targets", "all-linear") != "all-linear":
        words.append(case["lora_targets"])
    words += [case[name] for name in ("trained", "modules_to_save") if case.get(name)]
    words += ["int8"] if case.get("base") == "int8" else []
    words += ["reentrant"] if case.get("reentrant") else []
    words += ["DoRA"] if case.get("dora") else []
    words += ["bf16 adapters"] if case.get("adapter_dtype") == "bf16" else []
    return " ".join(words)


def errors(models: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Estimate against measurement for every case: of the step's peak, and of the two passes without the optimizer."""
    rows = []
    for model in models:
        for case in model["cases"]:
            estimate = estimate_of(model, case)
            measured = case["measured"]
            row = {"model": model["name"], "type": model["config"]["model_type"], "case": case, "label": label(case)}
            row["held_out"] = model["held_out"]
            if estimate.peak is None:
                rows.append(row | {"error": None, "passes": None, "reason": estimate.warnings[-1]})
                continue
            passes = max(size for phase, size in estimate.phases.items() if phase != "optimizer")
            measured_passes = max(measured["forward"], measured["backward"])
            rows.append(row | {"error": estimate.peak / measured["peak"] - 1, "passes": passes / measured_passes - 1})
    return rows


def table(result: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """docs/training-accuracy.md."""
    lines = [
        "# How exact the training estimate is",
        "",
        "Every case is the real transformers class, at full width and with few layers, taking a training step under",
        "fake tensors on a pretend GPU (no GPU, no weights): each tensor is followed from birth to death, in the",
        "allocator's 512-byte blocks. The estimate reads the config and the tensors' names and shapes, nothing else.",
        "QLoRA runs bitsandbytes' own layers and peft's own adapters on them.",
        "Of encoder-decoders, `--context` tokens go into the encoder and as many into the decoder.",
        "A class without sdpa (BLOOM, Gemma 2, gpt-oss) runs eager attention where sdpa is asked for, as",
        "transformers has it.",
        "",
        f"Made by `{COMMAND}`",
        f"in {result['seconds']} s on {result['machine']}, with "
        + ", ".join(f"{k} {v}" for k, v in result["versions"].items())
        + ".",
        "The estimate's table comes from small models of the same classes at other sizes (fixtures/make_training.py).",
        "Unseen architectures are types that nobody looked at while the estimate was written.",
        "Adapters on the MLP alone, and on DeepSeek-V2-Lite, whose first block differs from the others, stand out: the",
        "first block keeps less, as nothing below it trains, which with three blocks shows and with thirty does not.",
        "Of a type without a table the peak is unknown, and said to be: the report then gives weights, gradients and",
        "states as a least size, and `--measure` (extra `measure`) runs its class as these runs did.",
        f"Types with a table: {', '.join(TYPES)}.",
        "",
        "Not measured: 8-bit, paged, GaLore and APOLLO optimizers, chunked logits, flash",
        "attention, masters beside bf16 weights, and all parallelism but the number of blocks that torch's fully_shard",
        "gathers (`python -m tests.oracles.training_fsdp`). The estimate says so in a note.",
        "",
        "## Absolute error of the step's peak",
        "",
        "| cases of | number | median | 95 % are under | worst |",
        "|---|---|---|---|---|",
        f"| all {len({row['model'] for row in rows})} models | {summary(rows)} |",
        f"| the unseen ones | {summary([row for row in rows if row['held_out']])} |",
    ]
    for key, name in (
        ("method", "method"),
        ("precision", "precision"),
        ("attention", "attention"),
        ("checkpointing", "checkpointing"),
        ("optimizer", "optimizer"),
    ):
        for value in sorted({row["case"][key] for row in rows}):
            lines.append(f"| {name} {value} | {summary([row for row in rows if row['case'][key] == value])} |")
    lines += [
        f"| all, forward and backward passes only | {summary(rows, 'passes')} |",
        "",
        "## By model",
        "",
        "| model | type | number | median | 95 % are under | worst |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["model"] for row in rows):
        of_model = [row for row in rows if row["model"] == name]
        lines.append(f"| {name} | {of_model[0]['type']} | {summary(of_model)} |")
    lines += ["", "## The twenty worst cases", "", "| model | case | peak | passes only |", "|---|---|---|---|"]
    known = sorted((row for row in rows if row["error"] is not None), key=lambda row: -abs(row["error"]))
    lines += [f"| {row['model']} | {row['label']} | {row['error']:+.2%} | {row['passes']:+.2%} |" for row in known[:20]]
    lines += ["", "## Images", "", *IMAGES, "", *images_table()]
    lines += ["", "## Fused kernels", "", *FUSED, "", *kernels_table()]
    lines += ["", "## Objectives", "", *OBJECTIVES, "", *table_of(read_cases()).splitlines()]
    unknown = [row for row in rows if row["error"] is None]
    if unknown:
        lines += ["", "## Cases without an estimate", ""]
        lines += [f"- {row['model']} {row['label']}: {row['reason']}" for row in unknown]
    return "\n".join(lines) + "\n"


FUSED = (
    "Steps with Liger's kernels, and of Apertus with xIELU's (`--kernels`; tests/oracles/training_kernels.py): Liger's",
    "own code runs, with its fused loss (`--logits chunked`) and without; only its Triton kernels are not launched.",
)


def kernels_table() -> list[str]:
    """The errors of steps with fused kernels, by model."""
    result = read_peaks(PEAKS.with_name("kernel_peaks.json"))
    rows = errors(result["models"])
    lines = ["| cases of | number | median | 95 % are under | worst |", "|---|---|---|---|---|"]
    lines.append(f"| all {len(result['models'])} models | {summary(rows)} |")
    lines.append(f"| with the fused loss | {summary([row for row in rows if row['case']['fused_loss']])} |")
    for model in dict.fromkeys(row["model"] for row in rows):
        lines.append(f"| {model} | {summary([row for row in rows if row['model'] == model])} |")
    return [*lines, "", f"Measured with liger-kernel {result['versions']['liger-kernel']}."]


IMAGES = (
    "Steps of vision-language classes with images (tests/oracles/training_images.py), bf16 and autocast, sdpa, with",
    "and without checkpointing: three layers of the language part and six of the encoder at published widths. Steps of",
    "text alone are taken by the same classes, with their encoders, which then get no gradients and no states.",
)


def images_table() -> list[str]:
    """The errors of steps with images, by what trains and by model."""
    rows = errors(read_peaks(PEAKS.with_name("training_image_peaks.json"))["models"])
    lines = ["| cases of | number | median | 95 % are under | worst |", "|---|---|---|---|---|"]
    lines.append(f"| all {len({row['model'] for row in rows})} models | {summary(rows)} |")
    with_images = [row for row in rows if row["case"]["images"]]
    for method, vision, what in (
        ("full", "trained", "all trains"),
        ("full", "projector", "all but the encoder trains"),
        ("full", "frozen", "the language part trains"),
        ("lora", "auto", "LoRA on the language part"),
        ("qlora", "auto", "QLoRA on the language part"),
    ):
        ways = [row for row in with_images if (row["case"]["method"], row["case"]["vision"]) == (method, vision)]
        lines.append(f"| {what} | {summary(ways)} |")
    lines.append(f"| text alone, full and LoRA | {summary([row for row in rows if not row['case']['images']])} |")
    for model in dict.fromkeys(row["model"] for row in rows):
        lines.append(f"| {model} | {summary([row for row in rows if row['model'] == model])} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", help="names from tests/oracles/training_grid.py; default all")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--every", type=int, default=1, help="a sample: one of so many steps of each model")
    parser.add_argument("--out", type=Path, help="JSON file for the measured peaks")
    parser.add_argument(
        "--known",
        type=Path,
        help="an earlier --out of the same releases, where it is there: its cases are kept, the others measured",
    )
    parser.add_argument(
        "--again",
        type=Path,
        nargs="+",
        help="measured peaks of earlier --outs, put together, instead of a new measurement",
    )
    parser.add_argument("--table", type=Path, help="Markdown file for the errors; default: standard output")
    options = parser.parse_args()
    start = time.monotonic()
    if options.again:
        result = together([read_peaks(path) for path in options.again])
    else:
        chosen = [model for model in GRID if not options.models or model.name in options.models]
        earlier = earlier_run(options.known)
        models = {model["name"]: model for model in earlier["models"]}
        result = {
            "command": COMMAND,
            "versions": VERSIONS,
            "machine": f"{platform.machine()} with {options.jobs} processes",
            "seconds": earlier["seconds"],
            "unit": "bytes",
            "models": earlier["models"],
        }
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            for made in pool.map(
                run_model, chosen, [models.get(model.name) for model in chosen], repeat(options.every)
            ):
                models[made["name"]] = made
                ordered = sorted(models.values(), key=lambda model: NAMES.index(model["name"]))
                result |= {"models": ordered, "seconds": round(time.monotonic() - start) + earlier["seconds"]}
                if options.out:  # after each model, so that a run that is stopped goes on from there
                    options.out.write_text(compact(result))
    if options.out:
        options.out.write_text(compact(result))
    rows = errors(result["models"])
    text = table(result, rows)
    if options.table:
        options.table.parent.mkdir(exist_ok=True)
        options.table.write_text(text)
    else:
        sys.stdout.write(text)


def earlier_run(path: Path | None, versions: Mapping[str, str] = VERSIONS) -> dict[str, Any]:
    """What an earlier run measured; nothing where there is none, or one of other releases."""
    nothing: dict[str, Any] = {"models": [], "seconds": 0}
    if path is None or not path.exists():
        return nothing
    found = read_peaks(path)
    if found["versions"] != versions:
        print(f"{path} is of other releases ({found['versions']}): all is measured again", file=sys.stderr)
        return nothing
    return found


def together(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Several runs as one: the first's facts, all models; of a model that is in several, the last run's."""
    models = {model["name"]: model for result in results for model in result["models"]}
    ordered = sorted(models.values(), key=lambda model: NAMES.index(model["name"]))
    return results[0] | {"models": ordered, "seconds": sum(result["seconds"] for result in results)}


MEASURED = ("weights", "optimizer_states", "forward", "backward", "gradients", "optimizer", "peak")


def compact(result: dict[str, Any]) -> str:
    """JSON with one line a case, as `tests.memory.training.replay.read_peaks` reads it."""
    models = []
    for model in result["models"]:
        cases = ",\n".join(_dumps(_short(case)) for case in model["cases"])
        head = _dumps({key: value for key, value in model.items() if key != "cases"})
        models.append(f'{head[:-1]},"cases":[\n{cases}\n]}}')
    rest = {key: value for key, value in result.items() if key not in ("models", "defaults", "measured")}
    head = _dumps(rest | {"defaults": dataclasses.asdict(Step()), "measured": MEASURED})
    return f'{head[:-1]},"models":[\n' + ",\n".join(models) + "\n]}\n"


def _short(case: dict[str, Any]) -> dict[str, Any]:
    """A case's settings that are not the defaults, and its sizes in the order of `MEASURED`."""
    defaults = dataclasses.asdict(Step())
    settings = {name: value for name, value in case.items() if name in defaults and value != defaults[name]}
    return settings | {"measured": [case["measured"][name] for name in MEASURED]}


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    main()
