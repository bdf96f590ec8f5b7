"""What a log says of a failure."""

from pathlib import Path

import pytest

from bench.servers.process import describe_exit, said, tail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log file."""
    return tmp_path / "server.log"


def test_a_log_is_read_from_where_this_start_began(log: Path) -> None:
    """A log that is appended to holds earlier failures, which are not this one's."""
    log.write_bytes(b"earlier\nnow \xff\n")
    assert said(log, begin=8) == "now �\n"
    assert tail(log, begin=8) == f"; its log ({log}) says:\n  now �"


def test_the_line_that_matters_is_found_among_tables_and_notices(log: Path) -> None:
    """Triton prints its options after the reason why it cannot start."""
    log.write_text(
        "I1124 02:04:20.697198 1 server.cc:1] started\n"
        "E1124 02:04:22.298781 1 model_lifecycle.cc:641] failed to load\n"
        "+------+\n| Option | Value |\n+------+\n\n"
        "Traceback (most recent call last):\n"
        '  File "model.py", line 3, in initialize\n'
        "    raise ValueError\n"
        "error: creating server\n"
    )
    assert tail(log) == (
        f"; its log ({log}) says:\n  E1124 02:04:22.298781 1 model_lifecycle.cc:641] failed to load\n  error: creating server"
    )


def test_of_a_long_log_the_beginning_and_the_end_are_shown(log: Path) -> None:
    """A wrong flag is named in the first line and followed by a page of usage; most failures stand at the end."""
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    shown = tail(log).splitlines()[1:]
    assert shown == ["  line 0", "  line 1", "  line 2", "  ...", *(f"  line {n}" for n in range(88, 100))]


def test_a_line_of_any_length_fits_a_message(log: Path) -> None:
    """A model's whole configuration in one line does not bury the error."""
    log.write_text("x" * 10_000)
    assert len(tail(log)) < 600


def test_an_empty_log_is_said_to_be_empty(log: Path) -> None:
    """No reader looks for lines that are not there."""
    log.touch()
    assert tail(log) == f"; its log ({log}) says nothing"


def test_an_end_by_a_signal_is_told_from_an_exit() -> None:
    """Somebody killed it, or it gave up: different things to look for."""
    assert describe_exit(-9) == "was ended by signal 9"
    assert describe_exit(3) == "ended with exit status 3"
