"""What each engine's reader takes from its log."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.engines.common.log import GIB, MIB, plain
from inspector.logs import LoggedRun, UnreadableLog, clean_lines, read_log
from inspector.logs.lines import MAX_LINE
from tests.logs import excerpts


def read(text: str) -> LoggedRun:
    return read_log(clean_lines(io.BytesIO(text.encode())))


def gib(run: LoggedRun) -> dict[str, float]:
    """The printed sizes in GiB, counts as they are."""
    counts = ("kv_tokens", "kv_blocks", "max_concurrency")
    return {part: seen.value if part in counts else round(seen.value / GIB, 4) for part, seen in run.printed.items()}


def test_vllm_v0_with_a_line_for_each_part() -> None:
    run = read(excerpts.VLLM_V0)
    assert (run.engine, run.version, run.settings["v1"]) == ("vllm", "0.6.5", False)
    assert gib(run) == {
        "weights": 14.9595,
        "non_torch": 1.79,
        "activations": 1.26,
        "kv_pool": 53.29,
        "kv_blocks": 27283,
        "max_concurrency": 53.29,
        "graphs": 0.2,
    }
    assert run.gpu_memory == round(79.22 * GIB)
    assert run.settings["gpu_memory_utilization"] == 0.9
    assert run.settings["max_model_len"] == 8192
    assert "quantization" not in run.settings


def test_vllm_v0_with_all_parts_on_one_line_of_each_rank_shows_the_one_that_decides() -> None:
    run = read(excerpts.VLLM_V0_ONE_LINE)
    assert gib(run) == {"weights": 21.33, "non_torch": 0.22, "activations": 0.37, "kv_pool": 1.43, "kv_blocks": 2928}
    pool = run.printed["kv_pool"]
    assert (pool.lowest, pool.highest, pool.times) == (round(1.43 * GIB), round(1.57 * GIB), 2)
    assert run.settings["gpu_memory_utilization"] == 0.99


def test_vllm_v1_of_two_ranks_in_colour() -> None:
    run = read(excerpts.VLLM_V1)
    assert (run.engine, run.version) == ("vllm", "0.12.0")
    assert gib(run) == {
        "weights": 7.5123,
        "kv_pool": 29.26,
        "kv_tokens": 958784,
        "max_concurrency": 29.26,
        "activations": 0.59,
        "non_torch": 0.21,
        "graphs": 0.62,
    }
    expected = {
        "model": "meta-llama/Llama-3.1-8B-Instruct",
        "max_model_len": 32768,
        "gpu_memory_utilization": 0.85,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 2048,
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "kv_cache_dtype": "fp8",
        "enforce_eager": False,
        "v1": True,
    }
    assert {name: run.settings.get(name) for name in expected} == expected
    assert run.gpu_memory == round(44.40 * GIB)


def test_vllm_of_2026_behind_dockers_prefix() -> None:
    run = read(excerpts.VLLM_NEWEST)
    assert (run.version, run.settings["gpu_memory_utilization"], run.settings["max_model_len"]) == (
        "0.21.0",
        0.85,
        40960,
    )
    assert gib(run) == {
        "weights": 15.27,
        "graphs": 0.11,
        "kv_pool": 50.05,
        "kv_tokens": 364432,
        "max_concurrency": 8.9,
    }


def test_a_second_start_in_a_log_is_the_one_that_counts() -> None:
    run = read(excerpts.VLLM_V0 + excerpts.VLLM_V1)
    assert run.version == "0.12.0"
    assert run.printed["kv_pool"].highest == round(29.42 * GIB)
    assert "2 starts" in run.notes[0]


def test_a_configuration_that_a_terminal_broke_is_read_to_its_end() -> None:
    run = read(excerpts.VLLM_V1.replace("tensor_parallel_size=2,", "\ntensor_parallel_size=2,"))
    assert run.settings["tensor_parallel_size"] == 2
    assert run.settings["kv_cache_dtype"] == "fp8"


def test_sglang_of_two_ranks() -> None:
    run = read(excerpts.SGLANG)
    assert run.engine == "sglang"
    assert gib(run) == {"weights": 7.71, "kv_pool": 58.74, "kv_tokens": 855552, "graphs": 1.44}
    assert run.settings["tp_size"] == 2
    assert run.settings["mem_fraction_static"] == 0.85
    assert run.settings["context_length"] == 32768
    assert run.settings["free_before"] == round(78.29 * GIB)


def test_an_old_sglang_says_its_weights_by_what_is_left() -> None:
    run = read(excerpts.SGLANG_OLD)
    assert gib(run) == {"weights": 15.06, "kv_tokens": 441793}


def test_states_are_part_of_a_hybrids_pool() -> None:
    assert gib(read(excerpts.SGLANG_HYBRID))["kv_pool"] == 10.3


def mib(run: LoggedRun) -> dict[str, float]:
    return {part: round(seen.value / MIB, 2) for part, seen in run.printed.items()}


def test_llama_cpp_of_early_2025() -> None:
    run = read(excerpts.LLAMA_CPP_2024)
    assert (run.engine, run.version, run.gpu) == ("llama.cpp", "4701", "NVIDIA GeForce RTX 4090")
    assert mib(run) == {
        "cpu_weights": 1002.0,
        "weights": 14315.02,
        "kv_pool": 1024.0,
        "activations": 258.5,
        "cpu_activations": 24.01,
    }
    expected = {"n_ctx": 8192, "n_ubatch": 512, "flash_attn": 1, "offloaded": 33, "cache_type_k": "f16", "cards": 1}
    assert {name: run.settings.get(name) for name in expected} == expected


def test_llama_cpp_of_2024_over_two_gpus_is_summed() -> None:
    run = read(excerpts.LLAMA_CPP_OLDEST)
    sizes = mib(run)
    assert sizes["weights"] == round(5434.38 + 13989.53, 2)
    assert (sizes["kv_pool"], sizes["activations"], sizes["cpu_weights"]) == (5120.0, 672.02, 1640.62)
    assert run.settings["pipeline"] is True


def test_llama_cpp_of_2026() -> None:
    run = read(excerpts.LLAMA_CPP_2026)
    assert run.version == "11549"
    assert run.settings["flash_attn"] == "enabled"
    assert run.settings["n_outputs_max"] == 1
    assert mib(run) == {
        "cpu_weights": 304.28,
        "weights": 2375.91,
        "kv_pool": 1152.0,
        "activations": 85.01,
        "cpu_activations": 28.02,
    }


def test_of_a_model_and_its_draft_the_larger_one_counts() -> None:
    draft = excerpts.LLAMA_CPP_2024.replace("14315.02", "  900.00").replace("258.50", " 70.50")
    assert mib(read(excerpts.LLAMA_CPP_2024 + draft))["activations"] == 258.5
    assert mib(read(draft + excerpts.LLAMA_CPP_2024))["activations"] == 258.5


def test_a_context_that_is_made_anew_replaces_the_first() -> None:
    lines = excerpts.LLAMA_CPP_2026.splitlines(keepends=True)
    again = "".join(lines[5:]).replace("1152.00", "2304.00")
    assert mib(read(excerpts.LLAMA_CPP_2026 + again))["kv_pool"] == 2304.0


@pytest.mark.parametrize(
    "text", ["", "nothing of the kind\n", "INFO version 1.2 of something\n", "\x00\xff\x1b[31m\n" * 9]
)
def test_what_is_no_log_is_said_to_be_none(text: str) -> None:
    with pytest.raises(UnreadableLog, match=r"no line of vLLM, SGLang or llama\.cpp"):
        read(text)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_other_encodings_are_read(encoding: str) -> None:
    marks = {"utf-16-be": b"\xfe\xff"}
    data = marks.get(encoding, b"") + excerpts.VLLM_V1.encode(encoding)
    assert read_log(clean_lines(io.BytesIO(data))) == read(excerpts.VLLM_V1)


def test_a_line_without_end_is_cut_and_the_next_one_read() -> None:
    lines = clean_lines(io.BytesIO(b"x" * (5 * MAX_LINE) + b"\n" + excerpts.SGLANG_OLD.encode()))
    assert len(next(lines)) == MAX_LINE
    assert gib(read_log(lines))["kv_tokens"] == 441793


def test_a_progress_bar_ends_its_line_by_a_return() -> None:
    text = "Loading: 10%\rLoading: 99%\r" + excerpts.VLLM_V1
    assert read(text).printed == read(excerpts.VLLM_V1).printed


def test_values_are_taken_as_python_wrote_them() -> None:
    assert [plain(text) for text in ("None", "True", "'auto'", "0.9", "2048.", "1e9", "9" * 30)] == [
        None,
        True,
        "auto",
        0.9,
        2048,
        "1e9",
        "9" * 30,
    ]


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    parts = [excerpts.VLLM_V1.encode()[:300], data, excerpts.LLAMA_CPP_2024.encode()[300:900], data]
    with contextlib.suppress(UnreadableLog):
        read_log(clean_lines(io.BytesIO(b"".join(parts))))


@settings(deadline=None)
@given(st.sampled_from([excerpts.VLLM_V1, excerpts.SGLANG, excerpts.LLAMA_CPP_2026, excerpts.VLLM_V0]), st.data())
def test_digits_and_dots_of_any_kind_break_nothing(text: str, data: st.DataObject) -> None:
    characters = list(text)
    for _ in range(20):
        index = data.draw(st.integers(0, len(characters) - 1))
        characters[index] = data.draw(st.sampled_from(list(".,-=99\u0663\u00b2({ '\n")))
    with contextlib.suppress(UnreadableLog):
        read("".join(characters))
