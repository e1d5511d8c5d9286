"""`make gpu-check` where there is no GPU: what it says, what it runs, its exit codes."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.gpu.__main__ import Row, main, page
from tests.gpu.cases import Case, Prediction, cases

GIB = 2**30


def test_a_dry_run_predicts_every_case_without_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry"]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert "a dry run" in first
    assert len(rows) == len(list(cases())) >= 40
    assert all(" GiB" in row for row in rows)


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is here")
def test_without_torch_it_says_so_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(find_spec("torch") is None, reason="needs torch")
def test_without_a_gpu_small_cases_run_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["--device", "auto"]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert "no CUDA GPU here" in first
    assert "21 of 21 cases within 10%" in rows[-1]
    with pytest.raises(SystemExit) as ended:
        main(["--device", "cuda"])
    assert ended.value.code == 2


def test_the_page_has_a_row_a_case_and_what_was_left_out() -> None:
    case = Case("llama-3-8b", "train", 1, 2048, {"checkpointing": "full"})
    predicted = Prediction(10 * GIB, 8 * GIB, (11 * GIB, 12 * GIB), 13 * GIB)
    # As steps.Measured has it, whose file needs torch.
    measured = type("Measured", (), {"peak": 8 * GIB, "reserved": 9 * GIB, "used": None})()
    text = page([Row(case, predicted, measured), Row(case, predicted, None, "does not fit here")], "a GPU", 3)
    assert "1 cases: median 25.00% off, worst 25.00%" in text
    assert (
        "| llama-3-8b | train checkpointing 1 x 2,048 | 10.00 | 8.00 | +25.00% | 11.00 to 12.00 | 9.00 | 13.00 |  |"
        in text
    )
    assert "| 10.00 | does not fit here |" in text
