"""The command's side of the load process: starts it, hears it, ends it."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, ClassVar, Self

from bench.errors import BenchError, RunError, UsageError
from bench.headers import Header, hide
from bench.load import Crew, Outcome, Plan, Progress
from bench.load import plan as plans
from bench.targets.base import Facts
from bench.tensors import TensorSpec

STOP_LIMIT_S = 15.0


class LocustLoad:
    """A load carried out by Locust in a process of its own, or by a crew of several.

    As a context it keeps the process of one that is alone from run to run, until the context is left or a run is not whole.
    """

    _ceilings: ClassVar[list[dict[str, Any]]] = []  # of the generator, found by the runs of this command so far

    def __init__(self, crew: Crew = Crew(), say: Callable[[str], None] = lambda line: None) -> None:  # noqa: B008
        """`say` hears what a person should know while others are waited for."""
        self._crew, self._tell_user = crew, say
        self._process: subprocess.Popen[str] | None = None
        self._keeps = self._whole = False  # whether the process is to be kept, and has carried out its last plan
        self._headers: tuple[Header, ...] = ()
        self._log_path: Path | None = None  # of the last plan

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self._keeps = self._crew.alone
        return self

    def __exit__(self, *_: object) -> None:
        self._keeps = False
        self.close()

    def prepare(self, plan: Plan) -> Facts:
        if not self._whole or (self._process is not None and self._process.poll() is not None):
            self._end()
        self._headers, self._whole = plan.target.headers, False
        self._log_path = plan.folder / "load.log"
        with self._log_path.open("w") as log:
            if self._process is None:
                self._process = self._start(log)
        self._send(plans.to_json(replace(plan, ceilings=tuple(self._ceilings), crew=self._crew)))
        facts = self._expect("ready")
        specs = {
            key: tuple(TensorSpec(s["name"], s["datatype"], tuple(s["shape"])) for s in facts[key])
            for key in ("inputs", "outputs")
        }
        return Facts(facts["name"], facts["version"], specs["inputs"], specs["outputs"], facts["details"])

    def _start(self, log: IO[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.load.alone" if self._crew.alone else "bench.load.crew.master"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    def run(self, started: Callable[[int, int], None], progress: Callable[[Progress], None]) -> Outcome:
        self._send("go")
        try:
            begun = self._expect("started")
            started(begun["start_ns"], begun["window_ns"])
            for kind, news in self._news():
                if kind == "progress":
                    progress(Progress(**news))
                elif kind == "finished":
                    self._whole = True
                    return self._remembered(_outcome(news))
        except KeyboardInterrupt:
            return self._interrupt()
        raise self._died()

    def _remembered(self, outcome: Outcome) -> Outcome:
        ceiling = outcome.details.get("ceiling")
        if ceiling and ceiling not in self._ceilings:
            self._ceilings.append(ceiling)
        return outcome

    def _interrupt(self) -> Outcome:
        """The user wants to stop: what was measured is still written."""
        self._send("stop")
        assert self._process is not None
        patience = threading.Timer(STOP_LIMIT_S, self._process.kill)
        patience.start()
        try:
            for kind, news in self._news():
                if kind == "finished":
                    return _outcome(news)
        finally:
            patience.cancel()
        raise self._died()

    def close(self) -> None:
        if not (self._keeps and self._whole):
            self._end()
        if self._log_path is not None and self._log_path.exists() and not self._log_path.stat().st_size:
            self._log_path.unlink()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(STOP_LIMIT_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        process.stdout.close()  # type: ignore[union-attr]

    def _send(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its last words, on stdout or in its log, say why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _expect(self, wanted: str) -> dict[str, Any]:
        for kind, news in self._news():
            if kind == wanted:
                return news
        raise self._died()

    def _news(self) -> Iterator[tuple[str, dict[str, Any]]]:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            ((kind, news),) = json.loads(line).items()
            if kind != "ready":  # a model may be called as a header says; all else may be a server's words
                news = _hidden(news, self._headers)
            if kind == "error":
                raise _same_error(news)
            if kind == "say":
                self._tell_user(str(news["line"]))
                continue
            yield kind, news

    def _died(self) -> RunError:
        assert self._process is not None
        assert self._log_path is not None
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        lines = self._log_path.read_text(errors="replace").splitlines()[-15:]
        tail = hide("; its log ends:\n  " + "\n  ".join(lines), self._headers) if lines else ""
        return RunError(f"the load process {how} before the run was done{tail}")


def _hidden(news: Any, headers: tuple[Header, ...]) -> Any:
    """What the load process says, less the values of headers that a server has repeated in its replies."""
    match news:
        case str():
            return hide(news, headers)
        case dict():
            return {key: _hidden(value, headers) for key, value in news.items()}
        case list():
            return [_hidden(value, headers) for value in news]
    return news


def _same_error(news: dict[str, Any]) -> BenchError:
    kind = UsageError if news["exit_code"] == UsageError.exit_code else RunError
    return kind(news["message"])


def _outcome(news: dict[str, Any]) -> Outcome:
    start, end = news["window_ns"]
    return Outcome((start, end), news["interrupted"], news["details"])
