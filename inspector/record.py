"""Records, the JSON objects of `--json`: sizes as integers in bytes, unknown values null. Every format is made of them.

The keys are a contract with the programs that read them: they only grow.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

from inspector.errors import InspectError
from inspector.memory.estimate import WorkloadSettings
from inspector.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inspector.engines.serving import Serving
    from inspector.hub import Checkpoint
    from inspector.memory import Estimate, Part
    from inspector.memory.layer_table import LayerRow
    from inspector.memory.training import TrainingEstimate
    from inspector.memory.training.layout import Proposal
    from inspector.model import Model, Parameters
    from inspector.verdict.fit import Fit

SCHEMA = 1

Record = dict[str, Any]


class Inspected(Protocol):
    """One model under one workload, as the library's `Inspection` holds it."""

    @property
    def checkpoint(self) -> Checkpoint: ...
    @property
    def model(self) -> Model: ...
    @property
    def estimate(self) -> Estimate: ...
    @property
    def precisions(self) -> tuple[Estimate, ...]: ...
    @property
    def fits(self) -> tuple[Fit, ...]: ...
    @property
    def servings(self) -> tuple[Serving, ...]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    def layer_table(self) -> tuple[LayerRow, ...]: ...


class Gridded(Protocol):
    """One model over ranges of settings, as the library's `Grid` holds it."""

    @property
    def checkpoint(self) -> Checkpoint: ...
    @property
    def model(self) -> Model: ...
    @property
    def axes(self) -> Mapping[str, tuple[Any, ...]]: ...
    @property
    def cells(self) -> Sequence[Any]: ...
    @property
    def training(self) -> bool: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...


def outcome_record(
    name: str, outcome: Inspected | InspectError, *, explain: bool = False, layers: bool = False
) -> Record:
    """What came of a model, as a JSON object: of `--json`, with the keys of `--explain` and `--layers`."""
    if isinstance(outcome, InspectError):
        return error_record(name, outcome)
    record = inspection_record(outcome)
    if explain:
        record["explain"] = explanation_record(outcome)
    if layers:
        record["layers"] = layer_table_record(outcome.layer_table())
    return record


def inspection_record(inspection: Inspected) -> Record:
    """One model as a JSON object."""
    record = _read_record(inspection.checkpoint, inspection.model)
    record["memory"] = {
        "inference": estimate_record(inspection.estimate),
        "by_precision": {estimate.workload.dtype: estimate_record(estimate) for estimate in inspection.precisions},
    }
    record |= _parts(inspection.model) | _design(inspection.checkpoint)
    if inspection.fits:
        record["fit"] = [fit_record(fit) for fit in inspection.fits]
    if inspection.servings:
        servings = [serving_record(serving) for serving in inspection.servings]
        record["serving"] = servings[0] if len(servings) == 1 else servings
    return record | _ending(inspection.checkpoint, inspection.warnings)


def grid_record(grid: Gridded) -> Record:
    """One model over ranges of settings: `axes`, and a cell a combination, the last axis fastest."""
    record = _read_record(grid.checkpoint, grid.model) | _design(grid.checkpoint)
    record["grid"] = {
        "of": "training" if grid.training else "inference",
        "axes": {name: list(values) for name, values in grid.axes.items()},
        "cells": [
            {
                **cell.settings,
                **{name: getattr(cell, name) for name in ("gpu", "count", "capacity", "usable", "needed", "headroom")},
                "fits": cell.fits,
                "memory": {**cell.parts, "peak" if grid.training else "total": cell.total} if cell.parts else None,
                "per_gpu": dict(cell.per_gpu) or None,
                "why": cell.why,
            }
            for cell in grid.cells
        ],
    }
    return record | _ending(grid.checkpoint, grid.warnings)


def _read_record(checkpoint: Checkpoint, model: Model) -> Record:
    """What was read and what it means: the first keys of every model's object."""
    return {
        "schema": SCHEMA,
        "repo_id": checkpoint.repo_id,
        "revision": checkpoint.revision,
        "source": checkpoint.source,
        "snapshot_date": checkpoint.snapshot_date,
        "model": _model(model),
        "parameters": parameters_record(model.parameters),
        "checkpoint": _checkpoint(checkpoint, model),
    }


def _ending(checkpoint: Checkpoint, warnings: tuple[str, ...]) -> Record:
    """The last keys of every model's object."""
    network = checkpoint.network
    return {
        "warnings": list(warnings),
        "network": {"requests": network.requests, "bytes": network.bytes, "cached": network.cached},
    }


def fit_record(fit: Fit) -> Record:
    """A verdict."""
    return _with_gpus(dataclasses.asdict(fit), fit)


def _checkpoint(checkpoint: Checkpoint, model: Model) -> Record:
    """What the files hold; of a design, which has none, null."""
    if checkpoint.design is not None:
        return dict.fromkeys(("format", "dtype", "files", "tensors", "tensor_bytes", "download_bytes"))
    return {
        "format": checkpoint.format,
        "dtype": model.stored_dtype,
        "files": len(checkpoint.files),
        "tensors": checkpoint.tensor_count,
        "tensor_bytes": checkpoint.tensor_bytes,
        "download_bytes": _download_bytes(checkpoint),
    }


def _design(checkpoint: Checkpoint) -> Record:
    """The JSON's key `design`; empty for a model whose weights were read."""
    design = checkpoint.design
    if design is None:
        return {}
    found: Record = {"class": design.class_name, "dtype": design.dtype, "set": dict(design.changes)}
    found |= {"tensors": checkpoint.tensor_count, "tensor_bytes": checkpoint.tensor_bytes}
    return {"design": found | {"assumed": list(design.assumed)}}


def serving_record(serving: Serving) -> Record:
    """An engine's account; what one request takes with both of its bounds, equal where it is known exactly."""
    least = serving.request_bytes if serving.request_bytes_at_least is None else serving.request_bytes_at_least
    record, pool = dataclasses.asdict(serving), serving.per_gpu.get("kv_pool")
    if pool is not None and pool < 0:  # what is short stands in the fit's headroom
        record["per_gpu"]["kv_pool"] = 0
    bounds = {"request_bytes_at_least": least, "request_bytes_at_most": serving.request_bytes}
    return _with_gpus(record | bounds, serving)


def _with_gpus(record: Record, holder: Fit | Serving) -> Record:
    """The record with unequal GPUs as objects."""
    return record | {"cards": [gpu._asdict() for gpu in holder.cards]}


def error_record(repo_id: str | None, error: InspectError) -> Record:
    """A model that could not be read, as a JSON object."""
    return {
        "schema": SCHEMA,
        "repo_id": repo_id,
        "error": {"kind": error.kind, "message": str(error), "exit_code": error.exit_code},
    }


def estimate_record(estimate: Estimate) -> Record:
    """An inference estimate."""
    workload = estimate.workload
    return {
        **{part.name: part.bytes for part in estimate.parts},
        "total": estimate.total,
        "vision_encoder": next(
            (part.bytes for part in estimate.activations.parts if part.name == "vision_encoder"), None
        ),
        "image_tokens": estimate.image_tokens,
        "kv_cache_allocated": {
            **dict.fromkeys(("dynamic", "dynamic_after_prefill", "static", "quantized")),
            **{part.name: part.bytes for part in estimate.kv_cache_allocated},
        },
        "kv_cache_at_least": estimate.kv_cache.bytes if estimate.kv_cache.low is None else estimate.kv_cache.low,
        "kv_cache_at_most": estimate.kv_cache.bytes,
        "kv_bytes_per_token": estimate.kv_bytes_per_token,
        **{name: getattr(workload, name) for name in settings_of(WorkloadSettings)},
        "kv_dtype": estimate.kv_dtype,
        "engine": "transformers",
    }


def training_record(inspection: Inspected, training: TrainingEstimate, *, explain: bool = False) -> Record:
    """The record of a model with its `training` object added. What the article's formulas do not know is null."""
    record = inspection_record(inspection)
    record["warnings"] = list(dict.fromkeys([*record["warnings"], *training.warnings]))
    article, setup = training.workload.formulas == "article", training.setup
    sizes = dict.fromkeys(("weights", "gradients", "optimizer_states", "activations", "logits", "temporaries"))
    sizes |= dict.fromkeys(("frozen_models", "inference_engine"))
    record["training"] = {
        "method": setup.method,
        "objective": None if article else setup.objective,
        "reference": setup.reference_model,
        "reference_model": setup.reference_repo,
        "reward_model": setup.reward_repo,
        "texts": setup.texts if setup.aim.headless else None,
        "mini_batch": setup.mini_batch,
        "generation": setup.generates,
        "completion_tokens": setup.completion_tokens,
        "formulas": training.workload.formulas,
        "precision": inspection.estimate.kv_dtype if article else setup.precision,
        "optimizer": setup.optimizer,
        "optimizer_impl": None if article else setup.variant,
        "attention": None if article else setup.attention,
        "checkpointing": None if article else setup.checkpointing,
        "lora_rank": setup.lora_rank if setup.adapters else None,
        "lora_targets": setup.lora_targets if setup.adapters else None,
        "trained": setup.trained or None,
        "compiled": None if article else setup.compiled,
        "fp8": None if article or setup.fp8 == "none" else setup.fp8,
        "logits_mode": None if article else setup.logits,
        "cards": training.sharding.cards,
        "sharding": training.sharding.words() or None,
        "measured": dict(training.measured) or None,
        "batch": training.workload.batch,
        "context": training.workload.context,
        "trainable_parameters": training.trainable_parameters,
        **sizes,
        **{part.name: part.bytes for part in training.parts},
        "peak": training.peak,
        "reserved": training.reserved,
        "reserved_range": None if training.reserved_range is None else list(training.reserved_range),
        "device_used": training.device_used,
        "peak_phase": training.peak_phase,
        "phases": dict(training.phases) or None,
        "ratio_to_inference": training.ratio_to_inference,
        **{name: part.bytes if (part := training.part(name)) else None for name in ("host_memory", "disk")},
        "layout": None if training.layout is None else proposal_record(training.layout),
    }
    if explain:
        record["explain"] = [part_record(part) for part in (*training.parts, *training.off_gpu)]
    return record


def proposal_record(proposal: Proposal) -> Record:
    """`train --gpus`: the layout with the least memory and the simplest that fits, each with its options."""
    return dataclasses.asdict(proposal) | {"reasons": [dataclasses.asdict(each) for each in proposal.reasons]}


def explanation_record(inspection: Inspected) -> list[Record]:
    """`--explain`: the parts of an engine's account on each of the GPUs, where one was asked for, else the
    estimate's."""
    accounts = [serving.explanation() for serving in inspection.servings] or [inspection.estimate.explained]
    return [part_record(part) for parts in accounts for part in parts]


def layer_table_record(rows: tuple[LayerRow, ...]) -> list[Record]:
    """The layer table as JSON objects; sizes are of one layer, in bytes."""
    return [
        {
            "name": row.name,
            "layers": list(row.layers),
            "kind": row.kind or None,
            "parameters": row.parameters,
            "bytes": row.bytes,
            "kv_bytes_per_token": row.kv_bytes_per_token,
            "kv_bytes": row.kv_bytes,
            "tensors": row.tensors or None,
            "config": {key: {"value": value, "from": where} for key, (value, where) in row.config.items()},
        }
        for row in rows
    ]


def part_record(part: Part) -> Record:
    """A part and its sub-parts, formulas and sources included (`--explain --json`)."""
    return {
        "name": part.name,
        "bytes": part.bytes,
        "low": part.low,
        "high": part.high,
        "formula": part.formula,
        "source": part.source,
        "parts": [part_record(sub) for sub in part.parts],
    }


def _model(model: Model) -> Record:
    architecture = model.architecture
    experts, quantization = architecture.experts, architecture.quantization
    return {
        "model_type": architecture.model_type,
        "architecture": architecture.architecture,
        "num_hidden_layers": architecture.num_hidden_layers,
        "hidden_size": architecture.hidden_size,
        "num_attention_heads": architecture.num_attention_heads,
        "num_key_value_heads": architecture.num_key_value_heads,
        "head_dim": architecture.head_dim,
        "intermediate_size": architecture.intermediate_size,
        "vocab_size": architecture.vocab_size,
        "max_position_embeddings": architecture.max_position_embeddings,
        "tie_word_embeddings": architecture.tie_word_embeddings,
        "dtype": architecture.dtype,
        "layer_kinds": architecture.layer_kinds,
        "sliding_window": architecture.sliding_window,
        "experts": None
        if experts is None
        else {"total": experts.total, "active": experts.active, "shared": experts.shared},
        "quantization": None
        if quantization is None
        else {
            "method": quantization.method,
            "bits": quantization.bits,
            "group_size": quantization.group_size,
            "effective_bits": _rounded(quantization.effective_bits),
            "packed_bits": _rounded(quantization.packed_bits),
            "packed_parameters": quantization.packed_parameters,
            "unquantized": list(quantization.plain),
            "unquantized_embeddings": list(quantization.plain_embeddings),
        },
    }


def _rounded(bits: float | None) -> float | None:
    return None if bits is None else round(bits, 3)


def parameters_record(parameters: Parameters) -> Record:
    """A model's parameters, or those of a part of it."""
    return {
        "total": parameters.total,
        "active": parameters.active,
        "by_component": dict(parameters.by_component),
        "by_attention": dict(parameters.by_attention),
        "by_dtype": dict(parameters.by_dtype),
        "buffers": parameters.buffers,
        "stored_only": dict(parameters.stored_only),
        "exact": parameters.exact,
    }


def _download_bytes(checkpoint: Checkpoint) -> int | None:
    sizes = [file.size for file in checkpoint.files]
    return None if None in sizes or not sizes else sum(size or 0 for size in sizes)


def _parts(model: Model) -> Record:
    """The JSON's keys `parts` and `adapter`; empty for a checkpoint that is whole."""
    if not model.parts:
        return {}
    record: Record = {
        "parts": [
            {
                "name": part.name,
                "kind": part.kind,
                "class": part.class_name or part.model.architecture.architecture,
                "repo_id": part.checkpoint.repo_id,
                "revision": part.checkpoint.revision,
                "model_type": part.model.architecture.model_type,
                "parameters": parameters_record(part.model.parameters),
                "tensor_bytes": part.checkpoint.tensor_bytes,
                "files": [file.name for file in part.checkpoint.files],
            }
            for part in model.parts
        ]
    }
    if (adapter := model.adapter) is not None:
        record["adapter"] = {
            "base_model": adapter.base_model,
            "base_revision": adapter.base_revision,
            "peft_type": adapter.peft_type,
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "target_modules": list(adapter.target_modules),
            "modules_to_save": list(adapter.modules_to_save),
            "parameters": adapter.parameters,
            "bytes": adapter.bytes,
        }
    return record
