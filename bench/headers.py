"""Headers of the user's own, sent with whatever a target is asked. Their values are secrets: no message here shows one."""

import re
from collections.abc import Iterable
from itertools import groupby

Header = tuple[str, str]  # name, value

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]+")
_HOST = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_PLAIN = re.compile(r"[\x20-\x7e]+")  # what gRPC's metadata may hold
_FRAMING = frozenset((
    "connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
))  # fmt: skip
_OURS = frozenset((
    "accept", "accept-encoding", "content-encoding", "content-type", "inference-header-content-length", "x-request-id",
))  # fmt: skip
_SECRET = 8  # characters; what is shorter may stand in any text by chance
_HIDDEN = "***"


def parse(text: str) -> Header:
    """The header in `Name: value`; ValueError where it is none, or one that is not the user's to set."""
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    if text.startswith(":"):
        raise ValueError("expected 'Name: value': names with a colon in front are HTTP/2's own (Host stands for :authority)")
    if not colon or not _NAME.fullmatch(name):
        raise ValueError("expected 'Name: value', in quotes, the name of letters, digits, '-', '_' and '.'")
    if not value:
        raise ValueError(f"{name}: no value; expected 'Name: value', in quotes")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{name}: its value has a line end, or another character that no header can have (not Latin-1)")
    if name.lower() == "host" and not _HOST.fullmatch(value):
        raise ValueError(f"{name}: expected HOST or HOST:PORT")
    _check_name(name)
    return name, value


def _check_name(name: str) -> None:
    lower = name.lower()
    if lower in _FRAMING or lower.startswith("grpc-"):
        raise ValueError(f"{name}: says how a request is carried, which is the protocol's own affair")
    if lower in _OURS:
        raise ValueError(f"{name}: bench sets it itself, as its requests and the replies to them need it")
    if lower.endswith("-bin"):
        raise ValueError(f"{name}: stands for bytes in gRPC, and bench sends texts")


def problem(headers: Iterable[Header], metadata: bool) -> str:
    """What is wrong with several together, or (`metadata`) with one in a call by gRPC; "" where nothing is."""
    seen = set[str]()
    for name, value in headers:
        if name.lower() in seen:
            return f"{name}: given twice"
        if metadata and not _PLAIN.fullmatch(value):
            return f"{name}: its value has a character that gRPC's metadata cannot have (not printable ASCII)"
        if metadata and name.lower() == "user-agent":
            return f"{name}: gRPC sets it itself"
        seen.add(name.lower())
    return ""


def hide(text: str, headers: Iterable[Header]) -> str:
    """`text` without the values, in case a server has said them in its reply; also where it said or kept only a piece of one.

    Every run of it goes that has `_SECRET` or more characters in a row in common with a value.
    """
    if len(text) < _SECRET:  # as of every good reply
        return text
    parts = (part for name, value in headers if name.lower() != "host" for part in value.split())
    secret = {part[at : at + _SECRET] for part in parts for at in range(len(part) - _SECRET + 1)}
    hidden = bytearray(len(text))  # 1 where a character is part of one
    for at in range(len(text) - _SECRET + 1):
        if text[at : at + _SECRET] in secret:
            hidden[at : at + _SECRET] = b"\1" * _SECRET
    runs = groupby(range(len(text)), key=hidden.__getitem__)
    return "".join(_HIDDEN if is_secret else "".join(text[at] for at in run) for is_secret, run in runs)
