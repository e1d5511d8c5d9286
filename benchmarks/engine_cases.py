"""One case through the library: what each engine's profile says beside what the engine printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.case_facts import GIB, Facts, gpu_of, model_of
from benchmarks.fit import Constants, Row, constants_without
from inspector.engines.common.served import Gpu, ServedModel
from inspector.engines.llama_cpp import cache as llama_cpp
from inspector.engines.sglang import budget as sglang
from inspector.engines.sglang.fraction import in_use
from inspector.engines.sglang.plan import release_of
from inspector.engines.vllm import budget as vllm
from inspector.engines.vllm.cache import Capacity, capacity
from inspector.engines.vllm.profile import captured_graphs, graph_bytes, non_torch_bytes
from inspector.engines.vllm.version import parse_version

CACHE = "KV cache of the printed size"
WEIGHTS = "weights as loaded"
POOL = "KV pool from model, GPU, settings"

ANY_GPU = Gpu(80 * GIB, "H100", (9, 0))
"""For weights and caches where the case does not say: neither depends on the GPU, MXFP4's padding apart."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it fits, as predicted and as it was."""

    case: str
    predicted: bool
    measured: bool

    @property
    def right(self) -> bool:
        return self.predicted == self.measured


@dataclass(slots=True)
class Prediction:
    """kind -> (predicted, measured) of one case, and why anything is missing."""

    pairs: dict[str, tuple[float, float]] = field(default_factory=dict)
    verdict: Verdict | None = None
    reasons: list[str] = field(default_factory=list)


def predict(case: Facts, models: Mapping[str, Facts], rows: Sequence[Row]) -> Prediction:
    """Predict what the case measured, with constants that its group had no part in."""
    engine = str(case["engine"]).split()[0]
    rule = ENGINES.get(engine)
    if rule is None:
        return Prediction(reasons=[f"no profile for the engine {engine}"])
    model, why = model_of(case, models)
    if model is None:
        return Prediction(reasons=[why])
    prediction = Prediction()
    rule(case, model, constants_without(case["group"], rows), prediction)
    if not prediction.pairs and prediction.verdict is None and not prediction.reasons:
        prediction.reasons.append("nothing that is predicted was measured")
    return prediction


def _vllm(case: Facts, model: ServedModel, constants: Constants, found: Prediction) -> None:
    measured = case["measured"]
    gpu, settings = gpu_of(case), vllm_settings(case, constants, len(model.layers), gpu_of(case) or ANY_GPU)
    held = _capacity(model, gpu or ANY_GPU, settings, measured.get("kv_cache_gib"))
    if held is not None:
        _compare_capacity(case, model, held, found)
    _compare_weights(case, vllm.loaded_weights(model, gpu or ANY_GPU, settings), found)
    if model.weights is None or gpu is None or "gpu_memory_utilization" not in case["settings"]:
        missing = "weights" if model.weights is None else "GPU's memory" if gpu is None else "gpu_memory_utilization"
        found.reasons.append(f"no pool predicted: the {missing} is not known")
        return
    if not settings.version.v1 and case["arch"].get("cross_attention_layers"):
        found.reasons.append("no pool predicted: V0's profile of a vision encoder has no formula here")
        return
    plan = vllm.plan(model, gpu, settings)
    if plan is None:
        return
    pool = measured.get("kv_cache_gib")
    if pool is None and "kv_blocks" in measured and plan.capacity is not None:
        pool = measured["kv_blocks"] * plan.capacity.block_bytes / GIB
    if pool is not None and pool > 0:
        found.pairs[POOL] = (plan.tightest.kv_pool / GIB, pool)
    fitted = _fitted(case, settings)
    if fitted is not None:
        found.verdict = Verdict(case["id"], plan.fits, fitted)


def vllm_settings(case: Facts, constants: Constants, layers: int, gpu: Gpu) -> vllm.VllmSettings:
    """The case's settings under vLLM's names; what it does not say takes vLLM's default."""
    given, version = case["settings"], parse_version(case.get("engine_version"))
    stages = case.get("pp") or 1
    chosen = vllm.VllmSettings(
        max_model_len=_whole(given, "max_model_len") or 4096,
        version=version,
        gpu_memory_utilization=given.get("gpu_memory_utilization"),
        max_num_batched_tokens=_whole(given, "max_num_batched_tokens"),
        max_num_seqs=_whole(given, "max_num_seqs"),
        kv_cache_dtype=given.get("kv_cache_dtype") or "auto",
        block_size=_whole(given, "block_size") or 16,
        tensor_parallel_size=case.get("tp") or 1,
        pipeline_parallel_size=stages,
        enforce_eager=bool(given.get("enforce_eager")),
        enable_prefix_caching=_yes_or_no(given, "enable_prefix_caching"),
        data_parallel_size=_whole(given, "data_parallel_size") or 1,
        enable_expert_parallel=bool(given.get("enable_expert_parallel")),
        mamba_ssm_cache_dtype=given.get("mamba_ssm_cache_dtype") or "auto",
        non_torch=non_torch_bytes(version, case.get("tp") or 1, constants.non_torch_gib, gpu.compute_capability),
    )
    graphs = captured_graphs(*vllm.batch_sizes(gpu, chosen))
    fitted = {"base": constants.graph_base, "a_layer": constants.graph_a_layer}
    return replace(chosen, graphs=graph_bytes(-(-layers // stages), graphs, **fitted))


def _capacity(model: ServedModel, gpu: Gpu, settings: vllm.VllmSettings, pool_gib: float | None) -> Capacity | None:
    if pool_gib is None or pool_gib <= 0 or settings.pipeline_parallel_size > 1:
        return None
    cache = vllm.cache_settings(model, gpu, settings)
    return capacity(
        model.layers,
        cache,
        [int(pool_gib * GIB)],
        printed_from_concurrency=settings.version.tokens_from_concurrency,
    )


def _compare_capacity(case: Facts, model: ServedModel, held: Capacity, found: Prediction) -> None:
    """Tokens, or blocks; for a model of several kinds of layers the concurrency, since its tokens are derived."""
    measured = case["measured"]
    hybrid = len({type(layer) for layer in model.layers}) > 1
    if hybrid and "max_concurrency_x" in measured:
        found.pairs[CACHE] = (held.max_concurrency, measured["max_concurrency_x"])
    elif not hybrid and "kv_tokens" in measured:
        found.pairs[CACHE] = (held.tokens_printed, measured["kv_tokens"])
    elif "kv_blocks" in measured:
        found.pairs[CACHE] = (held.blocks, measured["kv_blocks"])
    elif "estimated_max_model_len" in measured:  # what the log's error says that the pool can serve
        found.pairs[CACHE] = (held.tokens, measured["estimated_max_model_len"])


def _compare_weights(case: Facts, stages: Sequence[int] | None, found: Prediction) -> None:
    loaded = case["measured"].get("weights_gib")
    if loaded is None:
        return
    if stages is None:
        found.reasons.append("no weights predicted: neither the case nor the table has what they follow from")
        return
    found.pairs[WEIGHTS] = (stages[0] / GIB, loaded)


def _fitted(case: Facts, settings: vllm.VllmSettings) -> bool | None:
    """Whether the run could serve one request of max_model_len; None where the case does not tell."""
    measured = case["measured"]
    if measured.get("kv_cache_gib", 1) <= 0:
        return False
    if "max_model_len" not in case["settings"]:
        return None
    if "estimated_max_model_len" in measured:
        return False
    if "max_concurrency_x" in measured:
        return bool(measured["max_concurrency_x"] >= 1)
    tokens = measured.get("kv_tokens", measured.get("kv_blocks", 0) * settings.block_size)
    return tokens >= settings.max_model_len if tokens else None


def _sglang(case: Facts, model: ServedModel, constants: Constants, found: Prediction) -> None:
    """Weights are those of the model's facts, else as loaded: the pool is what is asked."""
    del constants  # SGLang measures nothing, so nothing is fitted
    measured, given = case["measured"], case["settings"]
    fraction = given.get("mem_fraction_static")
    settings = sglang.SglangSettings(
        context_length=1,
        mem_fraction_static=fraction,
        kv_cache_dtype=given.get("kv_cache_dtype") or "auto",
        page_size=_whole(given, "page_size") or 1,
        tp_size=case.get("tp") or 1,
        pp_size=case.get("pp") or 1,
        release=release_of(str(case.get("engine_version") or "").split(" ")[0]),
    )
    cache = sglang.cache_settings(model, settings)
    pool = measured.get("pool_gib", measured.get("kv_cache_gib"))
    after, before = measured.get("avail_after_weights_gib"), measured.get("avail_before_weights_gib")
    plan = sglang.plan(model, ANY_GPU, settings)
    if before is None and after is not None:  # what loading took, where the log does not say it
        loaded = measured.get("weights_gib") or (None if plan is None else plan.weights / GIB)
        before = None if loaded is None else after + loaded
    if pool is None and fraction is not None and after is not None and before is not None:
        pool = sglang.pool_bytes(int(before * GIB), int(after * GIB), fraction) / GIB
    if pool is not None and "kv_tokens" in measured:
        tokens = sglang.pool_tokens(model.layers, cache, int(pool * GIB), sglang.spare_slots(settings.release))
        if tokens is not None:
            found.pairs[CACHE] = (tokens, measured["kv_tokens"])
    if "weights_gib" in measured:
        _compare_weights(case, None if plan is None else [plan.weights], found)
    gpu = gpu_of(case)
    if gpu is None or fraction is None or pool is None or given.get("experts_on_cpu") is not None:
        return
    loaded = measured.get("weights_gib") if plan is None else plan.weights / GIB
    if loaded is not None and ("kv_cache_gib" in measured or "pool_gib" in measured):
        free = gpu.memory - in_use(gpu, settings.tp_size * settings.pp_size, settings.release)
        found.pairs[POOL] = (sglang.pool_bytes(free, free - int(loaded * GIB), fraction) / GIB, pool)


def _llama_cpp(case: Facts, model: ServedModel, constants: Constants, found: Prediction) -> None:
    del constants  # allocated by formula, nothing is fitted
    given, measured = case["settings"], case["measured"]
    kind = given.get("cache_type", "f16")
    settings = llama_cpp.LlamaCppSettings(
        given["n_ctx"],
        n_ubatch=_whole(given, "n_ubatch") or 512,
        n_parallel=_whole(given, "n_parallel") or 1,
        cache_type_k=given.get("cache_type_k", kind),
        cache_type_v=given.get("cache_type_v", kind),
        kv_unified=given.get("kv_unified") is not False,
        swa_full=bool(given.get("swa_full")),
    )
    size = llama_cpp.cache_bytes(model.layers, settings)
    printed = measured["kv_cache_mib"] / 1024 if "kv_cache_mib" in measured else measured.get("kv_cache_gib")
    if size is not None and printed:
        found.pairs[CACHE] = (size / GIB, printed)


def _transformers(case: Facts, model: ServedModel, constants: Constants, found: Prediction) -> None:
    """Weights alone: parameters times bytes, as case and config count them."""
    del constants
    parameters = case["arch"].get("params")
    if parameters and "weights_gib" in case["measured"]:
        found.pairs[WEIGHTS] = (parameters * model.element_bytes / GIB, case["measured"]["weights_gib"])


def _whole(settings: Mapping[str, Any], name: str) -> int | None:
    """A setting that is a number; words such as "default" are left to the engine."""
    value = settings.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _yes_or_no(settings: Mapping[str, Any], name: str) -> bool | None:
    """A setting that is yes or no; None, the engine's default, for anything else."""
    value = settings.get(name)
    return value if isinstance(value, bool) else None


ENGINES: dict[str, Callable[[Facts, ServedModel, Constants, Prediction], None]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "llama.cpp": _llama_cpp,
    "transformers": _transformers,
}
