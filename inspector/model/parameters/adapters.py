"""PEFT adapters on their base: what `sum(p.numel() for p in PeftModel.parameters())` gives, and what the adapter is.

Checked against peft by `fixtures/make_adapters.py`, a case a method, with models loaded by `PeftModel.from_pretrained`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.hub.formats.adapters import peft_type
from inspector.model.assemble import assemble, blank, is_of_diffusers, most_stored
from inspector.model.model import Adapter, Model, ModelPart, Parameters, Share
from inspector.model.parameters.classes import class_of
from inspector.model.parameters.names import component
from inspector.model.plain import plain_model

PREFIX = "base_model.model."
"""Of all names in an adapter's file but those of prompts."""
BUFFER = re.compile(
    r"(^|\.)(vera_A|vera_B|randlora_A|randlora_B|shira_indices|delora_w_norm|vblora_logits_[AB]_topk_indices)$"
)
"""What peft saves of an adapter and does not hold as parameters: shared random projections, indices, norms."""
CHECKED = frozenset(
    {
        "ADALORA",
        "ADAPTION_PROMPT",
        "BOFT",
        "C3A",
        "CPT",
        "DELORA",
        "FOURIERFT",
        "GRALORA",
        "HRA",
        "IA3",
        "LN_TUNING",
        "LOHA",
        "LOKR",
        "LORA",
        "MISS",
        "MULTITASK_PROMPT_TUNING",
        "OFT",
        "PREFIX_TUNING",
        "PROMPT_TUNING",
        "P_TUNING",
        "RANDLORA",
        "ROAD",
        "SHIRA",
        "TRAINABLE_TOKENS",
        "VBLORA",
        "VERA",
    }
)
"""peft's methods that the fixture has."""
PROMPTS = frozenset({"CPT", "MULTITASK_PROMPT_TUNING", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING"})
EMPTY = Parameters(
    total=0, active=0, by_component={}, by_dtype={}, buffers=0, stored_only={}, stored_bytes=0, exact=True
)
TASKS = {
    "SEQ_CLS": "ForSequenceClassification",
    "TOKEN_CLS": "ForTokenClassification",
    "QUESTION_ANS": "ForQuestionAnswering",
    "FEATURE_EXTRACTION": "Model",
}
"""An adapter's `task_type` -> the end of the class that its base is loaded as (peft/auto.py), where that is none with a
language model's head."""
LANGUAGE_HEADS = re.compile(r"(ForCausalLM|LMHeadModel)$")
LISTED = 50
"""Names of modules that a report shows."""


def adapted(checkpoint: Checkpoint) -> Model:
    """The base with the adapter on it.

    Args:
        checkpoint: its parts are the base and the adapter; without a base, the adapter alone.

    Raises:
        InvalidConfig: the base's config holds values that no model can have.
    """
    own = checkpoint.parts[-1].checkpoint
    method = peft_type(own.config)
    held = checkpoint.parts[0].checkpoint if len(checkpoint.parts) > 1 else None
    base = Model(checkpoint.repo_id, blank(None), EMPTY, None) if held is None else _base_model(_for_task(held, own))
    saved = _texts(own.config.get("modules_to_save"))
    added, grown = _added(own, method, {} if held is None else _names(held), saved)
    adapter = Adapter(
        base_model=str(own.config.get("base_model_name_or_path") or "")[:200],
        base_revision=None if held is None else held.revision,
        peft_type=method,
        rank=_whole(own.config.get("init_r" if method == "ADALORA" else "r")),
        alpha=_number(own.config.get("lora_alpha", own.config.get("alpha"))),
        target_modules=_texts(own.config.get("target_modules")),
        modules_to_save=saved,
        parameters=added,
        bytes=own.tensor_bytes,
    )
    models = (base, _alone(own, method, added))
    return replace(
        base,
        repo_id=checkpoint.repo_id,
        parameters=_together(base.parameters, own, method, added, grown),
        parts=tuple(
            ModelPart(part.name, part.kind, part.class_name, model, part.checkpoint)
            for part, model in zip(checkpoint.parts, models, strict=True)
        ),
        adapter=adapter,
    )


def _for_task(base: Checkpoint, own: Checkpoint) -> Checkpoint:
    """The base with the class that it is loaded as for the adapter's task: without the head of a language model, where
    transformers has such a class."""
    names, end = base.config.get("architectures"), TASKS.get(str(own.config.get("task_type")))
    if end is None or not isinstance(names, list) or not names or not LANGUAGE_HEADS.search(str(names[0])):
        return base
    name = LANGUAGE_HEADS.sub(end, str(names[0]))
    known = class_of(name, str(base.config.get("model_type")))
    return base if known is None else replace(base, config={**base.config, "architectures": [name]})


def _base_model(base: Checkpoint) -> Model:
    """The base by itself; it is no adapter."""
    return assemble(base) if base.parts or is_of_diffusers(base) else plain_model(base)


def _added(
    own: Checkpoint, method: str, names: Mapping[str, tuple[int, ...]], saved: tuple[str, ...]
) -> tuple[int, dict[str, int]]:
    """The parameters that an adapter adds to its base, and by how many a tensor in the place of one of the base's is
    larger than that, by component."""
    added = 0
    grown: dict[str, int] = {}
    for tensor in own.tensors:
        if not _replaces(tensor, names, saved, method):
            added += _parameters(tensor, method, own.config)
        elif (name := _bare(tensor.name)) and (growth := _growth(tensor, names)):
            grown[component(name)] = growth
    return added, grown


def _together(base: Parameters, own: Checkpoint, method: str, added: int, grown: Mapping[str, int]) -> Parameters:
    """The base's parameters and the adapter's."""
    components = dict(base.by_component)
    for name, growth in grown.items():
        components[name] = components.get(name, 0) + growth
    dtypes = dict(base.by_dtype)
    for tensor in own.tensors:
        if not BUFFER.search(tensor.name):
            dtypes[tensor.dtype] = dtypes.get(tensor.dtype, 0) + tensor.numel
    more, nbytes = added + sum(grown.values()), own.tensor_bytes
    first = own.tensors[0].name if own.tensors else ""
    return replace(
        base,
        total=base.total + more,
        active=base.active + more,
        by_component={**components, "adapter": added},
        bytes_by_component={**base.bytes_by_component, "adapter": nbytes},
        by_dtype=dtypes,
        stored_bytes=base.stored_bytes + nbytes,
        outside={**base.outside, "adapter": Share(added, nbytes, len(own.tensors), first)},
        exact=base.exact and method in CHECKED,
        notes=(*base.notes, *_notes(own, method, grown)),
    )


def _alone(own: Checkpoint, method: str, added: int) -> Model:
    """The adapter as a part of its own."""
    dtypes: dict[str, int] = {}
    for tensor in own.tensors:
        dtypes[tensor.dtype] = dtypes.get(tensor.dtype, 0) + tensor.numel
    parameters = replace(
        EMPTY,
        total=added,
        active=added,
        by_component={"adapter": added},
        by_dtype=dtypes,
        stored_bytes=own.tensor_bytes,
        exact=method in CHECKED,
        notes=(),
    )
    return Model(own.repo_id, blank(method), parameters, most_stored([own]))


def _parameters(tensor: Tensor, method: str, config: Mapping[str, Any]) -> int:
    """What a tensor of the file stands for in the model.

    - AdaLoRA holds a number beside each `lora_E` (`ranknum`), which it does not save.
    - CPT holds a trained difference beside the prompt that it saves.
    - VB-LoRA may save the weights of its best vectors only, all but the last one; the model has one for each vector.
    """
    if BUFFER.search(tensor.name):
        return 0
    if tensor.name.endswith("_topk_weights"):
        return math.prod(tensor.shape[:-1]) * (_whole(config.get("num_vectors")) or 0)
    if method == "CPT" and tensor.name == "prompt_embeddings":
        return 2 * tensor.numel
    return tensor.numel + (1 if tensor.name.endswith(".lora_E") else 0)


def _names(base: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Shapes of the base's tensors by name, with and without the first component: files of base models leave it out."""
    tensors = [*base.tensors, *(tensor for part in base.parts for tensor in part.checkpoint.tensors)]
    found = {tensor.name.partition(".")[2]: tensor.shape for tensor in tensors}
    return found | {tensor.name: tensor.shape for tensor in tensors}


def _bare(name: str) -> str:
    return name.removeprefix(PREFIX).replace(".base_layer.", ".")


def _replaces(tensor: Tensor, base: Mapping[str, tuple[int, ...]], saved: tuple[str, ...], method: str) -> bool:
    """Whether a tensor of the file takes the place of one of the base: a bias, a resized embedding.

    Of `modules_to_save` and LN tuning, peft keeps the base's beside the copy.
    """
    name = _bare(tensor.name)
    module = name.rpartition(".")[0]
    if method == "LN_TUNING" or method in PROMPTS:
        return False
    steps = module.split(".")
    if any(".".join(steps[: i + 1]).endswith(saved) for i in range(len(steps))) and saved:
        return False
    known = name in base or name.partition(".")[2] in base
    return ".base_layer." in tensor.name or known or name.endswith("lm_head.weight")


def _growth(tensor: Tensor, base: Mapping[str, tuple[int, ...]]) -> int:
    """How many more numbers a resized embedding has than the base's; a tied head is no tensor of the base."""
    name = _bare(tensor.name)
    shape = base.get(name, base.get(name.partition(".")[2]))
    if shape is None or len(shape) != 2 or len(tensor.shape) != 2 or shape[1] != tensor.shape[1]:
        return 0
    return tensor.numel - math.prod(shape)


def _notes(own: Checkpoint, method: str, grown: Mapping[str, int]) -> tuple[str, ...]:
    notes = []
    if method not in CHECKED:
        notes.append(f"the adapter's method {method} is not known: all its tensors count")
    if grown:
        names = ", ".join(grown)
        notes.append(f"the adapter brings a resized {names}: {sum(grown.values()):+,} parameters beside its own")
    virtual = _whole(own.config.get("num_virtual_tokens"))
    if method in PROMPTS and virtual:
        notes.append(
            f"the adapter adds {virtual:,} virtual tokens to each sequence, which the KV cache here leaves out"
        )
    return tuple(notes)


def _texts(value: Any) -> tuple[str, ...]:
    """Names, of a list or alone; whatever else is left out."""
    values = value if isinstance(value, list) else [value]
    return tuple(item[:200] for item in values[:LISTED] if isinstance(item, str) and item)


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 2**40 else None


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) and 0 <= value < 2**40 else None
