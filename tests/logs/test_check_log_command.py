"""`llm-inspect check-log` as a user runs it: a log file and a bundled model, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.logs import excerpts

LLAMA3, LLAMA31, QWEN3 = "meta-llama/Meta-Llama-3-8B", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-8B"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "start.log"
    path.write_text(excerpts.VLLM_V1, encoding="utf-8")
    return path


def parts(record: Any) -> dict[str, Any]:
    return {row["part"]: row for row in record["parts"]}


def test_each_printed_part_stands_beside_the_predicted_one(run: Run, log: Path) -> None:
    done = run("check-log", log, LLAMA31, "--gpu", "L40S")
    assert done.code == 0
    assert "vllm 0.12.0 on 2 x L40S" in done.out
    rows = [line.split() for line in done.out.splitlines()]
    assert ["weights,", "GiB", "7.51", "7.51", "-0.0", "%"] in rows
    # The printed pool at 64 KiB a token and rank in fp8 (8 KV heads / 2 * 2 * 128 * 32 layers): whole blocks of 16.
    assert ["KV", "tokens", "of", "the", "printed", "pool", "958,784", "958,784", "+0.0", "%"] in rows
    assert "the tightest of 29.26 to 29.42" in done.out


def test_the_json_has_bytes_and_percent(run: Run, log: Path) -> None:
    record = run("check-log", log, LLAMA31, "--gpu", "L40S", "--json").record
    assert (record["engine"], record["engine_version"], record["count"]) == ("vllm", "0.12.0", 2)
    assert record["capacity"] == round(44.40 * 1024**3)  # the log's own, not the data sheet's
    weights = parts(record)["weights"]
    assert weights["unit"] == "bytes"
    assert weights["difference_percent"] == pytest.approx(
        100 * (weights["predicted"] / weights["printed"] - 1), abs=1e-3
    )
    assert parts(record)["kv_tokens"]["unit"] == "count"
    assert record["settings"]["gpu_memory_utilization"] == 0.85


def test_the_adapters_that_a_log_names_are_counted(run_process: Run) -> None:
    served = "INFO [utils.py:233] non-default args: {'enable_lora': True, 'max_loras': 2, 'max_lora_rank': 64}"

    def predicted(text: str) -> tuple[int, list[str]]:
        record = run_process("check-log", "-", LLAMA31, "--gpu", "L40S", "--json", stdin=text).record
        return parts(record)["weights"]["predicted"], record["notes"]

    alone, with_two = predicted(excerpts.VLLM_V1), predicted(f"{excerpts.VLLM_V1}\n{served}\n")
    fit = ("fit", LLAMA31, "--gpu", "2xL40S", "--engine", "vllm", "--offline", "--json")
    own, lent = (
        run_process(*fit, *more).record["serving"]["per_gpu"]["weights"]
        for more in ((), ("--max-loras", "2", "--max-lora-rank", "64"))
    )
    assert with_two[0] - alone[0] == lent - own > 0
    assert "not counted: adapters' buffers" not in with_two[1]


def test_standard_input_is_read_and_a_missing_gpu_is_said(run_process: Run) -> None:
    text = "\n".join(line for line in excerpts.VLLM_V1.splitlines() if "Free memory" not in line)
    done = run_process("check-log", "-", LLAMA31, "--json", stdin=text)
    assert done.code == 0
    assert parts(done.record)["weights"]["predicted"] is not None
    assert parts(done.record)["kv_pool"]["predicted"] is None
    assert any("--gpu" in note for note in done.record["notes"])


def test_v0_of_a_published_log(run: Run, log: Path) -> None:
    log.write_text(excerpts.VLLM_V0)
    rows = parts(run("check-log", log, LLAMA3, "--json").record)
    assert abs(rows["weights"]["difference_percent"]) < 0.1
    assert abs(rows["activations"]["difference_percent"]) < 1
    # 53.29 GiB / (8,192 tokens * 128 KiB) requests
    assert rows["max_concurrency_of_pool"]["predicted"] == pytest.approx(53.29, abs=0.01)


def test_sglang(run: Run, log: Path) -> None:
    log.write_text(excerpts.SGLANG)
    record = run("check-log", log, QWEN3, "--gpu", "H100", "--json").record
    rows = parts(record)
    assert (record["engine"], record["count"]) == ("sglang", 2)
    assert abs(rows["weights"]["difference_percent"]) < 1.5
    assert abs(rows["kv_pool"]["difference_percent"]) < 3
    assert rows["graphs"]["predicted"] is None


def test_llama_cpp_to_a_hundredth_of_a_mebibyte(run: Run, log: Path) -> None:
    log.write_text(excerpts.LLAMA_CPP_2024)
    record = run("check-log", log, LLAMA3, "--json").record
    assert {part: row["difference_percent"] for part, row in parts(record).items()} == {
        "weights": pytest.approx(0, abs=0.001),
        "activations": pytest.approx(0, abs=0.001),
        "kv_pool": 0,
        "cpu_weights": 0,
        "cpu_activations": pytest.approx(0, abs=0.1),
    }
    assert record["gpu"] == "NVIDIA GeForce RTX 4090"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("model='meta-llama/Llama-3.1-8B-Instruct'", "model='org/another'"), "the log is of org/another"),
        (("speculative_config=None", "speculative_config=Draft"), "not counted: the draft model"),
        (("quantization=None", "quantization=fp8"), "quantization=fp8"),
        (("(v0.12.0)", "(v9.1.0)"), "newer than the newest"),
        (("Model loading took", "The usage line says it, too:"), "weights, GiB 7.51 7.51"),
    ],
)
def test_what_may_explain_a_difference_is_said(run: Run, log: Path, change: tuple[str, str], says: str) -> None:
    log.write_text(excerpts.VLLM_V1.replace(*change))
    done = run("check-log", log, LLAMA31, "--gpu", "L40S")
    assert done.code == 0
    assert says in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["no-such-file.log", LLAMA3], 3, "no-such-file.log"),
        ([".", LLAMA3], 4, "can't be read"),
        (["empty.log", LLAMA3], 4, "no line of vLLM, SGLang or llama.cpp"),
        (["start.log", "org/typo"], 5, "cannot connect"),
        (["start.log", LLAMA31, "--gpu", "RTX 4900"], 2, "RTX 4090"),
        (["start.log"], 2, "MODEL"),
    ],
)
def test_errors_have_their_exit_code(run: Run, log: Path, arguments: list[str], code: int, words: str) -> None:
    (log.parent / "empty.log").write_text("Hello.\n")
    file, *rest = arguments
    done = run("check-log", log.parent / file, *rest)
    assert done.code == code
    assert words in done.err


def test_help_of_the_group_lists_it(run: Run) -> None:
    assert "check-log" in run("--help").out


def test_settings_that_no_run_can_have_are_refused_without_a_traceback(run: Run, log: Path) -> None:
    for broken in ("tensor_parallel_size=7", "tensor_parallel_size=999999", "gpu_memory_utilization=9"):
        log.write_text(excerpts.VLLM_V1.replace("tensor_parallel_size=2", broken))
        assert run("check-log", log, LLAMA31, "--gpu", "L40S").code in (0, 2)


DRAFTS = [
    ("Qwen/Qwen3-32B", "H100", "Qwen/Qwen3-0.6B", "draft_model"),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", "4xH100", "mtp", "mtp"),
]


@pytest.mark.parametrize(("model", "gpu", "draft", "method"), DRAFTS)
def test_what_drafts_is_counted_by_its_name_in_the_log(
    run: Run, log: Path, model: str, gpu: str, draft: str, method: str
) -> None:
    emitted = run("fit", model, "--gpu", gpu, "--draft", draft, "--offline", "--emit", "vllm")
    shown = [line.removeprefix("Note:   ") for line in emitted.err.splitlines() if line.startswith("Note:   ")]
    name = model if draft == "mtp" else draft
    ranks = gpu.partition("x")[0] if "x" in gpu else "1"
    config = f"speculative_config=SpeculativeConfig(method='{method}', model='{name}', num_spec_tokens=3)"
    start = f"Initializing a V1 LLM engine (v0.33.0) with config: model='{model}', {config}, dtype=torch.bfloat16,"
    log.write_text("\n".join([f"{start} max_seq_len=4096, tensor_parallel_size={ranks}", *shown]))
    done = run("check-log", log, model, "--gpu", gpu.rpartition("x")[2], "--offline", "--json").record
    assert done["logged_settings"]["model"] == model
    compared = {name: row["difference_percent"] for name, row in parts(done).items() if row["printed"]}
    assert set(compared) >= {"weights", "kv_pool", "kv_tokens", "max_concurrency"}
    assert all(abs(off) < 0.3 for off in compared.values()), compared  # a pool is printed in hundredths of a GiB
    assert "not counted: the draft model of speculative decoding" not in done["notes"]

    log.write_text(log.read_text().replace(f"model='{name}', num_spec", "model='org/unknown', num_spec"))
    if draft != "mtp":
        unread = run("check-log", log, model, "--gpu", gpu.rpartition("x")[2], "--offline", "--json").record
        assert "not counted: the draft model of speculative decoding" in unread["notes"]
        assert parts(unread)["weights"]["difference_percent"] < -1
        named = run(
            "check-log", log, model, "--gpu", gpu.rpartition("x")[2], "--draft", draft, "--offline", "--json"
        ).record
        assert abs(parts(named)["weights"]["difference_percent"]) < 0.3
        assert run("check-log", log, model, "--draft", "org/unknown", "--offline").code == 5


def test_a_draft_out_of_the_text_itself_takes_nothing(run: Run, log: Path) -> None:
    drafts = "speculative_config=SpeculativeConfig(method='ngram', model=None, num_spec_tokens=5)"
    log.write_text(excerpts.VLLM_V1.replace("speculative_config=None", drafts))
    record = run("check-log", log, LLAMA31, "--gpu", "L40S", "--json").record
    assert record["logged_settings"]["speculative_config"] == "ngram"
    assert not any("draft" in note for note in record["notes"])
