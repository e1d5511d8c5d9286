"""What drafts under vLLM (speculative decoding): a model beside the model, a head of it, or its own layers."""

from __future__ import annotations

from dataclasses import replace

from inspector.engines.common.heads import OWN_LAYERS, DraftHead
from inspector.engines.common.served import ServedModel, served_model
from inspector.engines.serving import CannotTell
from inspector.engines.vllm.budget import VllmSettings
from inspector.engines.vllm.loads import as_cached, table, why_not_loaded
from inspector.errors import UsageError
from inspector.memory import STORED
from inspector.model import Model
from inspector.model.config.light import by_hand
from inspector.model.model import Architecture

NOTE = "CUDA graphs and a step's activations are counted as without the draft model"


def with_draft(
    settings: VllmSettings, draft: Model | DraftHead | None, model: Model, served: ServedModel
) -> VllmSettings:
    """The settings with what drafts, as vLLM holds it: in the precision of the files, over all ranks.

    Args:
        model / served: whose tokens are drafted.

    Raises:
        CannotTell: vLLM has no class for it, or its layers or weights are not known.
        UsageError: its vocabulary is another (SpeculativeConfig.verify_equal_vocab_size_if_draft_model).
    """
    release = settings.version.release
    if draft is None:
        return settings
    if isinstance(draft, DraftHead):
        return replace(settings, draft=_head(draft, model, served, release), draft_tokens=draft.tokens)
    refused = why_not_loaded(draft.architecture, release)
    if refused is not None:
        raise CannotTell(f"the draft model: {refused}")
    found = served_model(draft, STORED, compute=served.compute)
    if found is None or found.weights is None or any(layer.rows is None for layer in found.layers):
        raise CannotTell("the draft model's layers and weights are not known")
    if found.vocab_size != served.vocab_size:
        raise UsageError(
            f"the draft model has {found.vocab_size:,} tokens, the model {served.vocab_size:,}: vLLM refuses that",
            "Name a draft model with the same vocabulary.",
        )
    return replace(settings, draft=as_cached(found, draft.architecture, release))


def draft_notes(draft: Model | DraftHead | None) -> tuple[str, ...]:
    """What the reader should know of an account with something that drafts."""
    if draft is None:
        return ()
    return (NOTE, *(draft.notes if isinstance(draft, DraftHead) else ()))


def _head(head: DraftHead, model: Model, served: ServedModel, release: tuple[int, int]) -> ServedModel:
    """What a head adds to the model's weights, and its layers, which lie in the same pool."""
    refused = _why_not(head, model.architecture)
    if refused is not None:
        raise CannotTell(f"the draft: {refused}")
    if not head.layers or any(layer.rows is None for layer in head.layers):
        raise CannotTell("what the draft's layers cache is not known")
    copies = (served.weights.copies if served.weights else 0) * len(head.layers) // len(served.layers)
    return replace(
        as_cached(replace(served, layers=head.layers), model.architecture, release),
        weights=replace(head.weights(served.element_bytes), copies=copies if head.method == OWN_LAYERS else 0),
        vocab_size=head.vocab_size or served.vocab_size,
        rotary_bytes=0,  # get_rope keeps one table for layers of the same settings
    )


def _why_not(head: DraftHead, target: Architecture) -> str | None:
    """Why vLLM has no class for a head; None where it has.

    vllm/config/speculative.py: hf_config_override names the classes for a model's own layers, vllm/transformers_utils/
    configs/eagle.py: EAGLEConfig those for a head, after the class that its config names; speculators' own format names
    the class itself.
    """
    if head.method == OWN_LAYERS:
        known = target.model_type in by_hand("vllm_mtp")
        return None if known else f"of {target.model_type} the layers for multi-token prediction are not accounted for"
    named, start = head.architecture or "", "Eagle" if head.method == "eagle" else "Eagle3"
    classes = {f"{start}{named}", named if named.startswith("Eagle") or named.endswith("Eagle3") else ""}
    known = named.endswith("Speculator") or bool(classes & table()["architectures"].keys())
    return None if known else f"vLLM has no class for a head of {named or 'no named class'}"
