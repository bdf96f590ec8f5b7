"""TLS on a socket that never blocks, with as much of a socket's methods as the engine calls."""

import select
import socket
import ssl
from collections.abc import Sequence

from bench.targets.transport import plainly
from bench.wire.line import Buffer

_JOINED = 1 << 18  # bytes of several buffers that are encrypted at once


class TlsSocket:
    """A connected or connecting TCP socket that talks TLS once `handshake` has said so.

    Its errors are OSError whose `strerror` says what was wrong in words; BlockingIOError where it would have to wait.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._socket: socket.socket | ssl.SSLSocket = plain
        self._context, self._host = context, host

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def getsockopt(self, level: int, option: int) -> int:
        return self._socket.getsockopt(level, option)

    def handshake(self) -> int:
        """Go on with the handshake: 0 when it is done, else the epoll events to wait for."""
        if not isinstance(self._socket, ssl.SSLSocket):
            self._socket = self._context.wrap_socket(self._socket, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        except OSError as error:
            raise plainly(error) from None
        return 0

    def pending(self) -> int:
        """Bytes that have been decrypted and not been taken: no epoll tells of them."""
        return self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0

    def recv(self, most: int) -> bytes:
        """What has come; b"" where the peer has closed."""
        try:
            return self._socket.recv(most)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLEOFError:
            return b""
        except OSError as error:
            raise plainly(error) from None

    def send(self, data: Buffer) -> int:
        """Encrypt and send; how many bytes of `data` were taken."""
        try:
            return self._socket.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except OSError as error:
            raise plainly(error) from None

    def sendmsg(self, buffers: Sequence[Buffer]) -> int:
        """The same of several buffers in a row."""
        joined = bytearray()
        for buffer in buffers:
            joined += buffer
            if len(joined) >= _JOINED:
                break
        return self.send(joined) if joined else 0
