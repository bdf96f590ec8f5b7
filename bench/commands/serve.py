"""`bench serve`: a server in the foreground, as a run would start it."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import resources, servers, words
from bench.errors import OK, RunError, UsageError
from bench.recipes.build import build
from bench.servers.process import describe_exit, tail
from bench.words import Word
from bench.workload import Model

Line = Callable[[str], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `bench serve`."""
    parser.add_argument("server", metavar="SERVER", help="triton[@VERSION] or flask, with ?option=value,... as in a target")
    parser.add_argument("--model", metavar="NAME", help="what to serve (default resnet50)")
    parser.add_argument("--precision", help="of the model (default fp32)")
    parser.add_argument("--preset", help="of the model (default full; tiny is for trying things out)")
    parser.add_argument("--workload", metavar="NAME", help="serve the model of this workload instead")
    parser.add_argument("--port", type=int, help="for HTTP; Triton's gRPC and metrics have the next two (default: free ones)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append the server's output there (default: in the cache)")


def run(args: argparse.Namespace, out: Line, say: Line) -> int:
    """Serve until Ctrl-C, which is how this command is meant to end: it exits with 0."""
    word = _word(args)
    servers.check(word)
    wanted = _model(args)
    log = args.log or resources.cache_dir() / "logs" / f"serve-{word.kind}.log"
    model = build(wanted.name, wanted.precision, wanted.preset, say)
    with servers.start(word, model, log, say) as server:
        for target in server.words.values():
            out(target)
        say(f"serving {model.name} {model.precision} {model.preset} with {server.facts.source}; log: {log}; Ctrl-C ends it")
        _wait_for_interrupt(word, server)
        say("stopping")
    return OK


def _wait_for_interrupt(word: Word, server: servers.Server) -> None:
    """RunError when the server ends by itself."""
    begin = server.log.stat().st_size
    try:
        while (status := server.exited(wait_s=3600.0)) is None:
            pass
    except KeyboardInterrupt:
        return
    raise RunError(f"{word} {describe_exit(status)}{tail(server.log, begin)}")


def _word(args: argparse.Namespace) -> Word:
    word = words.parse(args.server)
    if args.port is None:
        return word
    if "port" in word.options and word.options["port"] != str(args.port):
        raise UsageError(f"--port {args.port}: target {word} names another port")
    return replace(word, options=word.options | {"port": str(args.port)})


def _model(args: argparse.Namespace) -> Model:
    if args.workload is None:
        chosen = Model(name="resnet50")
    elif args.model is not None:
        raise UsageError("--model and --workload: one of the two; a workload names its model")
    else:
        chosen = resources.load_workload(args.workload).model
    return Model(args.model or chosen.name, precision=args.precision or chosen.precision, preset=args.preset or chosen.preset)
