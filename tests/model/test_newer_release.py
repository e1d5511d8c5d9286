"""A transformers that is newer than the tables: real ones, made of the installed one with a model folder changed."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import transformers

from inspector.model.config.changed import changed_types, digest_of
from inspector.model.config.light import release, table
from tests.conftest import command_environment

same_release = pytest.mark.skipif(
    transformers.__version__ != release(), reason=f"the tables are of transformers {release()}"
)
SOURCE = Path(transformers.__file__).parent
CONFIG = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 32,
    "tie_word_embeddings": False,
}


def linked(folder: Path, of: Path, *apart: str) -> None:
    """A folder whose entries are the other's, but for some that are left for the caller."""
    folder.mkdir(parents=True)
    for entry in of.iterdir():
        if entry.name not in {*apart, "__pycache__"}:
            (folder / entry.name).symlink_to(entry)


def edited(path: Path, of: Path, old: str, new: str) -> None:
    text = of.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path with transformers 99.0.0: phi's constructor makes another tensor, qwen2's only computes otherwise, and
    there is a type `toymla`, which is a MiniCPM3 by another name."""
    path = tmp_path_factory.mktemp("newer")
    package = path / "transformers"
    linked(package, SOURCE, "__init__.py", "models")
    edited(package / "__init__.py", SOURCE / "__init__.py", f'"{transformers.__version__}"', '"99.0.0"')
    models = SOURCE / "models"
    linked(package / "models", models, "auto", "phi", "qwen2")
    linked(package / "models" / "auto", models / "auto", "auto_mappings.py")
    edited(
        package / "models" / "auto" / "auto_mappings.py",
        models / "auto" / "auto_mappings.py",
        '("llama", "LlamaConfig")',
        '("llama", "LlamaConfig"), ("toymla", "ToyMlaConfig")',
    )
    for name, old, new in (
        ("phi", "        super().__init__()\n", "        super().__init__()\n        self.toy = nn.Linear(2, 3)\n"),
        ("qwen2", "key_states", "the_keys"),
    ):
        linked(package / "models" / name, models / name, f"modeling_{name}.py")
        edited(package / "models" / name / f"modeling_{name}.py", models / name / f"modeling_{name}.py", old, new)
    toy = package / "models" / "toymla"
    toy.mkdir()
    shutil.copy(models / "minicpm3" / "__init__.py", toy / "__init__.py")
    for kind in ("configuration", "modeling"):
        text = (models / "minicpm3" / f"{kind}_minicpm3.py").read_text("utf-8")
        for old, new in (("MiniCPM3", "ToyMla"), ("minicpm3", "toymla")):
            text = text.replace(old, new)
        (toy / f"{kind}_toymla.py").write_text(text, "utf-8")
    (toy / "__init__.py").write_text((toy / "__init__.py").read_text("utf-8").replace("minicpm3", "toymla"), "utf-8")
    return path


def write_model(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """config.json, and a safetensors file that is a header and zeros."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2
        for number in shape:
            size *= number
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def report(folder: Path, *path: Path) -> dict[str, Any]:
    """What the command says of a folder, with a path in front of the others."""
    environment = command_environment(folder.parent / "home", PYTHONPATH=os.pathsep.join(map(str, path)))
    command = [sys.executable, "-m", "inspector", "show", str(folder), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def decoder(prefix: str = "model", **layer: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Tensors of a small decoder: embedding, head, and so many of each layer."""
    shapes = {f"{prefix}.embed_tokens.weight": (32, 64), "lm_head.weight": (32, 64), f"{prefix}.norm.weight": (64,)}
    for index in range(2):
        for name, shape in layer.items():
            shapes[f"{prefix}.layers.{index}.{name.replace('__', '.')}.weight"] = shape
    return shapes


LLAMA_LAYER = {
    "self_attn__q_proj": (64, 64),
    "self_attn__k_proj": (32, 64),
    "self_attn__v_proj": (32, 64),
    "self_attn__o_proj": (64, 64),
    "mlp__gate_proj": (128, 64),
    "mlp__up_proj": (128, 64),
    "mlp__down_proj": (64, 128),
    "input_layernorm": (64,),
    "post_attention_layernorm": (64,),
}


def about_release(found: dict[str, Any]) -> list[str]:
    return [warning for warning in found["warnings"] if "99.0.0" in warning]


@same_release
@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_a_type_that_is_as_it_was_stays_exact(tmp_path: Path, newer: Path, model_type: str) -> None:
    """Qwen2's file differs, in what `forward` calls a variable."""
    config = {**CONFIG, "model_type": model_type, "num_key_value_heads": 2}
    config["architectures"] = [{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[model_type]]
    write_model(tmp_path / "m", config, decoder(**LLAMA_LAYER))
    found = report(tmp_path / "m", newer)
    assert about_release(found) == []
    assert found == report(tmp_path / "m")


def test_a_known_type_that_has_changed_is_told_and_not_exact(tmp_path: Path, newer: Path) -> None:
    config = {**CONFIG, "model_type": "phi", "architectures": ["PhiForCausalLM"]}
    write_model(tmp_path / "m", config, decoder(self_attn__q_proj=(64, 64), self_attn__k_proj=(64, 64)))
    before, found = report(tmp_path / "m"), report(tmp_path / "m", newer)
    (note,) = about_release(found)
    assert "'phi'" in note
    assert release() in note
    assert found["parameters"]["exact"] is False
    assert found["parameters"]["total"] == before["parameters"]["total"]
    assert found["model"] == before["model"]


def test_a_changed_part_of_a_model_is_told(tmp_path: Path, newer: Path) -> None:
    """LLaVA's own folder is as it was, its language part's is not."""
    config = {"model_type": "llava", "text_config": {**CONFIG, "model_type": "phi"}, "vision_config": {}}
    write_model(tmp_path / "m", config, decoder("language_model.model", self_attn__k_proj=(64, 64)))
    assert any("'phi'" in note for note in about_release(report(tmp_path / "m", newer)))


LATENT_LAYER = {
    "self_attn__q_a_proj": (24, 64),
    "self_attn__q_a_layernorm": (24,),
    "self_attn__q_b_proj": (4 * 24, 24),
    "self_attn__kv_a_proj_with_mqa": (40, 64),
    "self_attn__kv_a_layernorm": (32,),
    "self_attn__kv_b_proj": (4 * 32, 32),
    "self_attn__o_proj": (64, 64),
    "input_layernorm": (64,),
}
LATENT = {"kv_lora_rank": 32, "q_lora_rank": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}


def test_a_new_type_is_never_exact_and_its_tensors_decide(tmp_path: Path, newer: Path) -> None:
    """The class fills in what config.json leaves out (here, the head dimensions); that it caches the latent, as
    MiniCPM3 does, is no fact of the config: the tensors show it."""
    config = {**CONFIG, **LATENT, "model_type": "toymla", "architectures": ["ToyMlaForCausalLM"]}
    write_model(tmp_path / "m", config, decoder(**LATENT_LAYER))
    found = report(tmp_path / "m", newer)
    (note,) = about_release(found)
    assert "'toymla' is not in the tables" in note
    assert found["parameters"]["exact"] is False
    assert found["memory"]["inference"]["kv_bytes_per_token"] == 2 * 2 * (32 + 8)


def test_the_class_of_a_new_type_fills_in_what_the_config_leaves_out(tmp_path: Path, newer: Path) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "intermediate_size"} | {"model_type": "toymla"}
    write_model(tmp_path / "m", {**config, **LATENT}, decoder(**LATENT_LAYER))
    told, guessed = report(tmp_path / "m", newer), report(tmp_path / "m")
    assert told["model"]["intermediate_size"] == 6400
    assert guessed["model"]["intermediate_size"] is None
    assert guessed["parameters"]["exact"] is False


@same_release
def test_the_digests_are_those_of_the_tables_release() -> None:
    some = sorted(table())[::8]
    assert changed_types(some, SOURCE) == []


def test_what_is_new_is_listed_and_fails(tmp_path: Path, newer: Path) -> None:
    """`make newest` ends with this: its exit code makes a scheduled job red."""
    environment = command_environment(tmp_path, PYTHONPATH=str(newer))
    command = [sys.executable, "-m", "fixtures.what_is_new"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1, done.stderr
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines()[1:])
    assert "toymla" in lines["new"].split(", ")
    assert "phi" in lines["changed"].split(", ")
    if transformers.__version__ == release():
        assert lines == {"new": "toymla", "changed": "phi", "gone": "none"}


def test_a_digest_sees_defaults_and_constructors_alone(tmp_path: Path) -> None:
    config = "class A(B):\n    '''Doc.'''\n    size: int = 3\n"
    model = "class C(M):\n    def __init__(self, c):\n        self.w = Linear(2, 3)\n"
    model += "    def forward(self, x):\n        return x\n"

    def digest(config: str, model: str) -> str | None:
        digest_of.cache_clear()
        (tmp_path / "configuration_a.py").write_text(config, "utf-8")
        (tmp_path / "modeling_a.py").write_text(model, "utf-8")
        return digest_of(tmp_path)

    first = digest(config, model)
    same = (
        (config.replace("Doc", "More"), model),
        (config + "    keys_to_ignore_at_inference = ['a']\n", model),
        ("import os\n" + config, "# comment\n" + model),
        (config, model.replace("return x", "return -x")),
        (config, model.replace("(2, 3)", "(2, 3, dtype=float32)")),
        (config, model.replace("(2, 3)", "(2, 3).to(dtype=float32)")),
        (config, model.replace("class C", "@decorated\nclass C").replace("(self, c)", "(self, c: int) -> None")),
    )
    other = (
        (config.replace("= 3", "= 4"), model),
        (config + "    attribute_map = {}\n", model),
        (config.replace("B", "D"), model),
        (config, model.replace("(2, 3)", "(2, 4)")),
        (config, model + "    _tied_weights_keys = {}\n"),
    )
    assert {digest(*pair) for pair in same} == {first}
    assert first not in {digest(*pair) for pair in other}
