"""The oracle for cache sizes: small random models of transformers, run on the CPU, and what their caches really hold.

    python tests/oracles/caches.py [--write] [TYPE ...]

prints, for every language part that generates, whether the bytes of its cache equal what its layers' specs give; with
--write, what was equal goes to caches.json, which tests/model/test_layer_kinds.py replays. Needs torch, no network.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fixtures import stand_ins

stand_ins.provide()

import transformers  # noqa: E402
from transformers.models.auto import modeling_auto  # noqa: E402
from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: E402

from inspector.memory.inference.kv_cache import ALLOCATIONS, allocated_bytes, cache_bytes  # noqa: E402
from inspector.model.architecture import architecture_of  # noqa: E402
from inspector.model.config.from_class import text_config_of  # noqa: E402
from tests.oracles import table  # noqa: E402
from tests.oracles.cache_configs import CAUSES, ENCODER_TOKENS, FLOAT32_TYPES  # noqa: E402
from tests.oracles.cache_models import (  # noqa: E402
    BATCH,
    build,
    dtype_of,
    quiet,
    random_changes,
    run,
    small_model,
    tiny_config,
    tiny_values,
    whole_values,
)

__all__ = ["build", "measure", "small_model", "tiny_config"]

PROMPTS = (5, 21)
"""Prompt lengths below and above the windows of `cache_models.TINY`."""


@dataclass(frozen=True)
class Measurement:
    """One run: bytes of the cache after a prompt of `context - 1` tokens and one decode step.

    Attributes:
        held: what the tokens take, a layer each; fewer entries where the class keeps all layers in one tensor.
        beside: what the cache holds outside its layers (MiniMax keeps its matrices there).
        expected: what each layer's spec gives.
        allocated: name of the allocation -> (measured, what the specs give), of the whole cache.
    """

    context: int
    held: tuple[int, ...]
    beside: int
    expected: tuple[int | None, ...]
    kinds: tuple[str, ...]
    allocated: dict[str, tuple[int | None, int | None]]

    @property
    def verdict(self) -> str:
        if None in self.expected:
            return "cannot tell"
        same = self.held == self.expected
        if self.beside or len(self.held) != len(self.expected):
            same = sum(self.held) + self.beside == sum(value or 0 for value in self.expected)
        return "equal" if same else "differs"

    @property
    def wrong_allocations(self) -> dict[str, tuple[int | None, int | None]]:
        """Those that were measured and differ."""
        return {name: pair for name, pair in self.allocated.items() if pair[0] is not None and pair[0] != pair[1]}


def measure(model: Any, config: Any, prompt: int) -> Measurement:
    """Runs a prompt and one step, with the class's own cache and with a StaticCache, and weighs them."""
    role = "encoder_decoder" if getattr(config, "is_encoder_decoder", False) else "decoder"
    values = {"vision_config": config.vision_config.to_dict()} if hasattr(config, "vision_config") else {}
    layers = architecture_of(dataclasses.replace(text_config_of(config), role=role), values).layers
    bits = 8 * dtype_of(config).itemsize
    sizes: dict[str, Any] = {"batch": BATCH, "element_bits": bits, "encoder_tokens": ENCODER_TOKENS}
    expected = tuple(cache_bytes(layer, context=prompt + 1, **sizes) for layer in layers)
    measured: dict[str, int | None] = {}
    with quiet(), torch.no_grad():
        runs = run(model, config, prompt, own_cache(config))
        measured["dynamic_after_prefill"] = storage_bytes(tensors_of(next(runs), counters=True))
        cache = next(runs)
        measured["dynamic"] = storage_bytes(tensors_of(cache, counters=True))
        held = tuple(map(tensors_bytes, tensors_of(cache, counters=False)))
        measured["static"] = static_bytes(model, config, prompt)
    allocated = {}
    for name in ALLOCATIONS:
        context = prompt if name == "dynamic_after_prefill" else prompt + 1
        given = [allocated_bytes(layer, context=context, cache=name, **sizes) for layer in layers]
        allocated[name] = (measured[name], None if None in given else sum(size or 0 for size in given))
    beside = tensors_bytes(flatten(getattr(cache, "linear_cache", ())))
    count = config.get_text_config(decoder=True).num_hidden_layers
    if len(layers) == len(held) > count and None not in expected:  # later runs of a layer stand where the class likes
        held, expected = tuple(sorted(held)), tuple(sorted(size or 0 for size in expected))
    return Measurement(prompt + 1, held, beside, expected, tuple(layer.kind for layer in layers), allocated)


def own_cache(config: Any) -> Any:
    """A cache for classes that make one and do not hand it back."""
    return transformers.DynamicCache(config=config) if config.model_type == "recurrent_gemma" else None


def static_bytes(model: Any, config: Any, prompt: int) -> int | None:
    """What a StaticCache for the prompt and one more token has allocated; None where the class takes none."""
    try:
        cache: Any = transformers.StaticCache(config=config, max_cache_len=prompt + 1)
        if getattr(config, "is_encoder_decoder", False):
            cross = transformers.StaticCache(config=config, max_cache_len=ENCODER_TOKENS)
            cache = transformers.EncoderDecoderCache(cache, cross)
        *_, cache = run(model, config, prompt, cache)
        return storage_bytes(tensors_of(cache, counters=True))
    except Exception:
        return None


COUNTERS = frozenset(
    {"_sliding_window_tensor", "cumulative_length", "idx_cumulative_length", "indexer_cumulative_length"}
)
"""Attributes of cache layers that hold no token's values."""


def tensors_of(cache: Any, *, counters: bool) -> list[list[torch.Tensor]]:
    """The tensors of each cache layer; those of the whole cache in one list where its class does not divide it."""
    if isinstance(cache, tuple) and isinstance(cache[-1], torch.nn.Module):  # RecurrentGemma's modules keep the states
        states = [
            value
            for module in cache[-1].modules()
            for name, value in vars(module).items()
            if name in ("conv1d_state", "recurrent_states") and value is not None
        ]
        return [*tensors_of(cache[0], counters=counters), states]
    if hasattr(cache, "self_attention_cache"):
        halves = [
            [layer_tensors(layer, counters) for layer in half.layers]
            for half in (cache.self_attention_cache, cache.cross_attention_cache)
        ]
        return [own + cross for own, cross in zip(*halves, strict=True)]
    if hasattr(cache, "rnn_state"):
        return [list(flatten(cache.rnn_state))]
    if hasattr(cache, "states_cache"):
        return [list(flatten([cache.states_cache, cache.buckets_cache]))]
    if hasattr(cache, "layers"):
        found = [layer_tensors(layer, counters) for layer in cache.layers]
        return [*found, list(flatten(cache.linear_cache))] if counters and hasattr(cache, "linear_cache") else found
    return [list(flatten(cache))]


def layer_tensors(layer: Any, counters: bool) -> list[torch.Tensor]:
    """The tensors of one cache layer, none of one that no layer of the model fills."""
    if not getattr(layer, "is_initialized", True) and not hasattr(layer, "conv_states"):
        return []
    return [
        tensor for name, value in vars(layer).items() if counters or name not in COUNTERS for tensor in flatten(value)
    ]


def tensors_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes that the tensors show, those that two names share once."""
    shown = {(tensor.data_ptr() or id(tensor), tuple(tensor.shape)): tensor for tensor in tensors}
    return sum(tensor.numel() * tensor.element_size() for tensor in shown.values())


def storage_bytes(layers: Iterable[Iterable[torch.Tensor]]) -> int:
    """Bytes of the storages behind the tensors, each once."""
    storages = {}
    for tensors in layers:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr() or id(storage)] = storage.nbytes()
    return sum(storages.values())


def flatten(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from flatten(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from flatten(inner)


def language_types() -> list[str]:
    """The types of all language parts that generate."""
    mappings = (
        "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
        "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
        "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    )
    types: dict[str, None] = {}
    for mapping in mappings:
        for model_type in getattr(modeling_auto, mapping):
            try:
                with quiet():
                    text = type(CONFIG_MAPPING[model_type]().get_text_config(decoder=True)).model_type
                types[text] = None
            except Exception:
                types[model_type] = None
    return sorted(types)


SAMPLE = Path(__file__).with_name("caches.json")

CHANGES: tuple[dict[str, Any], ...] = ({}, {"num_key_value_heads": 1, "head_dim": 24, "sliding_window": 12})
"""What is measured of each type: the sizes of `TINY`, and other heads and windows where the class accepts them."""

RANDOM_CONFIGS = 2
"""Random configurations a type, beside `CHANGES`."""

RECORDED = 3
"""Runs a type that the stored sample keeps at most: `CHANGES` and one random configuration."""


@dataclass
class Report:
    """What became of one type.

    Attributes:
        verdict: "equal", "differs", "cannot tell", or "not run" where the first configuration does not run.
        detail: what was wrong, or why it did not run.
        runs: configurations that ran.
        records: of those that were equal, for the stored sample.
        allocations: name -> [equal, measured], one each a configuration and prompt.
    """

    verdict: str
    detail: str
    runs: int
    records: list[dict[str, Any]]
    allocations: dict[str, list[int]]


def measure_type(model_type: str) -> Report:
    """One type over all changes and prompts."""
    report = Report("equal", "", 0, [], {name: [0, 0] for name in ALLOCATIONS})
    if model_type in CAUSES:
        return dataclasses.replace(report, verdict="not run", detail=CAUSES[model_type])
    random_ones = [random_changes(model_type, seed) for seed in range(RANDOM_CONFIGS)]
    for number, tries in enumerate([*([changes] for changes in CHANGES), *random_ones]):
        reason = ""
        for changes in tries:  # what a class refuses is tried again with fewer changes
            try:
                found = measure_config(model_type, changes)
                break
            except Exception as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        else:
            if number == 0:
                return dataclasses.replace(report, verdict="not run", detail=reason)
            continue
        report.runs += 1
        wrong = next((one for one in found if one.verdict != "equal"), None)
        if wrong is not None:
            text = f"{known(model_type, changes)}: {wrong.kinds} holds {wrong.held}, spec gives {wrong.expected}"
            return dataclasses.replace(report, verdict=wrong.verdict, detail=text)
        for one in found:
            for name, (measured, given) in one.allocated.items():
                if measured is not None:
                    report.allocations[name][0] += measured == given
                    report.allocations[name][1] += 1
            if one.wrong_allocations:
                report.detail = f"{known(model_type, changes)}: allocated (measured, given): {one.wrong_allocations}"
        if len(report.records) < RECORDED:
            report.records.append(record_of(model_type, changes, found))
    return report


def known(model_type: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes that the class knows."""
    return {key: value for key, value in tiny_values(model_type, **changes).items() if key in changes}


def measure_config(model_type: str, changes: dict[str, Any]) -> list[Measurement]:
    """One configuration at all prompts."""
    config = tiny_config(model_type, **changes)
    model = small_model(tiny_config(model_type, **changes))  # some classes write into the config that they are given
    return [measure(model, config, prompt) for prompt in PROMPTS]


def record_of(model_type: str, changes: dict[str, Any], found: list[Measurement]) -> dict[str, Any]:
    """What the sample keeps of a configuration: bytes by context, held and allocated (by `ALLOCATIONS`, null where
    that class was not run)."""
    record: dict[str, Any] = {"config": whole_values(model_type, **changes)}
    if model_type in FLOAT32_TYPES:
        record["element_bits"] = 32
    record["held"] = {str(one.context): sum(one.held) + one.beside for one in found}
    record["allocated"] = {
        str(one.context): [pair[0] if pair[0] == pair[1] else None for pair in one.allocated.values()] for one in found
    }
    return record


def write(records: list[dict[str, Any]]) -> None:
    """The sample that `make test` replays."""
    rows = ",\n".join(json.dumps(record, separators=(",", ":")) for record in records)
    head = f'"generator": "python tests/oracles/caches.py --write", "transformers": "{transformers.__version__}"'
    sizes = f'"batch": {BATCH}, "encoder_tokens": {ENCODER_TOKENS}, "allocations": {json.dumps(ALLOCATIONS)}'
    SAMPLE.write_text(f'{{{head}, {sizes}, "runs": [\n{rows}\n]}}\n')


SLOW = 10
"""Seconds after which a type is named as slow, on standard error."""

LEAST_SHARE = 0.95
"""Of the types that run, those that must be equal."""


def main() -> int:
    names = [name for name in sys.argv[1:] if not name.startswith("--")] or language_types()
    counts = {"equal": 0, "differs": 0, "cannot tell": 0, "not run": 0}
    exceptions: dict[str, dict[str, str]] = {"differs": {}, "cannot tell": {}, "not run": {}}
    runs, records = 0, []
    allocations = {name: [0, 0] for name in ALLOCATIONS}
    for name in names:
        started = time.process_time()
        report = measure_type(name)
        if (seconds := time.process_time() - started) > SLOW:
            print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
        counts[report.verdict] += 1
        runs += report.runs
        records += report.records
        for allocation, (equal, measured) in report.allocations.items():
            allocations[allocation][0] += equal
            allocations[allocation][1] += measured
        if report.verdict in exceptions:
            exceptions[report.verdict][name] = report.detail
        if report.detail:
            print(f"{name}: {report.verdict}: {report.detail}", flush=True)
    ran = len(names) - counts["not run"]
    if "--write" in sys.argv:
        write(records)
        lengths = runs * len(PROMPTS)
        numbers = {"types": ran, "configs": runs, "runs": lengths, "equal": counts["equal"]}
        for name, (equal, measured) in allocations.items():
            numbers |= {f"allocated_{name}": equal, f"measured_{name}": measured}
        table.write("caches", {**numbers, **{key.replace(" ", "_"): found for key, found in exceptions.items()}})
    print(f"held: {counts['equal']} of {ran} types that run, {runs} configurations x {len(PROMPTS)} lengths; {counts}")
    for allocation, (equal, measured) in allocations.items():
        print(f"allocated, {allocation}: {equal} of {measured} runs equal")
    return int(counts["equal"] < LEAST_SHARE * ran)


if __name__ == "__main__":
    sys.exit(main())
