"""Whether a run did what it was asked to do: the reasons for INVALID, and warnings that leave it valid.

A module for each kind of doubt: `asked` (what was asked and answered), `sends` (the generator), `steady` (the server's state),
`machine` (who else used it), `tokens` (streams). Each reason names the claim that it spoils.
"""

from itertools import chain

from bench.analysis.estimate import Reason
from bench.analysis.measured import Measured, measure
from bench.analysis.streaming import Streams, streams
from bench.analysis.validity import asked, machine, sends, steady, tokens
from bench.record import Run


def validity(run: Run) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """(reasons, warnings) of a run; it is INVALID when there is a reason."""
    m = measure(run)
    return judge(m, streams(m))


def judge(m: Measured, s: Streams | None) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """(reasons, warnings) of a run that was measured already."""
    late = sends.lateness(m, s)
    warming, drifting = steady.found(m)
    reasons = (
        asked.status(m), asked.failures(m), asked.workers_lost(m), asked.server_exited(m), asked.server_changed(m),
        sends.reasons(m, late), warming, machine.reasons(m),
    )  # fmt: skip
    warnings = (
        asked.timeouts(m), tokens.cut_off(m), asked.unchecked(m), asked.server_silent(m), asked.elsewhere(m),
        sends.warnings(m, late), machine.warnings(m), drifting, asked.few(m), tokens.together(s), tokens.counted(m),
    )  # fmt: skip
    return tuple(chain.from_iterable(reasons)), tuple(chain.from_iterable(warnings))
