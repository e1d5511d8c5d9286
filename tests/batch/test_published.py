"""`fit MODEL --published`: the quantized children of a model that the Hub lists, read and ranked, whatever one is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inspector.batch.published import published
from inspector.errors import HubUnreachable, UsageError
from inspector.hub import Resolver
from tests.conftest import Run, repo_files
from tests.hub.make_models import gguf, llama_metadata, llama_shapes
from tests.hub_server import Content, Fault, LoopbackHub, sparse
from tests.model.test_parameters import LLAMA_2_7B, PACKED_LLAMAS, RECIPES, llama
from tests.test_schema import validator

BASE = "meta-llama/Llama-2-7b-hf"
MORE = {"max_position_embeddings": 4096, "num_key_value_heads": 32, "torch_dtype": "float16"}


def mlx(bits: int) -> Any:
    return lambda out, into: [
        ("weight", "U32", (out, into * bits // 32)),
        ("scales", "F16", (out, into // 64)),
        ("biases", "F16", (out, into // 64)),
    ]


def child(recipe: dict[str, Any], tensors: Any) -> dict[str, Content]:
    """A repo of one safetensors file."""
    header = {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in tensors}
    return {"config.json": {**LLAMA_2_7B, **MORE, **recipe}, "model.safetensors": sparse(header)}


def children() -> dict[str, dict[str, Content]]:
    found = {name: child({"quantization_config": RECIPES[name]}, PACKED_LLAMAS[name]) for name in PACKED_LLAMAS}
    kept = {f"org/{name}": found[name] for name in ("awq-4", "gptq-4", "gptq-8", "bnb-nf4", "bnb-int8", "compressed")}
    for bits in (4, 8):
        recipe = {"quantization": {"group_size": 64, "bits": bits}}
        kept[f"mlx-community/Llama-2-7b-{bits}bit"] = child(recipe, llama(mlx(bits)))
    shapes, metadata = llama_shapes(32, 4096, 32_000), llama_metadata(32, 4096, 32_000)
    kinds = (("Q2_K", "Q2_K"), ("Q4_K_M", "Q4_K"), ("Q6_K", "Q6_K"), ("Q8_0", "Q8_0"), ("F16", "F16"))
    kept["org/GGUF"] = {f"llama-2-7b.{name}.gguf": gguf(shapes, kind, metadata) for name, kind in kinds}
    kept["org/one-GGUF"] = {"llama-2-7b.Q5_K_M.gguf": gguf(shapes, "Q5_K", metadata)}
    kept["org/broken"] = {**kept["org/awq-4"], "model.safetensors": b"\x40\0\0\0\0\0\0\0{"}
    kept["org/gated"] = kept["org/awq-4"]
    return kept


def fill(hub: LoopbackHub) -> None:
    """The base, its twelve children, a fine-tune of it, and another model's child."""
    hub.add_repo(BASE, repo_files(BASE))
    for place, (name, files) in enumerate(children().items()):
        repo = hub.add_repo(name, files, gated=name == "org/gated")
        repo.facts = {"base_model": BASE, "downloads": 1000 - place}
    hub.add_repo("org/tuned", repo_files(BASE)).facts = {"base_model": BASE, "relation": "finetune", "downloads": 10**6}
    hub.add_repo("org/other", repo_files(BASE)).facts = {"base_model": "org/elsewhere", "downloads": 10**6}


def test_every_child_is_read_and_those_that_fit_come_first(hub: LoopbackHub, resolver: Resolver) -> None:
    fill(hub)
    assert len(children()) == 12
    found = published(BASE, gpus=("RTX 3060 12GB",), resolver=resolver)
    assert not found.cut
    rows = {row["id"]: row for row in found.rows}
    # of the five GGUF models of one repo the four largest that the device may hold: 13.5 GB in 16 bits are too much
    assert {name.partition(":")[2] for name in rows if name.startswith("org/GGUF")} == {
        "Q2_K",
        "Q4_K_M",
        "Q6_K",
        "Q8_0",
    }
    assert {"org/tuned", "org/other", "org/GGUF"} & set(rows) == set()
    assert len(rows) == 15
    fits = [row.get("fits") for row in found.rows]
    first = fits.index(None) if None in fits else len(fits)
    assert fits[:first] == sorted(fits[:first], key=lambda each: each is not True)
    sizes = [row["tensor_bytes"] for row in found.rows if row.get("fits")]
    assert sizes == sorted(sizes, reverse=True)
    engines = {name: row.get("engine") for name, row in rows.items()}
    assert engines["org/awq-4"] == engines["org/bnb-nf4"] == "transformers"
    assert engines["org/one-GGUF"] == engines["org/GGUF:Q4_K_M"] == "llama.cpp"
    assert rows["org/awq-4"]["downloads"] == 1000
    assert rows["org/GGUF:Q8_0"]["downloads"] == rows["org/GGUF:Q2_K"]["downloads"]
    assert rows["org/gptq-8"]["bits_per_weight"] == pytest.approx(8.5, abs=0.3)


def test_what_cannot_be_read_is_a_row_with_its_error(hub: LoopbackHub, resolver: Resolver) -> None:
    fill(hub)
    found = published(BASE, gpus=("RTX 3060 12GB",), resolver=resolver)
    errors = {row["id"]: row["outcome"] for row in found.rows if "error" in row}
    assert errors["org/broken"] == "invalid_header"
    assert errors["org/gated"] == "gated_repo"
    # files of MLX run on Apple's devices alone
    assert {name for name in errors if name.startswith("mlx")} == {
        name for name in children() if name.startswith("mlx")
    }


def test_on_a_mac_mlx_and_gguf_are_what_runs(hub: LoopbackHub, resolver: Resolver) -> None:
    fill(hub)
    found = published(BASE, gpus=("M2 16GB",), resolver=resolver)
    runs = {row["id"]: row["engine"] for row in found.rows if row.get("fits")}
    assert set(runs.values()) == {"mlx", "llama.cpp"}
    assert runs["mlx-community/Llama-2-7b-8bit"] == "mlx"


def test_rate_limits_and_failures_are_waited_for(hub: LoopbackHub, resolver: Resolver) -> None:
    fill(hub)
    hub.faults += [
        Fault("status", path="/org/gptq-4/", status=429, headers={"Retry-After": "1"}, times=2),
        Fault("status", path="/org/gptq-8/", status=503, times=None),
    ]
    rows = {row["id"]: row for row in published(BASE, gpus=("RTX 3060 12GB",), resolver=resolver).rows}
    assert rows["org/gptq-4"]["fits"] is True
    assert rows["org/gptq-8"]["outcome"] == "hub_error"


def test_the_most_downloaded_are_read_and_the_rest_is_told(hub: LoopbackHub, resolver: Resolver) -> None:
    fill(hub)
    found = published(BASE, gpus=("RTX 3060 12GB",), resolver=resolver, limit=2)
    assert ({row["id"] for row in found.rows}, found.cut) == ({"org/awq-4", "org/gptq-4"}, True)


def test_the_command_prints_them_and_each_command_fits(run: Run, loopback_hub: LoopbackHub) -> None:
    fill(loopback_hub)
    arguments = ("fit", BASE, "--gpu", "RTX 3060 12GB", "--published")
    done = run(*arguments, endpoint=loopback_hub.url)
    assert done.code == 0, done.err  # the model itself does not fit
    assert "published checkpoints" in done.out
    assert "org/GGUF:Q8_0" in done.out
    record = run(*arguments, "--json", endpoint=loopback_hub.url).record
    validator("inspection").validate(record)
    assert record["fit"][0]["fits"] is False
    for row in [row for row in record["published"] if row.get("fits")]:
        words = row["command"].replace("'RTX 3060 12GB'", "RTX_3060_12GB").split()[1:]
        asked = [word.replace("_", " ") if word.startswith("RTX") else word for word in words]
        done = run(*asked, "--json", endpoint=loopback_hub.url)
        assert done.code == 0, row["command"]
        assert json.loads(done.out)["fit"][0]["needed"] == row["needed"]


@pytest.mark.parametrize(
    ("emit", "holds"),
    [
        ("vllm", "vllm serve org/gptq-8 "),
        ("llama-server", "llama-server --hf-repo org/GGUF --hf-file llama-2-7b.Q8_0.gguf "),
        ("ollama", "\nFROM hf.co/org/GGUF:Q8_0\n"),
        ("compose", '- "org/gptq-8"\n'),
    ],
)
def test_with_emit_the_best_of_them_that_the_engine_runs_is_launched(
    run: Run, loopback_hub: LoopbackHub, emit: str, holds: str
) -> None:
    fill(loopback_hub)
    arguments = ("fit", BASE, "--gpu", "RTX 3060 12GB", "--published", "--emit", emit)
    done = run(*arguments, endpoint=loopback_hub.url)
    assert done.code == 0, done.err
    assert holds in done.out
    assert BASE not in done.out


def test_with_emit_and_none_that_the_engine_runs_nothing_is_launched(run: Run, loopback_hub: LoopbackHub) -> None:
    fill(loopback_hub)
    arguments = ("fit", BASE, "--gpu", "RTX 3060 12GB", "--published", "--emit", "vllm")
    done = run(*arguments, "--context", "100000", endpoint=loopback_hub.url)
    assert (done.code, done.out) == (1, "")
    assert "Nothing is launched" in done.err
    assert "published checkpoints" in done.err


def test_a_model_without_children_has_none(run: Run, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo("org/alone", repo_files(BASE))
    done = run("fit", "org/alone", "--gpu", "RTX 3060 12GB", "--published", endpoint=loopback_hub.url)
    assert done.code == 1
    assert "the Hub lists no quantized checkpoints" in done.out


def test_what_is_asked_in_vain() -> None:
    with pytest.raises(UsageError, match="depends on the device"):
        published(BASE)
    with pytest.raises(HubUnreachable, match="base_model:quantized:meta-llama/Llama-2-7b-hf"):
        published(BASE, gpus=("L4",), offline=True)
    with pytest.raises(UsageError, match="local"):
        published("./nowhere", gpus=("L4",))
