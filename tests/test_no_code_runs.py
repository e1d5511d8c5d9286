"""A repo full of code that leaves a mark if any of it runs: nothing is imported, evaluated, unpickled or started."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import command_environment
from tests.hub.formats.make_torch import archive, mapping, name, pickled, tensor, text
from tests.hub.make_models import torch_file
from tests.hub.make_parts import LLAMA, llama, lora
from tests.hub_server import Content, LoopbackHub, sparse

MARK = "canary-ran"
CODE_FILES = (
    "modeling_evil.py",
    "configuration_evil.py",
    "tokenization_evil.py",
    "setup.py",
    "conftest.py",
    "__init__.py",
)
CODE_FILES += (
    "sitecustomize.py",
    "usercustomize.py",
    "json.py",
    "yaml.py",
    "inspector.py",
    "transformers.py",
    "evil.pth",
)
WATCHED = """
import sys
started, evil = [], []
def watch(event, arguments):
    if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "pickle.find_class", "marshal.loads"):
        if event != "marshal.loads":
            started.append(event)
    elif event in ("import", "compile", "open", "exec") and arguments and "evil" in str(arguments[0]):
        if not str(arguments[0]).endswith((".json", ".safetensors", ".bin", ".yaml")):
            evil.append((event, str(arguments[0])[:200]))
sys.addaudithook(watch)
from inspector.cli.main import run
code = run(sys.argv[1:])
print("AUDIT", code, started, evil, file=sys.stderr)
"""


class Evil:
    """What a pickle of it runs."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def mark(folder: Path) -> str:
    return f"touch {folder / MARK}"


def python(folder: Path) -> bytes:
    marks = f"import pathlib\npathlib.Path({str(folder / MARK)!r}).touch()\n"
    return f"{marks}class EvilConfig: pass\nclass EvilModel: pass\n".encode()


def auto_map(model_type: str) -> dict[str, Any]:
    """A config that asks for the repo's own code in every way that is known."""
    return {
        **LLAMA,
        "model_type": model_type,
        "architectures": ["EvilModel"],
        "auto_map": {
            "AutoConfig": "configuration_evil.EvilConfig",
            "AutoModelForCausalLM": "other/repo--modeling_evil.EvilModel",
            "AutoTokenizer": ["tokenization_evil.EvilTokenizer", None],
        },
        "trust_remote_code": True,
        "custom_code": "modeling_evil.py",
        "custom_pipelines": {"evil": {"impl": "modeling_evil.EvilPipeline", "pt": ["AutoModel"]}},
        "quantization_config": {"quant_method": "evil.EvilConfig", "modules_to_not_convert": ["__import__('os')"]},
        "hidden_act": "__import__('os').system('true')",
        "torch_dtype": "torch.__import__",
    }


def poisoned(folder: Path, weights: dict[str, Content], model_type: str) -> dict[str, Content]:
    files: dict[str, Content] = {file: python(folder) for file in CODE_FILES}
    files |= {
        "config.json": auto_map(model_type),
        "requirements.txt": b"./evil\n",
        "evil.pkl": pickle.dumps(Evil(mark(folder))),
    }
    files["generation_config.json"] = {"trust_remote_code": True}
    files["README.md"] = b"---\nx: !!python/object/apply:os.system ['" + mark(folder).encode() + b"']\n---\n"
    files["tokenizer_config.json"] = {
        "auto_map": {"AutoTokenizer": ["tokenization_evil.E", None]},
        "chat_template": "{{ x }}",
    }
    return files | weights


def evil_pickle(folder: Path) -> bytes:
    """A state dict with tensors, and calls that a loader would make on the way."""
    call = name("os", "system") + b"(" + text(mark(folder)) + b"tR"
    code = name("builtins", "exec") + b"(" + text(python(folder).decode()) + b"tR"
    return archive(pickled(mapping({"a.weight": tensor(), "hook": call, "more": code, "b.weight": tensor()})))


WEIGHTS = ("safetensors", "bin", "evil bin", "legacy", "joblib", "adapter", "modules", "pipeline")


def weights_of(kind: str, folder: Path) -> dict[str, Content]:
    whole: dict[str, Content] = {"model.safetensors": sparse(llama(), {"format": "pt", "evil": "__import__('os')"})}
    small = {name: shape for name, (_, shape) in llama().items() if "norm" in name}
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Evil", "type": "modeling_evil.EvilModule"},
    ]
    index = {
        "_class_name": ["pipeline_evil", "EvilPipeline"],
        "unet": ["modeling_evil", "EvilModel"],
        "x": ["os", "system"],
    }
    return {
        "safetensors": whole,
        "bin": {"pytorch_model.bin": torch_file(small)},
        "evil bin": {"pytorch_model.bin": evil_pickle(folder)},
        "legacy": {"pytorch_model.bin": pickle.dumps(Evil(mark(folder)))},
        "joblib": {"model.joblib": pickle.dumps(Evil(mark(folder))), "model.pkl": pickle.dumps(Evil(mark(folder)))},
        "adapter": {
            "adapter_config.json": {
                "peft_type": "LORA",
                "base_model_name_or_path": "org/base",
                "auto_mapping": {"base_model_class": "EvilModel", "parent_library": "modeling_evil"},
            },
            "adapter_model.safetensors": sparse(lora()),
        },
        "modules": {
            **whole,
            "modules.json": modules,
            "1_Evil/config.json": {},
            "1_Evil/modeling_evil.py": python(folder),
        },
        "pipeline": {
            "model_index.json": index,
            "unet/config.json": {"_class_name": "EvilModel", "auto_map": {"AutoModel": "evil.E"}},
            "unet/diffusion_pytorch_model.safetensors": sparse(llama()),
        },
    }[kind]


def watched(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The command under an audit hook, started in the repo's own folder, as a careless user does."""
    done = subprocess.run(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-I", "-c", WATCHED, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    code, _, rest = done.stderr.rpartition("AUDIT ")[2].partition(" ")
    assert rest.strip() == "[] []", done.stderr
    return int(code), done.stdout


def write(folder: Path, files: dict[str, Content]) -> Path:
    from tests.fuzz.targets import put

    return put(folder, files)


@pytest.mark.parametrize(
    ("kind", "model_type"), [*((kind, "evil") for kind in WEIGHTS), ("safetensors", "llama"), ("safetensors", "t5")]
)
def test_nothing_of_a_folder_runs(tmp_path: Path, kind: str, model_type: str) -> None:
    folder = write(tmp_path / "repo", poisoned(tmp_path, weights_of(kind, tmp_path), model_type))
    environment = command_environment(tmp_path / "home")
    for command in (["show"], ["fit", "--gpu", "24GiB"], ["train"])[: 3 if model_type == "llama" else 1]:
        code, _ = watched(folder, environment, command[0], str(folder), *command[1:], "--json")
        assert code in (0, 1, 3, 4, 5)
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize("kind", WEIGHTS)
def test_nothing_of_a_repo_on_the_hub_runs_or_is_asked_for(
    loopback_hub: LoopbackHub, tmp_path: Path, kind: str
) -> None:
    loopback_hub.add_repo("org/base", {"config.json": LLAMA, "model.safetensors": sparse(llama())})
    loopback_hub.add_repo("org/canary", poisoned(tmp_path, weights_of(kind, tmp_path), "evil"))
    environment = command_environment(tmp_path / "home", loopback_hub.url)
    (tmp_path / "work").mkdir()
    code, _ = watched(tmp_path / "work", environment, "org/canary", "--json")
    assert code in (0, 4)
    assert not (tmp_path / MARK).exists()
    asked = " ".join(loopback_hub.paths(None))
    assert ".py" not in asked
    assert "README" not in asked
    assert "other/repo" not in asked
    assert "evil.pkl" not in asked


def test_tags_in_yaml_make_nothing(tmp_path: Path) -> None:
    """Manifests and lists of models are YAML: a tag is refused, or is text."""
    for i, body in enumerate(
        (f"!!python/object/apply:os.system ['{mark(tmp_path)}']", f"!!python/name:os.system {mark(tmp_path)}")
    ):
        path = tmp_path / f"models{i}.yaml"
        path.write_text(f"models:\n  - model: {body}\n")
        for command in ("verify", "batch"):
            code, _ = watched(tmp_path, command_environment(tmp_path / "home"), command, str(path), "--offline")
            assert code == 2
    assert not (tmp_path / MARK).exists()


def test_the_canaries_sing_where_a_loader_does_unpickle(tmp_path: Path) -> None:
    """What stands in the files does run, if it is let."""
    pickle.loads(pickle.dumps(Evil(mark(tmp_path))))
    assert (tmp_path / MARK).exists()
    (tmp_path / MARK).unlink()
    import zipfile

    path = tmp_path / "evil.bin"
    path.write_bytes(evil_pickle(tmp_path))
    with zipfile.ZipFile(path) as file, pytest.raises(Exception):  # noqa: B017, PT011 - whatever pickle says afterwards
        pickle.loads(file.read("archive/data.pkl").replace(b"ctorch", b"cxxxxx"))
    assert json.loads(json.dumps(auto_map("evil")))["trust_remote_code"] is True
    exec(python(tmp_path).decode())
    assert (tmp_path / MARK).exists()
