"""Channels for NVIDIA's gRPC client: to a server that speaks HTTP/2, with TLS and headers as its word asks for them."""

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import tritonclient.grpc as client
from tritonclient.grpc import InferenceServerClientPlugin

from bench import words
from bench.errors import RunError
from bench.targets import transport
from bench.wire import frames
from bench.wire.http2 import Http2Line
from bench.wire.line import ProtocolError
from bench.words import Word

PORT = 8001
_ALERT = b"\x15\x03"  # with which TLS begins to refuse what is no TLS
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
)  # fmt: skip


class Headers(InferenceServerClientPlugin):  # type: ignore[misc]
    """Puts headers into every request of a client of NVIDIA's."""

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = fields

    def __call__(self, request: Any) -> None:
        request.headers.update(self._fields)


class Channels:
    """Opens channels to the server at `word`, each a connection of its own: else all would share one and its flow control.

    RunError where no HTTP/2 server answers: grpcio would keep trying, and then say it in many words.
    """

    def __init__(self, word: Word) -> None:
        self._word, self._address = word, word.address(PORT)
        self._credentials: Any = None
        self._options: list[tuple[str, Any]] = list(_OPTIONS)
        authority, context = word.authority(PORT), transport.tls(word, transport.HTTP2)
        roots = self._greet(context)
        if context is not None:
            name = self._address[0] if context.check_hostname else self._name(roots)
            self._credentials = grpc.ssl_channel_credentials(roots.encode("latin-1"))
            self._options.append(("grpc.ssl_target_name_override", name))
            # grpcio lets an authority that is not in the certificate pass only without a port
            authority = authority if _host(authority) == name else _host(authority)
        self._options.append(("grpc.default_authority", authority))

    def open(self) -> Any:
        """A client on a channel of its own."""
        place = words.place(self._address)
        made = client.InferenceServerClient(place, creds=self._credentials, channel_args=self._options)
        made.register_plugin(Headers({name.lower(): value for name, value in self._word.fields().items()}))
        return made

    def _greet(self, context: ssl.SSLContext | None) -> str:
        """Hear a server say that it speaks HTTP/2; the certificates, as PEM, by which grpcio is to know it over TLS."""
        line, said = Http2Line(), b""
        try:
            with transport.connect(self._address, transport.PATIENCE_S, context) as connection:
                if isinstance(connection, ssl.SSLSocket) and connection.selected_alpn_protocol() != transport.HTTP2:
                    raise ProtocolError("it does not offer HTTP/2 over TLS (ALPN h2)")
                connection.sendall(line.opening())
                while len(said) < frames.HEAD_BYTES and (piece := connection.recv(4096)):
                    said += piece
                if len(said) < frames.HEAD_BYTES:
                    raise ProtocolError(f"it closed the connection after {len(said)} bytes")
                line.feed(said)
                return self._roots(connection, context)
        except ProtocolError as error:
            refused = context is None and (not said or said.startswith(_ALERT) or b"HTTPS" in said)
            hint = transport.TLS_HINT if refused else ""
            there = words.place(self._address)
            raise RunError(f"target {self._word}: what answers at {there} is no gRPC server: {error}{hint}") from None
        except OSError as error:
            raise transport.unreachable(self._word, self._address, error) from None

    def _roots(self, connection: Any, context: ssl.SSLContext | None) -> str:
        if context is None:
            return ""
        if ca := self._word.options.get("ca"):
            return Path(ca).read_text("latin-1")
        if context.check_hostname:  # what the handshake was verified by: grpcio would bring its own
            certificates = context.get_ca_certs(binary_form=True)
        else:  # grpcio cannot take any certificate: it is told to take this one
            certificates = [connection.getpeercert(binary_form=True)]
        return "".join(map(ssl.DER_cert_to_PEM_cert, certificates))

    def _name(self, shown: str) -> str:
        """A name in the certificate that the server has shown: its host's, where that is one, else the first."""
        context = ssl.create_default_context(cadata=shown)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.set_alpn_protocols([transport.HTTP2])
        try:
            with transport.connect(self._address, transport.PATIENCE_S, context) as connection:
                found: Any = connection.getpeercert()  # type: ignore[attr-defined]
        except OSError as error:
            raise RunError(
                f"target {self._word}: tls=unverified is not to be had over gRPC, whose library takes no such certificate: "
                f"{error.strerror}"
            ) from None
        subject = {key: value for part in found.get("subject", ()) for key, value in part}
        host = self._address[0]
        names = [value for _, value in found.get("subjectAltName", ())] or [subject.get("commonName", host)]
        return host if {host, f"*.{host.partition('.')[2]}"} & set(names) else str(names[0]).replace("*", "any")


def _host(authority: str) -> str:
    return urlsplit(f"//{authority}").hostname or authority
