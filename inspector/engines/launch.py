"""What an engine is launched with: its command, and the lines that its log should then show.

Each engine's folder has a launch.py that makes a `Launch` of a verdict. The settings of an account bear the engine's
own names, so that `flags` makes options of them; a folder names only those whose option is called otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

from inspector.devices.spec import GpuSpec
from inspector.engines.common.heads import Draft
from inspector.engines.serving import Serving
from inspector.errors import UsageError
from inspector.hub import Checkpoint
from inspector.memory import Workload
from inspector.memory.precision import COMPUTE_PRECISIONS, STORED
from inspector.model import Model
from inspector.settings import settings_of

GIB, MIB = 1024**3, 1024**2


@dataclass(frozen=True)
class Verdict:
    """A verdict that something is to be launched by, and all that it was made of.

    Attributes:
        revision: as the user named it; None for the repo's own.
        options: an instance of the engine's own dataclass.
        serving: the account: it fits.
        draft: what drafts in speculative decoding, if anything.
        projector: the file of an encoder for images or sound beside the model's, if any.
    """

    checkpoint: Checkpoint
    revision: str | None
    model: Model
    workload: Workload
    spec: GpuSpec
    options: Any
    serving: Serving
    draft: Draft | None = None
    projector: Checkpoint | None = None


@dataclass(frozen=True)
class Launch:
    """What starts an engine with the settings of a verdict.

    Attributes:
        emit: what it is written as, a name of `--emit`.
        command: the program and its arguments, unquoted.
        environment: variables that it needs.
        before: commands that make what it loads, each as `command`.
        log: lines that the engine's log should show, without what stands before them on each.
        notes: what the reader should know.
        text: what `--emit` prints: the command as a shell reads it, or the file with `log` and `notes` in comments.
        is_file: it is a file.
        dtype: the weights' precision in the verdict.
        loads: the argument that names the model.
        is_path: that is a file or folder of this machine.
    """

    engine: str
    engine_version: str | None
    emit: str
    command: tuple[str, ...]
    loads: str
    is_path: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    before: tuple[tuple[str, ...], ...] = ()
    log: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    text: str = ""
    is_file: bool = False
    dtype: str = STORED


class Container(NamedTuple):
    """How an engine runs in a container.

    Attributes:
        image: with its tag.
        port: that it serves on.
        arguments: what it needs there beside its command.
        program: where its program lies there; "" for on the path.
    """

    image: str
    port: int
    arguments: tuple[str, ...] = ()
    program: str = ""


class Loaded(NamedTuple):
    """The weights as an engine is told of them: the argument that names them, and more options."""

    name: str
    is_path: bool
    options: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def flags(settings: Mapping[str, Any], usual: Mapping[str, Any], names: Mapping[str, str] | None = None) -> list[str]:
    """Options for the settings that are not as usual: `--max-model-len 4096`; a flag alone for True.

    Args:
        usual: what an engine does unasked, by setting; one that is not in it is always told, None is never.
        names: settings whose option has another name.
    """
    found: list[str] = []
    for name, value in settings.items():
        if value is None or value is False or (name in usual and usual[name] in (None, value)):
            continue
        option = f"--{(names or {}).get(name, name).replace('_', '-')}"
        found += [option] if value is True else [option, _text(value)]
    return found


def unless_given(options: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """For `usual` of `flags`: the settings that are options of the engine, and that the user left to it."""
    own = settings_of(type(options))
    return {name: None for name in settings if name in own and getattr(options, name) == own[name].default}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def repo_of(asked: Verdict, title: str) -> tuple[str, bool]:
    """(the repo ID or the path of a model whose own folder an engine loads, whether it is a path).

    Raises:
        UsageError: it is a file, a folder within a repo, an adapter or a pipeline.
    """
    checkpoint = asked.checkpoint
    if checkpoint.format == "gguf":
        raise UsageError(f"{title} is not launched with a GGUF file here", "Add --engine llama.cpp.")
    if checkpoint.parts:
        raise UsageError(f"{title} is launched with whole models: {checkpoint.repo_id} is none", "Name its base.")
    if checkpoint.source == "local":
        return path_of(checkpoint), True
    if ":" in checkpoint.repo_id:
        raise UsageError(f"{title} loads what lies at a repo's root, not {checkpoint.repo_id}", "Name the repo.")
    return checkpoint.repo_id, False


def path_of(checkpoint: Checkpoint) -> str:
    """A local model's path, which no program takes for an option."""
    path = checkpoint.repo_id
    return f"./{path}" if path.startswith("-") else path


def base_name(checkpoint: Checkpoint) -> str:
    """ "Qwen3-8B" of "Qwen/Qwen3-8B:Q4_K_M", and of a path its last part."""
    name = checkpoint.repo_id if checkpoint.source == "local" else checkpoint.repo_id.partition(":")[0]
    return PurePath(name).name.removesuffix(".gguf") or "model"


def loaded(
    asked: Verdict, title: str, at_load: Mapping[str, Sequence[str]], plain: Collection[str] = COMPUTE_PRECISIONS
) -> Loaded:
    """The model's name, and how its weights come to the precision of the verdict.

    Args:
        at_load: precisions that the engine makes while it loads, with its options for each.
        plain: those that it casts unpacked weights to.

    Raises:
        UsageError: see `repo_of`.
    """
    name, is_path = repo_of(asked, title)
    dtype, packed = asked.workload.dtype, asked.model.architecture.quantization is not None
    if dtype == STORED or (dtype in plain and not packed):
        return Loaded(name, is_path)
    if dtype in at_load and not packed:
        return Loaded(name, is_path, tuple(at_load[dtype]))
    made = f"./{base_name(asked.checkpoint)}-{dtype}"
    note = (
        f"{title} does not make {dtype} as it loads: {made} stands for {name} stored so; a checkpoint that is"
        " published in it goes in its place (--published launches the best)"
    )
    return Loaded(made, True, (), (note,))


def revision_flags(asked: Verdict, is_path: bool) -> list[str]:
    """`--revision`, where the user named one."""
    return [] if is_path or asked.revision is None else ["--revision", asked.revision]


def gib(size: int) -> str:
    return f"{size / GIB:.2f}"


def mib(size: int) -> str:
    return f"{size / MIB:.2f}"
