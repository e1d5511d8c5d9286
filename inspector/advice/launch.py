"""A verdict written as what launches it: an engine's own command or file, or a file around it (Compose, KServe).

Each engine says what it is launched with (`Engine.launch`); here is only what stands around that: a shell's quotes, the
YAML files, and the lines of the log that are to be expected.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from inspector.devices.spec import GpuSpec
from inspector.engines.engine import Engine
from inspector.engines.launch import Container, Launch, Verdict
from inspector.engines.registry import engine_named, engines
from inspector.errors import UsageError, known_hint
from inspector.memory import STORED

_MOUNTED = "/model"
"""Where a container finds a model of this machine."""

Around = Callable[[Launch, Container, GpuSpec], Mapping[str, Any]]
"""(what is launched, how it runs in a container, the devices) -> the file's content."""


def emit_names() -> tuple[str, ...]:
    """All that `--emit` takes."""
    return (*(name for engine in engines() for name in engine.emits), *AROUND)


def emitting_engine(emit: str, engine: str | None) -> Engine:
    """The engine whose launch is meant.

    Args:
        engine: the one that was asked for; None where none was.

    Raises:
        UsageError: there is no such launch, or it is another engine's.
    """
    if emit not in emit_names():
        raise UsageError(f"nothing is emitted as '{emit}'", known_hint(emit, emit_names()))
    able = [each for each in engines() if emit in each.emits or (emit in AROUND and _contained(each))]
    for each in able:
        if engine in (None, each.name):
            return each
    names = " or ".join(each.name for each in able)
    raise UsageError(f"--emit {emit} launches {names}, not {engine}", f"Leave out --engine, or take --engine {names}.")


def _contained(engine: Engine) -> bool:
    return bool(engine.emits) and engine.container("cuda", None) is not None


def no_weights() -> UsageError:
    """What is said where a config alone is to be launched."""
    return UsageError("a config alone has no weights to serve", "Leave out --emit, or name a model with weights.")


def launch_of(asked: Verdict, emit: str) -> Launch:
    """What launches a verdict.

    Raises:
        UsageError: the engine has no such launch, or does not load the model from where it is; or it is a config alone.
    """
    engine, repo_id, spec = engine_named(asked.serving.engine), asked.checkpoint.repo_id, asked.spec
    if asked.checkpoint.design is not None:
        raise no_weights()
    if not repo_id.isprintable():
        raise UsageError("a path with invisible characters is not written into a command", "Rename it.")
    launch = engine.launch(asked, emit if emit in engine.emits else engine.emits[0])
    launch = replace(launch, dtype=asked.workload.dtype)
    if emit in AROUND:
        container = engine.container(spec.kind, asked.serving.engine_version)
        if container is None:
            raise UsageError(f"{engine.title} runs in no container", f"Take --emit {engine.emits[0]}.")
        launch = replace(launch, emit=emit, text=yaml_text(AROUND[emit](launch, container, spec)))
    if not launch.text:
        return replace(launch, text=shell_text(launch))
    return replace(launch, text=f"{comments(launch, repo_id)}{launch.text}", is_file=True)


def shell_text(launch: Launch) -> str:
    """The command on one line for a POSIX shell, what it needs before it."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in launch.environment.items()]
    return "".join(
        f"{line}\n" for line in (*map(shlex.join, launch.before), " ".join([*variables, shlex.join(launch.command)]))
    )


def expectation(launch: Launch, repo_id: str) -> list[str]:
    """What the engine should print as it starts, in lines for a person."""
    if not launch.log:
        return []
    version = f" {launch.engine_version}" if launch.engine_version else ""
    check = ["llm-inspect", "check-log", "LOG", repo_id, *(() if launch.dtype == STORED else ("--dtype", launch.dtype))]
    read = engine_named(launch.engine).log_reader() is not None
    how = f"the log should show ({shlex.join(check)}):" if read else "it should come to:"
    return [f"{launch.engine}{version}: {how}", *(f"  {line}" for line in launch.log)]


def comments(launch: Launch, repo_id: str) -> str:
    """The expectation, and what else is to be known, as comments of a file; whole lines."""
    lines = [*launch.notes, *map(shlex.join, launch.before), *expectation(launch, repo_id)]
    return "".join(f"# {line}\n" for line in lines)


def _mounted(launch: Launch) -> tuple[str, str]:
    """(the folder of this machine that a container gets as `_MOUNTED`, the model's path within the container)."""
    path = PurePath(launch.loads)
    if path.suffix != ".gguf":
        return launch.loads, _MOUNTED
    folder = str(path.parent)
    return (folder if folder.startswith(("/", ".", "~")) else f"./{folder}"), f"{_MOUNTED}/{path.name}"


def _command(launch: Launch, container: Container) -> tuple[str, ...]:
    program, *rest = launch.command
    inside = _mounted(launch)[1] if launch.is_path else launch.loads
    arguments = [inside if each == launch.loads else each for each in rest]
    return (container.program or program, *arguments, *container.arguments)


def compose(launch: Launch, container: Container, spec: GpuSpec) -> Mapping[str, Any]:
    """A file for `docker compose up`. It hands HF_TOKEN on from the environment, and holds no token."""
    volumes: list[Any] = ["${HF_HOME:-~/.cache/huggingface}:/root/.cache/huggingface"]
    if launch.is_path:
        source = _escaped(_mounted(launch)[0], "$")
        volumes.append({"type": "bind", "source": source, "target": _MOUNTED, "read_only": True})
    service: dict[str, Any] = {
        "image": container.image,
        "entrypoint": [_escaped(each, "$") for each in _command(launch, container)],
        "environment": ["HF_TOKEN", *(f"{name}={value}" for name, value in launch.environment.items())],
        "ports": [f"{container.port}:{container.port}"],
        "ipc": "host",
        "volumes": volumes,
    }
    if spec.kind == "rocm":
        service |= {"devices": ["/dev/kfd", "/dev/dri"], "group_add": ["video"]}
    else:
        wanted = {"driver": "nvidia", "count": spec.count, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [wanted]}}}
    return {"services": {_label(launch.engine): service}}


def kserve(launch: Launch, container: Container, spec: GpuSpec) -> Mapping[str, Any]:
    """An InferenceService with a container of its own. The token is asked of a secret, hf-secret, where there is one.

    Raises:
        UsageError: the model is on this machine.
    """
    if launch.is_path:
        raise UsageError(f"a cluster cannot see {launch.loads}", "Put the model on the Hub, or take --emit compose.")
    secret = {"name": "hf-secret", "key": "HF_TOKEN", "optional": True}
    program, *arguments = _command(launch, container)
    pod = {
        "name": "kserve-container",
        "image": container.image,
        "command": [_escaped(program, "$(")],
        "args": [_escaped(each, "$(") for each in arguments],
        "env": [
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": secret}},
            *({"name": name, "value": value} for name, value in launch.environment.items()),
        ],
        "ports": [{"containerPort": container.port, "protocol": "TCP"}],
        "resources": {"limits": {"amd.com/gpu" if spec.kind == "rocm" else "nvidia.com/gpu": str(spec.count)}},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": _label(PurePath(launch.loads).name)},
        "spec": {"predictor": {"containers": [pod], "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}]}},
    }


AROUND: Mapping[str, Around] = {"compose": compose, "kserve": kserve}
"""Files around an engine's command, by the name that `--emit` takes."""


def _escaped(text: str, sign: str) -> str:
    """Text in which Compose ("$") and Kubernetes ("$(") put no variable's value."""
    return text.replace(sign, f"${sign}")


def _label(name: str) -> str:
    """A name as Kubernetes takes it: at most 50 small letters, digits and dashes, a letter first."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-")
    return label if label[:1].isalpha() else f"m-{label}".strip("-")


def yaml_text(content: Mapping[str, Any]) -> str:
    """YAML of mappings, lists, texts, whole numbers and truth values. All texts are quoted; keys are our own."""
    return "".join(f"{line}\n" for line in _lines(content))


def _lines(content: Any) -> Iterable[str]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(value, Mapping | list):
                yield f"{key}:"
                yield from (f"  {line}" for line in _lines(value))
            else:
                yield f"{key}: {_scalar(value)}"
    else:
        for value in content:
            first, *rest = _lines(value) if isinstance(value, Mapping | list) else [_scalar(value)]
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)


def _scalar(value: str | int | bool) -> str:
    if not isinstance(value, str):
        return str(value).lower()
    return f'"{"".join(map(_quoted, value))}"'


def _quoted(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    return f"\\U{ord(character):08x}"
