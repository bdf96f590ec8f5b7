"""List, show and check workload files, and write new ones for models that a server has."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import draft, errors, mix, payloads, resources, targets
from bench import workload as workloads
from bench.commands import target_flags
from bench.errors import RunError, UsageError
from bench.words import Word
from bench.workload import Workload


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|check|new")
    actions.add_parser("list", help="the workloads there are")
    show = actions.add_parser("show", help="print a workload file")
    check = actions.add_parser("check", help="read workload files and say what is wrong with them")
    new = actions.add_parser("new", help="write a workload for a model on a server that runs, on stdout")
    new.add_argument("--target", required=True, metavar="URL", help="triton-http://HOST:PORT or triton-grpc://HOST:PORT, "
                     "which is any KServe v2 server")  # fmt: skip
    target_flags.add_headers(new)
    new.add_argument("--model", required=True, metavar="NAME", help="its name there")
    new.add_argument("--version", default="", metavar="V", help="one of its versions (default: the latest that is served)")
    show.add_argument("workload", help="a name, or a path to a .toml file")
    check.add_argument("workload", nargs="+", help="names, or paths to .toml files")


def run(args: argparse.Namespace, out: Callable[[str], None], say: Callable[[str], None]) -> int:
    match args.action:
        case "list":
            for name, path in resources.workload_names().items():
                out(f"{name:<16} {_described(path)}")
        case "show":
            out(_text(args.workload).rstrip())
        case "check":
            return _check(args.workload, out, say)
        case "new":
            out(_new(target_flags.parse(args.target, args), args.model, args.version, say).rstrip())
    return errors.OK


def _check(names: list[str], out: Callable[[str], None], say: Callable[[str], None]) -> int:
    code = errors.OK
    for name in names:
        try:
            workload = resources.load_workload(name)
            parts = [_said(part) for part in workload.parts]
        except UsageError as error:
            say(f"bench: {error}")
            code = error.exit_code
            continue
        if not workload.mix:
            out(f"{name}: ok: {parts[0]}")
            continue
        out(f"{name}: ok: a mix of {len(parts)}")
        for part, share, said in zip(workload.mix, mix.shares(workload), parts, strict=True):
            out(f"  {part.name}: {100 * share:.3g}% of the requests: {said}")
    return code


def _said(workload: Workload) -> str:
    made = f"{workload.payload.distinct} distinct requests"
    return f"model {workload.model.name}, {_largest(workload):,} bytes a request, {made}"


def _largest(workload: Workload) -> int:
    """Bytes of the largest request; UsageError where a file holds other requests than the workload states."""
    if not any(i.file for i in workload.payload.inputs.values()):
        return workloads.payload_bytes(workload)
    return max(sum(map(_bytes, request.values())) for request in payloads.make(workload) if isinstance(request, dict))


def _bytes(array: np.ndarray) -> int:
    return sum(map(len, array.ravel().tolist())) if array.dtype.kind == "O" else array.nbytes


def _new(word: Word, name: str, version: str, say: Callable[[str], None]) -> str:
    """A workload file for a model that runs; UsageError for a target that cannot tell, RunError for a model that cannot."""
    if word.kind == "triton-http":
        from bench.targets import kserve as server
    elif word.kind == "triton-grpc":
        from bench.targets import kserve_grpc as server  # type: ignore[no-redef]
    else:
        raise UsageError(f"target {word}: expected triton-http://HOST:PORT or triton-grpc://HOST:PORT, whose server tells "
                         "what its models take")  # fmt: skip
    targets.check(word)
    served = server.describe(word, name, version)
    version = version or max(served.versions, key=_rank, default="")
    if not server.is_ready(word, name, version):
        raise RunError(f"target {word}: model {name!r}{f' version {version}' if version else ''} is not ready")
    config = server.configuration(word, name, version)
    about = (str(word), name, version)
    if "text_input" in {i.name for i in served.inputs} and "text_output" in {o.name for o in served.outputs}:
        return draft.generates(*about, ids=config is not None and "slots" in config.parameters)  # as models that bench builds
    if config is not None and config.decoupled:
        raise RunError(
            f"target {word}: model {name!r} answers a request with several replies (decoupled) and takes no text_input: bench "
            "measures one reply to tensors, or tokens streamed for a prompt"
        )
    free = all(spec.shape[:1] == (-1,) for spec in served.inputs)
    try:
        text = draft.tensors(
            *about,
            served.inputs,
            served.outputs,
            batched=config.max_batch > 0 if config else free,
            optional=config.optional if config else (),
        )
    except ValueError as error:
        raise RunError(f"target {word}: model {name!r}: {error}") from None
    if draft.CHANGE in text:
        say(f"to do before it runs: fill in what is marked {draft.CHANGE}")
    return text


def _rank(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdecimal() else (-1, version)


def _described(path: Path) -> str:
    try:
        return resources.load_workload(str(path.absolute())).description
    except UsageError as error:
        return f"(broken: {error})"


def _text(name: str) -> str:
    resources.load_workload(name)  # shows only what can be used
    return resources.workload_path(name).read_text(encoding="utf-8")
