"""The table of servers and its errors."""

import pytest

from bench import servers, words
from bench.errors import UsageError


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nginx", "server nginx: unknown; bench can start: triton, flask"),
        ("triton-http://localhost:8000", "unknown; bench can start: triton, flask"),
        ("triton@99.01", r"Triton '99\.01': bench cannot install this version; there are: 23\.07"),
        ("triton?bacthing=off", "unknown option 'bacthing'; triton has: args, batching, client, context, engine, image"),
        ("triton?batching=static", "option batching: expected off, dynamic, continuous, got 'static'"),
        ("flask?workers=0", "option workers: expected a whole number above 0"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(word: str, message: str) -> None:
    """Before a model is built or anything is downloaded."""
    with pytest.raises(UsageError, match=message):
        servers.check(words.parse(word))


@pytest.mark.parametrize(
    "word", ["triton", "triton@24.05?protocol=grpc", "flask?encoding=base64,port=5000", "flask?batching=continuous"]
)
def test_what_exists_is_accepted(word: str) -> None:
    """Words from the manual."""
    servers.check(words.parse(word))
