"""The batch sizes that the server executed within the window, where it says so."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from bench.load.phases import NEVER, Phases

Executed = dict[int, int]


class Batches:
    """Asks each target when the window begins and when it ends, on threads of their own: a server may take long to answer.

    A server counts an execution after it has replied, so that either look may lack the last one of each instance, as it lacks
    those that are under way.
    """

    def __init__(self, targets: Sequence[Any]) -> None:
        self._ask: list[Callable[[], Executed | None]] = [getattr(target, "batches", dict) for target in targets]
        self._asked: list[threading.Thread] = []
        self._answers: list[list[Executed | None]] = [[None] * len(targets), [None] * len(targets)]

    def look(self, now: int, phases: Phases | None) -> None:
        """Ask where it is time to."""
        if phases is None:
            return
        for n, due_ns in enumerate((phases.window_ns, phases.end_ns)):
            if len(self._asked) == n and due_ns != NEVER and now >= due_ns:
                self._asked.append(threading.Thread(target=self._take, args=(n,), daemon=True))
                self._asked[n].start()

    def executed(self) -> list[dict[str, int]]:
        """Batch size -> how often it was executed between the two, of each target; empty where the server does not say."""
        if len(self._asked) < 1:
            return [{} for _ in self._ask]
        if len(self._asked) < 2:  # the load ended before the end of the window was looked for
            self._take(1)
        for thread in self._asked:
            thread.join()
        return [_between(before, after) for before, after in zip(*self._answers, strict=True)]

    def _take(self, n: int) -> None:
        self._answers[n] = [ask() for ask in self._ask]


def _between(before: Executed | None, after: Executed | None) -> dict[str, int]:
    if before is None or after is None:  # one look alone would tell of the server's whole life
        return {}
    executed = {size: count - before.get(size, 0) for size, count in sorted(after.items())}
    return {str(size): count for size, count in executed.items() if count > 0}
