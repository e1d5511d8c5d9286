"""What transformers' own class of a config holds and caches, on torch's meta device: no weights, no arithmetic.

Run by the Python that has torch (`make compared`): python benchmarks/class_truth.py FOLDER TOKENS, where FOLDER has a
config.json. Prints JSON: parameters, and the bytes of the cache after a prompt of all but the last token and one step.
"""

from __future__ import annotations

import json
import sys

import torch
import transformers


def main() -> None:
    folder, tokens = sys.argv[1], int(sys.argv[2])
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, config.architectures[0])
    with torch.device("meta"):
        model = kind._from_config(config, dtype=torch.bfloat16).eval()
    found: dict[str, object] = {"class": kind.__name__, "transformers": transformers.__version__}
    found["parameters"] = sum(each.numel() for each in model.parameters())
    try:
        with torch.no_grad():
            ids = torch.zeros((1, tokens - 1), dtype=torch.long, device="meta")
            cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
            cache = model(input_ids=ids[:, :1], past_key_values=cache, use_cache=True).past_key_values
        found["kv_cache"] = sum(size(layer) for layer in cache.layers)
    except Exception as error:
        found["why"] = f"{type(error).__name__}: {error}"[:300]
    print(json.dumps(found))


def size(layer: object) -> int:
    """Bytes of a cache layer's tensors, views by what they show."""
    held = (each for value in vars(layer).values() for each in flat(value))
    return sum(each.numel() * each.element_size() for each in held)


def flat(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value] if value.dim() > 1 else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [each for one in inner for each in flat(one)]


if __name__ == "__main__":
    main()
