"""Tables of designs where no trace tells a size: which keys have to be as by default, and where nothing is said."""

import pytest

from fixtures.design_freeze import Item, frozen_keys, is_frozen, same_keys
from fixtures.design_points import Point
from inspector.errors import InvalidConfig
from inspector.model.design.full import config_class_of, full_config

CONFIGS = [
    {"width": 8, "depths": [2, 2], "ratio": 4, "unread": 1},
    {"width": 16, "depths": [2, 2], "ratio": 4, "unread": 1},
    {"width": 32, "depths": [2, 2], "ratio": 4, "unread": 1},
    {"width": 64, "depths": [3, 2], "ratio": 4, "unread": 1},
    {"width": 8, "depths": [2, 2, 1], "ratio": 2, "unread": 2},
]
READ = frozenset({"width", "depths", "ratio"})


def item(*values: int, keys: frozenset[str] = READ) -> Item:
    return Item([Point(at) for at in range(len(values))], values, keys)


def test_the_key_that_a_size_hangs_on_is_frozen_and_no_other() -> None:
    """The length of a list, where that is enough: it leaves more builds."""
    assert frozen_keys([item(7, 7, 7, 7, 9)], CONFIGS, [0], READ) in ({"len(depths)": 2}, {"ratio": 4})
    assert frozen_keys([item(7, 7, 7, 8, 9)], CONFIGS, [0], READ) == {"depths": [2, 2]}


def test_a_key_that_the_class_did_not_look_at_is_not_believed() -> None:
    assert frozen_keys([item(7, 7, 7, 7, 9)], CONFIGS, [0], frozenset({"unread"})) == {"unread": 1}
    assert frozen_keys([item(7, 7, 7, 7, 9)], CONFIGS, [0], frozenset()) == {}


def test_what_is_the_same_where_others_are_frozen_is_known_of_no_other_value() -> None:
    left = [config for config in CONFIGS if is_frozen(config, {"depths": [2, 2]})]
    assert len(left) == 3
    assert same_keys(left, READ) == {"depths": [2, 2], "ratio": 4}


def test_a_frozen_length_is_the_length_alone() -> None:
    assert [is_frozen(config, {"len(depths)": 2}) for config in CONFIGS] == [True, True, True, True, False]


def test_a_part_with_a_config_class_of_its_own_and_no_model_type_is_read_by_it() -> None:
    pytest.importorskip("transformers")
    full = full_config({"num_layers": 3}, "fine_acoustics@bark.BarkFineConfig")
    assert (full["num_layers"], full["n_codes_total"]) == (3, 8)
    with pytest.raises(InvalidConfig, match="fine_acoustics"):
        config_class_of("fine_acoustics@bark.NoConfig")
