"""`bench triton`."""

import argparse
from pathlib import Path

import pytest

from bench.commands import triton
from bench.errors import UsageError
from bench.servers import backend_env, installs
from bench.servers.releases import RELEASES, Release


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    return tmp_path


def bench_triton(*args: str) -> list[str]:
    """What `bench triton ARGS` prints."""
    parser = argparse.ArgumentParser()
    triton.arguments(parser)
    printed: list[str] = []
    assert triton.run(parser.parse_args(args), printed.append, lambda text: None) == 0
    return printed


def test_list_shows_every_release_and_where_those_that_are_installed_stand(cache: Path) -> None:
    """The default is marked; what is not installed has a dash."""
    (cache / "tritons" / "2.46.0").mkdir(parents=True)
    header, *rows = [line.split() for line in bench_triton("list")]
    assert header == ["release", "version", "from", "installed", "in"]
    assert [row[0] for row in rows] == [release.ngc for release in RELEASES]
    places = {row[0]: row[-1] for row in rows}
    assert places.pop("24.05") == str(cache / "tritons" / "2.46.0")
    assert set(places.values()) == {"-"}
    assert [row[0] for row in rows if "(default)" in row] == ["24.07"]


def test_install_installs_what_is_named_and_the_environment_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By either name of a release; without a name, the default."""
    done: list[str] = []

    def install(release: Release, say: object) -> Path:
        done.append(release.ngc)
        return cache / release.triton

    monkeypatch.setattr(installs, "install", install)
    monkeypatch.setattr(backend_env, "check_machine", lambda: None)
    monkeypatch.setattr(backend_env, "backend_environment", lambda say: done.append("environment"))
    assert bench_triton("install", "2.46.0", "24.10") == [
        f"Triton 24.05 (2.46.0): {cache / '2.46.0'}",
        f"Triton 24.10 (2.51.0): {cache / '2.51.0'}",
    ]
    bench_triton("install")
    assert done == ["24.05", "24.10", "environment", "24.07", "environment"]


def test_a_wrong_version_is_refused_before_any_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that is only half of what was asked for helps nobody."""
    monkeypatch.setattr(installs, "install", lambda release, say: pytest.fail("installed"))
    with pytest.raises(UsageError, match=r"'24\.99'"):
        bench_triton("install", "24.07", "24.99")
