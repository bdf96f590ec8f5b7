"""One worker of a load as its master knows it: a process that was started here, or one that came from elsewhere."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.columns import RecordWriter
from bench.load.crew import clocks
from bench.load.crew.clocks import Exchange, Offset
from bench.load.crew.parcels import unpack


@dataclass(slots=True)
class Peer:
    """One worker, and what it has said."""

    index: int
    process: "subprocess.Popen[bytes] | None" = None  # of one that was started here
    log: Path | None = None
    who: str = ""  # what Locust calls it; "" until it has joined
    host: str = ""  # of one from elsewhere
    pid: int = 0
    said: dict[str, dict[str, Any]] = field(default_factory=dict)  # kind -> the last of it
    exchanges: list[Exchange] = field(default_factory=list)
    offset: Offset = clocks.NONE  # of its clock
    writer: RecordWriter | None = None  # of the records that one from elsewhere sends
    received: int = 0
    lost: str = ""  # how it ended before the load did

    @property
    def name(self) -> str:
        """For people."""
        return f"worker {self.index} ({f'host {self.host}, ' if self.host else ''}process {self.pid})"

    @property
    def working(self) -> bool:
        """Whether more is expected of it."""
        return not self.lost and "finished" not in self.said

    def take(self, parcel: dict[str, Any], folder: Path) -> None:
        """Write down records that came over the wire, by our clock."""
        records, chunks = unpack(parcel, self.offset.ns)
        if self.writer is None:
            self.writer = RecordWriter(folder / f"requests-{self.index}.arrows", streamed=chunks is not None)
        self.writer.write(records, chunks)
        self.received += len(records)

    def ended(self) -> str:
        """How its process ended; "" while it lives, or where it is on another host."""
        code = None if self.process is None else self.process.poll()
        if code is None:
            return ""
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    def last_words(self) -> str:
        """The end of what it wrote on stderr."""
        lines = self.log.read_text(errors="replace").splitlines()[-15:] if self.log is not None else []
        return "; its log ends:\n  " + "\n  ".join(lines) if lines else ""

    def let_go(self) -> None:
        """Nothing more is wanted of it: one that was started here ends."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def bury(self, patience_s: float) -> None:
        """Wait for a process that was let go, or kill it; an empty log goes."""
        if self.process is not None:
            try:
                self.process.wait(max(0.0, patience_s))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.log is not None and not self.log.stat().st_size:
            self.log.unlink()


def start(index: int, host: str, port: int, folder: Path) -> Peer:
    """Start worker `index` here, to join the master at `host` and `port`; its log is in `folder`."""
    path = folder / f"load-{index}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.load.crew.member", host, str(port), str(index)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    return Peer(index, process, path, pid=process.pid)
