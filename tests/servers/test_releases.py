"""The table of Triton releases."""

import re

import pytest

from bench.errors import UsageError
from bench.servers import releases


@pytest.mark.parametrize("release", releases.RELEASES, ids=lambda r: r.ngc)
def test_a_release_is_found_by_both_its_names(release: releases.Release) -> None:
    """People know either the month of the image or the server's version."""
    assert releases.find(release.ngc) == releases.find(release.triton) == release


def test_no_version_is_the_default() -> None:
    """`triton` alone is 24.07."""
    assert releases.find("").ngc == "24.07"


def test_an_unknown_version_lists_those_that_exist() -> None:
    """The error is the list to choose from."""
    with pytest.raises(UsageError) as caught:
        releases.find("24.08")
    assert "'24.08'" in str(caught.value)
    assert all(f"{r.ngc} ({r.triton})" in str(caught.value) for r in releases.RELEASES)


def test_no_two_releases_share_a_name_a_wheel_or_a_hash() -> None:
    """A row copied and half edited would install one release under another's name."""
    for column in zip(*((r.ngc, r.triton, r.wheel, r.sha256) for r in releases.RELEASES), strict=True):
        assert len(set(column)) == len(releases.RELEASES)
    assert all(re.fullmatch("[0-9a-f]{64}", r.sha256) for r in releases.RELEASES)
