"""What the measuring thread notes of a stream: when how much was there, and how it broke off."""

from collections.abc import Callable

from bench.load.connections import Seat
from bench.record import BROKEN, CLOSED, OK, STALLED, TIMEOUT
from bench.targets.base import Verdict
from bench.units import format_exact_duration
from bench.wire.line import Reply


def mark(seat: Seat, there: int, now: int, timeout_ns: int) -> None:
    """`there` bytes of the body are there; what they mean is found out on another thread. A silence begins anew."""
    if there > (seat.marks[-1][1] if seat.marks else 0):
        seat.marks.append((now, there))
        seat.deadline = now + timeout_ns


def whole(seat: Seat, verdict: Verdict, reply: Reply) -> Reply | None:
    """A reply that has come to its end, with the marks of it; None where it is no good one."""
    marks, seat.marks = seat.marks, []
    return reply._replace(marks=tuple(marks)) if verdict.error == OK else None


def broken(
    seat: Seat, verdict: Verdict, judge: Callable[[Reply, bytes], Verdict], timeout_ns: int
) -> tuple[int, Verdict, Reply | None]:
    """(status, verdict, what came of it) of a stream that did not end well; None where nothing of a good reply has come."""
    reply = seat.line.so_far if seat.line is not None else None
    if reply is None:
        return 0, verdict, None
    status = reply.head.status
    if (judged := judge(reply, seat.id)).error != OK:
        return status, judged, None
    if verdict.error == CLOSED:
        verdict = Verdict(BROKEN, verdict.message)
    elif verdict.error == TIMEOUT and seat.marks:
        silence = f"the stream fell silent for {format_exact_duration(timeout_ns)}, after {len(reply.body)} bytes"
        verdict = Verdict(STALLED, silence)
    return status, verdict, reply._replace(marks=tuple(seat.marks), ended=verdict.message)
