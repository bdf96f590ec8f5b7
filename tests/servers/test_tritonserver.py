"""What a tritonserver is told: pure."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import words
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.runtime import session
from bench.servers import triton, tritonserver
from bench.servers.tritonserver import Settings
from bench.tensors import TensorSpec

INPUT, OUTPUT = TensorSpec("input", "FP32", (-1, 3, 8, 8)), TensorSpec("logits", "FP32", (-1, 10))
MODEL = BuiltModel("m", "fp32", "full", Path("/r/m"), Path("/r/m/1/model.onnx"), "0" * 64, 1, (INPUT,), (OUTPUT,), 32)
SETTINGS = Settings(batching="dynamic", instances=2, threads=3, max_batch=8, max_queue_delay_us=500, gpu=False)


def read(text: str) -> Settings:
    return tritonserver.read_settings(words.parse(text), MODEL)


def test_the_defaults_batch_dynamically_and_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One instance with every core, the model's own largest batch, no queueing delay: what `triton` alone means."""
    monkeypatch.setattr(tritonserver, "gpu_count", lambda: 0)
    assert read("triton") == Settings("dynamic", 1, session.default_threads(), 32, 0, gpu=False)


def test_every_option_reaches_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag that does nothing would make two equal sides look compared."""
    monkeypatch.setattr(tritonserver, "gpu_count", lambda: 1)
    word = "triton?batching=off,instances=2,threads=3,max_batch=4,max_queue_delay=5ms,args=--log-verbose=1+--rate-limit=off"
    assert read(word) == Settings("off", 2, 3, 4, 5000, gpu=True, args=("--log-verbose=1", "--rate-limit=off"))


@given(instances=st.integers(1, 64), cores=st.integers(1, 64))
def test_instances_share_the_cores_and_each_has_one_at_least(instances: int, cores: int) -> None:
    """Threads that add up to more than the cores would slow each other down, by a default that nobody asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "default_threads", lambda: cores)
        threads = read(f"triton?instances={instances}").threads
    assert threads >= 1
    assert threads * instances <= max(cores, instances)


def test_a_delay_that_is_none_is_a_usage_error() -> None:
    """It says how durations are written."""
    with pytest.raises(UsageError, match=r'option max_queue_delay: expected a duration such as "250ms"'):
        triton.check(words.parse("triton?max_queue_delay=5"))


def test_an_image_without_docker_is_a_usage_error() -> None:
    """It would be ignored, and another program measured."""
    with pytest.raises(UsageError, match="option image goes with via=docker"):
        triton.check(words.parse("triton?image=private/triton:1"))


def test_the_repository_for_the_python_backend_is_complete(tmp_path: Path) -> None:
    """Code, session options and the model itself, nothing of bench besides."""
    onnx = tmp_path / "built.onnx"
    onnx.write_bytes(b"weights")
    model = BuiltModel("m", "fp32", "full", tmp_path, onnx, "0" * 64, 1, (INPUT,), (OUTPUT,), 32)
    tritonserver.write_repository(tmp_path / "models", model, SETTINGS, "python")
    version = tmp_path / "models" / "m" / "1"
    assert sorted(path.name for path in version.iterdir()) == ["model.onnx", "model.py", "session.py"]
    assert (version / "model.onnx").read_bytes() == b"weights"
    assert "import bench" not in (version / "model.py").read_text() + (version / "session.py").read_text()
    config = (tmp_path / "models" / "m" / "config.pbtxt").read_text()
    assert 'backend: "python"' in config
    assert 'key: "threads" value { string_value: "3" }' in config
    assert "max_batch_size: 8" in config


def test_the_repository_for_triton_s_own_backend_names_its_parameters(tmp_path: Path) -> None:
    """The same session options in the words of Triton's ONNX Runtime backend."""
    tritonserver.write_repository(tmp_path, MODEL, SETTINGS, "onnxruntime")
    (place,) = (tmp_path / "m" / "1").iterdir()
    assert place.name == "model.onnx"
    assert not place.is_symlink()  # a link would lead nowhere in a container, and nothing can be mounted over it
    config = (tmp_path / "m" / "config.pbtxt").read_text()
    assert 'backend: "onnxruntime"' in config
    assert 'key: "intra_op_thread_count" value { string_value: "3" }' in config


def test_the_user_s_own_arguments_come_last() -> None:
    """tritonserver takes the last of two."""
    arguments = tritonserver.arguments(
        "/models", "127.0.0.1", (1, 2, 3), "me", Settings("off", 1, 1, 1, 0, False, ("--x", "--y"))
    )
    assert arguments[-2:] == ["--x", "--y"]
    assert {"--http-port=1", "--grpc-port=2", "--metrics-port=3", "--id=me"} < {*arguments}
    assert [a for a in arguments if "address" in a] == [
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
    ]


@pytest.mark.parametrize(
    ("replies", "ready"),
    [
        ({"/v2": (200, {"name": "me"}), "/v2/health/ready": (200, None), "/v2/models/m/ready": (200, None)}, True),
        ({"/v2": (200, {"name": "another"}), "/v2/health/ready": (200, None), "/v2/models/m/ready": (200, None)}, False),
        ({"/v2": (200, {"name": "me"}), "/v2/health/ready": (400, None), "/v2/models/m/ready": (200, None)}, False),
        ({"/v2": (200, {"name": "me"}), "/v2/health/ready": (200, None), "/v2/models/m/ready": (400, None)}, False),
        ({"/v2": (0, None)}, False),
    ],
)
def test_only_this_very_server_with_its_model_is_ready(
    replies: dict[str, tuple[int, object]], ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that happens to be on the port already would be measured under this one's name."""
    monkeypatch.setattr(tritonserver, "ask", lambda port, path: replies[path])
    assert tritonserver.ready((1, 2, 3), "me", "m") is ready


def test_the_record_shows_what_was_set() -> None:
    """Both sides of a comparison are visible in what is stored."""
    assert SETTINGS.facts() == {
        "device": "CPU",
        "batching": "dynamic",
        "instances": 2,
        "threads": 3,
        "max_batch": 8,
        "max_queue_delay_us": 500,
    }
