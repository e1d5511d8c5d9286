"""The JSON objects of `--json`: DESIGN's contract, sizes as integers in bytes, unknown values null."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from inspector.api.inspection import Inspection
from inspector.errors import InspectError

if TYPE_CHECKING:
    from inspector.engines.serving import Serving
    from inspector.fit.verdict import Fit
    from inspector.memory import Estimate, Part
    from inspector.memory.training import TrainingEstimate
    from inspector.model import Parameters

SCHEMA = 1


def inspection_record(inspection: Inspection) -> dict[str, Any]:
    """One model as a JSON object."""
    checkpoint, network = inspection.checkpoint, inspection.checkpoint.network
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "repo_id": checkpoint.repo_id,
        "revision": checkpoint.revision,
        "source": checkpoint.source,
        "snapshot_date": checkpoint.snapshot_date,
        "model": _model(inspection),
        "parameters": parameters_record(inspection.model.parameters),
        "checkpoint": {
            "format": checkpoint.format,
            "dtype": inspection.model.stored_dtype,
            "files": len(checkpoint.files),
            "tensors": checkpoint.tensor_count,
            "tensor_bytes": checkpoint.tensor_bytes,
            "download_bytes": _download_bytes(inspection),
        },
        "memory": {
            "inference": estimate_record(inspection.estimate),
            "by_precision": {estimate.workload.dtype: estimate_record(estimate) for estimate in inspection.precisions},
        },
    }
    if inspection.model.parts:
        from inspector.report.parts import parts_record

        record |= parts_record(inspection.model)
    if inspection.fits:
        record["fit"] = [_with_cards(dataclasses.asdict(fit), fit) for fit in inspection.fits]
    if inspection.servings:
        servings = [serving_record(serving) for serving in inspection.servings]
        record["serving"] = servings[0] if len(servings) == 1 else servings
    record["warnings"] = list(inspection.warnings)
    record["network"] = {"requests": network.requests, "bytes": network.bytes, "cached": network.cached}
    return record


def serving_record(serving: Serving) -> dict[str, Any]:
    """An engine's account."""
    return _with_cards(dataclasses.asdict(serving), serving)


def _with_cards(record: dict[str, Any], holder: Fit | Serving) -> dict[str, Any]:
    """The record with unequal cards as objects."""
    return record | {"cards": [card._asdict() for card in holder.cards]}


def error_record(repo_id: str, error: InspectError) -> dict[str, Any]:
    """A model that could not be read, as a JSON object."""
    return {
        "schema": SCHEMA,
        "repo_id": repo_id,
        "error": {"kind": error.kind, "message": str(error), "exit_code": error.exit_code},
    }


def estimate_record(estimate: Estimate) -> dict[str, Any]:
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
        "kv_bytes_per_token": estimate.kv_bytes_per_token,
        "context": workload.context,
        "batch": workload.batch,
        "dtype": workload.dtype,
        "kv_dtype": estimate.kv_dtype,
        "engine": "transformers",
        "formulas": workload.formulas,
    }


def training_record(inspection: Inspection, training: TrainingEstimate) -> dict[str, Any]:
    """The record of a model with its `training` object added. What the article's formulas do not know is null."""
    record = inspection_record(inspection)
    record["warnings"] = list(dict.fromkeys([*record["warnings"], *training.warnings]))
    article, setup = training.workload.formulas == "article", training.setup
    sizes = dict.fromkeys(("weights", "gradients", "optimizer_states", "activations", "logits", "temporaries"))
    record["training"] = {
        "method": setup.method,
        "formulas": training.workload.formulas,
        "precision": inspection.estimate.kv_dtype if article else setup.precision,
        "optimizer": setup.optimizer,
        "optimizer_impl": None if article else setup.optimizer_impl,
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
        "peak_phase": training.peak_phase,
        "phases": dict(training.phases) or None,
        "ratio_to_inference": training.ratio_to_inference,
        **{name: part.bytes if (part := training.part(name)) else None for name in ("host_memory", "disk")},
    }
    return record


def explanation_record(inspection: Inspection) -> list[dict[str, Any]]:
    """`--explain`: the parts of an engine's account on each of the cards, where one was asked for, else the
    estimate's."""
    accounts = [serving.explanation() for serving in inspection.servings] or [inspection.estimate.explained]
    return [part_record(part) for parts in accounts for part in parts]


def part_record(part: Part) -> dict[str, Any]:
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


def _model(inspection: Inspection) -> dict[str, Any]:
    architecture = inspection.model.architecture
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


def parameters_record(parameters: Parameters) -> dict[str, Any]:
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


def _download_bytes(inspection: Inspection) -> int | None:
    sizes = [file.size for file in inspection.checkpoint.files]
    return None if None in sizes or not sizes else sum(size or 0 for size in sizes)
