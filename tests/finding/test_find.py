"""What runs on a device: from the loopback Hub's lists, from caches and from the bundled snapshots."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

import inspector
from inspector.errors import UsageError
from inspector.finding.settings import CRITERIA
from inspector.hub.cache.snapshot import loads
from tests.conftest import SNAPSHOTS, Done, Run, repo_files
from tests.hub_server import LoopbackHub

QWEN = ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-72B")
MIXTRAL = "mistralai/Mixtral-8x7B-v0.1"
BERT = "google-bert/bert-base-uncased"


def listed(done: Done) -> list[dict[str, Any]]:
    """The records that a command printed."""
    records: list[dict[str, Any]] = json.loads(done.out)
    return records


@pytest.fixture
def hub(loopback_hub: LoopbackHub) -> LoopbackHub:
    """A Hub with a few models that are listed, and one that cannot be read."""
    for place, name in enumerate((*QWEN, MIXTRAL, BERT)):
        task = "fill-mask" if name == BERT else "text-generation"
        facts = {"downloads": 100 * place, "likes": place, "trendingScore": -place, "pipeline_tag": task}
        license = "license:mit" if name == QWEN[0] else "license:apache-2.0"
        loopback_hub.add_repo(name, repo_files(name)).facts = {**facts, "tags": [license, "transformers"]}
    loopback_hub.add_repo("org/broken", {"config.json": {"model_type": "llama"}}).facts = {
        "pipeline_tag": "text-generation",
        "downloads": 1,
    }
    return loopback_hub


def test_it_lists_what_fits_with_the_best_recipe_of_each_the_largest_first(run: Run, hub: LoopbackHub) -> None:
    records = listed(run("find", "--gpu", "RTX 4090", "--json", endpoint=hub.url))
    # Mixtral's 46.7 billion parameters are more than 4 bits have room for: what needs fewer comes last.
    assert [record["repo_id"] for record in records] == [*QWEN[2::-1], MIXTRAL]
    assert [record["rank"] for record in records] == [1, 2, 3, 4]
    seven, mixtral = records[0], records[-1]
    assert 2 < mixtral["weight_bits"] < 4
    assert "weights in" in mixtral["gives_up"]
    assert (seven["dtype"], seven["gives_up"], seven["license"]) == ("stored", "", "apache-2.0")
    for record in records:
        assert record["needed"] + record["headroom"] == record["usable"] <= 25_250_758_656
        assert record["max_context"] >= record["context"]
        assert record["decode_bound"] > 0


def test_each_command_that_it_gives_says_that_it_fits(run: Run, hub: LoopbackHub) -> None:
    for record in listed(run("find", "--gpu", "RTX 4090", "--json", endpoint=hub.url)):
        words = shlex.split(record["command"])
        assert words[:2] == ["llm-inspect", "fit"]
        done = run(*words[1:], "--json", endpoint=hub.url)
        assert done.code == 0
        fit = done.record["fit"][0]
        assert (fit["fits"], fit["needed"]) == (True, record["needed"])
        assert fit["max_context"] == record["max_context"]


def test_the_longest_context_is_the_one_that_fit_finds(run: Run) -> None:
    for gpu in ("RTX 4090", "M3 Max 64GB", "2xH100"):
        for found in inspector.find(gpu, offline=True, bundled=True, search="Qwen2.5"):
            words = shlex.split(found.command)
            (fit,) = run(*words[1:], "--offline", "--json").record["fit"]
            assert fit["max_context"] == found.max_context, found.command


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--context", "64k"], [QWEN[2], QWEN[1]]),
        (["--license", "mit"], [QWEN[0]]),
        (["--author", "mistralai"], [MIXTRAL]),
        (["--search", "1.5b"], [QWEN[1]]),
        (["--task", "fill-mask"], [BERT]),
        (["--sort", "downloads", "--limit", "1"], [MIXTRAL]),
        (["--rank", "speed"], [*QWEN[:3], MIXTRAL]),
        (["--rank", "list", "--sort", "downloads"], [MIXTRAL, *QWEN[2::-1]]),
        (["--min-tokens-per-second", "200"], [QWEN[1], QWEN[0]]),
    ],
)
def test_what_is_asked_for_is_what_is_listed(run: Run, hub: LoopbackHub, options: list[str], names: list[str]) -> None:
    records = listed(run("find", "--gpu", "RTX 4090", *options, "--json", endpoint=hub.url))
    found = [record["repo_id"] for record in records]
    if options[0] in ("--rank", "--min-tokens-per-second"):
        names = [name for name in names if name in found]
        assert len(names) >= 2
    assert found == names


def test_the_hub_is_asked_for_text_generation_by_trending_and_by_downloads(run: Run, hub: LoopbackHub) -> None:
    run("find", "--gpu", "24GiB", "--json", endpoint=hub.url)
    asked = [path for path in hub.paths() if path.startswith("/api/models?")]
    assert len(asked) == 2
    assert all("pipeline_tag=text-generation" in path for path in asked)
    assert ["sort=trendingScore" in asked[0], "sort=downloads" in asked[1]] == [True, True]


def test_the_report_says_what_was_left_out_and_how_it_is_ranked(run: Run, hub: LoopbackHub) -> None:
    done = run("find", "--gpu", "RTX 4090", endpoint=hub.url)
    words = " ".join(done.out.split())
    assert "RTX 4090: 4 of 6 models of the Hub's lists run on it" in words
    assert "1 does not fit" in words
    assert "1 could not be read" in words
    assert CRITERIA["size"] in words
    assert "org/broken" in done.err


def test_a_device_that_holds_none_is_exit_code_1(run: Run, hub: LoopbackHub) -> None:
    done = run("find", "--gpu", "100MiB", endpoint=hub.url)
    assert done.code == 1
    assert "0 of 6 models" in done.out


def test_csv_and_markdown_have_a_row_a_model(run: Run, hub: LoopbackHub) -> None:
    rows = list(csv.DictReader(io.StringIO(run("find", "--gpu", "RTX 4090", "--format", "csv", endpoint=hub.url).out)))
    assert [row["repo_id"] for row in rows] == [*QWEN[2::-1], MIXTRAL]
    assert rows[0]["dtype"] == "stored"
    lines = run("find", "--gpu", "RTX 4090", "--format", "markdown", endpoint=hub.url).out.splitlines()
    assert len(lines) == 2 + 4
    assert QWEN[2] in lines[2]


def test_offline_it_goes_by_caches_and_bundled_models(run: Run, hub: LoopbackHub) -> None:
    hub.add_repo("org/mine", repo_files(QWEN[1])).facts = {"pipeline_tag": "text-generation"}
    assert run("org/mine", endpoint=hub.url).code == 0
    seen = len(hub.seen)
    records = listed(run("find", "--gpu", "RTX 4090", "--offline", "--json", endpoint=hub.url))
    assert len(hub.seen) == seen
    sources = {record["repo_id"]: record["source"] for record in records}
    assert sources["org/mine"] == "cache"
    assert sources["Qwen/Qwen3-8B"] == "bundled"
    alone = listed(run("find", "--gpu", "RTX 4090", "--offline", "--bundled", "--json", endpoint=hub.url))
    assert {record["source"] for record in alone} == {"bundled"}


def test_what_huggingface_hub_downloaded_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models--org--downloaded"
    commit = folder / "snapshots" / ("a" * 40)
    commit.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    checkpoint = loads((SNAPSHOTS / "Qwen--Qwen2.5-0.5B.json").read_bytes())
    (commit / "config.json").write_text(json.dumps(checkpoint.config))
    header = {}
    start = 0
    for name, dtype, shape in checkpoint.tensors:
        size = math.prod(shape) * 2
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header).encode()
    with (commit / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + start)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    (found,) = inspector.find("RTX 4090", offline=True, search="downloaded")
    assert (found.repo_id, found.checkpoint.revision, found.rank) == ("org/downloaded", "a" * 40, 1)


def test_the_bundled_models_are_listed(run: Run) -> None:
    records = listed(run("find", "--bundled", "--json"))
    assert len(records) == len({record["repo_id"] for record in records}) >= 150
    assert all(record["parameters"]["total"] > 0 for record in records)
    assert "Qwen/Qwen3-8B" in run("find", "--bundled").out


def test_models_with_the_same_headers_are_looked_at_once_and_all_listed() -> None:
    found = {each.repo_id: each for each in inspector.find("RTX 4090", bundled=True, search="Llama-3.1-8B")}
    first, *others = found.values()
    assert others
    assert all(each.option == first.option for each in others)
    assert all(f" {name} " in each.command for name, each in found.items())


def test_a_price_gives_what_a_million_tokens_cost_at_least() -> None:
    (found,) = [
        each for each in inspector.find("RTX 4090", bundled=True, price=0.36, search="Qwen3-8B") if each.rank == 1
    ]
    # 0.36 an hour is 0.0001 a second.
    assert found.decode_cost == pytest.approx(100 / (found.option.decode_bound or 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": "beauty"}, "nothing is ranked"),
        ({"engine": "none"}, "unknown engine"),
        ({"context": 0}, "at least 1"),
        ({"jobs": 0}, "at a time"),
        ({"sort": "beauty"}, "does not sort"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        inspector.find("RTX 4090", **arguments)  # type: ignore[arg-type]


def test_a_device_or_the_bundled_list_has_to_be_asked_for(run: Run) -> None:
    done = run("find")
    assert (done.code, "find needs a device" in done.err) == (2, True)
