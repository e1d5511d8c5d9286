"""The two numbers of a cache in the report: what the tokens hold, and what transformers' classes allocate."""

from __future__ import annotations

import json

import pytest

from inspector.cli.main import run

SLIDING = "google/gemma-3-4b-it"
"""Bundled: 29 layers with a window of 1,024 and 5 full ones, 4 KV heads of 256, bfloat16."""

ROW = 4 * 2 * 256 * 2


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["--offline", *arguments]) == 0
    return capsys.readouterr().out


def test_the_json_has_the_steady_cache_and_what_is_allocated_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(output_of(capsys, SLIDING, "--context", "32768", "--json"))["memory"]["inference"]
    assert record["kv_cache"] == (5 * 32_768 + 29 * 1023) * ROW
    assert record["kv_cache_allocated"] == {
        "dynamic": (5 * 32_768 + 29 * 1024) * ROW + 29 * 8,
        "dynamic_after_prefill": 34 * 32_768 * ROW + 29 * 8,
        "static": (5 * 32_768 + 29 * 1024) * ROW + 34 * 8,
        "quantized": None,
    }


def test_a_quantized_cache_is_allocated_by_its_own_class_only(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("meta-llama/Meta-Llama-3-8B", "--context", "8192", "--kv-dtype", "int4", "--json")
    record = json.loads(output_of(capsys, *arguments))["memory"]["inference"]
    values = 32 * 8192 * 8 * 2 * 128
    assert record["kv_cache"] == values // 2
    scales = values // 64 * 2 * 2
    assert record["kv_cache_allocated"] == {
        "dynamic": None,
        "dynamic_after_prefill": None,
        "static": None,
        "quantized": values // 2 + scales,
    }


def test_the_text_names_an_allocation_where_it_differs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "transformers allocates for it" in output_of(capsys, SLIDING, "--context", "32768")
    assert "transformers allocates for it" not in output_of(capsys, "meta-llama/Meta-Llama-3-8B", "--context", "8192")


def test_the_explanation_names_each_class(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, SLIDING, "--explain")
    for words in ("allocated dynamic", "allocated static", "transformers.cache_utils.StaticCache"):
        assert words in text
