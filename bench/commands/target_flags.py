"""The flags that say how targets are asked: by which client, and with which headers."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from bench import headers, words
from bench.commands.arrival_flags import reads
from bench.errors import UsageError
from bench.targets import CLIENTS, NETWORK, TRITON
from bench.words import Word


def add_headers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--header", action="append", default=[], type=reads(headers.parse), metavar="'NAME: VALUE'",
                        help="send this header with everything that a running endpoint is asked, such as a gateway's "
                        "'Authorization: Bearer ...'; may be repeated, and its value is stored and shown nowhere")  # fmt: skip


def add_client(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--client", choices=CLIENTS, help="ask Triton by bench's own client (lean) or by NVIDIA's, as ?client=")


def parse(text: str, args: argparse.Namespace) -> Word:
    """The target word in `text`, asked as the flags say; UsageError where it cannot be."""
    (word,) = parse_all([text], args)
    return word


def parse_all(texts: Sequence[str], args: argparse.Namespace) -> list[Word]:
    """The same of several, where each flag must mean one of them at least."""
    asked = [words.parse(text) for text in texts]
    named = ", ".join(map(str, asked))
    if args.header:
        if not any(map(_runs_already, asked)):
            raise UsageError(f"target {named}: --header goes with endpoints that run already: {_schemes(NETWORK)}")
        asked = [replace(word, headers=tuple(args.header)) if _runs_already(word) else word for word in asked]
    client = getattr(args, "client", None)
    if client and not any(word.kind in ("triton", *TRITON) for word in asked):
        raise UsageError(f"target {named}: --client {client} says how a Triton is asked: triton, {_schemes(TRITON)}")
    return [_by(client, word) if client and word.kind in ("triton", *TRITON) else word for word in asked]


def _runs_already(word: Word) -> bool:
    return word.endpoint and word.kind in NETWORK


def _schemes(kinds: Sequence[str]) -> str:
    return ", ".join(f"{kind}://" for kind in kinds)


def _by(client: str, word: Word) -> Word:
    if word.options.get("client", client) != client:
        raise UsageError(f"--client {client}: target {word} names another client")
    return replace(word, options=word.options | {"client": client})
