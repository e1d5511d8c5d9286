"""Measures what transformers' `generate` needs above the weights, with no GPU and no weights.

    python -m tests.oracles.inference [--models NAME ...] [--out FILE] [--explain]

Builds the real class at full width under fake tensors on a pretend GPU, runs the prefill and two decode steps as
`generate` does (sdpa attention, `logits_to_keep=1`, a DynamicCache, greedy choice), and reports for each
- `prefill_peak`: the most bytes that lived at once above the weights,
- `decode_peak`: the same of one step once sliding-window layers have let go of the prompt,
- `cache`: the bytes of the keys and values that the cache can still see (the steady state), and
- `cache_storage`: the bytes that it really holds right after the prefill.
With --explain it prints the largest tensors that live at the peak, and the operations that made them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, DynamicCache

from tests.oracles.inference_facts import facts_of
from tests.oracles.inference_gpu import DEVICE, StorageTracker, move_to_gpu, pretend_gpu
from tests.oracles.inference_models import MODELS, OracleModel

MIB = 2**20


def build(model: OracleModel, dtype: str) -> Any:
    """The transformers class of `model` on the meta device."""
    config = AutoConfig.for_model(model.model_type, **model.config)
    auto = AutoModel if model.headless else AutoModelForMaskedLM if model.encoder else AutoModelForCausalLM
    with torch.device("meta"):
        return auto.from_config(config, dtype=getattr(torch, dtype)).eval()


def measure(model: Any, batch: int, context: int, *, encoder: bool, tracker: StorageTracker) -> dict[str, Any]:
    """Peaks in bytes above the weights, of a model already on the pretend GPU, and what lived there at the peaks."""
    ids = torch.ones(batch, context, dtype=torch.long, device=DEVICE)
    mask = torch.ones_like(ids)
    base = tracker.live
    tracker.reset_peak()
    if encoder:
        output = model(input_ids=ids, attention_mask=mask)  # noqa: F841  (its logits live on, as a caller's do)
        return {"prefill_peak": tracker.peak - base, "at_prefill": tracker.at_peak, "facts": facts_of(model, None)}

    cache = DynamicCache(config=model.config)
    arguments: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    if model._supports_logits_to_keep():
        arguments["logits_to_keep"] = 1

    def step(token_ids: torch.Tensor, seen: int) -> torch.Tensor:
        attention_mask = torch.ones(batch, seen, dtype=torch.long, device=DEVICE)
        output = model(input_ids=token_ids, attention_mask=attention_mask, **arguments)
        # GenerationMixin._sample copies the last row to fp32 before it drops the model's output.
        return output.logits[:, -1].to(copy=True, dtype=torch.float32).argmax(-1, keepdim=True)

    token = step(ids, context)
    result: dict[str, Any] = {"prefill_peak": tracker.peak - base, "at_prefill": tracker.at_peak}
    result["cache"], result["cache_storage"] = cache_bytes(cache)
    result["facts"] = facts_of(model, cache)
    tracker.reset_peak()
    token = step(token, context + 1)
    result["first_decode_peak"] = tracker.peak - base
    tracker.reset_peak()
    step(token, context + 2)
    result["decode_peak"], result["at_decode"] = tracker.peak - base, tracker.at_peak
    return result


def cache_bytes(cache: DynamicCache) -> tuple[int, int]:
    """(bytes that the cache's tensors show, bytes of the storages behind them)."""
    tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values) if tensor is not None]
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors), sum(storages.values())


def run(model: OracleModel, *, explain: bool) -> dict[str, Any]:
    """The model's facts, and every (dtype, batch, context) case."""
    cases = []
    facts: dict[str, Any] = {}
    for dtype in model.dtypes:
        built = build(model, dtype)
        with pretend_gpu() as tracker:
            move_to_gpu(built)
            for batch, context in model.shapes:
                result = measure(built, batch, context, encoder=model.encoder, tracker=tracker)
                facts = result.pop("facts")
                at_peak = {key: result.pop(key) for key in ("at_prefill", "at_decode") if key in result}
                cases.append({"dtype": dtype, "batch": batch, "context": context, **result})
                print(model.name, json.dumps(cases[-1]), file=sys.stderr)
                if explain:
                    print_tensors(at_peak, batch * context)
    return {"held_out": model.held_out, "facts": facts, "cases": cases}


def print_tensors(at_peak: dict[str, list[tuple[int, str]]], tokens: int) -> None:
    """The tensors that lived at the peaks, largest first, without the weights and what is smaller than two a token."""
    for name, tensors in at_peak.items():
        print(f"  {name}", file=sys.stderr)
        kinds = Counter(item for item in tensors if item[0] >= 2 * tokens and "empty_strided" not in item[1])
        for (size, origin), count in sorted(kinds.items(), reverse=True)[:20]:
            print(f"    {count} x {size / MIB:9.2f} MiB {size / tokens:10.1f} B/token  {origin}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", help="names from tests/oracles/inference_models.py; default all")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--explain", action="store_true", help="print what lives at the peaks")
    options = parser.parse_args()
    start = time.monotonic()
    chosen = [model for model in MODELS if not options.models or model.name in options.models]
    models = {model.name: run(model, explain=options.explain) for model in chosen}
    count = sum(len(model["cases"]) for model in models.values())
    print(f"{count} cases of {len(models)} models in {time.monotonic() - start:.0f} s", file=sys.stderr)
    if options.out:
        result = {
            "command": "python -m tests.oracles.inference --out tests/memory/data/inference_peaks.json",
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "unit": "bytes above the weights",
            "models": models,
        }
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
