"""mlx-lm's server with the settings of a verdict."""

from __future__ import annotations

from inspector.engines.launch import Launch, Verdict, base_name, flags, repo_of
from inspector.engines.mlx.plan import DECODE_CONCURRENCY
from inspector.errors import UsageError
from inspector.memory.precision import STORED

CONVERTED = {
    "int4": ("--q-bits", "4"),
    "int8": ("--q-bits", "8"),
    **{f"mlx-{bits}bit": ("--q-bits", str(bits)) for bits in (8, 6, 5, 4, 3)},
    "mxfp4": ("--q-mode", "mxfp4"),
    "nvfp4": ("--q-mode", "nvfp4"),
}
"""`mlx_lm.convert -q` for each precision that it makes."""

_CAST = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_USUAL = {"prefill_step_size": 2048, "kv_group_size": 64, "quantized_kv_start": 5000}
PROMPT_CACHES, PROMPT_CONCURRENCY = 10, 8
"""mlx_lm.server's own: caches of ended requests that it keeps, prompts at once."""


def launch_mlx(asked: Verdict) -> Launch:
    """The command of a verdict. The server has no limit of a context: requests are to keep to it.

    Raises:
        UsageError: mlx-lm does not load the model from where it is, or does not make such weights.
    """
    serving, dtype = asked.serving, asked.workload.dtype
    name, is_path = repo_of(asked, "mlx-lm")
    before: tuple[tuple[str, ...], ...] = ()
    if asked.revision is not None and not is_path:
        raise UsageError("mlx_lm.server loads a repo's main branch", "Download the revision and name its folder.")
    if dtype != STORED:
        packing = ("-q", *CONVERTED[dtype]) if dtype in CONVERTED else ("--dtype", _CAST.get(dtype, ""))
        if not packing[-1]:
            raise UsageError(f"mlx_lm.convert makes no {dtype}", f"It makes {', '.join((*CONVERTED, *_CAST))}.")
        made = f"./{base_name(asked.checkpoint)}-{dtype}"
        before = (("mlx_lm.convert", "--hf-path", name, "--mlx-path", made, *packing),)
        name, is_path = made, True
    own = {key: value for key, value in serving.settings.items() if key in (*_USUAL, "kv_bits")}
    command = ("mlx_lm.server", "--model", name, *flags(own, _USUAL), *_at_once(asked))
    notes = [f"mlx_lm.server has no limit of a context: keep requests to {asked.workload.context:,} tokens"]
    if serving.count > 1:
        notes.append(f"on {serving.count} machines: mlx.launch --hostfile HOSTS.json, before it")
    total = serving.per_gpu.get("total")
    log = () if total is None else (f"Peak memory: {total / 1e9:.3f} GB",)
    return Launch("mlx", serving.engine_version, "mlx", command, name, is_path, {}, before, log, tuple(notes))


def _at_once(asked: Verdict) -> list[str]:
    """What keeps the server to the sequences, and to the caches of ended ones, that there is room for."""
    serving, many = asked.serving, int(asked.serving.max_concurrency or asked.workload.batch)
    found = []
    if asked.workload.batch > DECODE_CONCURRENCY or many < DECODE_CONCURRENCY:
        found += ["--decode-concurrency", str(max(asked.workload.batch, min(many, DECODE_CONCURRENCY)))]
    if many < PROMPT_CONCURRENCY:
        found += ["--prompt-concurrency", str(many)]
    _, left = serving.needs()
    kept = (left or 0) // serving.request_bytes if serving.request_bytes else PROMPT_CACHES
    if kept < PROMPT_CACHES:
        found += ["--prompt-cache-size", str(kept)]
    return found
