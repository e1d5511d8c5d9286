"""SGLang's server with the settings of a verdict, and what its log should show."""

from __future__ import annotations

from inspector.engines.common.load_dtype import DTYPE_NAMES, load_dtype
from inspector.engines.launch import Container, Launch, Verdict, flags, gib, loaded, revision_flags, unless_given
from inspector.engines.serving import Serving
from inspector.engines.sglang.drafts import draft_flags
from inspector.engines.sglang.loads import OVERRIDE, context_length
from inspector.engines.sglang.plan import resolve_dtype
from inspector.errors import UsageError
from inspector.memory.precision import STORED

AT_LOAD = {
    "fp8": ("--quantization", "fp8"),
    "nf4-dq": ("--quantization", "bitsandbytes", "--load-format", "bitsandbytes"),
}
"""What it makes of unpacked weights as it loads (sglang/srt/arg_groups/choices.py, model_loader/loader.py)."""

_USUAL = {"kv_cache_dtype": "auto", "tensor_parallel_size": 1, "pipeline_parallel_size": 1, "expert_parallel_size": 1}


def launch_sglang(asked: Verdict) -> Launch:
    """The command of a verdict.

    Raises:
        UsageError: SGLang does not load the model from where it is.
    """
    serving = asked.serving
    weights = loaded(asked, "SGLang", AT_LOAD)
    _, auto = load_dtype(asked.model, STORED, lambda named: resolve_dtype(named, asked.model.architecture))
    usual = {**unless_given(asked.options, serving.settings), **_USUAL, "dtype": DTYPE_NAMES[auto]}
    command = (
        *("python3", "-m", "sglang.launch_server", "--model-path", weights.name),
        *(*revision_flags(asked, weights.is_path), *weights.options),
        *flags(serving.settings, usual, {"max_model_len": "context_length"}),
        *draft_flags(asked),
    )
    version = serving.engine_version
    longer = serving.settings["max_model_len"] > context_length(asked.model.architecture)
    return Launch(
        "sglang",
        version,
        "sglang",
        command,
        weights.name,
        weights.is_path,
        environment={OVERRIDE: "1"} if longer else {},
        log=log_lines(serving),
        notes=weights.notes,
    )


def log_lines(serving: Serving) -> tuple[str, ...]:
    """As 0.5.23 words them: model_executor/model_runner.py, managers/scheduler.py; GB in them are GiB."""
    lines, weights = [], serving.per_gpu.get("weights")
    if weights is not None:
        drafts = [part.bytes or 0 for each in serving.explanation() for part in each.parts if part.name == "draft"]
        left = serving.capacity - (serving.per_gpu.get("non_torch") or 0)
        for size in (weights - sum(drafts), *drafts):
            left -= size
            lines.append(f"Load weight end. avail mem={gib(left)} GB, mem usage={gib(size)} GB.")
    if serving.kv_tokens is not None:
        lines.append(f"max_total_num_tokens={serving.kv_tokens}, context_len={serving.settings['max_model_len']}")
    return tuple(lines)


def sglang_container(kind: str | None, version: str | None) -> Container:
    """Its image on Docker Hub.

    Raises:
        UsageError: there is none, or one for each GPU, for such devices.
    """
    if kind not in (None, "cuda"):
        raise UsageError(
            f"SGLang's container images for {kind} devices differ by GPU", "Take the command: --emit sglang."
        )
    return Container(f"lmsysorg/sglang:{f'v{version}' if version else 'latest'}", 30000, ("--host", "0.0.0.0"))
