"""The command as a user runs it: a process of its own, against a loopback Hub, local files, or no network at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Run, command_environment, repo_files
from tests.hub_server import Fault, LoopbackHub

LLAMA = "meta-llama/Meta-Llama-3-8B"


def test_a_cold_report_of_a_sharded_model(run_process: Run, loopback_hub: LoopbackHub) -> None:
    repo = loopback_hub.add_repo(LLAMA, repo_files(LLAMA, shards=4))
    done = run_process(LLAMA, "--json", endpoint=loopback_hub.url)
    record = done.record
    assert (done.code, done.err) == (0, "")
    assert record["source"] == "hub"
    assert record["revision"] == repo.head
    assert record["parameters"]["total"] == 8_030_261_248
    assert record["memory"]["inference"]["weights"] == 16_060_522_496
    assert record["network"]["requests"] == len(loopback_hub.seen)
    assert record["network"]["bytes"] == loopback_hub.bytes_sent


def test_a_second_run_asks_only_whether_the_repo_moved_and_offline_asks_nothing(
    run_process: Run, loopback_hub: LoopbackHub
) -> None:
    loopback_hub.add_repo("org/model", repo_files("openai-community/gpt2"))
    first = run_process("org/model", "--json", endpoint=loopback_hub.url).record
    asked = len(loopback_hub.seen)
    second = run_process("org/model", "--json", endpoint=loopback_hub.url).record
    assert len(loopback_hub.seen) == asked + 1
    third = run_process("org/model", "--json", "--offline", endpoint=loopback_hub.url).record
    assert len(loopback_hub.seen) == asked + 1
    assert [record["source"] for record in (first, second, third)] == ["hub", "cache", "cache"]
    assert third["network"] == {"requests": 0, "bytes": 0, "cached": True}
    assert first["parameters"] == second["parameters"] == third["parameters"]


def test_the_real_minilm_from_disk_and_over_the_loopback_hub(run: Run, loopback_hub: LoopbackHub, minilm: Path) -> None:
    loopback_hub.add_repo("sentence-transformers/all-MiniLM-L6-v2", minilm)
    local = run(minilm, "--json").record
    remote = run("sentence-transformers/all-MiniLM-L6-v2", "--json", endpoint=loopback_hub.url).record
    assert local["parameters"] == remote["parameters"]
    assert remote["parameters"]["total"] == 22_713_216
    assert remote["parameters"]["buffers"] == 512
    model = remote["model"]
    assert (model["num_hidden_layers"], model["hidden_size"], model["num_attention_heads"]) == (6, 384, 12)
    assert loopback_hub.bytes_sent < 150_000
    assert local["source"] == "local"


def test_no_network_falls_back_to_the_bundled_snapshot_with_a_visible_note(run_process: Run) -> None:
    done = run_process(LLAMA, "--json")
    assert done.code == 0
    assert done.record["source"] == "bundled"
    assert done.record["snapshot_date"]
    assert "bundled snapshot" in done.err


def test_a_gated_repo_falls_back_to_its_bundled_snapshot(run: Run, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo(LLAMA, repo_files(LLAMA, shards=4), gated=True)
    done = run(LLAMA, "--json", endpoint=loopback_hub.url)
    assert (done.code, done.record["source"]) == (0, "bundled")
    assert "gated" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["org/typo"], 3, "org/typo"),
        (["org/gated"], 3, "gated"),
        (["org/model@nope"], 3, "nope"),
        (["org/truncated"], 4, "header"),
        (["org/listconfig"], 4, "config.json"),
        (["org/binonly"], 4, "not a file that torch.save wrote"),
        (["org/model", "--gpu", "RTX 4900"], 2, "RTX 4090"),
        (["org/model", "--dtype", "fp7"], 2, "fp7"),
        (["org/model", "--context", "0"], 2, "context"),
        (["org/model", "--batch", "0"], 2, "batch"),
        (["org/model", "--image-size", "1024x0"], 2, "size of an image"),
        (["org/model", "--images", "-1"], 2, "images"),
        (["a/b/c"], 2, "a/b/c"),
        (["./no/such/folder"], 3, "no/such/folder"),
        (["--offline", "org/model"], 5, "offline"),
    ],
)
def test_errors_have_their_exit_code_and_one_or_two_helpful_lines(
    run: Run, loopback_hub: LoopbackHub, arguments: list[str], code: int, words: str
) -> None:
    files = repo_files("openai-community/gpt2")
    loopback_hub.add_repo("org/model", files)
    loopback_hub.add_repo("org/gated", files, gated=True)
    loopback_hub.add_repo("org/truncated", {"config.json": {}, "model.safetensors": b"\x40\0\0\0\0\0\0\0{"})
    loopback_hub.add_repo("org/listconfig", files | {"config.json": b"[1, 2]"})
    loopback_hub.add_repo("org/binonly", {"config.json": {"model_type": "gpt2"}, "pytorch_model.bin": b"PK"})
    done = run(*arguments, endpoint=loopback_hub.url)
    assert done.code == code, done.err
    assert words in done.err
    assert done.out == ""
    if code != 2:
        assert 1 <= len(done.error_lines) <= 2


@pytest.mark.parametrize("command", [["fit", "--gpu", "24GiB"], ["train"], ["show"]])
def test_with_json_a_failure_is_an_object_too(run: Run, command: list[str]) -> None:
    done = run(*command, "org/never-seen", "--json")
    assert done.code == 5
    assert done.record["error"]["exit_code"] == 5
    assert done.record["repo_id"] == "org/never-seen"


def test_the_hub_is_down_and_nothing_is_kept(run: Run) -> None:
    done = run("org/never-seen")
    assert done.code == 5
    assert 1 <= len(done.error_lines) <= 2


def test_a_server_that_hangs_ends_within_the_time_out(run_process: Run, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo("org/model", repo_files("openai-community/gpt2"))
    loopback_hub.faults.append(Fault("hang", times=None))
    done = run_process("org/model", endpoint=loopback_hub.url, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert done.code == 5
    assert "1 second" in done.err


@pytest.mark.parametrize(
    ("gpu", "code", "verdict"), [("24GiB", 0, "fits"), ("RTX 4090", 0, "fits"), ("16GB", 1, "does not fit")]
)
def test_fit_answers_with_its_exit_code(run_process: Run, gpu: str, code: int, verdict: str) -> None:
    done = run_process("fit", LLAMA, "--gpu", gpu)
    assert done.code == code
    assert f": {verdict} ·" in done.out


def test_fit_says_how_far_the_gpu_goes(run: Run) -> None:
    (fit,) = run("fit", LLAMA, "--gpu", "RTX 4090", "--json").record["fit"]
    assert fit["fits"] is True
    assert fit["headroom"] == fit["usable"] - fit["needed"]
    assert fit["max_context"] == 8192
    assert fit["max_batch"] >= 2


def test_several_models_are_compared_and_one_failure_stops_nothing(run_process: Run, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo("org/gpt2", repo_files("openai-community/gpt2"))
    loopback_hub.add_repo("org/llama", repo_files(LLAMA, shards=2))
    done = run_process("org/gpt2", "org/missing", "org/llama", endpoint=loopback_hub.url)
    assert done.code == 3
    assert "org/gpt2" in done.out
    assert "8.03 B" in done.out
    assert "org/missing" in done.err
    records = run_process("org/gpt2", "org/missing", "org/llama", "--json", endpoint=loopback_hub.url).record
    assert [record.get("error", {}).get("exit_code") for record in records] == [None, 3, None]
    rows = run_process("org/gpt2", "org/missing", "--format", "csv", endpoint=loopback_hub.url).out.splitlines()
    assert len(rows) == 3


def test_a_report_in_a_pipe_has_no_escape_codes_and_no_line_over_80_columns(run_process: Run) -> None:
    out = run_process(LLAMA, "--gpu", "RTX 4090", "--explain").out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_hostile_names_in_a_config_cannot_steer_the_terminal(run: Run, loopback_hub: LoopbackHub) -> None:
    files = repo_files("openai-community/gpt2")
    config = {"model_type": "gpt2", "architectures": ["\x1b]0;owned\x07\u202eGPT2"], "n_layer": 12}
    loopback_hub.add_repo("org/hostile", files | {"config.json": config})
    done = run("org/hostile", endpoint=loopback_hub.url)
    assert not set(done.out + done.err) & {"\x1b", "\x07", "\u202e"}


def test_article_formulas_on_the_command_line(run: Run) -> None:
    record = run(LLAMA, "--formulas", "article", "--context", "2k", "--json").record
    inference = record["memory"]["inference"]
    assert (inference["weights"], inference["kv_cache"]) == (16_060_522_496, 1_073_741_824)
    assert inference["activations"] == 956_301_312
    training = run("train", LLAMA, "--formulas", "article", "--context", "2k", "--json").record["training"]
    assert training["peak"] == inference["total"] + 12 * 8_030_261_248


def test_images_are_counted_by_their_number_and_left_out_when_there_are_none(run: Run) -> None:
    records = {
        images: run("google/gemma-3-4b-it", "--offline", "--images", images, "--json").record["memory"]["inference"]
        for images in ("0", "2")
    }
    assert (records["0"]["vision_encoder"], records["0"]["image_tokens"]) == (None, None)
    # 2 images of 4,096 patches * (2 * 4,304 + 4 * 1,152) * 2 B, and 3 * 896^2 pixels in fp32
    assert (records["2"]["vision_encoder"], records["2"]["image_tokens"]) == (2 * 117_899_264, 512)
    assert records["2"]["activations"] > records["0"]["activations"]


def test_explain_shows_formulas_with_numbers_and_sources(run: Run) -> None:
    done = run(LLAMA, "--explain", "--context", "8k")
    text = " ".join(done.out.split())
    assert "8 KV heads x (key 128 + value 128)" in text
    assert "source:" in text


def test_a_full_disk_is_an_error_not_a_traceback(command_home: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "inspector", LLAMA, "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=command_environment(command_home),
            check=False,
        )
    assert done.returncode == 6
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_ends_quietly(command_home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "inspector", LLAMA, "--json", "--offline"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command_environment(command_home),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 141
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


@pytest.mark.skipif(os.name != "posix", reason="a shell closes it")
@pytest.mark.parametrize(("closed", "left"), [(">&-", "stderr"), ("2>&-", "stdout")])
def test_a_closed_output_cannot_be_written_and_closed_errors_are_not_missed(
    command_home: Path, closed: str, left: str
) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "inspector", LLAMA, "--offline"]
    done = subprocess.run(shell, capture_output=True, text=True, env=command_environment(command_home), check=False)
    assert done.returncode == (0 if left == "stdout" else 6)
    assert ("8.03 B" if left == "stdout" else "output could not be written: standard output is closed") in getattr(
        done, left
    )
    assert "bug" not in done.stderr


def test_profilers_can_print_at_the_end(command_home: Path) -> None:
    """A run ends without Python's own end, except where somebody looks for a fault."""
    done = subprocess.run(
        [sys.executable, "-m", "cProfile", "-m", "inspector", LLAMA, "--offline"],
        capture_output=True,
        text=True,
        env=command_environment(command_home) | {"LLM_INSPECT_DEBUG": "1"},
        check=False,
    )
    assert "function calls" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_while_the_server_is_silent_ends_at_once_with_130(loopback_hub: LoopbackHub, command_home: Path) -> None:
    loopback_hub.add_repo("org/model", repo_files("openai-community/gpt2"))
    loopback_hub.faults.append(Fault("hang", times=None))
    with subprocess.Popen(
        [sys.executable, "-m", "inspector", "org/model"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command_environment(command_home, loopback_hub.url, HF_HUB_DOWNLOAD_TIMEOUT="50"),
    ) as process:
        while not loopback_hub.seen:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in out + err


def test_gpus_lists_devices_with_their_usable_memory(run_process: Run) -> None:
    done = run_process("gpus", "--json")
    assert done.code == 0
    known = {device["name"]: device for device in done.record["known"]}
    assert len(known) >= 40
    assert known["RTX 4090"]["capacity"] <= 24_564 * 1024**2


def test_a_mistyped_command_is_pointed_out(run_process: Run, loopback_hub: LoopbackHub) -> None:
    done = run_process("trian", endpoint=loopback_hub.url)
    assert done.code == 3
    assert "llm-inspect train" in done.err


def test_without_arguments_it_says_how_to_begin(run: Run) -> None:
    done = run()
    assert done.code == 0
    assert done.out.count("llm-inspect ") >= 4
    assert "fit" in done.out


def test_choices_are_read_in_any_case(run: Run) -> None:
    done = run("fit", "openai-community/gpt2", "--gpu", "24GiB", "--engine", "vLLM", "--format", "JSON", "--offline")
    assert done.code == 0
    assert done.record["fit"][0]["fits"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", LLAMA, "--gpu", "RTX", "4090"],
        ["--gpu=RTX", "4090", LLAMA],
        ["show", "--gpu", "M3", "Max", "64GB", LLAMA],
    ],
)
def test_a_device_name_without_quotes_is_told(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert "needs quotes: --gpu '" in done.err


def test_a_command_misspelt_is_told_offline_too(run: Run) -> None:
    done = run("trian", LLAMA, "--offline")
    assert "Did you mean the command `llm-inspect train`?" in done.err


def test_an_unknown_repo_is_answered_with_the_nearest_names(run: Run, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo("someone/Quokka-7B-Chat", repo_files("openai-community/gpt2"))
    done = run("someone/Quoka-7B-Chat", endpoint=loopback_hub.url)
    assert done.code == 3
    assert done.err.splitlines()[1].startswith("Did you mean someone/Quokka-7B-Chat? ")
    assert "meta-llama/Meta-Llama-3-8B" in run("meta-lama/Meta-Llama-3-8B", endpoint=loopback_hub.url).err


def test_an_address_is_inspected(run: Run, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo("org/model", repo_files("openai-community/gpt2"))
    done = run(f"{loopback_hub.url}/org/model/tree/main", "--json", endpoint=loopback_hub.url)
    assert done.record["repo_id"] == "org/model"
    assert run("https://huggingface.co/meta-llama/Meta-Llama-3-8B", "--offline").code == 0


def test_quiet_says_the_result_alone_and_verbose_where_it_is_from(run: Run) -> None:
    quiet = run("openai-community/gpt2", "-q", "--offline")
    assert (quiet.code, quiet.err) == (0, "")
    assert "124,439,808" in quiet.out
    plain, verbose = (run("openai-community/gpt2", "--offline", *more) for more in ([], ["-v"]))
    assert plain.out == quiet.out == verbose.out
    assert "num_key_value_heads = 12 (num_attention_heads)" in verbose.err
    assert run("org/never-seen", "-q").err.startswith("Error: ")


@pytest.mark.parametrize("command", ["show", "train"])
@pytest.mark.parametrize(("gpu", "code"), [("24GiB", 0), ("1MiB", 1)])
def test_check_makes_the_verdict_the_exit_code(run: Run, command: str, gpu: str, code: int) -> None:
    assert run(command, "openai-community/gpt2", "--gpu", gpu, "--offline").code == 0
    assert run(command, "openai-community/gpt2", "--gpu", gpu, "--offline", "--check").code == code


def test_check_without_a_device_is_a_usage_error(run: Run) -> None:
    assert run("openai-community/gpt2", "--check").code == 2


def test_lines_in_a_pipe_end_without_spaces(run_process: Run) -> None:
    for arguments in (
        ["fit", LLAMA, "--gpu", "24GiB", "--engine", "vllm"],
        [LLAMA, "--layers"],
        [LLAMA, "gpt2"],
        ["gpus"],
    ):
        assert not [line for line in run_process(*arguments).out.splitlines() if line.endswith(" ")]


def test_a_terminal_is_told_what_is_waited_for_and_a_pipe_is_not(
    command_home: Path, loopback_hub: LoopbackHub, run_process: Run
) -> None:
    pty = pytest.importorskip("pty")
    loopback_hub.add_repo("org/model", repo_files("openai-community/gpt2"))
    loopback_hub.faults.append(Fault("hang", times=None))
    environment = command_environment(command_home, loopback_hub.url, HF_HUB_DOWNLOAD_TIMEOUT="2", TERM="xterm")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "inspector", "org/model"], stdout=subprocess.DEVNULL, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 4096):
                shown += data
        except OSError:  # Linux's end of a terminal
            pass
        os.close(ours)
    assert process.returncode == 5
    assert b"reading org/model, asking 127.0.0.1" in shown
    assert b"\x1b[?25l" not in shown
    assert "reading" not in run_process("org/model", endpoint=loopback_hub.url, HF_HUB_DOWNLOAD_TIMEOUT="1").err


def test_the_answer_comes_first_with_a_bar_of_its_parts(run: Run) -> None:
    lines = run(LLAMA, "--gpu", "RTX 4090", "--offline").out.splitlines()
    assert lines[0] == LLAMA
    assert lines[1] == "RTX 4090: fits · needs 16.16 of 23.52 GiB, 7.36 left"
    assert lines[2].strip().startswith("[██")
    assert lines[3].strip() == "GiB: █ weights 14.96, ▓ KV cache 0.50, ▒ activations 0.46, ░ overhead 0.25"
    short = run("fit", LLAMA, "--gpu", "16GiB", "--offline").out.splitlines()
    assert short[:1] == [LLAMA]
    assert not short[2].endswith("]")  # the parts go on behind the device's end
    assert max(map(len, [*lines, *short])) <= 80


def test_the_same_numbers_stand_once_and_a_failed_model_has_a_row(run: Run) -> None:
    rows = [line.split()[0] for line in run(LLAMA, "--offline").out.partition("Memory")[2].splitlines()[2:6]]
    assert rows == ["as", "fp32", "int8", "int4"]
    compared = run("openai-community/gpt2", "org/never-seen", "--gpu", "24GiB", "--offline").out.splitlines()
    assert compared[2].split() == ["org/never-seen", "error", "-", "-", "-", "-", "-"]


def test_help_has_the_common_options_in_groups_and_help_all_the_rest(run: Run) -> None:
    common, every = run("fit", "--help").out, run("fit", "--help-all").out
    assert "Examples:" in common
    assert "Workload:" in common
    assert "--gpu-memory-utilization" not in common
    assert "--help-all shows" in common
    assert "Engine: vllm:" in every
    assert "--gpu-memory-utilization" in every
    assert "--token" in every
    for command in ("show", "train", "batch", "lock", "diff"):
        text = run(command, "--help-all").out
        assert "<=x" not in text
        assert "RANGE" not in text
        assert max(map(len, text.splitlines())) <= 80
