"""Reading a checkpoint's config.json."""

from typing import Any

import pytest

from bench.errors import UsageError
from bench.recipes import config_json


def test_a_size_is_read_and_may_have_a_default() -> None:
    """A missing key and null are alike."""
    assert config_json.size({"layers": 3}, "layers") == 3
    assert config_json.size({"layers": None}, "layers", 7) == config_json.size({}, "layers", 7) == 7


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, [3], None])
def test_what_is_no_size_is_refused_by_its_key(value: Any) -> None:
    """Not only a missing one: a checkpoint is somebody else's file."""
    with pytest.raises(UsageError, match=r"config.json: layers: expected a whole number above 0, got "):
        config_json.size({"layers": value}, "layers")


def test_a_number_is_read_as_a_float() -> None:
    """Writers put 10000 and 10000.0 alike."""
    assert config_json.number({"theta": 10_000}, "theta", 1.0) == 10_000.0
    assert config_json.number({}, "theta", 1.5) == 1.5


@pytest.mark.parametrize("value", [0, -1e-6, "1e6", None, True])
def test_what_is_no_number_is_refused_by_its_key(value: Any) -> None:
    """As for sizes."""
    with pytest.raises(UsageError, match=r"config.json: theta: expected a number above 0, got "):
        config_json.number({"theta": value}, "theta", 1.0)


def test_only_what_is_served_passes() -> None:
    """A key that is not there says nothing against it."""
    config_json.only({"act": "gelu"}, "act", "gelu", None)
    config_json.only({}, "act", "gelu")
    with pytest.raises(UsageError, match=r"config.json: act: only 'gelu' or None can be served, got 'relu'"):
        config_json.only({"act": "relu"}, "act", "gelu", None)


def test_what_must_divide_is_checked() -> None:
    """64 wide with 5 heads is no model."""
    config_json.divides("heads", 4, "hidden", 64)
    with pytest.raises(UsageError, match=r"hidden: expected a multiple of heads, 5, got 64"):
        config_json.divides("heads", 5, "hidden", 64)
