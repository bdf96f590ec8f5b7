"""The way to an endpoint: TLS as the word asks for it, addresses, and what goes wrong, one line each."""

import errno
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import words
from bench.errors import RunError, UsageError
from bench.targets import channels, check, transport
from bench.targets.control import ask
from bench.wire import frames

Script = Callable[[Any], None]
Listen = Callable[..., int]


def says(*pieces: bytes) -> Script:
    """Hears a request, says this, and closes."""

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        for piece in pieces:
            connection.sendall(piece)
        connection.close()

    return script


def is_silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def drips(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X" * 10**6:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def closes(connection: socket.socket) -> None:
    connection.close()


def half_closes(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    is_silent(connection)


SETTINGS = frames.frame(frames.SETTINGS, 0, 0)
ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
HTTPS_PORT = b"HTTP/1.1 400 No\r\nContent-Length: 57\r\n\r\n<h1>The plain HTTP request was sent to HTTPS port</h1>   "


def asked(text: str) -> str:
    """What a user is told who asks this target who it is; a 200 and what it said where all is well."""
    word = words.parse(text)
    check(word)
    try:
        if word.kind == "triton-grpc":
            channels.Channels(word).open().close()
            return "well"
        status, said = ask(word, word.address(8000), "/v2")
        return f"{status} {said}"
    except RunError as error:
        told = str(error)
    assert told.startswith(f"target {word}: ")
    assert "\n" not in told
    return told


@pytest.mark.parametrize(
    ("script", "http", "grpc"),
    [
        (closes, "closed the connection without an answer; if it speaks TLS: ?tls=on", "closed the connection"),
        (half_closes, "closed the connection without an answer", "no gRPC server: it closed the connection after 0 bytes; if"),
        (is_silent, "no answer in 0.3 s", "no answer in 0.3 s"),
        (drips, "no answer in 0.3 s", ""),
        (says(b"SSH-2.0-Open\r\n"), "no HTTP reply to GET /v2: not an HTTP/1.1 reply: ", "not an HTTP/2 server"),
        (says(b"\n\0"), "not an HTTP/1.1 reply: it begins with b'\\n\\x00'", "it closed the connection after 2 bytes"),
        (says(ALERT), "if it speaks TLS: ?tls=on", "it closed the connection after 7 bytes; if it speaks TLS: ?tls=on"),
        (says(ALERT + b"\n" * 9), "if it speaks TLS: ?tls=on", "not an HTTP/2 server: it begins with b'\\x15\\x03"),
        (says(HTTPS_PORT), "the server speaks TLS at this port, and was asked in plain text: ?tls=on", "if it speaks TLS: "),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), "closed within a reply, after 2 bytes", ""),
        (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), "closed within a reply, after 2 bytes", ""),
        (says(b"HTTP/1.1 2", b"00 OK\r\nContent-Len", b"gth: 2\r\n\r\n[", b"]"), "200 []", ""),
        (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n"), "200 []", ""),
        (says(b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy"), "503 busy", "not an HTTP/2 server: it begins with b'HTTP"),
        (says(SETTINGS + frames.frame(frames.GOAWAY, 0, 0, bytes(7) + b"\x0b")), "not an HTTP/1.1 reply", "ENHANCE_YOUR_CALM"),
        (says(SETTINGS[:4], SETTINGS[4:]), "not an HTTP/1.1 reply", "well"),
    ],
)  # fmt: skip
def test_a_server_that_does_not_speak_as_it_should_is_one_line(
    script: Script, http: str, grpc: str, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a run, over either protocol: nothing waits for ever, nothing ends in a traceback."""
    monkeypatch.setattr(transport, "PATIENCE_S", 0.3 if script in (is_silent, drips) else 20.0)
    port = listen(script)
    assert http in asked(f"triton-http://127.0.0.1:{port}")
    if grpc:
        assert grpc in asked(f"triton-grpc://127.0.0.1:{port}")


def greets(connection: Any) -> None:
    """As much as a server says over either protocol when it is asked who it is."""
    first = connection.recv(65536)
    connection.sendall(SETTINGS if first.startswith(b"PRI") else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
    is_silent(connection)


CA = "?ca={}/ca.pem"


@pytest.mark.parametrize(
    ("certificate", "options", "http", "grpc"),
    [
        ("localhost", CA, "200 []", "well"),
        ("localhost", "?tls=unverified", "200 []", "well"),
        ("elsewhere", "?tls=unverified", "200 []", "well"),
        ("selfsigned", "?tls=unverified", "200 []", "well"),
        ("selfsigned", "?ca={}/selfsigned.pem", "certificate is not accepted: Hostname mismatch", ""),
        ("expired", "?tls=unverified", "200 []", "takes no such certificate: its certificate is not accepted: certificate has"),
        ("localhost", "?tls=on", "certificate is not accepted: unable to get local issuer certificate; ?tls=unverified", ""),
        ("elsewhere", CA, "certificate is not accepted: Hostname mismatch, certificate is not valid for 'localhost'; ?tls", ""),
        ("expired", CA, "certificate is not accepted: certificate has expired", ""),
        ("selfsigned", CA, "certificate is not accepted: self-signed certificate", ""),
    ],
)  # fmt: skip
def test_a_certificate_is_accepted_as_the_word_says(
    certificate: str, options: str, http: str, grpc: str, listen: Listen, certificates: Path
) -> None:
    """Or it is said why not, in the same words over both protocols where nothing else is said here."""
    port = listen(greets, certificate)
    assert http in asked(f"triton-http://localhost:{port}{options.format(certificates)}")
    assert (grpc or http) in asked(f"triton-grpc://localhost:{port}{options.format(certificates)}")


def test_an_address_may_stand_in_a_certificate_too(listen: Listen, certificates: Path) -> None:
    """Where there is no name for a host."""
    port = listen(greets, "localhost")
    assert asked(f"triton-http://127.0.0.1:{port}{CA.format(certificates)}") == "200 []"
    assert asked(f"triton-grpc://127.0.0.1:{port}{CA.format(certificates)}") == "well"


@pytest.mark.parametrize("script", [says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), half_closes])
def test_a_server_without_tls_is_asked_about(script: Script, listen: Listen) -> None:
    """It answers in plain text, or not at all."""
    port = listen(script)
    for scheme in ("triton-http", "triton-grpc"):
        assert "TLS failed: " in (said := asked(f"{scheme}://localhost:{port}?tls=on"))
        assert said.endswith("; does the server speak TLS at this port?")


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)])
def test_grpc_needs_a_server_that_agrees_on_http2(protocols: tuple[str, ...], listen: Listen, certificates: Path) -> None:
    """As its library does, which says it in fewer words."""
    port = listen(greets, "localhost", protocols)
    wanted = ("it does not offer HTTP/2 over TLS (ALPN h2)", "TLS failed: tlsv1 alert no application protocol")
    assert any(text in asked(f"triton-grpc://localhost:{port}{CA.format(certificates)}") for text in wanted)


@pytest.mark.parametrize("scheme", ["triton-http", "triton-grpc"])
def test_a_host_that_nobody_knows_is_said_to_be_unknown(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for once; the message names it."""
    looked_up = []

    def unknown(host: str, *rest: Any, **more: Any) -> Any:
        looked_up.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "host 'no-such-host.invalid' cannot be found: Name or service" in asked(f"{scheme}://no-such-host.invalid:8000")
    assert looked_up == ["no-such-host.invalid"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("ca={}/missing.pem", "option ca: .*/missing.pem: No such file or directory; expected a file of PEM certificates"),
        ("ca={}", "option ca: .*: Is a directory; expected a file of PEM certificates"),
        ("ca={}/no.pem", "option ca: .*/no.pem: no certificate in it can be read; expected a file of PEM certificates"),
        ("ca={}/no.pem,tls=unverified", "option ca says which certificates to accept, tls=unverified accepts any; one of"),
        ("tls=off", "option tls: expected on, unverified, got 'off'"),
    ],
)
@pytest.mark.parametrize("scheme", ["triton-http", "triton-grpc", "openai", "flask"])
def test_tls_that_cannot_be_had_is_refused_before_anything_is_asked(
    scheme: str, options: str, message: str, tmp_path: Path
) -> None:
    """Of every target on a network."""
    (tmp_path / "no.pem").write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(UsageError, match=message):
        check(words.parse(f"{scheme}://localhost:1?{options.format(tmp_path)}"))


@pytest.mark.parametrize("word", ["onnx://cpu", "echo://"])
def test_what_is_not_on_a_network_has_no_tls(word: str) -> None:
    """It is an option like any other that there is not."""
    with pytest.raises(UsageError, match="unknown option 'tls'"):
        check(words.parse(f"{word}?tls=on"))


def addresses(monkeypatch: pytest.MonkeyPatch, *found: tuple[int, str, int]) -> None:
    """A host that has these: (family, address, port)."""
    listed = [(family, socket.SOCK_STREAM, 6, "", (host, port)) for family, host, port in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **more: listed)


def test_of_several_addresses_the_first_that_takes_a_connection_is_used(
    listen: Listen, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a "localhost" that is ::1 first, where a server listens on 127.0.0.1 alone."""
    port, dead = listen(greets), int(nobody.rpartition(":")[2])
    addresses(monkeypatch, (12345, "::1", dead), (socket.AF_INET, "127.0.0.1", dead), (socket.AF_INET, "127.0.0.1", port))
    assert transport.resolved(("several", 1), 20) == (socket.AF_INET, ("127.0.0.1", port))
    addresses(monkeypatch, (socket.AF_INET, "127.0.0.1", dead), (socket.AF_INET, "127.0.0.1", dead))
    assert transport.resolved(("several", 1), 20) == (socket.AF_INET, ("127.0.0.1", dead))


def test_a_single_address_is_not_tried(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that carries nothing would be a surprise to the server."""
    addresses(monkeypatch, (socket.AF_INET, "127.0.0.1", 1))
    monkeypatch.setattr(socket, "socket", lambda *made: pytest.fail("a socket was made"))
    assert transport.resolved(("single", 1), 20) == (socket.AF_INET, ("127.0.0.1", 1))


def test_an_error_of_tls_without_a_name_is_told_in_its_own_words() -> None:
    """Without what OpenSSL puts around them."""
    nameless = ssl.SSLError(1, "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)")
    assert str(transport.plainly(nameless).strerror) == "TLS failed: tlsv1 alert no application protocol"


def test_errors_of_the_system_stay_as_they_are() -> None:
    """Only TLS's own are put in other words."""
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    assert transport.plainly(refused) is refused


def test_a_record_says_how_the_target_was_reached() -> None:
    """And nothing where there is nothing to say."""
    assert transport.about(words.parse("flask://h")) == {}
    assert transport.about(words.parse("flask://h?tls=on")) == {"tls": "on: the server's certificate was verified"}
    assert transport.about(words.parse("flask://h?tls=unverified")) == {"tls": "unverified: any certificate was accepted"}
