"""What a class of users names, made ready."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.evidence.truth import Script
from bench.evidence.truth_server import running
from bench.users.prepared import Named, check, prepare

HERE = "users of a Locust file send over a connection of their own to a server that runs already"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("triton", HERE),
        ("flask", HERE),
        ("onnx://cpu", HERE),
        ("echo://", HERE),
        ("tritom", "target tritom: unknown; there are: "),
        ("http://127.0.0.1:8000", "unknown scheme http://; there are: triton-http://"),
        ("triton-http://127.0.0.1:8000?precison=fp16", "unknown option 'precison'"),
        ("triton http", "expected NAME"),
    ],
)
def test_a_target_that_users_of_a_locust_file_cannot_have_is_refused(target: str, told: str) -> None:
    """With what is wrong with it, and what there is instead."""
    with pytest.raises(UsageError) as raised:
        check(Named("resnet50", target))
    assert told in str(raised.value)


def test_a_client_that_would_stop_all_users_is_refused(locust: Callable[..., Any]) -> None:
    """NVIDIA's own is called, and holds the thread until it is answered."""
    workload = str(locust("").folder / "truth.toml")
    with running(Script(0)) as server, pytest.raises(UsageError, match="without client=tritonclient"):
        prepare(Named(workload, f"triton-http://{server.http}?client=tritonclient"), True, print)


def test_recorded_answers_are_what_replies_are_compared_with(locust: Callable[..., Any]) -> None:
    """Those that lie beside the workload file, as `bench run` takes them."""
    workload = locust("", answer=0.0).folder / "truth.toml"
    with running(Script(0)) as server:
        prepared = prepare(Named(str(workload), f"triton-http://{server.http}"), True, print)
    assert [one.reference for one in prepared.endpoint.models] == [Path(workload).with_name("truth.reference.arrow")]
    assert (prepared.told.name, len(prepared.pool)) == ("truth", 4)
