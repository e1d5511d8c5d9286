"""What docs/architecture.md says of adding a thing is all that it takes: each recipe, end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.extension.recipes import MATRICES, code_lines, package_with, record, run, steps, tiny_llama

LLAMA = "meta-llama/Llama-3.2-1B"
ENGINE, LAYER = "To add an engine", "To add a mechanism of attention or state"
SETTING, PACKING, FORMAT = "To add a setting", "To add a quantization", "To add a stored weight format"
WRITER, GPU = "To add an output format", "To add a GPU"
OBJECTIVE = "To add an objective of training"
GIB = 1024**3


@pytest.fixture(scope="module")
def with_recipe(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A copy of the package in which the recipe of the test's mark was followed."""
    return package_with(request.param, tmp_path_factory.mktemp("recipe"))


def recipe(title: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("with_recipe", [title], indirect=True, ids=[""])


@pytest.mark.parametrize("title", [ENGINE, LAYER, SETTING, PACKING, FORMAT, WRITER, GPU, OBJECTIVE])
def test_it_is_one_or_two_places_and_few_lines(title: str) -> None:
    assert len(steps(title)) <= 2
    assert code_lines(title) < 30


@recipe(SETTING)
class TestSetting:
    def test_its_option_works_in_show_fit_and_batch_and_its_value_is_in_the_json(self, with_recipe: Path) -> None:
        plain = record(with_recipe, LLAMA)["memory"]["inference"]
        toy = record(with_recipe, LLAMA, "--toy", "1000")["memory"]["inference"]
        assert (toy["toy"], toy["total"] - plain["total"]) == (1000, 1000)
        (fits,) = record(with_recipe, "fit", LLAMA, "--gpu", "24GiB", "--toy", "1000")["fit"]
        assert fits["needed"] == toy["total"]
        run(with_recipe, "fit", LLAMA, "--gpu", "24GiB", "--toy", str(30 * GIB), code=1)
        (with_recipe / "list.txt").write_text(LLAMA)
        assert json.loads(run(with_recipe, "batch", "list.txt", "--toy", "1000"))["memory"]["inference"] == toy

    def test_help_names_it_where_it_is(self, with_recipe: Path) -> None:
        for command in ("show", "fit", "batch", "lock", "diff"):
            assert "Bytes of a toy. [default: 0]" in " ".join(run(with_recipe, command, "--help").split())
        assert "--toy" not in run(with_recipe, "train", "--help")

    def test_it_survives_lock_and_verify(self, with_recipe: Path) -> None:
        run(with_recipe, "lock", LLAMA, "--offline", "--toy", "1000", "-o", "toy.yaml")
        written = with_recipe / "toy.yaml"
        assert "    toy: 1000\n" in written.read_text()
        assert run(with_recipe, "verify", "--offline", "toy.yaml").startswith("ok ")
        written.write_text(written.read_text().replace("toy: 1000", "toy: 2000"))
        run(with_recipe, "verify", "--offline", "toy.yaml", code=1)

    def test_the_librarys_functions_take_it(self, with_recipe: Path) -> None:
        script = f"""
import inspector
model = inspector.load("{LLAMA}")
print(inspector.inspect("{LLAMA}", toy=3).estimate.total - inspector.inspect("{LLAMA}").estimate.total)
print(model.estimate(toy=3).total - model.estimate().total)
print(model.fit("24GiB", toy=3).needed - model.fit("24GiB").needed)
"""
        assert run(with_recipe, "-c", script).split() == ["3", "3", "3"]


@recipe(OBJECTIVE)
class TestObjective:
    def test_its_step_is_sized(self, with_recipe: Path) -> None:
        toy = record(with_recipe, "train", LLAMA, "--objective", "toy", "--context", "1k")["training"]
        assert (toy["objective"], toy["reference"]) == ("toy", "copy")
        assert toy["frozen_models"] == 2 * 1_235_814_400
        assert set(toy["phases"]) == {"forward", "reference", "loss", "backward", "optimizer"}
        dpo = record(with_recipe, "train", LLAMA, "--objective", "dpo", "--context", "1k")["training"]
        assert toy["phases"]["forward"] == dpo["phases"]["forward"]
        assert toy["phases"]["loss"] < dpo["phases"]["loss"]

    def test_it_is_offered_and_what_it_cannot_be_is_refused(self, with_recipe: Path) -> None:
        assert ", toy," in " ".join(run(with_recipe, "train", "--help").split())
        wrong = ("train", LLAMA, "--objective", "toy", "--reference", "precomputed")
        assert "toy has no reference model 'precomputed'" in run(with_recipe, *wrong, code=2)
        autocast = ("train", LLAMA, "--objective", "toy", "--precision", "mixed")
        assert "logits in mixed is not known" in run(with_recipe, *autocast, code=2)


@recipe(ENGINE)
class TestEngine:
    FIT = ("fit", LLAMA, "--gpu", "24GiB", "--engine", "toy")

    def test_it_plans(self, with_recipe: Path) -> None:
        found = record(with_recipe, *self.FIT, "--toy-setting", "3")
        weights = 1_235_814_400 * 2
        assert found["serving"]["settings"] == {"toy_setting": 3}
        assert found["serving"]["per_gpu"]["kv_pool"] == 24 * GIB - weights - 3 * GIB
        assert (found["fit"][0]["fits"], found["fit"][0]["needed"]) == (True, weights + 3 * GIB)
        assert "toy 0, " in run(with_recipe, *self.FIT)
        run(with_recipe, *self.FIT, "--toy-setting", "23", code=1)

    def test_its_option_is_in_the_help_and_refused_elsewhere(self, with_recipe: Path) -> None:
        text = " ".join(run(with_recipe, "fit", "--help-all").split())
        assert "|toy" in text
        assert "--toy-setting N Toy's spare GiB. Default: 1." in text
        said = run(with_recipe, *self.FIT[:-1], "vllm", "--toy-setting", "3", code=2)
        assert "--toy-setting is a setting of toy, not of vllm" in said
        assert "toy has: --toy-setting." in run(with_recipe, *self.FIT, "--tp", "2", code=2)


@recipe(LAYER)
class TestLayer:
    def model(self, package: Path) -> str:
        """Its second layer has the new mechanism."""
        if (package / "ring").exists():
            return str(package / "ring")
        config = {"layer_types": ["full_attention", "ring_attention"], "sliding_window": 100}
        return tiny_llama(
            package / "ring", config, {f"{name}.weight": ("BF16", shape) for name, shape in MATRICES.items()}
        )

    def test_its_cache_and_its_kind_are_in_the_report(self, with_recipe: Path) -> None:
        found = record(with_recipe, self.model(with_recipe), "--context", "1000", "--batch", "3")
        assert found["model"]["layer_kinds"] == {"full_attention": 1, "ring_attention": 1}
        rows = 2 * (16 + 16)
        assert found["memory"]["inference"]["kv_cache"] == 3 * 2 * (1000 * rows + 100 * 64)
        assert found["memory"]["inference"]["kv_bytes_per_token"] == 2 * (rows + 64)

    def test_it_is_as_the_config_says_in_a_type_that_nobody_knows(self, with_recipe: Path) -> None:
        """Tensors decide there, but for a mechanism that their widths do not tell."""
        model = Path(self.model(with_recipe))
        config = json.loads((model / "config.json").read_text()) | {"model_type": "ring_llm"}
        other = with_recipe / "ring_llm"
        other.mkdir()
        (other / "config.json").write_text(json.dumps(config | {"architectures": ["RingForCausalLM"]}))
        (other / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
        assert record(with_recipe, str(other))["model"]["layer_kinds"] == {"full_attention": 1, "ring_attention": 1}

    def test_its_text_is_in_the_explanation(self, with_recipe: Path) -> None:
        text = run(with_recipe, self.model(with_recipe), "--explain", "--context", "1000")
        assert "1 layers x batch 1 x 100 tokens x (64 values) x 2 B" in " ".join(text.split())
        assert "ring_attention" in text

    @pytest.mark.parametrize("engine", ["vllm", "sglang", "llama.cpp", "mlx"])
    def test_every_serving_engine_says_that_it_cannot_tell(self, with_recipe: Path, engine: str) -> None:
        gpu = "M2 Ultra 64GB" if engine == "mlx" else "H100"
        said = run(with_recipe, "fit", self.model(with_recipe), "--engine", engine, "--gpu", gpu, code=4)
        assert "cannot tell" in said


@recipe(PACKING)
class TestPacking:
    PACKED = 2 * sum(math.prod(shape) for shape in MATRICES.values())
    PLAIN = 2 * 256 * 64 + 64 + 2 * 2 * 64

    def model(self, package: Path) -> str:
        """2 bits a value in bytes, and a scale for each 64 inputs."""
        if (package / "packed").exists():
            return str(package / "packed")
        tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, (out, into) in MATRICES.items():
            tensors[f"{name}.toy_bytes"] = ("U8", (out, into // 4))
            tensors[f"{name}.toy_scale"] = ("F16", (out, into // 64))
        return tiny_llama(package / "packed", {"quantization_config": {"quant_method": "toy", "bits": 2}}, tensors)

    def test_its_parameters_and_bits_are_in_the_report(self, with_recipe: Path) -> None:
        found = record(with_recipe, self.model(with_recipe))
        assert found["parameters"]["total"] == self.PACKED + self.PLAIN
        assert found["parameters"]["exact"]
        effective = (2.25 * self.PACKED + 16 * self.PLAIN) / (self.PACKED + self.PLAIN)
        assert found["model"]["quantization"] == {
            **{"method": "toy", "bits": 2, "group_size": 64, "packed_bits": 2.25, "packed_parameters": self.PACKED},
            "effective_bits": round(effective, 3),
            "unquantized": ["lm_head"],
            "unquantized_embeddings": ["model.embed_tokens"],
        }

    def test_engines_ask_it_for_its_groups(self, with_recipe: Path) -> None:
        gpus = ("--gpu", "2x H100", "--tp", "2")
        said = run(with_recipe, "fit", self.model(with_recipe), "--engine", "vllm", *gpus, code=2)
        assert "Weight input_size_per_partition = 32 is not divisible by group_size = 64. (o_proj)" in said


@recipe(FORMAT)
class TestFormat:
    def test_files_shards_and_selected_files_are_read(self, with_recipe: Path) -> None:
        """More in tests/hub/formats/test_registry.py, from the Hub, too."""
        model = with_recipe / "toys"
        model.mkdir()
        (model / "config.json").write_text('{"model_type": "toy"}')
        (model / "toy_model-00001-of-00002.toy").write_text("5")
        (model / "toy_model-00002-of-00002.toy").write_text("4")
        (model / "other.toy").write_text("3")
        found = record(with_recipe, str(model))["checkpoint"]
        assert (found["format"], found["tensor_bytes"]) == ("toy", 4 * 9)
        assert record(with_recipe, str(model / "other.toy"))["checkpoint"]["tensor_bytes"] == 4 * 3


@recipe(WRITER)
class TestWriter:
    def test_every_command_that_reports_on_models_prints_it(self, with_recipe: Path) -> None:
        (with_recipe / "ids.txt").write_text(f"{LLAMA}\n")
        printed = [
            run(with_recipe, *command, "--format", "toy")
            for command in ([LLAMA], ["fit", LLAMA, "--gpu", "24GiB"], ["train", LLAMA], ["batch", "ids.txt"])
        ]
        assert printed[0].startswith(f"{LLAMA} takes ")
        assert printed == [printed[0]] * 4
        run(with_recipe, "batch", "ids.txt", "--output", "out.toy")  # known by the file's name
        assert (with_recipe / "out.toy").read_text() == printed[0]
        said = run(with_recipe, "batch", "ids.txt", "--output", "out.toy", "--resume", code=2)
        assert "cannot be resumed" in said

    def test_it_is_among_the_choices(self, with_recipe: Path) -> None:
        for command in ("show", "batch"):
            text = "".join(run(with_recipe, command, "--help").split())
            assert "|toy]" in text or "[toy|" in text or "|toy|" in text


@recipe(GPU)
class TestGpu:
    def test_it_is_known_by_its_names(self, with_recipe: Path) -> None:
        for name in ("RTX 9999", "toy"):
            (fits,) = record(with_recipe, "fit", LLAMA, "--gpu", name)["fit"]
            assert (fits["gpu"], fits["capacity"], fits["fits"]) == ("RTX 9999", 64 * GIB, True)
        assert "RTX 9999" in run(with_recipe, "gpus")
