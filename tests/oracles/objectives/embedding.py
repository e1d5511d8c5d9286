"""sentence-transformers' MultipleNegativesRankingLoss and its cached form (GradCache), over its own modules."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from transformers import AutoModel

from inspector.measure.gpu import DEVICE
from inspector.measure.step import Step, build
from tests.oracles.objectives import harness
from tests.oracles.objectives.harness import Case
from tests.oracles.objectives.orpo import measures

__all__ = ["HEAD", "built", "cases", "loss_of", "measures", "prepared"]

HEAD: dict[str, Any] = {}


class _Headless:
    """The class without a head, and without a pooler that no embedding comes from."""

    @staticmethod
    def from_config(config: Any, **how: Any) -> Any:
        try:
            return AutoModel.from_config(config, add_pooling_layer=False, **how)
        except TypeError:
            return AutoModel.from_config(config, **how)


def built(model_type: str, config: dict[str, Any], step: Step) -> Any:
    """The class without a head."""
    with mock.patch("inspector.measure.step.AutoModelForCausalLM", _Headless):
        return build(model_type, config, step)


def prepared(model: Any, case: Case, **_: Any) -> Any:
    """The model as a SentenceTransformer of its modules, whose forward pass the trainer wraps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    transformer = Transformer.__new__(Transformer)
    torch.nn.Module.__init__(transformer)
    transformer.model = model
    transformer.modality_config = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    transformer.model_forward_params = {"input_ids", "attention_mask"}
    transformer.module_output_name = "token_embeddings"
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    modules = [transformer, Pooling(base.config.hidden_size), Normalize()]
    with mock.patch.object(SentenceTransformer, "to", lambda self, *_, **__: self):  # they are where they should be
        whole = SentenceTransformer(modules=modules)
    return harness.prepared(whole.train(), case)


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    del reference
    from sentence_transformers.sentence_transformer import losses

    loss: Any = losses.MultipleNegativesRankingLoss(model)
    if case.mini_batch:
        _without_padding()
        loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=case.mini_batch)
    rows = case.step.batch
    ids = [torch.ones(rows, case.step.context, dtype=torch.long, device=DEVICE) for _ in range(case.texts)]
    features = [{"input_ids": each, "attention_mask": torch.ones_like(each)} for each in ids]
    return lambda: loss([dict(each) for each in features], None)


def _without_padding() -> None:
    """Mini-batches of texts that are all of one length, whose generators have no state on a GPU that is not there."""
    from sentence_transformers.base.losses import gradcache

    def cut(features: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
        return {name: value[begin:end] for name, value in features.items()}

    gradcache._create_minibatch = cut
    gradcache.get_device_states = lambda *_: ([], [])


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    several = dataclasses.replace(step, batch=4 * step.batch, context=step.context // 4)
    if step.checkpointing == "full":
        yield Case("embedding", several, texts=2)
    elif step.method == "full":
        yield Case("embedding", several, texts=3)
    else:
        yield Case("embedding", dataclasses.replace(several, batch=16 * step.batch), texts=2, mini_batch=4)
