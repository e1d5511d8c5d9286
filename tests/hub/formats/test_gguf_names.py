"""What GGUF file names say, by names seen on the Hub."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.hub.dtypes import FILE_TYPES, GGML_TYPES
from inspector.hub.formats.gguf.names import GGUFGroup, group_files, is_gguf, kind_of, quant_of


@pytest.mark.parametrize(
    ("path", "quant"),
    [
        ("llama-2-7b.Q4_K_M.gguf", "Q4_K_M"),
        ("Meta-Llama-3.1-8B-Instruct-IQ2_XXS.gguf", "IQ2_XXS"),
        ("gemma-2b-it-q4_k_m.gguf", "Q4_K_M"),
        ("Qwen3-30B-A3B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("UD-IQ1_S/DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf", "UD-IQ1_S"),
        ("UD-Q2_K_XL/DeepSeek-V3-00001-of-00006.gguf", "UD-Q2_K_XL"),
        ("BF16/model-00001-of-00002.gguf", "BF16"),
        ("model.i1-Q6_K.gguf", "Q6_K"),
        ("Llama-3.2-1B-Instruct-Q6_K_L.gguf", "Q6_K_L"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("gpt-oss-20b-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("ggml-model-f16.gguf", "F16"),
        ("Qwen2.5-7B-fp16.gguf", "F16"),
        ("model-F32.gguf", "F32"),
        ("gemma-3-4b-it-qat-Q4_0.gguf", "Q4_0"),
        ("Phi-3.5-mini-Q4_0_4_4.gguf", "Q4_0_4_4"),
        ("TriLM-TQ1_0.gguf", "TQ1_0"),
        ("ggml-model-i2_s.gguf", "I2_S"),
        ("DeepSeek-V3-IQ4_KS.gguf", "IQ4_KS"),
        ("model-IQ4_K_R4.gguf", "IQ4_K_R4"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "Q4"),
        ("mixtral-8x7b-v0.1.gguf", None),
        ("q8_0/mixtral-8x7b.gguf", "Q8_0"),
        ("Q4_K_M-to-Q8_0.gguf", "Q8_0"),
        ("mmproj-model-f16.gguf", "F16"),
        ("sQ4_0x.gguf", None),
    ],
)
def test_the_quantization_is_read(path: str, quant: str | None) -> None:
    assert quant_of(path) == quant


@pytest.mark.parametrize("name", [*FILE_TYPES.values(), *(kind.name for kind in GGML_TYPES.values())])
def test_every_recipe_and_type_is_known_by_name(name: str) -> None:
    if name not in ("I8", "I16", "I32", "I64", "Q8_K64", "IQ4_KSS") and "NL_" not in name:
        assert quant_of(f"model-{name}.gguf") == name


def test_parts_projectors_and_statistics_are_told_apart() -> None:
    paths = [
        "README.md",
        "model-Q8_0.gguf",
        "Q4_K_M/model-Q4_K_M-00002-of-00003.gguf",
        "Q4_K_M/model-Q4_K_M-00001-of-00003.gguf",
        "Q4_K_M/model-Q4_K_M-00003-of-00003.gguf",
        "BF16/model-BF16-00002-of-00002.gguf",
        "mmproj-model-f16.gguf",
        "imatrix.gguf",
        "model.Q6_K.gguf.part2of2",
        "model.Q6_K.gguf.part1of2",
        "config.json",
    ]
    assert group_files(paths) == [
        GGUFGroup("BF16/model-BF16", "BF16", "model", ("BF16/model-BF16-00002-of-00002.gguf",), 2),
        GGUFGroup(
            "Q4_K_M/model-Q4_K_M",
            "Q4_K_M",
            "model",
            tuple(f"Q4_K_M/model-Q4_K_M-0000{i}-of-00003.gguf" for i in (1, 2, 3)),
            3,
        ),
        GGUFGroup("imatrix", None, "imatrix", ("imatrix.gguf",), 1),
        GGUFGroup("mmproj-model-f16", "F16", "projector", ("mmproj-model-f16.gguf",), 1),
        GGUFGroup("model-Q8_0", "Q8_0", "model", ("model-Q8_0.gguf",), 1),
        GGUFGroup("model.Q6_K", "Q6_K", "model", ("model.Q6_K.gguf.part1of2", "model.Q6_K.gguf.part2of2"), 2, True),
    ]
    assert [group.is_complete for group in group_files(paths)] == [False, True, True, True, True, True]


@given(
    st.lists(
        st.text(max_size=12) | st.sampled_from(["a-00001-of-00002", "a-00000-of-00000", "Q4_0", "mmproj"]), max_size=6
    )
)
def test_any_names_are_grouped_once(names: list[str]) -> None:
    paths = [f"{name}.gguf" for name in names]
    files = [file for group in group_files(paths) for file in group.files]
    assert sorted(files) == sorted(set(paths))
    for path in paths:
        assert is_gguf(path)
        kind_of(path)


@pytest.mark.parametrize("near", ["Q4_", "IQ", "-00001-of-", "UD-"])
def test_a_name_of_thousands_of_near_quantizations_names_none(near: str) -> None:
    """A pattern that went back on its steps for each would not come to an end here."""
    name = near * 50_000
    assert quant_of(name) is None
    whole, piece = f"{name}.gguf", f"{name}.gguf.part1of2"
    assert [(group.files, group.parts) for group in group_files([piece, whole])] == [((whole,), 1), ((piece,), 2)]
