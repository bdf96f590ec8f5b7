"""Headers of the user's own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.headers import hide, parse, problem

SECRETS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="*"), min_size=8)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("Authorization: Bearer abc", ("Authorization", "Bearer abc")),
        ("x-team:blue", ("x-team", "blue")),
        ("Host: \tmodels.example:443 ", ("Host", "models.example:443")),
        ("host: [::1]:443", ("host", "[::1]:443")),
        ("X-Url: http://a:1/?b=c: d", ("X-Url", "http://a:1/?b=c: d")),
        ("X-Name: Ægir", ("X-Name", "Ægir")),
    ],
)
def test_a_header_is_a_name_and_a_value(text: str, header: tuple[str, str]) -> None:
    """Spaces around the value are not part of it; more colons are."""
    assert parse(text) == header


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("secret", "expected 'Name: value', in quotes"),
        ("sec ret: x", "expected 'Name: value', in quotes"),
        (": secret", "expected 'Name: value'"),
        (":authority: secret", "names with a colon in front are HTTP/2's own (Host stands for :authority)"),
        ("Authorization:", "Authorization: no value"),
        ("X-A: secret\r\nX-B: secret", "X-A: its value has a line end"),
        ("X-A: secret\r", "X-A: its value has a line end"),
        ("X-A: secret\x00", "X-A: its value has a line end, or another character that no header can have"),
        ("X-A: secret Ω", "not Latin-1"),
        *((f"{name}: secret", f"{name}: says how a request is carried") for name in
          ("Content-Length", "transfer-encoding", "Connection", "TE", "Upgrade", "Expect", "grpc-timeout")),
        *((f"{name}: secret", f"{name}: bench sets it itself") for name in
          ("Content-Type", "x-request-id", "Accept-Encoding", "Inference-Header-Content-Length")),
        *((f"Host: {value}", "Host: expected HOST or HOST:PORT") for value in ("[", "http://secret", "a b", "h:x", "[::1")),
        ("trace-bin: secret", "trace-bin: stands for bytes in gRPC"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_the_user_s_is_refused_by_its_name(text: str, message: str) -> None:
    """The value is in no message."""
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        parse(text)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("headers", "metadata", "expected"),
    [
        ((("A", "x"), ("B", "x")), True, ""),
        ((("X-Team", "x"), ("x-team", "y")), False, "x-team: given twice"),
        ((("X-Name", "Ægir"), ("User-Agent", "mine")), False, ""),
        ((("X-Name", "Ægir"),), True, "X-Name: its value has a character that gRPC's metadata cannot have"),
        ((("X-Name", "a\tb"),), True, "X-Name: its value has a character"),
        ((("User-Agent", "mine"),), True, "User-Agent: gRPC sets it itself"),
    ],
)
def test_what_is_wrong_with_several_or_over_grpc_is_told(
    headers: tuple[tuple[str, str], ...], metadata: bool, expected: str
) -> None:
    """Names are the same in any case."""
    assert problem(headers, metadata).startswith(expected)
    assert bool(problem(headers, metadata)) == bool(expected)


@given(SECRETS, st.lists(st.tuples(st.text(max_size=9), st.integers(0, 30), st.integers(8, 60)), max_size=5))
def test_of_a_secret_no_eight_characters_in_a_row_are_left(value: str, said: list[tuple[str, int, int]]) -> None:
    """Whatever piece of it stands wherever, as often as it does."""
    shown = hide("".join(before + value[start:end] for before, start, end in said), [("Authorization", value)])
    for part in value.split():
        for at in range(len(part) - 7):
            assert part[at : at + 8] not in shown


def test_what_is_hidden_is_the_secret_alone() -> None:
    """Not the scheme in front of it, not a host, not a short value that may stand anywhere."""
    sent = [("Authorization", "Bearer sesame-1234"), ("Host", "models.example"), ("X-Debug", "1")]
    text = "HTTP 401: Bearer sesame-1234 is unknown at models.example (1 of 1): 'Bearer sesame-12"
    assert hide(text, sent) == "HTTP 401: Bearer *** is unknown at models.example (1 of 1): 'Bearer ***"
    assert hide("********", [("X-A", "********")]) == "***"
    assert hide("unknown token 9f86d081884c7d65", [("X-Auth", "key=9f86d081884c7d659a2feaa0")]) == "unknown token ***"
