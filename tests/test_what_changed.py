"""The summary that `make tables` ends with."""

from __future__ import annotations

from fixtures.what_changed import differences


def test_facts_are_told_by_their_path() -> None:
    old = {"transformers": "5.23.0", "types": {"llama": {"light": True}, "gone": {}}}
    new = {"transformers": "5.24.0", "types": {"llama": {"light": False}, "new": {"light": True}}}
    assert differences(old, new) == [
        'transformers: "5.23.0" -> "5.24.0"',
        "- types.gone",
        "types.llama.light: true -> false",
        '+ types.new: {"light": true}',
    ]
    assert differences(new, new) == []
