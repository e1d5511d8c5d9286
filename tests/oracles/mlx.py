"""Compares MLX as it runs with what the library says of it: weights, caches and peaks of small random models.

    python -m venv FOLDER && FOLDER/bin/pip install "mlx[cpu]" mlx-lm
    PYTHONPATH=. FOLDER/bin/python -m tests.oracles.mlx --record tests/memory/data/mlx_runs.json

Each model is built by mlx-lm's own class from a config of tests/oracles/mlx_models.py, quantized by mlx-lm's own
quantize_model, saved, read by the library, and run by mlx-lm's own generate_step and BatchGenerator. Weights and caches
must agree to the byte; what mlx_lm.convert would make, within 2 %, and a cache that grows by odd chunks is no larger
than ours. The program ends with 1 where that is not so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.generate import BatchGenerator, generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes, quantize_model, save_config, save_model

from inspector.api import inspection as api
from inspector.engines.mlx import buffers as mlx_plan
from inspector.engines.mlx import cache as ours
from inspector.engines.mlx import weights as mlx_weights
from inspector.errors import UsageError
from inspector.model import Model
from tests.oracles.mlx_models import CONFIGS, step_before

DTYPES = {"bfloat16": mx.bfloat16, "float16": mx.float16, "float32": mx.float32}
RECIPES: dict[str, dict[str, Any]] = {
    "int4": {"group_size": 64, "bits": 4},
    "int8": {"group_size": 64, "bits": 8},
    "mxfp4": {"group_size": 32, "bits": 4, "mode": "mxfp4"},
}
RUNS: tuple[dict[str, Any], ...] = (
    {"context": 100},
    {"context": 257},
    {"context": 700, "prefill_step_size": 256},
    {"context": 500, "prefill_step_size": 384},
    {"context": 600, "prefill_step_size": 256, "kv_bits": 8, "quantized_kv_start": 300},
    {"context": 300, "prefill_step_size": 256, "kv_bits": 4, "kv_group_size": 32, "quantized_kv_start": 0},
    {"context": 400, "prefill_step_size": 256, "batch": 3},
)


BUFFERS = 1e-4
"""Of the weights, what this library does not count and MLX does: DeepSeek's correction biases."""


def build(config: dict[str, Any]) -> Any:
    """mlx-lm's model of a config, with random weights in its precision, as `mlx_lm.convert` casts them."""
    model_class, arguments = _get_classes(config)
    model = model_class(arguments.from_dict(config))
    casts = getattr(model, "cast_predicate", lambda _: True)
    dtype = DTYPES[config["torch_dtype"]]

    def cast(path: str, value: Any) -> Any:
        return value.astype(dtype) if casts(path) and mx.issubdtype(value.dtype, mx.floating) else value

    model.update(tree_map_with_path(cast, model.parameters()))
    if config["tie_word_embeddings"] and hasattr(model, "lm_head"):  # Gemma 3's class has one until a file has none
        weights = dict(tree_flatten(model.parameters()))
        weights.pop("lm_head.weight")
        model.load_weights(list(model.sanitize(weights).items()))
    mx.eval(model.parameters())
    return model


def read(model: Any, config: dict[str, Any]) -> Model:
    """The library's reading of the model, saved as mlx-lm saves it."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(folder, model)
        save_config(dict(config), Path(folder) / "config.json")
        return api.inspect(folder).model


def size_of(model: Any) -> int:
    return sum(value.nbytes for _, value in tree_flatten(model.parameters()))


def run(model: Any, settings: ours.MlxSettings) -> list[tuple[ours.Moment, int]]:
    """Bytes of the cache after each step of one request or a batch."""
    mx.random.seed(0)
    prompt = mx.random.randint(0, 1000, (settings.batch, settings.context))
    seen: list[tuple[ours.Moment, int]] = []
    if settings.batch > 1:
        batch = BatchGenerator(
            model,
            prefill_step_size=settings.prefill_step_size,
            prefill_batch_size=settings.prompt_concurrency,
        )
        batch.insert(prompt.tolist(), [2] * settings.batch)
        while not (responses := batch.next())[1]:
            done = max((answer.progress[0] for answer in responses[0]), default=0)
            if len(batch._prompt_batch):
                size = sum(cache.nbytes for cache in batch._prompt_batch.prompt_cache)
                seen.append((ours.Moment(done, 0, settings.batch), size))
        size = sum(cache.nbytes for cache in batch._generation_batch.prompt_cache)
        seen.append((ours.Moment(settings.context, 1, settings.batch), size))
        batch.close()
        return seen
    cache = make_prompt_cache(model)
    quantized = {
        "kv_bits": settings.kv_bits,
        "kv_group_size": settings.kv_group_size,
        "quantized_kv_start": settings.quantized_kv_start,
    }

    def progress(done: int, total: int) -> None:
        if 0 < done < total:
            seen.append((ours.Moment(done, 0, 1), sum(layer.nbytes for layer in cache)))

    steps = generate_step(
        prompt[0],
        model,
        max_tokens=0,
        prompt_cache=cache,
        prefill_step_size=settings.prefill_step_size,
        prompt_progress_callback=progress,
        **quantized,
    )
    list(steps)
    mx.eval([layer.state for layer in cache])
    seen.append((ours.Moment(settings.context, 1, 1), sum(layer.nbytes for layer in cache)))
    return seen


def expected_cache(model: Model, settings: ours.MlxSettings, moment: ours.Moment, element: int) -> int | None:
    """What the library says that the cache holds once `moment.before` tokens are in it."""
    step = step_before(moment, settings)
    return ours.cache_bytes(mlx_weights.mlx_layers(model), step, settings, element)


def compare(name: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    """One record a comparison: what, the real bytes, ours."""
    found: list[dict[str, Any]] = []

    def note(what: str, real: int, mine: int | None, exact: bool = True, **facts: Any) -> None:
        found.append({"model": name, "what": what, "real": real, "ours": mine, "exact": exact} | facts)

    model = running = build(config)
    known = read(model, config)
    facts = mlx_plan.mlx_facts(known, "stored")
    assert isinstance(facts, mlx_plan.MlxFacts), facts
    note("weights as stored", size_of(model), mlx_weights.loaded_weights(known, "stored").total)
    for recipe, how in RECIPES.items():
        quantized, changed = quantize_model(
            build(config), dict(config), how["group_size"], how["bits"], how.get("mode", "affine")
        )
        real = size_of(quantized)
        if recipe == "int4" and known.architecture.experts:
            running = quantized  # on a CPU, MLX multiplies with plain experts in float32 alone
        note(f"weights to {recipe}", real, mlx_weights.loaded_weights(known, recipe).total, exact=False)
        note(f"weights in {recipe}", real, mlx_weights.loaded_weights(read(quantized, changed), "stored").total)
    element = mx.zeros(1, DTYPES[config["torch_dtype"]]).nbytes
    for wanted in RUNS:
        settings = ours.MlxSettings(**wanted)
        what = " ".join(f"{key}={value}" for key, value in wanted.items())
        try:
            mlx_plan.check_facts(facts, settings)
        except UsageError as refusal:
            try:
                run(running, settings)
            except Exception as error:
                print(f"  {name:12} {what}: refused, as MLX does ({type(error).__name__}: {str(error)[:60]})")
            else:
                note(f"{what}: refused here alone ({refusal})", 1, None)
            continue
        try:
            steps = run(running, settings)
        except Exception as error:
            note(f"{what}: MLX fails ({type(error).__name__}: {str(error)[:60]})", 1, None)
            continue
        for moment, size in steps:
            mine = expected_cache(known, settings, moment, element)
            odd = settings.prefill_step_size % ours.STEP > 0
            note(f"{what}: cache of {moment.before} tokens", size, mine, not odd, settings=wanted, moment=moment)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    records: list[dict[str, Any]] = []
    for name, config in CONFIGS.items():
        if not asked.names or name in asked.names:
            records += compare(name, config)
    wrong = 0
    for record in records:
        real, mine = record["real"], record["ours"]
        off = None if mine is None else mine / real - 1
        if off is None or record["exact"]:
            bad = off is None or abs(off) > BUFFERS
        else:
            bad = off < 0 if "settings" in record else abs(off) > 0.02
        wrong += bad
        shown = "unknown" if off is None else f"{off:+.3%}"
        print(f"{'!' if bad else ' '} {record['model']:12} {record['what']:75} {real:>12,} {shown:>9}")
    print(f"{len(records) - wrong} of {len(records)} agree (mlx-lm {ours.VERSION} was read)")
    if asked.record:
        runs = [
            {"model": one["model"], "settings": one["settings"], "moment": one["moment"], "bytes": one["real"]}
            for one in records
            if "settings" in one
        ]
        lines = ",\n".join(json.dumps(one) for one in runs)
        asked.record.write_text(f'{{"mlx_lm": "{ours.VERSION}", "runs": [\n{lines}\n]}}\n', encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
