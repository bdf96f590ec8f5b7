"""A server that streams by a script and keeps book of when it sent what: run as a process of its own, `KIND`.

It says its port on stdout, serves until stdin closes, and then says its book as JSON.
"""

import json
import socket
import sys
import threading
import time
from typing import Any

from bench.evidence.script import METADATA, MODEL, Book, play


class OpenAI:
    """As /v1/completions streams, with the usage in every piece."""

    content_type = "text/event-stream"
    end = b"data: [DONE]\n\n"

    def asked(self, path: str) -> Any:
        return {"object": "list", "data": [{"id": MODEL}]} if path == "/v1/models" else None

    def request(self, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, int]:
        return int(headers["x-request-id"][-16:], 16), body["max_tokens"]

    def piece(self, tokens: int, before: int) -> bytes:
        document = {"choices": [{"text": " a" * tokens}], "usage": {"completion_tokens": before + tokens}}
        return b"data: %s\n\n" % json.dumps(document).encode()


class Flask:
    """As the Flask baseline streams: a line a token, several lines in a piece; of an empty piece, an empty line."""

    content_type = "application/x-ndjson"
    end = b'{"done": true}\n'

    def asked(self, path: str) -> Any:
        return {"model": MODEL, "version": "1", "generates": True} if path == "/metadata" else None

    def request(self, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, int]:
        return int(headers["x-request-id"], 16), body["max_tokens"]

    def piece(self, tokens: int, before: int) -> bytes:
        return b"".join(b'{"token": %d}\n' % n for n in range(before, before + tokens)) or b"\n"


class Triton:
    """As generate_stream streams."""

    content_type = "text/event-stream"
    end = b""

    def asked(self, path: str) -> Any:
        return {"/v2": {"name": MODEL, "version": "1"}, f"/v2/models/{MODEL}/versions/1": METADATA}.get(path)

    def request(self, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, int]:
        return int(body["id"], 16), json.loads(body["sampling_parameters"])["max_tokens"]

    def piece(self, tokens: int, before: int) -> bytes:
        text = "".join(f" {n}" for n in range(before, before + tokens))
        document = {"model_version": "1", "num_output_tokens": tokens, "text_output": text}
        return b"data: %s\n\n" % json.dumps(document).encode()


HTTP: dict[str, Any] = {"openai": OpenAI(), "flask": Flask(), "triton-http": Triton()}


def serve_http(speaker: Any, book: Book) -> int:
    """Listen on a port of its own, a thread a connection; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_converse, args=(connection, speaker, book), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def _converse(connection: socket.socket, speaker: Any, book: Book) -> None:
    with connection:
        while (request := _request(connection)) is not None:
            arrived_ns, first, headers, body = request
            if not body:
                connection.sendall(_whole(speaker.asked(first.split()[1])))
                continue
            number, max_tokens = speaker.request(headers, json.loads(body))
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {speaker.content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            connection.sendall(head)
            for chunk in play(book, number, max_tokens, arrived_ns, lambda *piece: _chunk(speaker.piece(*piece))):
                connection.sendall(chunk)
            connection.sendall((_chunk(speaker.end) if speaker.end else b"") + b"0\r\n\r\n")


def _request(connection: socket.socket) -> tuple[int, str, dict[str, str], bytes] | None:
    """(when it had arrived, first line, headers, body) of the next request."""
    data = b""
    while piece := connection.recv(65536):
        now = time.perf_counter_ns()
        data += piece
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            first, *lines = head.decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            if len(body) == int(headers.get("content-length", 0)):
                return now, first, headers, body
    return None


def _whole(document: Any) -> bytes:
    body = json.dumps(document).encode()
    status = "200 OK" if document is not None else "404 Not Found"
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def main() -> None:
    """Serve one kind of stream."""
    (kind,) = sys.argv[1:]
    book: Book = {}
    if kind in HTTP:
        port = serve_http(HTTP[kind], book)
    else:
        from bench.evidence import scripted_grpc  # gRPC is heavy, and HTTP does without

        port = scripted_grpc.serve(book)
    print(port, flush=True)
    sys.stdin.read()
    print(json.dumps(book), flush=True)


if __name__ == "__main__":
    main()
