"""Runs a case on a device, with real tensors: transformers' class with random weights, peft's adapters."""

from __future__ import annotations

import gc
import warnings
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from inspector.measure.step import Step, blocks_of, build, make_optimizer, move_to_gpu
from tests.gpu.cases import Case
from tests.gpu.meters import Meter


class Measured(NamedTuple):
    """In bytes: torch's tensors at the peak and between steps or tokens, the allocator's segments, the whole device."""

    peak: int
    between: int
    reserved: int | None
    used: int | None


def run(case: Case, meter: Meter) -> Measured:
    """Run it, and leave nothing behind."""
    gc.collect()
    meter.empty()
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings(), meter.counting():
            warnings.simplefilter("ignore")
            peak, between = _generate(case, meter) if case.kind == "generate" else _train(case, meter)
            return Measured(peak, between, meter.reserved(), meter.used())
    finally:
        gc.collect()
        meter.empty()


def _filled(model: Any, device: torch.device) -> Any:
    """A meta model with random weights on a device; its buffers are zero, which sizes do not depend on."""
    move_to_gpu(model, device)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.normal_(0, 0.02)
            else:
                parameter.zero_()
        for buffer in model.buffers():
            buffer.zero_()
    return model


def _generate(case: Case, meter: Meter) -> tuple[int, int]:
    """A prompt and two tokens, as `generate` does it: greedy, a DynamicCache, the last row's logits alone."""
    with torch.device("meta"):
        config = AutoConfig.for_model(case.model_type, **case.config)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    _filled(model, meter.device)
    ids = torch.ones(case.batch, case.context, dtype=torch.long, device=meter.device)
    cache, seen = DynamicCache(config=model.config), case.context
    meter.reset()
    with torch.no_grad():
        for _ in range(3):
            mask = torch.ones(case.batch, seen, dtype=torch.long, device=meter.device)
            output = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, logits_to_keep=1)
            ids = output.logits[:, -1].to(copy=True, dtype=torch.float32).argmax(-1, keepdim=True)
            del output
            seen += 1
    return meter.peak(), meter.live()


def _train(case: Case, meter: Meter) -> tuple[int, int]:
    """Two steps, of which the second is looked at: the states are there then."""
    how = {key: value for key, value in case.how.items() if key != "compiled"}
    step = Step(batch=case.batch, context=case.context, **how)
    model = _filled(build(case.model_type, case.config, step), meter.device)
    if case.how.get("compiled"):
        for block in blocks_of(model):
            block.compile()
    optimizer = make_optimizer(model, step)
    ids = torch.ones(case.batch, case.context, dtype=torch.long, device=meter.device)
    between = 0
    for _ in range(2):
        between = meter.live()
        meter.reset()
        with torch.autocast(meter.device.type, torch.bfloat16, enabled=step.precision == "mixed"):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
        loss.backward()
        del loss
        optimizer.step()
        optimizer.zero_grad()
    return meter.peak(), between
