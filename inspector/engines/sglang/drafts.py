"""What drafts under SGLang (speculative decoding): a model beside the model, a head of it, or its own layers.

All weights are loaded before the pool is measured; a token of the pool is then so many layers wider, as wide as the
model's own (sglang/srt/model_executor/pool_configurator.py; speculative/eagle_worker_v2.py). Read in 0.5.23.
"""

from __future__ import annotations

from dataclasses import replace

from inspector.engines.common.cache_specs import ChunkedSpec, SlidingSpec, StateSpec, specs_of
from inspector.engines.common.heads import OWN_LAYERS, Draft, DraftHead
from inspector.engines.common.served import ServedModel, served_model
from inspector.engines.launch import Verdict, repo_of
from inspector.engines.serving import CannotTell
from inspector.engines.sglang.budget import SglangSettings, cache_settings
from inspector.engines.sglang.loads import as_cached, table, why_not_loaded
from inspector.memory import STORED
from inspector.model import Model
from inspector.model.config.light import by_hand

NOTE = "the draft's CUDA graphs and activations are taken to lie in what the static share leaves"

STEPS = 3
"""Steps of a chain of drafted tokens, what SGLang takes by itself for most models (_auto_choose_speculative_params)."""

_HEAD_RESERVE, _MODEL_RESERVE = 2048, 6144
"""MiB that releases before 0.5.14 keep free for it (server_args.py: _handle_gpu_memory_settings)."""

_ALGORITHMS = {"eagle": "EAGLE", "eagle3": "EAGLE3", OWN_LAYERS: "NEXTN"}


def with_draft(
    settings: SglangSettings, draft: Model | DraftHead | None, model: Model, served: ServedModel
) -> SglangSettings:
    """The settings with what drafts.

    Args:
        model / served: whose tokens are drafted.

    Raises:
        CannotTell: SGLang has no class for it, or what it takes is not known.
    """
    if draft is None:
        return settings
    specs = [spec for layer in served.layers for spec in specs_of(layer, cache_settings(served, settings))]
    if settings.pp_size > 1 or any(isinstance(spec, SlidingSpec | ChunkedSpec) for spec in specs):
        raise CannotTell("SGLang's drafts are accounted for on one stage, of models without windows")
    if isinstance(draft, DraftHead):
        return replace(settings, draft=_head(draft, model, served), draft_reserve=_HEAD_RESERVE)
    if any(isinstance(spec, StateSpec) for spec in specs):
        raise CannotTell("draft models beside models with states are not accounted for under SGLang")
    refused = why_not_loaded(draft.architecture)
    if refused is not None:
        raise CannotTell(f"the draft model: {refused}")
    found = served_model(draft, STORED, compute=served.compute)
    if found is None or found.weights is None or not found.layers:
        raise CannotTell("the draft model's layers and weights are not known")
    if found.vocab_size != served.vocab_size:
        raise CannotTell(f"the draft model has {found.vocab_size:,} tokens, the model {served.vocab_size:,}")
    return replace(settings, draft=as_cached(found, draft.architecture), draft_reserve=_MODEL_RESERVE)


def _head(head: DraftHead, model: Model, served: ServedModel) -> ServedModel:
    """What a head adds to the model's weights while the pool is measured.

    Its class makes an embedding of its own, and a head, which become the model's only after that.

    eagle_worker_v2.py: alloc_memory_pool, init_lm_head. A log of Qwen3.8-27B: "Load weight end.
    type=Qwen3_5ForCausalLMMTP, mem usage=5.18 GB", of which 0.44 are its layer's.
    """
    if head.method == OWN_LAYERS:
        if model.architecture.model_type not in by_hand("sglang_mtp"):
            kind = model.architecture.model_type
            raise CannotTell(f"of {kind} the layers for multi-token prediction are not accounted for")
    elif head.architecture not in table()["architectures"] or "Eagle" not in str(head.architecture):
        raise CannotTell(f"SGLang has no class for a head of {head.architecture or 'no named class'}")
    if not head.layers:
        raise CannotTell("what the draft's layers cache is not known")
    copies = (served.weights.copies if served.weights else 0) * len(head.layers) // len(served.layers)
    target, own = served.weights, head.weights(served.element_bytes)
    own = replace(own, embedding=target.embedding if target else 0, copies=copies if head.method == OWN_LAYERS else 0)
    if target and head.vocab_size is None:
        own = replace(own, head=target.head)
    vocabulary = head.vocab_size or served.vocab_size
    return replace(served, layers=head.layers, weights=own, vocab_size=vocabulary, rotary_bytes=0)


def draft_flags(asked: Verdict) -> list[str]:
    """The options that name what drafts."""
    drafts: Draft | None = asked.draft
    if drafts is None:
        return []
    method = drafts.model.method if isinstance(drafts.model, DraftHead) else ""
    options = ["--speculative-algorithm", _ALGORITHMS.get(method, "STANDALONE")]
    if method != OWN_LAYERS:
        name, _ = repo_of(replace(asked, checkpoint=drafts.checkpoint), "SGLang")
        options += ["--speculative-draft-model-path", name]
    tokens = getattr(asked.options, "speculative_num_draft_tokens", None) or STEPS + 1
    chain = {"num-steps": tokens - 1, "eagle-topk": 1, "num-draft-tokens": tokens}
    return options + [word for name, value in chain.items() for word in (f"--speculative-{name}", str(value))]
