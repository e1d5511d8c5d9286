"""Counts every model class of transformers from its saved names, and compares with the class's own `sum(p.numel())`.

    python -m tests.oracles.parameters              every class that builds on the meta device, in about ten minutes
    python -m tests.oracles.parameters llama bert   those of some model folders

Each class is built from its default config; its state dict, as save_pretrained names it, is what a repo would hold.
Needs torch. Prints how many agree, and every disagreement by name.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path

import transformers

from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.model.architecture import read_architecture
from inspector.model.classes import class_folders
from inspector.model.parameters import count_parameters

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "fixtures")]

import make_classes  # noqa: E402
import meta  # noqa: E402
from class_variants import default_config  # noqa: E402


def disagreement(name: str, cls: type[transformers.PreTrainedModel]) -> str | None:
    """What is wrong with the count of one class; None if it is right. Raises what the class raises when it is built."""
    config = default_config(cls)
    model = meta.build(cls, config)
    tensors = tuple(
        Tensor(key, meta.DTYPES[value.dtype], tuple(value.shape)) for key, value in meta.saved_state(model).items()
    )
    facts = json.loads(config.to_json_string(use_diff=False)) | {"architectures": [name]}
    counted = count_parameters(Checkpoint(name, None, "local", facts, tensors), read_architecture(facts))
    truth = sum(parameter.numel() for parameter in model.parameters())
    if counted.total != truth:
        return f"{counted.total:,} counted, {truth:,} held; {dict(counted.stored_only)} {counted.notes[:1]}"
    return None if counted.exact else f"right, but not sure of it: {counted.notes[:1]}"


def main(folders: list[str]) -> int:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    models = Path(transformers.__file__).parent / "models"
    known = class_folders()
    checked, wrong, unbuilt = 0, [], []
    for folder in folders or sorted(set(known.values())):
        for name, cls in make_classes.model_classes(models / folder).items():
            if name not in known:
                continue
            try:
                problem = disagreement(name, cls)
            except Exception as error:
                unbuilt.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:100]}")
                continue
            checked += 1
            if problem:
                wrong.append(f"{name}: {problem}")
    print(f"transformers {transformers.__version__}: {checked - len(wrong)} of {checked} classes agree")
    for line in wrong:
        print("  differs:", line)
    for line in unbuilt:
        print("  not built:", line)
    return 1 if checked and len(wrong) > checked // 100 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
