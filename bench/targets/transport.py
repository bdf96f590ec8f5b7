"""The way to an endpoint that runs already: its addresses, TLS as its word asks for it, and what goes wrong there in words."""

import contextlib
import re
import socket
import ssl
from typing import Any

from bench import headers, words
from bench.errors import RunError, UsageError
from bench.words import Word

PATIENCE_S = 10.0  # for anything asked outside the measurement
HTTP1, HTTP2 = "http/1.1", "h2"  # as ALPN names them
OPTIONS: dict[str, tuple[str, ...] | str] = {"tls": ("on", "unverified"), "ca": "file of PEM certificates"}
TLS_HINT = "; if it speaks TLS: ?tls=on"
_OPENSSL = re.compile(r"^\[\w+\] | \(_ssl\.c:\d+\)$")  # what stands around the words of an error that ssl has no name for
_NO_TLS = ("wrong version number", "record layer failure", "unexpected eof while reading", "packet length too long")


class TlsError(OSError):
    """TLS did not come about; `strerror` says in words why."""


def secure(word: Word) -> bool:
    """Whether a word asks for TLS."""
    return not word.options.keys().isdisjoint(OPTIONS)


def tls(word: Word, protocol: str) -> ssl.SSLContext | None:
    """The TLS that a word asks for, to carry `protocol`; None where it asks for none. UsageError."""
    unverified, ca = word.options.get("tls") == "unverified", word.options.get("ca")
    if not secure(word):
        return None
    if unverified and ca:
        raise UsageError(
            f"target {word}: option ca says which certificates to accept, tls=unverified accepts any; one of the two"
        )
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        reason = "no certificate in it can be read" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(f"target {word}: option ca: {ca}: {reason}; expected a file of PEM certificates") from None
    if unverified:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def check(word: Word) -> None:
    """UsageError where TLS cannot be had as the word asks for it, or its headers cannot be sent."""
    tls(word, HTTP1)
    if problem := headers.problem(word.headers, metadata=word.kind == "triton-grpc"):
        raise UsageError(f"target {word}: header {problem}")


def about(word: Word) -> dict[str, Any]:
    """What a run's record says of the way to its target."""
    said: dict[str, Any] = {}
    if secure(word):
        unverified = word.options.get("tls") == "unverified"
        said["tls"] = "unverified: any certificate was accepted" if unverified else "on: the server's certificate was verified"
    return said | ({"headers_sent": [name for name, _ in word.headers]} if word.headers else {})


def resolved(address: tuple[str, int], patience_s: float) -> tuple[int, Any]:
    """(family, socket address) of a host and port: of several that the host has, the first that takes a connection. OSError."""
    found = [(family, at) for family, _, _, _, at in socket.getaddrinfo(*address, type=socket.SOCK_STREAM)]
    for family, at in found if len(found) > 1 else ():
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.settimeout(patience_s)
            tried.connect(at)
            return family, at
    return found[0]


def connect(address: tuple[str, int], patience_s: float, context: ssl.SSLContext | None) -> socket.socket:
    """A connection that may be talked over, TLS begun where there is a `context`; OSError, of which TlsError is one."""
    plain = socket.create_connection(address, patience_s)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain if context is None else context.wrap_socket(plain, server_hostname=address[0])
    except OSError as error:
        plain.close()
        raise plainly(error) from None


def plainly(error: OSError) -> OSError:
    """The same error in words that say what to look for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsError(error.errno, f"its certificate is not accepted: {error.verify_message.rstrip('.')}")
    if isinstance(error, ssl.SSLError):
        reason = (getattr(error, "reason", None) or _OPENSSL.sub("", str(error))).lower().replace("_", " ")
        return TlsError(
            error.errno, f"TLS failed: {reason}" + ("; does the server speak TLS at this port?" * (reason in _NO_TLS))
        )
    return error


def unreachable(word: Word, address: tuple[str, int], error: OSError) -> RunError:
    """The error of a user whose endpoint could not be asked because of `error`."""
    there, error = words.place(address), plainly(error)
    if isinstance(error, TlsError):
        hint = "; ?tls=unverified accepts any, ?ca=FILE those of another issuer" * ("certificate is not" in str(error))
        return RunError(f"target {word}: {there}: {error.strerror}{hint}")
    if isinstance(error, socket.gaierror):
        return RunError(f"target {word}: host {address[0]!r} cannot be found: {error.strerror}")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        hint = "" if secure(word) else TLS_HINT
        return RunError(f"target {word}: what listens at {there} closed the connection without an answer{hint}")
    reason = f"no answer in {PATIENCE_S:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return RunError(f"target {word}: nothing answers at {there} ({reason}); is the server running?")
