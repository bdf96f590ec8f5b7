"""One connection that is talked over and waited for."""

from types import SimpleNamespace

import pytest

from bench.targets import transport
from bench.targets.talk import Talk
from bench.wire import http1
from bench.wire.line import WireRequest


class Slow:
    """A socket that takes eight bytes, is interrupted once, and then takes the rest; a reply is there."""

    def __init__(self) -> None:
        self.taken = b""
        self.interrupted = False

    def sendall(self, data: bytes) -> None:
        assert data == b""

    def send(self, data: memoryview) -> int:
        if self.taken and not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt
        taken = data if self.interrupted else data[:8]
        self.taken += taken
        return len(taken)

    def recv(self, size: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_what_was_interrupted_goes_on_with_its_own_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head is shared: another connection has put its id into it meanwhile."""
    socket, request = Slow(), WireRequest(bytearray(b"POST / id: 0123456789abcdef\r\n\r\n"), 11, b"")
    monkeypatch.setattr(transport, "connect", lambda *_: socket)
    talk = Talk(SimpleNamespace(address=("here", 1), line=http1.Http1Line), 1.0)
    with pytest.raises(KeyboardInterrupt):
        talk.send(request)
    assert not talk.sent
    request.head[11:27] = b"f" * 16
    assert talk.hear().body == b"ok"
    assert socket.taken == b"POST / id: 0123456789abcdef\r\n\r\n"
