"""The flags that say how targets are asked."""

import argparse
from typing import Any

import pytest

from bench.commands import target_flags
from bench.errors import UsageError
from bench.words import Word


def parsed(texts: str, *flags: str) -> list[Word]:
    """The words of these targets, as the flags want them."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    target_flags.add_headers(parser)
    target_flags.add_client(parser)
    return target_flags.parse_all(texts.split(), parser.parse_args(flags))


SENT = ("--header", "Authorization: secret", "--header", "Host: h")
HEADERS = (("Authorization", "secret"), ("Host", "h"))


@pytest.mark.parametrize("word", ["triton-http://h:1", "triton-grpc://h:1?tls=on", "openai://h", "flask://h:5000"])
def test_headers_go_to_an_endpoint_that_runs_already(word: str) -> None:
    """The word is otherwise as it was."""
    (made,) = parsed(word, *SENT)
    assert (str(made), made.headers) == (word, HEADERS)


@pytest.mark.parametrize("word", ["triton", "flask", "onnx://cpu", "echo://", "flask triton"])
def test_headers_for_nobody_are_refused(word: str) -> None:
    """A server that bench starts stands behind no gateway; the message has no value."""
    with pytest.raises(
        UsageError, match=r"--header goes with endpoints that run already: triton-http://, .*openai://"
    ) as error:
        parsed(word, *SENT)
    assert "secret" not in str(error.value)


def test_of_several_targets_those_get_the_headers_that_run_already() -> None:
    """A comparison with a server that bench starts is possible."""
    assert [word.headers for word in parsed("flask triton-http://h:1 triton-http://h:2", *SENT)] == [(), HEADERS, HEADERS]


@pytest.mark.parametrize("word", ["triton", "triton@24.07?protocol=grpc", "triton-http://h:1", "triton-grpc://h:1?ca=x"])
@pytest.mark.parametrize("client", ["lean", "tritonclient"])
def test_the_client_is_the_option_of_that_name(word: str, client: str) -> None:
    """Beside the others; the same said twice is no contradiction."""
    (made,) = parsed(word, "--client", client)
    assert made.options["client"] == client
    assert str(made.without("client")) == word
    assert parsed(str(made), "--client", client) == [made]


@pytest.mark.parametrize("word", ["flask", "flask://h", "openai://h", "onnx://cpu", "echo://", "flask onnx://cpu"])
@pytest.mark.parametrize("client", ["lean", "tritonclient"])
def test_a_client_is_refused_where_no_target_has_one_to_choose(word: str, client: str) -> None:
    """With those that have."""
    with pytest.raises(UsageError, match=f"--client {client} says how a Triton is asked: triton, triton-http://, triton-g"):
        parsed(word, "--client", client)


def test_of_several_targets_the_tritons_are_asked_by_the_client() -> None:
    """And a word that names another is refused."""
    assert [str(word) for word in parsed("flask triton", "--client", "tritonclient")] == ["flask", "triton?client=tritonclient"]
    with pytest.raises(UsageError, match=r"--client lean: target triton.client=tritonclient names another client"):
        parsed("flask triton?client=tritonclient", "--client", "lean")


@pytest.mark.parametrize("command", [("run", "resnet50", "--target"), ("workloads", "new", "--model", "m", "--target")])
def test_a_header_that_cannot_be_sent_is_one_line_without_its_value(command: tuple[str, ...], bench: Any) -> None:
    """Also where it is wrong only beside another, or over gRPC."""
    for flags, message in (
        (("--header", "Authorization", "--header", "secret"), "argument --header: expected 'Name: value', in quotes"),
        (("--header", "Content-Length: secret"), "argument --header: Content-Length: says how a request is carried"),
        (("--header", "A: secret", "--header", "a: secret"), "header a: given twice"),
        (("--header", "A: secret\xe6"), "header A: its value has a character that gRPC's metadata cannot have"),
    ):
        said = bench(*command, "triton-grpc://127.0.0.1:1", *flags)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert message in said.err
        assert "secret" not in said.err
