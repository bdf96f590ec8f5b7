"""`bench serve`: a server in the foreground, as a run would start it."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from msgspec.structs import replace as changed

from bench import endpoint, resources, servers, serving, words
from bench.errors import OK, RunError, UsageError
from bench.servers.base import OneModel
from bench.servers.process import describe_exit, tail
from bench.words import Word
from bench.workload import Model

Line = Callable[[str], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `bench serve`."""
    parser.add_argument("server", metavar="SERVER", help="triton[@VERSION] or flask, with ?option=value,... as in a target")
    parser.add_argument("--model", metavar="NAME", help="what to serve (default resnet50)")
    parser.add_argument("--precision", default="", help="of the model (default: the model's own default)")
    parser.add_argument("--preset", help="of the model (default full; tiny is for trying things out)")
    parser.add_argument("--weights", metavar="DIR|HF-ID", help="a Hugging Face checkpoint to build the model from")
    parser.add_argument("--workload", metavar="NAME", help="serve the model of this workload instead, or those of a mix")
    parser.add_argument("--model-repository", type=Path, metavar="DIR", help="serve --model NAME of a repository of your own")
    parser.add_argument("--port", type=int, help="for HTTP; Triton's gRPC and metrics have the next two (default: free ones)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append the server's output there (default: in the cache)")


def run(args: argparse.Namespace, out: Line, say: Line) -> int:
    """Serve until Ctrl-C, which is how this command is meant to end: it exits with 0."""
    word, models = _word(args), _models(args)
    (servers.check if args.model_repository is None else servers.check_own)(word)
    log = args.log or resources.cache_dir() / "logs" / f"serve-{word.kind}.log"
    serving.check_together(word, models, str(args.workload))
    for model in models:
        serving.check_model(word, model, args.model_repository)
    served = [serving.choose(word, model, args.model_repository, say) for model in models]
    with servers.start(word, servers.side_by_side(served), log, say) as server:
        for target in server.words.values():
            out(target)
        facts = " and ".join(dict.fromkeys(map(_facts, served)))
        say(f"serving {facts} with {server.facts.source}; log: {log}; Ctrl-C ends it")
        _wait_for_interrupt(word, server)
        say("stopping")
    return OK


def _facts(served: OneModel) -> str:
    about = endpoint.describe_model(served) or {}
    return " ".join(str(about[name]) for name in ("name", "precision", "preset") if name in about)


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
    for name, value in (("port", args.port), ("precision", args.precision)):
        if value in (None, ""):
            continue
        if word.options.get(name, str(value)) != str(value):
            raise UsageError(f"--{name} {value}: target {word} names another {name}")
        word = replace(word, options=word.options | {name: str(value)})
    return word


def _models(args: argparse.Namespace) -> list[Model]:
    """One, or those of a workload that is a mix."""
    if args.workload is None:
        if args.model_repository is not None and args.model is None:
            raise UsageError("--model-repository: --model NAME says which of its models to serve")
        models = [Model(args.model or "resnet50", precision="")]
    elif args.model is not None:
        raise UsageError("--model and --workload: one of the two; a workload names its model")
    else:
        models = [part.model for part in resources.load_workload(args.workload).parts]
    return [changed(m, preset=args.preset or m.preset, weights=args.weights or m.weights) for m in models]
