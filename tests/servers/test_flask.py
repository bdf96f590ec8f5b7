"""How the Flask baseline is started: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import servers, words
from bench.errors import RunError, UsageError
from bench.recipes.catalog import BuiltModel
from bench.runtime import flask_app
from bench.servers import flask


@given(workers=st.integers(1, 64), cores=st.integers(1, 256))
def test_session_threads_make_twice_the_cores_in_all(workers: int, cores: int) -> None:
    """Enough that one busy worker uses more than one core, and never none."""
    threads = flask.default_session_threads(workers, cores)
    assert threads >= 1
    assert threads * workers <= max(2 * cores, workers)
    assert (threads + 1) * workers > 2 * cores


def test_gunicorn_is_told_everything_that_the_record_shows() -> None:
    """Loopback only, keep-alive longer than any pause of a run."""
    arguments = flask.gunicorn_arguments(5000, workers=3, concurrency=5)
    assert {"--bind=127.0.0.1:5000", "--workers=3", "--threads=5", "--worker-class=gthread", "--keep-alive=75"} < {*arguments}


def test_the_word_of_a_base64_server_says_so(tiny: BuiltModel) -> None:
    """The target has to encode what this server decodes."""
    plan = flask.plan(words.parse("flask?encoding=base64"), tiny, print)
    assert plan.words((5000,)) == {"http": "flask://127.0.0.1:5000?encoding=base64"}
    assert flask.plan(words.parse("flask"), tiny, print).words((5000,)) == {"http": "flask://127.0.0.1:5000"}


def test_what_a_worker_writes_when_it_is_ready_is_what_is_counted() -> None:
    """The two modules must not import each other, and have to agree."""
    assert flask_app.READY == flask._READY


def test_the_user_s_gunicorn_settings_do_not_reach_the_server(
    tiny: BuiltModel, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """They would change one side of a comparison unseen."""
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 50")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    order = flask.plan(words.parse("flask"), tiny, print).order((5000,), tiny.folder)
    assert "GUNICORN_CMD_ARGS" not in order.env
    assert order.cwd == order.folders[0]


def test_a_version_of_flask_is_a_usage_error() -> None:
    """There is only the one that is installed."""
    with pytest.raises(UsageError, match="flask has no versions to choose from"):
        servers.check(words.parse("flask@3.0"))


def test_a_gpu_without_onnx_runtime_for_it_is_an_error(tiny: BuiltModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton would use the GPU and Flask would not, and the table would not say why."""
    monkeypatch.setattr(flask, "gpu_count", lambda: 1)
    monkeypatch.setattr(flask, "onnxruntime_distribution", lambda: ("onnxruntime", "1.32.0"))
    with pytest.raises(RunError, match=r"inference-bench\[cuda\]"):
        flask.plan(words.parse("flask"), tiny, print)
