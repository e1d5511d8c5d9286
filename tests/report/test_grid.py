"""Tables over ranges of settings, as people and programs see them; docs/tables.md has whole ones."""

from __future__ import annotations

import csv
import json
from io import StringIO

import pytest
from rich.console import Console

import inspector
from inspector.report.grid import print_grid
from tests.conftest import Run
from tests.test_schema import validator

QWEN = "Qwen/Qwen3-8B"
RANGES = ("--context", "4k,32k,128k", "--batch", "1,8", "--dtype", "bf16,fp8")
DEVICES = ("--gpu", "RTX 4090, H100")


def printed(
    width: int, ranges: dict[str, str], *, colour: bool = False, encoding: str = "utf-8", gpus: str = ""
) -> str:
    """What a terminal of so many columns shows."""

    class File(StringIO):
        @property
        def encoding(self) -> str:  # type: ignore[override]
            return encoding

    grid = inspector.grid(QWEN, ranges=ranges, gpus=gpus or (), offline=True)
    file = File()
    system = "standard" if colour else None
    console = Console(file=file, width=width, force_terminal=True, color_system=system, markup=False, highlight=False)
    print_grid(console, grid.to_dict())
    return file.getvalue()


def test_rows_and_columns_are_those_of_the_ranges(run: Run) -> None:
    lines = run(QWEN, *RANGES, *DEVICES, "--offline").out.splitlines()
    start = lines.index("RTX 4090: 23.52 GiB")
    assert lines[start + 1] == "  batch  weights \\ context    4,096   32,768   131,072"
    assert lines[start + 2].split() == ["1", "bf16", "16.48", "✓", "23.27", "✓", "46.57", "✗"]
    assert lines[start + 5].split()[:2] == ["8", "fp8"]
    assert "H100 SXM: 79.19 GiB" in lines
    assert lines[-1] == "  ✓ fits · ✗ does not fit"


def test_devices_are_the_rows_where_nothing_else_is(run: Run) -> None:
    out = run("fit", QWEN, "--context", "4k,128k", *DEVICES, "--offline").out
    assert "  device \\ context    4,096  131,072\n  RTX 4090          16.48 ✓  46.57 ✗\n" in out


def test_one_range_shows_the_parts(run: Run) -> None:
    out = run(QWEN, "--context", "4k,128k", "--gpu", "RTX 4090", "--offline").out
    assert (
        "  context  weights  KV cache  activations  overhead  total      left\n"
        "  4,096      15.26      0.56         0.41      0.25  16.48    7.04 ✓\n"
        "  131,072    15.26     18.00        13.06      0.25  46.57  -23.05 ✗\n"
    ) in out
    shown = run(QWEN, "--engine", "vllm,sglang", "--gpu", "RTX 4090", "--offline").out
    assert "engine  weights  activations  non-torch  graphs  KV cache  needed" in shown


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_cell_is_lost(width: int) -> None:
    contexts = [1024 * at for at in (1, 2, 4, 8, 16, 32)]
    text = printed(width, {"context": ",".join(map(str, contexts)), "dtype": "bf16,fp8"}, gpus="RTX 4090")
    assert max(map(len, text.splitlines())) <= width
    cells = inspector.grid(QWEN, ranges={"context": contexts, "dtype": "bf16,fp8"}, offline=True).cells
    for cell in cells:
        assert f"{(cell.total or 0) / 2**30:.2f} ✓" in text


def test_a_verdict_is_told_by_a_mark_beside_its_colour_and_by_ascii_where_there_is_no_other() -> None:
    asked = {"context": "4k,128k", "batch": "1,2"}
    coloured = printed(80, asked, colour=True, gpus="RTX 4090")
    assert "\x1b[1;32m16.48 ✓\x1b[0m" in coloured
    assert "\x1b[1;31m46.57 ✗\x1b[0m" in coloured
    plain = printed(80, asked, encoding="ascii", gpus="RTX 4090")
    assert "16.48 ok" in plain
    assert "46.57 no" in plain


def test_csv_has_a_row_a_cell_and_markdown_one_table(run: Run) -> None:
    rows = list(csv.DictReader(StringIO(run("fit", QWEN, *RANGES, *DEVICES, "--format", "csv", "--offline").out)))
    cells = run("fit", QWEN, *RANGES, *DEVICES, "--json", "--offline").record["grid"]["cells"]
    assert len(rows) == len(cells) == 24
    for row, cell in zip(rows, cells, strict=True):
        assert (row["repo_id"], row["of"], row["dtype"], row["gpu"]) == (QWEN, "inference", cell["dtype"], cell["gpu"])
        assert [int(row[name]) for name in ("context", "batch", "needed", "headroom")] == [
            cell[name] for name in ("context", "batch", "needed", "headroom")
        ]
        assert row["fits"] == json.dumps(cell["fits"])
        assert int(row["memory.total"]) == cell["memory"]["total"]
    markdown = run(QWEN, *RANGES, *DEVICES, "--format", "markdown", "--offline").out.splitlines()
    assert markdown[2] == "| device | batch | weights \\ context | 4,096 | 32,768 | 131,072 |"
    assert markdown[4] == "| RTX 4090 | 1 | bf16 | 16.48 fits | 23.27 fits | 46.57 does not fit |"
    assert len(markdown) == 4 + 8


@pytest.mark.parametrize(
    "arguments",
    [
        [QWEN, *RANGES],
        ["fit", QWEN, "--dtype", "bf16,Q4_K_M", "--engine", "vllm,llama.cpp", *DEVICES],
        ["train", QWEN, "--method", "full,lora", "--context", "4k,8k", "--gpu", "H100"],
    ],
)
def test_json_is_of_the_schema(run: Run, arguments: list[str]) -> None:
    validator("grid").validate(run(*arguments, "--json", "--offline").record)


def test_several_models_have_a_table_each_and_one_that_fails_its_error(run: Run) -> None:
    asked = [QWEN, "org/never-seen", "openai-community/gpt2", "--context", "512,1024", "--batch", "1,2", "--offline"]
    done = run(*asked)
    assert done.code == 5  # offline, and not cached
    assert done.out.count("Memory for inference, GiB") == 2
    records = json.loads(run(*asked, "--json").out)
    for name, record in zip(("grid", "error", "grid"), records, strict=True):
        validator(name).validate(record)
    assert "\n\nopenai-community/gpt2, Memory for" in run(*asked, "--format", "markdown").out


def test_exit_codes_are_those_of_the_worst_cell(run: Run) -> None:
    asked = ["fit", QWEN, "--gpu", "RTX 4090", "--offline"]
    assert run(*asked, "--context", "4k,8k").code == 0
    assert run(*asked, "--context", "4k,128k").code == 1
    assert run(*asked, "--dtype", "bf16,Q4_K_M", "--engine", "vllm,llama.cpp").code == 4
    assert run(*asked, "--dtype", "bf16,fp9").code == 2
    assert run(QWEN, "--gpu", "RTX 4090", "--context", "4k,128k", "--offline").code == 0
    assert run(QWEN, "--gpu", "RTX 4090", "--context", "4k,128k", "--offline", "--check").code == 1
    assert run("train", QWEN, "--gpu", "RTX 4090", "--batch", "1,2", "--offline").code == 0
    assert run("train", QWEN, "--gpu", "RTX 4090", "--batch", "1,2", "--offline", "--check").code == 1


@pytest.mark.parametrize("option", ["--explain", "--all-options", "--all-gpus", "--published", "--emit=vllm"])
def test_an_option_of_one_verdict_is_refused_beside_ranges(run: Run, option: str) -> None:
    devices = [] if option == "--all-gpus" else ["--gpu", "24GiB"]
    done = run("fit", QWEN, "--context", "4k,8k", *devices, option, "--offline")
    assert done.code == 2
    assert "table" in done.err


def test_a_command_without_tables_takes_no_list(run: Run) -> None:
    done = run("diff", QWEN, QWEN, "--context", "4k,8k", "--offline")
    assert done.code == 2
    assert "'4k,8k' is not a number of tokens" in done.err


def test_devices_in_a_list_are_as_if_repeated(run: Run) -> None:
    assert (
        run("fit", QWEN, *DEVICES, "--offline").out
        == run("fit", QWEN, "--gpu", "RTX 4090", "--gpu", "H100", "--offline").out
    )


def test_a_training_without_adapters_stands_under_every_rank(run: Run) -> None:
    asked = ("train", QWEN, "--method", "full,lora", "--lora-rank", "8,16", "--offline")
    lines = run(*asked).out.splitlines()
    full, lora = (next(line.split() for line in lines if line.split()[:1] == [name]) for name in ("full", "lora"))
    assert full[1] == full[2]
    assert float(lora[1]) < float(lora[2]) < float(full[1])
    rows = [
        line.split()[:2]
        for line in run(*asked, "--context", "1k,2k").out.splitlines()
        if line.split()[:1] in (["full"], ["lora"])
    ]
    assert rows[1:] == [["lora", "8"], ["lora", "16"]]
    assert float(rows[0][1]) > 50  # no rank, so the first figure
    text = run(*asked, "--gpu", "H100", "--format", "csv").out
    assert [(row["method"], row["lora_rank"], row["why"]) for row in csv.DictReader(StringIO(text))] == [
        ("full", "", ""),
        ("lora", "8", ""),
        ("lora", "16", ""),
    ]


def test_values_that_are_the_same_number_are_one(run: Run) -> None:
    assert run(QWEN, "--context", "4k,4096", "--offline").out == run(QWEN, "--context", "4k", "--offline").out
    rows = csv.DictReader(StringIO(run(QWEN, "--context", "4k,4096,8k", "--offline", "--format", "csv").out))
    assert [row["context"] for row in rows] == ["4096", "8192"]
