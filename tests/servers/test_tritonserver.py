"""What a tritonserver is told and asked: pure."""

import pytest

from bench.servers import tritonserver


def test_the_user_s_own_arguments_come_last() -> None:
    """tritonserver takes the last of two."""
    arguments = tritonserver.arguments("/models", "127.0.0.1", (1, 2, 3), "me", ("--x", "--y"))
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
def test_only_this_very_server_with_its_models_is_ready(
    replies: dict[str, tuple[int, object]], ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that happens to be on the port already would be measured under this one's name."""
    monkeypatch.setattr(tritonserver, "ask", lambda port, path: replies.get(path, (404, None)))
    assert tritonserver.ready((1, 2, 3), "me", ("m",)) is ready
    assert tritonserver.ready((1, 2, 3), "me", ("m", "n")) is False


def test_the_record_shows_the_users_own_arguments() -> None:
    """They may change anything."""
    assert tritonserver.options({"device": "CPU"}, ("--x", "--y")) == {"device": "CPU", "args": "--x --y"}
    assert tritonserver.options({"device": "CPU"}, ()) == {"device": "CPU"}
