"""The spine: a workload and an endpoint become a run on disk."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench import samplers, store
from bench.book import Book
from bench.clock import Clock
from bench.endpoint import Endpoint
from bench.errors import RunError
from bench.load import Files, Load, Plan, Progress
from bench.record import Run
from bench.workload import Workload

Sampler = Callable[[Path, dict[str, int]], AbstractContextManager[Any]]


def execute(
    workload: Workload,
    endpoint: Endpoint,
    folder: Path,
    *,
    load: Load,
    clock: Clock,
    environment: dict[str, Any],
    sampler: Sampler | None = samplers.record,
    progress: Callable[[Progress], None] = lambda p: None,
) -> Run:
    """Make one run in `folder` and return it as it then lies there.

    RunError when it could not be made; what was measured before is kept, as a partial run.
    """
    book = Book(folder, workload, endpoint, environment, clock)
    files = tuple(Files(one.model.onnx if one.model else None, one.reference) for one in endpoint.models)
    plan = Plan(workload, endpoint.word, folder, files)
    try:
        book.prepared(load.prepare(plan))
        with sampler(folder, _pids(endpoint, load)) if sampler else contextlib.nullcontext() as recording:
            outcome = load.run(book.started, progress)
        book.sampled(recording)
        book.finished(outcome, endpoint.exited())
    except BaseException as error:
        load.close()
        raise book.failed(_with_server_exit(error, endpoint)) from None
    finally:
        load.close()
    store.finish(folder)
    return store.load_run(folder)


def _with_server_exit(error: BaseException, endpoint: Endpoint) -> BaseException:
    """An error whose cause may be that the server ended says so."""
    if isinstance(error, RunError) and (status := endpoint.exited()) is not None:
        return RunError(f"{endpoint.name} has ended (exit status {status}); then: {error}")
    return error


def _pids(endpoint: Endpoint, load: Load) -> dict[str, int]:
    return {name: pid for name, pid in (("server", endpoint.pid), ("load", load.pid)) if pid is not None}
