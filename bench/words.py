"""The words for targets on the command line: `NAME[@VERSION][?option=value,...]` or a URL with the same options."""

import re
from dataclasses import dataclass, field, replace

from bench.errors import UsageError
from bench.headers import Header

_WORD = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9-]*)://(?P<place>[^?]*)|(?P<name>[a-z][a-z0-9_-]*)(?:@(?P<version>[^?]+))?)(?:\?(?P<options>.*))?"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A target word taken apart. `kind` is the scheme of an endpoint that runs already, or the name of a server to start."""

    kind: str
    endpoint: bool
    place: str = ""  # "host:port", "cpu", "cuda:0"
    version: str = ""
    options: dict[str, str] = field(default_factory=dict)
    headers: tuple[Header, ...] = field(default=(), repr=False)  # of the user's own; their values are shown nowhere

    def __str__(self) -> str:
        head = f"{self.kind}://{self.place}" if self.endpoint else self.kind + (f"@{self.version}" if self.version else "")
        tail = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{head}?{tail}" if tail else head

    def without(self, *names: str) -> "Word":
        """The same word less some options."""
        return replace(self, options={k: v for k, v in self.options.items() if k not in names})

    def address(self, default_port: int) -> tuple[str, int]:
        """(host, port) of `place`; UsageError where it is none."""
        try:
            return host_and_port(self.place, default_port)
        except ValueError:
            raise UsageError(f"target {self}: expected {self.kind}://HOST:PORT, got {self.place!r} as host and port") from None

    def authority(self, default_port: int) -> str:
        """Whom a request names as the one it is for: the Host among the headers, else host and port."""
        for name, value in self.headers:
            if name.lower() == "host":
                return value
        return place(self.address(default_port))

    def fields(self) -> dict[str, str]:
        """The headers but Host."""
        return {name: value for name, value in self.headers if name.lower() != "host"}


def host_and_port(text: str, default_port: int) -> tuple[str, int]:
    """(host, port) of "HOST:PORT" or "HOST"; ValueError says what was expected."""
    bare = ":" not in text or text.endswith("]")  # an IPv6 address has its colons in brackets
    host, _, port = (text, "", str(default_port)) if bare else text.rpartition(":")
    if not _is_host(host) or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"expected HOST:PORT, got {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def place(address: tuple[str, int]) -> str:
    """A host and port in one text."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_host(text: str) -> bool:
    try:
        return bool(text.encode("idna"))  # as it is looked up
    except UnicodeError:
        return False


def parse(text: str) -> Word:
    """The `Word` in `text`; UsageError says what a target word looks like."""
    match = _WORD.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"target {text!r}: expected NAME[@VERSION][?option=value,...] or SCHEME://HOST:PORT[?option=value,...]"
        )
    options: dict[str, str] = {}
    for pair in filter(None, (match["options"] or "").split(",")):
        key, sign, value = pair.partition("=")
        if not sign or not key or not value or key in options:
            raise UsageError(f"target {text!r}: option {pair!r}: expected option=value, each option once, separated by commas")
        options[key] = value
    if match["scheme"]:
        return Word(match["scheme"], True, match["place"].rstrip("/"), options=options)
    return Word(match["name"], False, version=match["version"] or "", options=options)


def check_options(word: Word, known: dict[str, tuple[str, ...] | str]) -> None:
    """Refuse options the target does not have, and values that are not among its choices (a str describes free values)."""
    for key, value in word.options.items():
        if key not in known:
            raise UsageError(f"target {word}: unknown option {key!r}; {word.kind} has: {', '.join(sorted(known)) or 'none'}")
        choices = known[key]
        if isinstance(choices, tuple) and value not in choices:
            raise UsageError(f"target {word}: option {key}: expected {', '.join(choices)}, got {value!r}")
        if choices == "count" and (not value.isdecimal() or int(value) < 1):
            raise UsageError(f"target {word}: option {key}: expected a whole number above 0, got {value!r}")
