"""What a person sees while bench works: lines, and a bar where there is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

PLAIN_EVERY_S = 10.0


class Terminal:
    """Speaks to a person on `stream` (stderr), so that stdout holds results alone. Calling it says one line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self.interactive = self._stream.isatty()

    def __call__(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[float, str], None]]:
        """A function (share done, words) that shows how far something is: a bar, or a plain line now and then."""
        if not self.interactive:
            yield self._plain(label)
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[words]}"))
        with Progress(*columns, console=Console(file=self._stream), transient=True) as bar:
            task = bar.add_task(label, total=1.0, words="")
            yield lambda share, words: bar.update(task, completed=min(share, 1.0), words=words)

    def _plain(self, label: str) -> Callable[[float, str], None]:
        said = time.monotonic()

        def show(share: float, words: str) -> None:
            nonlocal said
            if time.monotonic() - said >= PLAIN_EVERY_S:
                said = time.monotonic()
                self(f"{label}: {min(share, 1.0):.0%} {words}")

        return show
