"""How the Flask baseline is started: pure."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import servers, words
from bench.errors import RunError, UsageError
from bench.recipes.catalog import BuiltModel
from bench.runtime import flask_app
from bench.runtime.session import default_threads
from bench.servers import flask
from bench.servers.base import OwnModel


@given(workers=st.integers(1, 64), cores=st.integers(1, 256))
def test_session_threads_make_twice_the_cores_in_all(workers: int, cores: int) -> None:
    """Enough that one busy worker uses more than one core, and never none."""
    threads = flask.default_session_threads(workers, cores, generates=False)
    assert threads >= 1
    assert threads * workers <= max(2 * cores, workers)
    assert (threads + 1) * workers > 2 * cores


@given(workers=st.integers(1, 64), cores=st.integers(1, 256))
def test_sessions_of_a_model_that_generates_share_the_cores(workers: int, cores: int) -> None:
    """One thread each at the least."""
    assert flask.default_session_threads(workers, cores, generates=True) == max(1, cores // workers)


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


def test_a_model_that_generates_has_one_worker_and_one_request_at_a_time(tiny: BuiltModel) -> None:
    """As such services are usually written; its facts and its app are told the same."""
    plan = flask.plan(words.parse("flask"), replace(tiny, context=2048), print)
    assert isinstance(plan, flask.Gunicorn)
    assert (plan.workers, plan.facts.options["batching"], plan.facts.options["context"]) == (1, "off", 1024)
    assert plan.threads == flask.default_session_threads(1, default_threads(), generates=True)
    assert plan._configuration().items() > {
        "BENCH_BATCHING": "off", "BENCH_SLOTS": str(tiny.max_batch), "BENCH_CONTEXT": "1024", "BENCH_PREFILL_CHUNK": "16",
    }.items()  # fmt: skip


def test_the_options_of_a_model_that_generates_reach_its_app(tiny: BuiltModel) -> None:
    """And as many requests reach it as it may join."""
    word = words.parse("flask?batching=continuous,max_batch=16,context=512,prefill_chunk=0,workers=2")
    plan = flask.plan(word, replace(tiny, context=2048), print)
    assert isinstance(plan, flask.Gunicorn)
    assert (plan.workers, plan.concurrency) == (2, 16)
    assert plan._configuration().items() > {
        "BENCH_BATCHING": "continuous", "BENCH_SLOTS": "16", "BENCH_CONTEXT": "512", "BENCH_PREFILL_CHUNK": "0",
    }.items()  # fmt: skip


def test_a_model_that_does_not_generate_is_told_nothing_of_it(tiny: BuiltModel) -> None:
    """Its record says nothing of what it has not."""
    plan = flask.plan(words.parse("flask"), tiny, print)
    assert isinstance(plan, flask.Gunicorn)
    assert "BENCH_BATCHING" not in plan._configuration()
    assert "context" not in plan.facts.options


@pytest.mark.parametrize(
    ("word", "context", "message"),
    [
        ("flask?batching=dynamic", 0, "option batching: for models that generate tokens, which this one does not"),
        ("flask?max_batch=2", 0, "option max_batch: for models that generate tokens"),
        ("flask?context=4096", 2048, "option context: expected at most the model's 2048 tokens, got 4096"),
        ("flask?encoding=base64", 2048, "option encoding: for models that answer with tensors; this one generates tokens"),
        (
            "flask?prefill_chunk=many",
            None,
            "option prefill_chunk: expected a number of tokens, or 0 for whole prompts, got 'many'",
        ),
    ],
)
def test_an_option_that_does_not_go_with_the_model_is_a_usage_error(word: str, context: int | None, message: str) -> None:
    """It would be ignored."""
    with pytest.raises(UsageError, match=message):
        servers.check(words.parse(word), context)


def test_flask_serves_no_model_repository() -> None:
    """Triton does."""
    with pytest.raises(UsageError, match="flask serves what bench builds; --model-repository goes with triton"):
        servers.check_own(words.parse("flask"))
    with pytest.raises(UsageError, match="flask serves what bench builds"):
        flask.plan(words.parse("flask"), OwnModel("own", Path("/theirs")), print)
