"""What an OpenAI-style target finds out by one request before the run; every oddity here is one of a real server."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bench import words
from bench import workload as workloads
from bench.errors import RunError
from bench.payloads import prompts
from bench.targets import trial
from bench.targets.base import request_id
from bench.targets.openai import OpenAI
from bench.workload import Workload

PIECE = {"choices": [{"text": " one", "index": 0, "finish_reason": None}]}
END = {"choices": [{"text": "", "index": 0, "finish_reason": "length"}], "usage": {"completion_tokens": 1}}

Answer = Callable[[Any], None]


def stream(handler: Any, *pieces: dict[str, Any]) -> None:
    """Answer with a stream, each piece a chunk of its own."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for data in [*(json.dumps(piece).encode() for piece in pieces), b"[DONE]"]:
        event = b"data: " + data + b"\n\n"
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
    handler.wfile.write(b"0\r\n\r\n")


def whole(handler: Any, status: int, document: dict[str, Any]) -> None:
    """Answer in one piece."""
    body = json.dumps(document).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], str]]:
    """Starts a server that has the model `tiny` and answers completions as the test says; the place where it is."""
    monkeypatch.setattr(trial, "_CLOSING_S", 0.05)
    with ExitStack() as stack:

        def start(answer: Answer) -> str:
            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def do_GET(self) -> None:
                    known = {"/v1/models": {"data": [{"id": "tiny", "owned_by": "made"}]}}
                    whole(self, 200 if self.path in known else 404, known.get(self.path, {"error": "nothing there"}))

                def do_POST(self) -> None:
                    self.rfile.read(int(self.headers["Content-Length"]))
                    answer(self)

                def log_message(self, *args: Any) -> None:
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            for last in (server.server_close, thread.join, server.shutdown):
                stack.callback(last)
            return f"127.0.0.1:{server.server_port}"

        yield start


def workload(form: str = "tokens") -> Workload:
    generate = {"prompt_tokens": 4, "output_tokens": 8, "vocabulary": 100, "form": form}
    document = {
        "name": "made",
        "model": {"name": "tiny"},
        "payload": {"generate": generate, "distinct": 2},
        "load": {"arrivals": "closed"},
    }
    return workloads.from_builtins(document, "made.toml")


def target(place: str, form: str = "tokens") -> OpenAI:
    return OpenAI(words.parse(f"openai://{place}"), workload(form))


def heads(made: OpenAI) -> list[bytes]:
    generate = workload().payload.generate
    assert generate is not None
    return [bytes(request.head).lower() for request in made.requests(prompts(workload(), generate))]


def test_a_server_that_closes_after_each_stream_is_asked_to_beforehand(serve: Callable[[Answer], str]) -> None:
    """llama.cpp's server does, without a word in the head: every second request of a run would be lost."""

    def closing(handler: Any) -> None:
        stream(handler, PIECE, END)
        handler.close_connection = True

    made = target(serve(closing))
    assert made.probe().details["connections"] == "one a request, as the server closes them"
    assert not made.keeps_connections
    assert all(b"\r\nconnection: close\r\n" in head for head in heads(made))


def test_a_server_that_keeps_its_connections_is_not_asked_to_close_them(serve: Callable[[Answer], str]) -> None:
    """A connection for each request would be in every latency."""
    made = target(serve(lambda handler: stream(handler, PIECE, END)))
    assert made.probe().details["connections"] == "kept"
    assert made.keeps_connections
    assert not any(b"connection:" in head for head in heads(made))


def test_a_server_that_takes_no_token_ids_is_told_before_the_run(serve: Callable[[Answer], str]) -> None:
    """llama-cpp-python's answers 500 with several lines; the user hears them in one, and what to set instead."""
    place = serve(lambda handler: whole(handler, 500, {"error": {"message": "2 errors:\n  a\n  b", "type": "internal"}}))
    with pytest.raises(RunError, match=r"a trial request failed: HTTP 500: 2 errors: a b; .*payload\.generate\.form"):
        target(place).probe()
    with pytest.raises(RunError, match=r"HTTP 500: 2 errors: a b$"):
        target(place, "text").probe()


def test_a_refusal_without_a_reason_says_that_there_is_none(serve: Callable[[Answer], str]) -> None:
    """So answers a server that dislikes a header."""

    def refuse(handler: Any) -> None:
        handler.send_response(400)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with pytest.raises(RunError, match="HTTP 400: no reason given"):
        target(serve(refuse)).probe()


def test_a_server_that_does_not_stream_is_one_clear_error(serve: Callable[[Answer], str]) -> None:
    """All requests of the run would fail alike."""
    with pytest.raises(RunError, match="did not stream, though asked to"):
        target(serve(lambda handler: whole(handler, 200, PIECE))).probe()


def test_a_model_that_ends_before_its_first_token_is_no_error(serve: Callable[[Answer], str]) -> None:
    """How many tokens come depends on the prompt, which is another in the run."""
    assert target(serve(lambda handler: stream(handler, END | {"usage": {"completion_tokens": 0}}))).probe()


def test_the_trial_leaves_no_trace_in_what_the_run_counts(serve: Callable[[Answer], str]) -> None:
    """The run's record says by how many replies tokens were counted which way."""
    made = target(serve(lambda handler: stream(handler, PIECE, END)))
    made.probe()
    assert made.counted == {}


def test_every_request_has_an_id_that_is_a_uuid() -> None:
    """Servers with a middleware for correlation ids refuse another one."""
    made = target("127.0.0.1:1")
    generate = workload().payload.generate
    assert generate is not None
    head, id_at, *_ = made.requests(prompts(workload(), generate))[0]
    head[id_at : id_at + 16] = request_id(2**64 - 1)
    (line,) = [line for line in bytes(head).split(b"\r\n") if line.lower().startswith(b"x-request-id:")]
    assert uuid.UUID(line.split(b": ")[1].decode()).int == 2**64 - 1
