"""The words for targets."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.words import Word, check_options, parse

OPTIONS = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_.:/-]{1,8}", fullmatch=True), max_size=3
)
SERVERS = st.builds(
    Word,
    kind=st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True),
    endpoint=st.just(False),
    version=st.from_regex(r"([A-Za-z0-9.]{1,6})?", fullmatch=True),
    options=OPTIONS,
)
ENDPOINTS = st.builds(
    Word,
    kind=st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True),
    endpoint=st.just(True),
    place=st.from_regex(r"([a-z0-9.:-]{1,12})?", fullmatch=True),
    options=OPTIONS,
)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("triton", Word("triton", False)),
        ("triton@24.07", Word("triton", False, version="24.07")),
        (
            "triton@2.48.0?batching=dynamic,instances=2",
            Word("triton", False, "", "2.48.0", {"batching": "dynamic", "instances": "2"}),
        ),
        ("flask?encoding=base64", Word("flask", False, options={"encoding": "base64"})),
        ("triton-http://10.0.0.7:8000/", Word("triton-http", True, "10.0.0.7:8000")),
        ("onnx://cuda:0?threads=2", Word("onnx", True, "cuda:0", options={"threads": "2"})),
        ("echo://", Word("echo", True)),
        (" flask ", Word("flask", False)),
    ],
)
def test_words_are_taken_apart(text: str, word: Word) -> None:
    """Names with a version, URLs with a place, both with options."""
    assert parse(text) == word


@given(st.one_of(SERVERS, ENDPOINTS))
def test_a_word_is_written_as_it_is_read(word: Word) -> None:
    """The word in a run's record names the target again."""
    assert parse(str(word)) == word


@pytest.mark.parametrize(
    "text",
    ["", "Triton", "triton@", "24.07", "two words", "HTTP://host:1", "://host", "triton-http:/host:8000", "@24.07", "?a=b"],
)
def test_what_is_no_word_is_refused_with_what_one_looks_like(text: str) -> None:
    """The message names the text and shows both forms."""
    with pytest.raises(
        UsageError, match=re.escape(f"target {text!r}: expected NAME[@VERSION][?option=value,...] or SCHEME://HOST:PORT")
    ):
        parse(text)


@pytest.mark.parametrize("pair", ["threads", "=2", "threads=", "threads=2,threads=3"])
def test_a_broken_option_is_refused_by_its_text(pair: str) -> None:
    """Without a name, without a value, or given twice."""
    with pytest.raises(UsageError, match=re.escape(f"option {pair.rpartition(',')[2]!r}: expected option=value")):
        parse(f"flask?{pair}")


@given(st.text())
def test_any_text_is_a_word_or_a_usage_error(text: str) -> None:
    """Nothing that can be typed ends in anything but one clear message."""
    try:
        assert parse(text).kind
    except UsageError as error:
        refused = str(error)
    else:
        refused = "target understood"
    assert refused.startswith("target ")


KNOWN: dict[str, Any] = {"batching": ("off", "dynamic"), "threads": "count", "note": "any text"}


@pytest.mark.parametrize("option", ["batching=off", "threads=4", "note=x", ""])
def test_options_the_target_has_are_accepted(option: str) -> None:
    """A choice, a count, free text, none at all."""
    check_options(parse(f"triton?{option}"), KNOWN)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("size=4", "unknown option 'size'; triton has: batching, note, threads"),
        ("batching=on", "option batching: expected off, dynamic, got 'on'"),
        ("threads=0", "option threads: expected a whole number above 0, got '0'"),
        ("threads=two", "option threads: expected a whole number above 0, got 'two'"),
    ],
)
def test_options_the_target_has_not_are_refused_with_those_it_has(option: str, message: str) -> None:
    """The message names the target, the option, and what exists."""
    with pytest.raises(UsageError, match=re.escape(f"target triton?{option}: {message}")):
        check_options(parse(f"triton?{option}"), KNOWN)


def test_a_target_without_options_says_so() -> None:
    """There is nothing to list."""
    with pytest.raises(UsageError, match="echo has: none"):
        check_options(parse("echo://?a=b"), {})


@pytest.mark.parametrize(
    ("text", "address"),
    [("flask://host:5000", ("host", 5000)), ("flask://host", ("host", 80)), ("flask://[::1]:5000", ("::1", 5000))],
)
def test_the_address_of_an_endpoint_has_a_default_port(text: str, address: tuple[str, int]) -> None:
    """A host alone gets the protocol's port."""
    assert parse(text).address(80) == address


@pytest.mark.parametrize("place", ["", ":5000", "host:", "host:http", "host:0", "host:65536"])
def test_a_place_that_is_no_address_is_refused(place: str) -> None:
    """The message shows what was expected and what was got."""
    with pytest.raises(UsageError, match=re.escape(f"expected flask://HOST:PORT, got {place!r} as host and port")):
        parse(f"flask://{place}").address(80)


def test_a_word_can_be_had_without_some_of_its_options() -> None:
    """What is left keeps its order."""
    assert str(parse("triton@1?a=1,b=2,c=3").without("b", "x")) == "triton@1?a=1,c=3"


SENT = (("Authorization", "Bearer secret"), ("hOST", "models.example"), ("X-Team", "blue"))


def test_headers_are_carried_and_not_shown() -> None:
    """Neither where the word is written nor where a traceback would show it."""
    word = replace(parse("triton-grpc://[::1]:1"), headers=SENT)
    assert "secret" not in f"{word} {word!r} {word.without()!r}"
    assert word.without("tls").headers == SENT
    assert parse(str(word)).headers == ()


def test_a_request_is_for_the_host_among_the_headers_or_for_the_word_s() -> None:
    """An address of IPv6 stands in brackets."""
    word = replace(parse("triton-grpc://[::1]:1"), headers=SENT)
    assert (word.authority(8001), word.fields()) == ("models.example", {"Authorization": "Bearer secret", "X-Team": "blue"})
    assert parse("triton-grpc://[::1]:8001").authority(8001) == "[::1]:8001"
    assert parse("triton-grpc://host:1").authority(8001) == "host:1"


@pytest.mark.parametrize("host", ["a" * 64, "a..b", ".a"])
def test_a_host_that_no_name_service_could_know_is_refused(host: str) -> None:
    """As no address, and not by an exception of the look-up."""
    with pytest.raises(UsageError, match="expected flask://HOST:PORT"):
        parse(f"flask://{host}:80").address(80)
