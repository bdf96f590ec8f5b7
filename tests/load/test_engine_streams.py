"""The engine and streamed replies, on its own thread against a scripted server."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bench import payloads
from bench.load.engine import Engine
from bench.load.phases import Phases
from bench.load.recorder import Recorder
from bench.record import ERRORS
from bench.slo import Nanoseconds
from bench.testing import MS, make_workload
from bench.workload import Check, Generate, Payload, Workload

LIMIT_S = 20.0  # a wait this long means that it will never come
TOKENS = 4  # asked for in every request


@dataclass(slots=True)
class Ended:
    """An engine that has ended, its records in the order of the ids, and {id: (times, tokens)} of their pieces."""

    engine: Engine
    recorder: Recorder
    records: np.ndarray
    pieces: dict[int, tuple[list[int], list[int]]]
    target: Any

    def errors(self) -> list[str]:
        return [ERRORS[code] for code in self.records["error"]]

    def tokens(self) -> list[list[int]]:
        return [self.pieces[id_][1] for id_ in sorted(self.pieces)]


def workload(**changes: Any) -> Workload:
    """One user who asks for four tokens three times."""
    fields: dict[str, Any] = {
        "payload": Payload(generate=Generate(prompt_tokens=5, output_tokens=TOKENS), distinct=2),
        "warmup_ns": Nanoseconds(0),
        "requests": 3,
        "timeout_ns": Nanoseconds(60 * 10**9),
        "check": Check(every=1),
    }
    return make_workload(**(fields | changes))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


@pytest.fixture
def run(serve: Any, streaming: Any, pool: Any, written: Any) -> Iterator[Callable[..., Ended]]:
    """Carries out a workload against a script."""
    engines: list[Engine] = []

    def carry_out(
        script: Any, made: Workload | None = None, meanwhile: Callable[[Engine], None] = lambda engine: None
    ) -> Ended:
        made = made or workload()
        target, prompts = streaming(serve(script).address), payloads.make(made)
        requests = pool(target, made, requests=prompts)
        recorder = Recorder(requests)
        engines.append(Engine(requests, made, recorder))
        engine = engines[-1]
        for _ in range(made.load.connections):
            engine.open_seat()
        wait_for(engine.ready)
        meanwhile(engine)
        engine.begin(Phases.of(made, time.perf_counter_ns() + 5 * MS))
        wait_for(lambda: engine.finished)
        engine.join()
        assert engine.failure is None
        kept = written(recorder)
        return Ended(engine, recorder, np.sort(kept.records, order="id"), kept.streams(), target)

    yield carry_out
    for engine in engines:
        engine.stop() if not engine.finished else None
        engine.join()


def head(x: Any, extra: bytes = b"Transfer-Encoding: chunked\r\n") -> None:
    x.send(b"HTTP/1.1 200 OK\r\nX-Request-Id: %016x\r\n%s\r\n" % (x.request.id, extra))


def piece(x: Any, text: bytes) -> None:
    x.send(b"%x\r\n%s\r\n" % (len(text), text))


def in_chunks(*texts: bytes) -> Any:
    """A script that sends each text as a chunk, and the end."""

    def script(x: Any) -> None:
        head(x)
        for text in texts:
            piece(x, text)
        x.send(b"0\r\n\r\n")

    return script


def test_every_piece_has_its_time_and_its_tokens_also_an_empty_one(run: Any) -> None:
    """An empty first piece, three tokens in one, then the last: times rise, from the send to the end of the reply."""
    ended = run(in_chunks(b"0\n", b"3\n", b"1\nend\n"))
    assert ended.errors() == [""] * 3
    assert ended.tokens() == [[0, 3, 1]] * 3
    for n, record in enumerate(ended.records):
        times = ended.pieces[n][0]
        assert times == sorted(times)
        assert record["start_ns"] < times[0] <= times[-1] <= record["end_ns"]


def test_a_user_goes_on_over_the_same_connection_when_the_stream_has_ended(run: Any) -> None:
    """Not at its first piece, and without a new connection."""
    turns: list[int] = []

    def script(x: Any) -> None:
        turns.append(x.request.turn)
        in_chunks(b"2\n", b"2\nend\n")(x)

    ended = run(script)
    assert turns == [0, 1, 2]
    assert np.all(ended.records["start_ns"][1:] >= ended.records["end_ns"][:-1])
    assert ended.engine.reconnects == 0


def test_each_reply_is_taken_apart_with_the_prompt_that_it_answers(run: Any) -> None:
    """Payloads go in turn."""
    made = workload()
    ended = run(in_chunks(b"4\nend\n"), made)
    prompts = payloads.make(made)
    assert [p.ids.tolist() for p in ended.target.prompts] == [prompts[n % 2].ids.tolist() for n in range(3)]  # type: ignore[union-attr]


def test_a_piece_that_comes_in_two_parts_is_there_with_the_second(run: Any) -> None:
    """The first half of a line carries nothing; the time is when the second was sent, or later."""
    sent: list[int] = []

    def script(x: Any) -> None:
        head(x)
        x.send(b"4\r\n4")
        time.sleep(0.02)
        sent.append(time.perf_counter_ns())
        x.send(b"\nen\r\n3\r\nd\n")
        x.send(b"\n\r\n0\r\n\r\n")

    ended = run(script)
    assert ended.errors() == [""] * 3
    assert all(times[0] >= at for (times, _), at in zip(ended.pieces.values(), sent, strict=True))


def test_a_chunk_counts_when_its_bytes_are_there_not_when_it_is_whole(run: Any) -> None:
    """A server may send a line and the rest of its chunk later."""
    engine: list[Engine] = []
    seen: list[bool] = []

    def script(x: Any) -> None:
        head(x)
        x.send(b"6\r\n4\n")
        wait_for(lambda: any(seat.marks for seat in engine[0]._connections.seats.values()))
        seen.append(True)
        x.send(b"end\n\r\n0\r\n\r\n")

    ended = run(script, meanwhile=engine.append)
    assert ended.tokens() == [[4]] * 3
    assert seen == [True] * 3


@pytest.mark.parametrize("extra", [b"Content-Length: 10\r\n", b""])
def test_a_stream_needs_no_chunks(run: Any, extra: bytes) -> None:
    """Of a stated length, or until the server closes."""

    def script(x: Any) -> None:
        head(x, extra)
        x.send(b"1\n")
        x.send(b"2\n1\nend\n")
        x.close() if not extra else None

    ended = run(script)
    assert ended.errors() == [""] * 3
    assert ended.tokens() == [[1, 2, 1]] * 3


def closes(x: Any) -> None:
    head(x)
    piece(x, b"0\n2\n")
    x.close()


def closes_after_the_head(x: Any) -> None:
    head(x)
    x.close()


def closes_at_once(x: Any) -> None:
    x.close()


def falls_silent(x: Any) -> None:
    head(x)
    piece(x, b"1\n")
    x.wait()


def says_nothing_after_the_head(x: Any) -> None:
    head(x)
    x.wait()


def says_nothing(x: Any) -> None:
    x.wait()


def ends_early(x: Any) -> None:
    in_chunks(b"2\nend\n")(x)


def ends_without_an_end(x: Any) -> None:
    in_chunks(b"4\n")(x)


def talks_too_much(x: Any) -> None:
    in_chunks(b"3\n", b"3\nend\n")(x)


def says_error(x: Any) -> None:
    in_chunks(b"2\n", b"error\n")(x)


def says_error_and_closes(x: Any) -> None:
    head(x)
    piece(x, b"2\nerror\n")
    x.close()


def is_unavailable(x: Any) -> None:
    x.reply(status="503 Service Unavailable", body=b"4\nend\n")


def is_unavailable_and_closes(x: Any) -> None:
    x.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\n4\n")
    x.close()


def breaks_the_protocol(x: Any) -> None:
    head(x)
    x.send(b"2\r\n3\n\r\nxyz\r\n")


def cannot_be_read(x: Any) -> None:
    in_chunks(b"2\n", b"two\n", b"end\n")(x)


@pytest.mark.parametrize(
    ("script", "error", "status", "tokens", "words"),
    [
        (closes, "broken", 200, [0, 2], "after 4 bytes of its body"),
        (closes_after_the_head, "broken", 200, [], "after 0 bytes of its body"),
        (closes_at_once, "closed", 0, [], "before the reply began"),
        (falls_silent, "stalled", 200, [1], "fell silent for 300ms, after 2 bytes"),
        (says_nothing_after_the_head, "timeout", 200, [], "no reply within 300ms"),
        (says_nothing, "timeout", 0, [], "no reply within 300ms"),
        (ends_early, "tokens", 200, [2], "came to 2 tokens, asked for were 4"),
        (ends_without_an_end, "broken", 200, [4], "no end"),
        (talks_too_much, "tokens", 200, [3, 3], "came to 6 tokens, asked for were 4"),
        (says_error, "status", 200, [2], "the server said error"),
        (says_error_and_closes, "status", 200, [2], "the server said error"),
        (is_unavailable, "status", 503, [], "HTTP 503"),
        (is_unavailable_and_closes, "status", 503, [], "HTTP 503"),
        (breaks_the_protocol, "protocol", 200, [3], "chunk size"),
        (cannot_be_read, "protocol", 200, [], "cannot be taken apart: ValueError"),
    ],
)
def test_a_stream_that_fails_is_recorded_with_its_kind_and_with_what_came(
    run: Any, script: Any, error: str, status: int, tokens: list[int], words: str
) -> None:
    """Each of three requests ends as the same kind of error, the first of which says what was seen; the user goes on."""
    timeout_ns = Nanoseconds(300 * MS if error in ("timeout", "stalled") else 60 * 10**9)
    ended = run(script, workload(timeout_ns=timeout_ns))
    assert ended.errors() == [error] * 3
    assert list(ended.records["status"]) == [status] * 3
    assert ended.tokens() == [tokens] * 3
    assert set(ended.recorder.messages) == {ERRORS.index(error)}
    assert words in ended.recorder.messages[ERRORS.index(error)]
    assert ended.recorder.errors == ended.recorder.done == 3
    assert set(ended.records["check"]) == {0}


def test_a_stream_may_take_longer_than_the_timeout_as_long_as_it_is_not_silent(run: Any) -> None:
    """The timeout is the longest silence: four pieces, each within it, together beyond it."""

    def script(x: Any) -> None:
        head(x)
        for _ in range(4):
            time.sleep(0.3)
            piece(x, b"1\n")
        piece(x, b"end\n")
        x.send(b"0\r\n\r\n")

    ended = run(script, workload(timeout_ns=Nanoseconds(1000 * MS), requests=1))
    assert ended.errors() == [""]
    assert ended.records["end_ns"][0] - ended.records["start_ns"][0] > 1000 * MS


def test_a_stream_under_way_at_the_end_is_waited_for(run: Any) -> None:
    """It is bounded by its silences: neither the window's end nor two timeouts after it cut it off."""

    def script(x: Any) -> None:
        head(x)
        for _ in range(16):
            time.sleep(0.15)
            piece(x, b"1\n")
        piece(x, b"end\n")
        x.send(b"0\r\n\r\n")

    made = workload(
        payload=Payload(generate=Generate(prompt_tokens=5, output_tokens=16), distinct=2),
        requests=None,
        duration_ns=Nanoseconds(1500 * MS),
        timeout_ns=Nanoseconds(400 * MS),
    )
    ended = run(script, made)
    assert ended.errors() == [""]
    assert ended.engine.unsent == 0


def test_a_stream_without_an_end_is_recorded_when_it_is_given_up(run: Any) -> None:
    """It is never silent, so that no timeout ends it; it must not go missing."""

    def script(x: Any) -> None:
        head(x)
        with contextlib.suppress(OSError):
            while True:
                time.sleep(0.05)
                piece(x, b"1\n")

    made = workload(requests=None, duration_ns=Nanoseconds(300 * MS), timeout_ns=Nanoseconds(200 * MS))
    ended = run(script, made)
    assert ended.errors() == ["stalled"]
    assert len(ended.pieces[0][0]) > 2
    assert ended.engine.unsent == 0


def test_a_request_after_a_broken_stream_is_good_again(run: Any) -> None:
    """On a new connection, without anything left of the old reply."""
    ended = run(lambda x: closes(x) if x.request.id == 1 else in_chunks(b"4\nend\n")(x))
    assert ended.errors() == ["", "broken", ""]
    assert ended.tokens() == [[4], [0, 2], [4]]
    assert all(record["start_ns"] < ended.pieces[n][0][0] <= record["end_ns"] for n, record in enumerate(ended.records))
    assert ended.engine.reconnects == 1
