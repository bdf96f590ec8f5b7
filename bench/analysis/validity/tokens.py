"""Did the streams bring what was asked for, in pieces that can be counted?"""

from collections.abc import Iterator

from bench.analysis.estimate import Reason
from bench.analysis.measured import Measured
from bench.analysis.streaming import Streams
from bench.analysis.validity.asked import counts, first_message

CUT_OFF = ("broken", "stalled", "tokens")
TOLD = "told piece by piece"  # by the server; what a target calls any other way of counting tokens is an assumption
TOGETHER = 0.05  # of the gaps may be 0 because their tokens came in one piece


def cut_off(m: Measured) -> Iterator[Reason]:
    """Streams that broke off, fell silent, or came to another number of tokens."""
    found = {kind: m.errors[kind] for kind in CUT_OFF if kind in m.errors}
    if found:
        yield Reason(
            "cut_off",
            f"{sum(found.values()):,} of {m.requests:,} streams did not come as asked for ({counts(found)}): what they did "
            f"bring is in no number, and the numbers look better than they were; {first_message(m, found)}",
        )


def together(s: Streams | None) -> Iterator[Reason]:
    """Tokens that come several in a piece, so that the gaps between them are 0."""
    tokens, pieces = (0, 0) if s is None else (int(s.tokens.sum()), int(s.pieces.sum()))
    if s is not None and tokens - pieces > TOGETHER * len(s.gaps_ns):
        yield Reason(
            "pieces",
            f"the tokens came {tokens / pieces:.3g} in a piece, up to {s.largest_piece}, so that "
            f"{(tokens - pieces) / len(s.gaps_ns):.0%} of the gaps between them are 0, and the median of the gaps says little; "
            "go by TPOT and the longest gap",
            "tokens",
        )


def counted(m: Measured) -> Iterator[Reason]:
    """Token counts that the server did not tell."""
    ways = m.run.load.get("tokens_counted")
    assumed = {str(way): int(count) for way, count in ways.items() if way != TOLD} if isinstance(ways, dict) else {}
    if assumed:
        yield Reason(
            "tokens_assumed",
            f"the server did not tell how many tokens a piece held; they were taken for {'; '.join(assumed)}: TTFT and "
            "latency are as measured, but gaps, TPOT and tokens a second are only as good as that; use ?usage=each where the "
            "server knows it",
            "tokens",
        )
