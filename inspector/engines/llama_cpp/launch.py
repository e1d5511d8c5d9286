"""llama-server, or a Modelfile for Ollama, with the settings of a verdict, and what llama.cpp's log should show."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple
from urllib.parse import quote

from inspector.engines.launch import Container, Launch, Verdict, base_name, flags, mib, path_of, repo_of
from inspector.errors import UsageError
from inspector.hub import Checkpoint
from inspector.memory.precision import FILE_TYPE_NAMES, STORED

_NAMES = {"n_ctx": "ctx_size", "n_parallel": "parallel", "n_ubatch": "ubatch_size"}
_USUAL = {"n_ubatch": 512, "cache_type_k": "f16", "cache_type_v": "f16", "flash_attn": None}
_OUT_TYPES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", STORED: "auto"}
"""Precisions that convert_hf_to_gguf.py writes by itself."""

_LOGICAL_BATCH = 2048
"""--batch-size, which no ubatch exceeds."""

_DEVICE = {"cuda": "CUDA0", "rocm": "ROCm0", "metal": "Metal", None: "CUDA0"}
"""The first device as llama.cpp's log names it."""

_DRAFTS = {"--model": "--model-draft", "--hf-repo": "--hf-repo-draft", "--hf-file": "--model-draft"}
"""The options that name a draft model's file."""

OF_LLAMA_CPP_ALONE = ("n_cpu_moe", "cpu_moe", "override_tensor", "kv_unified", "swa_full", "no_kv_offload")
"""Settings that Ollama's programs have no names for."""

_OLLAMA_CACHES = ("f16", "q8_0", "q4_0")
_IMAGES = {"cuda": "server-cuda", "rocm": "server-rocm", None: "server-cuda"}


class _File(NamedTuple):
    """The GGUF file: the options that name it to llama-server, what a Modelfile calls it, how it is made.

    Attributes:
        loads: the argument that names it.
    """

    options: tuple[str, ...]
    source: str
    loads: str
    is_path: bool
    before: tuple[tuple[str, ...], ...] = ()


def launch_llama_cpp(asked: Verdict, emit: str) -> Launch:
    """The command, or the Modelfile, of a verdict.

    Raises:
        UsageError: no GGUF file of the model can be named, or Ollama has no such setting.
    """
    serving = asked.serving
    file, settings = _file(asked), dict(serving.settings)
    layers = int(str(settings["n_gpu_layers"]).partition("/")[0])
    settings["n_gpu_layers"] = layers
    if emit == "ollama":
        return _ollama(asked, file, layers)
    command = ["llama-server", *file.options, *flags(settings, _USUAL, _NAMES)]
    if settings["n_ubatch"] > _LOGICAL_BATCH:
        command += ["--batch-size", str(settings["n_ubatch"])]
    if settings["flash_attn"] is False:
        command += ["--flash-attn", "off"]
    elif settings["cache_type_v"] not in ("f16", "bf16", "f32"):  # llama_init_from_model refuses such values without it
        command += ["--flash-attn", "on"]
    before = file.before
    if asked.projector is not None:
        command = [each for each in command if each != "--no-mmproj"] + _projector(asked.projector)
    if asked.draft is not None:
        drafts = _file(replace(asked, checkpoint=asked.draft.checkpoint, revision=None))
        command += [_DRAFTS.get(each, each) for each in drafts.options if each != "--no-mmproj"]
        before = (*before, *drafts.before)
    return Launch(
        *("llama.cpp", serving.engine_version, "llama-server", tuple(command), file.loads, file.is_path),
        before=before,
        log=log_lines(asked),
    )


def _ollama(asked: Verdict, file: _File, layers: int) -> Launch:
    """Ollama's own programs run llama.cpp's graph; its server is told of the cache by variables."""
    settings = asked.serving.settings
    if asked.draft is not None:
        raise UsageError("Ollama has no draft models", "Take --emit llama-server.")
    if asked.projector is not None:
        raise UsageError("Ollama takes what lies beside a repo's model by itself", "Take --emit llama-server.")
    foreign = [name for name in OF_LLAMA_CPP_ALONE if name in settings]
    if foreign or settings["flash_attn"] is False:
        named = (foreign[0] if foreign else "flash_attn").replace("_", "-")
        raise UsageError(f"a Modelfile has no --{named}", "Take --emit llama-server.")
    keys, values = settings["cache_type_k"], settings["cache_type_v"]
    if keys != values or keys not in _OLLAMA_CACHES:
        raise UsageError(
            f"Ollama has one type for keys and values, of {', '.join(_OLLAMA_CACHES)}", "Take --emit llama-server."
        )
    parameters = {"num_ctx": settings["n_ctx"] // settings["n_parallel"], "num_gpu": layers}
    if settings["n_ubatch"] != _USUAL["n_ubatch"]:
        parameters["num_batch"] = settings["n_ubatch"]
    environment = {"OLLAMA_NUM_PARALLEL": str(settings["n_parallel"])}
    if keys != "f16":
        environment |= {"OLLAMA_FLASH_ATTENTION": "1", "OLLAMA_KV_CACHE_TYPE": str(keys)}
    name = base_name(asked.checkpoint).lower()
    if '"' in file.source:
        raise UsageError("a Modelfile cannot name a path with quotes in it", "Rename the file.")
    source = f'"{file.source}"' if " " in file.source else file.source
    text = "".join(f"{line}\n" for line in (f"FROM {source}", *(f"PARAMETER {k} {v}" for k, v in parameters.items())))
    server = " ".join(f"{variable}={value}" for variable, value in environment.items())
    notes = (
        f"{server} ollama serve",
        f"ollama create {name} -f Modelfile",
        "Ollama reserves memory by rules of its own, which are not counted",
    )
    return Launch(
        "llama.cpp",
        asked.serving.engine_version,
        "ollama",
        ("ollama", "create", name, "-f", "Modelfile"),
        file.source,
        file.is_path,
        environment,
        file.before,
        log_lines(asked),
        notes,
        text,
    )


def _file(asked: Verdict) -> _File:
    checkpoint, dtype = asked.checkpoint, asked.workload.dtype
    if checkpoint.format == "gguf":
        if dtype != STORED:
            raise UsageError("a GGUF file is launched as it is", f"Leave out --dtype {dtype}, or name another file.")
        return _stored(checkpoint, asked.revision)
    repo, is_path = repo_of(asked, "llama.cpp's converter")
    plain = f"./{base_name(checkpoint)}-{_OUT_TYPES.get(dtype, 'bf16')}.gguf"
    convert = ["python3", "convert_hf_to_gguf.py", repo, "--outfile", plain, "--outtype", _OUT_TYPES.get(dtype, "bf16")]
    before = (tuple(convert if is_path else [*convert, "--remote"]),)
    if dtype in _OUT_TYPES:
        return _File(("--model", plain), plain, plain, True, before)
    if dtype not in FILE_TYPE_NAMES:
        raise UsageError(f"llama-quantize makes no {dtype}", "It makes Q8_0, Q6_K, Q5_K_M, Q4_K_M and more.")
    made = f"./{base_name(checkpoint)}-{dtype}.gguf"
    return _File(("--model", made), made, made, True, (*before, ("llama-quantize", plain, made, dtype)))


def _stored(checkpoint: Checkpoint, revision: str | None) -> _File:
    """A GGUF file that there is, on this machine or on the Hub; of one in parts the first."""
    repo, _, selector = checkpoint.repo_id.partition(":")
    if checkpoint.source == "local":
        path = path_of(checkpoint)
        if not path.endswith(".gguf"):
            name = checkpoint.files[0].name if checkpoint.files else ""
            path = f"{path.rstrip('/')}/{name}"
        return _File(("--model", path), path, path, True)
    if revision is not None:
        raise UsageError("llama.cpp downloads a repo's main branch", "Download the file and name its path.")
    name = checkpoint.files[0].name if checkpoint.files else selector
    # What -hf would load beside the file, a projector for images, is no part of the account.
    options = ("--hf-repo", repo, "--hf-file", name, "--no-mmproj")
    tag = f":{selector}" if selector and "/" not in selector and not selector.endswith(".gguf") else ""
    return _File(options, f"hf.co/{repo}{tag}", repo, False)


def _projector(checkpoint: Checkpoint) -> list[str]:
    """The options that name an encoder's file."""
    if checkpoint.source == "local":
        return ["--mmproj", path_of(checkpoint)]
    repo = checkpoint.repo_id.partition(":")[0]
    return ["--mmproj-url", f"https://huggingface.co/{repo}/resolve/main/{quote(checkpoint.files[0].name)}"]


def log_lines(asked: Verdict) -> tuple[str, ...]:
    """The fullest device's, as builds of 2026 word them (llama-model.cpp, llama-kv-cache.cpp, llama-context.cpp)."""
    serving = asked.serving
    device = _DEVICE.get(asked.spec.kind, "GPU0") if serving.count == 1 else "the fullest GPU's"
    words = {
        "weights": "load_tensors: {} model buffer size = {} MiB",
        "kv_pool": "llama_kv_cache: {} KV buffer size = {} MiB",
        "activations": "sched_reserve: {} compute buffer size = {} MiB",
    }
    sizes = {name: size for name in words if (size := serving.per_gpu.get(name)) is not None}
    lines = [words[name].format(device, mib(size)) for name, size in sizes.items()]
    return (f"llama_context: n_ctx = {serving.settings['n_ctx']}", *lines)


def llama_cpp_container(kind: str | None, version: str | None) -> Container:
    """Its server's image on GitHub's registry.

    Raises:
        UsageError: there is none for such devices.
    """
    if kind not in _IMAGES:
        raise UsageError(f"llama.cpp has no container image for {kind} devices", "Take --emit llama-server.")
    build = f"-b{version.lstrip('b')}" if version else ""
    image = f"ghcr.io/ggml-org/llama.cpp:{_IMAGES[kind]}{build}"
    return Container(image, 8080, ("--host", "0.0.0.0"), "/app/llama-server")
