"""Two revisions of a repo beside each other: what differs is told, grouped and counted; what does not is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.api.differences import MISSING, compare_configs, compare_tensors
from inspector.hub import Checkpoint, Tensor
from tests.conftest import SNAPSHOTS, Run, repo_files
from tests.hub.make_parts import adapter, llama
from tests.hub_server import Content, LoopbackHub, sharded, sparse

GPT2 = "openai-community/gpt2"
LLAMA = "meta-llama/Meta-Llama-3-8B"
FC = "h.{}.mlp.c_fc.weight"
FC_BYTES = 768 * 3072 * 4
"""Of one, in float32."""


def checkpoint(tensors: list[tuple[str, str, tuple[int, ...]]], config: dict[str, Any] | None = None) -> Checkpoint:
    return Checkpoint("org/name", None, "local", config or {}, tuple(Tensor(*tensor) for tensor in tensors))


def gpt2_tensors() -> dict[str, tuple[str, list[int]]]:
    from inspector.hub.cache.snapshot import loads

    stored = loads((SNAPSHOTS / "openai-community--gpt2.json").read_bytes())
    return {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in stored.tensors}


def changed_files(config: dict[str, Any]) -> dict[str, Content]:
    """gpt2 with three layers' c_fc in float16, without the last layer norm's bias, and with one tensor more."""
    tensors = gpt2_tensors()
    for layer in (3, 4, 6):
        tensors[FC.format(layer)] = ("F16", [768, 3072])
    del tensors["ln_f.bias"]
    tensors["extra.weight"] = ("F32", [10])
    return {"config.json": config, "model.safetensors": sparse(tensors)}


def test_tensors_are_grouped_by_template_layers_and_what_happened_to_them() -> None:
    old = checkpoint([(f"l.{i}.w", "F32", (4, 2)) for i in range(6)] + [("a", "F32", (1,)), ("b.0.c", "I8", (3,))])
    new = checkpoint(
        [(f"l.{i}.w", "BF16" if i in (0, 1, 4) else "F32", (4, 2)) for i in range(6)]
        + [("a", "F32", (2,)), ("z.7.c", "I8", (5,)), ("z.9.c", "I8", (5,))]
    )
    rows = [
        (group.template, group.layers, group.count, group.before, group.after, group.bytes_before, group.bytes_after)
        for group in compare_tensors(old, new)
    ]
    assert rows == [
        ("b.{}.c", "0", 1, ("I8", (3,)), None, 3, 0),
        ("l.{}.w", "0-1,4", 3, ("F32", (4, 2)), ("BF16", (4, 2)), 3 * 32, 3 * 16),
        ("a", "", 1, ("F32", (1,)), ("F32", (2,)), 4, 8),
        ("z.{}.c", "7,9", 2, None, ("I8", (5,)), 0, 10),
    ]


def test_config_keys_are_compared_by_what_they_mean() -> None:
    nan = float("nan")
    old = {"a": 1, "b": True, "n": nan, "deep": {"x": [1], "y": None}, "gone": None, "empty": {}}
    new = {"a": 1.0, "b": 1, "n": nan, "deep": {"x": [2], "y": None}, "empty": {"k": 3}, "more": False}
    changes = [(c.key, c.before, c.after) for c in compare_configs(checkpoint([], old), checkpoint([], new))]
    assert changes == [
        ("b", True, 1),
        ("deep.x", [1], [2]),
        ("gone", None, MISSING),
        ("empty", {}, MISSING),
        ("empty.k", MISSING, 3),
        ("more", MISSING, False),
    ]


def test_equal_revisions_exit_with_0_however_they_are_sharded(run: Run, loopback_hub: LoopbackHub) -> None:
    files = repo_files(GPT2)
    repo = loopback_hub.add_repo("org/name", files)
    old = repo.head
    repo.commit({"config.json": files["config.json"], **sharded(gpt2_tensors(), 3)})
    done = run("diff", f"org/name@{old}", "org/name", "--json", endpoint=loopback_hub.url)
    assert done.code == 0, done.err
    record = done.record
    assert record["equal"] is True
    assert (record["before"]["revision"], record["after"]["revision"]) == (old, repo.head)
    assert record["tensors"] == {"added": [], "removed": [], "changed": []}
    assert record["config"] == {"added": {}, "removed": {}, "changed": {}}
    assert {numbers["difference"] for numbers in record["numbers"].values()} == {0}
    text = run("diff", f"org/name@{old}", "org/name", endpoint=loopback_hub.url)
    assert text.code == 0
    assert "Equal: the same config" in text.out


def test_a_changed_revision_exits_with_1_and_says_what_changed(run_process: Run, loopback_hub: LoopbackHub) -> None:
    files = repo_files(GPT2)
    config = files["config.json"]
    assert isinstance(config, dict)
    repo = loopback_hub.add_repo("org/name", files)
    old = repo.head
    repo.commit(changed_files({**config, "n_positions": 512, "n_ctx": 512}))
    done = run_process("diff", f"org/name@{old}", "org/name@main", "--json", endpoint=loopback_hub.url)
    assert done.code == 1, done.err
    record = done.record
    assert record["equal"] is False
    assert record["config"]["changed"]["n_positions"] == {"before": 1024, "after": 512}
    (changed,) = record["tensors"]["changed"]
    assert changed == {
        "template": FC,
        "layers": "3-4,6",
        "count": 3,
        "before": {"dtype": "F32", "shape": [768, 3072], "bytes": 3 * FC_BYTES},
        "after": {"dtype": "F16", "shape": [768, 3072], "bytes": 3 * FC_BYTES // 2},
    }
    assert [group["template"] for group in record["tensors"]["removed"]] == ["ln_f.bias"]
    assert [group["template"] for group in record["tensors"]["added"]] == ["extra.weight"]
    difference = record["numbers"]["tensor_bytes"]["difference"]
    assert difference == -3 * FC_BYTES // 2 - 768 * 4 + 10 * 4
    # The same context for both: the smaller of the two models' own.
    assert record["context"] == 512
    # 2 (keys, values) x 12 layers x 768 x 4 B of float32.
    assert record["numbers"]["kv_bytes_per_token"] == {"before": 73728, "after": 73728, "difference": 0}
    assert record["numbers"]["kv_cache"]["before"] == 73728 * 512
    text = run_process("diff", f"org/name@{old}", "org/name@main", endpoint=loopback_hub.url)
    assert text.code == 1
    assert "n_positions: 1024 -> 512" in text.out
    assert f"{FC} [3-4,6] x 3: F32 [768, 3072] -> F16 [768, 3072]" in text.out


def test_an_adapters_base_is_compared_with_a_model_and_parts_by_their_names(
    run: Run, loopback_hub: LoopbackHub
) -> None:
    base = {"config.json": repo_files(LLAMA)["config.json"], "model.safetensors": sparse(llama())}
    loopback_hub.add_repo("org/base", base)
    loopback_hub.add_repo("org/lora", adapter())
    record = run("diff", "org/base", "org/lora", "--json", endpoint=loopback_hub.url).record
    assert (record["tensors"]["removed"], record["tensors"]["changed"]) == ([], [])
    assert {group["template"].partition("/")[0] for group in record["tensors"]["added"]} == {"adapter"}
    assert {key.partition("/")[0] for key in record["config"]["added"]} == {"adapter"}
    assert record["config"]["removed"] == record["config"]["changed"] == {}


def test_a_folder_is_compared_with_a_repo(run: Run, loopback_hub: LoopbackHub, minilm: Path) -> None:
    loopback_hub.add_repo("org/minilm", minilm)
    done = run("diff", "org/minilm", minilm, "--json", endpoint=loopback_hub.url)
    assert (done.code, done.record["equal"]) == (0, True), done.err


@pytest.mark.parametrize(
    ("name", "code", "kind"), [("org/missing", 3, "repo_not_found"), ("org/gated", 3, "gated_repo")]
)
def test_what_cannot_be_read_has_its_own_exit_code(
    run: Run, loopback_hub: LoopbackHub, name: str, code: int, kind: str
) -> None:
    loopback_hub.add_repo("org/name", repo_files(GPT2))
    loopback_hub.add_repo("org/gated", repo_files(GPT2), gated=True)
    done = run("diff", "org/name", name, "--json", endpoint=loopback_hub.url)
    assert done.code == code
    assert done.record["error"]["kind"] == kind
    assert name in done.err
    assert "different" not in done.out


def test_names_that_steer_a_terminal_are_shown_as_escapes(run: Run, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo(
        "org/a", {"config.json": {"model_type": "x"}, "model.safetensors": sparse({"w": ("F32", [2])})}
    )
    loopback_hub.add_repo(
        "org/b",
        {
            "config.json": {"model_type": "x", "k\x1b[31m": "v\x1b[0m"},
            "model.safetensors": sparse({"w\x1b": ("F32", [2])}),
        },
    )
    done = run("diff", "org/a", "org/b", endpoint=loopback_hub.url)
    assert done.code == 1
    assert "\x1b" not in done.out + done.err
