"""`openai://` against a server that is not ours: llama.cpp's own, on a tiny checkpoint written here; printed as Markdown.

python -m bench.evidence.openai_peer [--requests 64]
"""

import argparse
import http.client
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import answers, payloads, resources, runner, words
from bench import workload as workloads
from bench.analysis.streaming import of_records
from bench.clock import SystemClock
from bench.endpoint import Endpoint
from bench.errors import BenchError
from bench.evidence import gguf
from bench.load.process import LocustLoad
from bench.payloads import Prompt
from bench.record import ERRORS, OK, Run
from bench.servers.backend_env import make_environment
from bench.servers.base import Server, ServerFacts
from bench.servers.installs import Say, staging
from bench.servers.launch import HOST, READY_LIMIT_S, Ports, ask, launch
from bench.servers.process import Order
from bench.terminal import Terminal
from bench.workload import Workload

VERSION = "2026.10.11549"
USERS = 4
_PROGRAM = Path(__file__).with_name("llama_server.py")
_MODEL = "tiny"
_COLUMNS = (
    "asked through", "requests", "tokens asked", "tokens got", "largest chunk", "TTFT, median ms", "ITL, median ms", "errors",
    "texts as without streaming",
)  # fmt: skip
_CUT_LETTER = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to ask the server."""

    title: str
    api: str
    form: str  # of the prompts
    words_only: bool = True  # else letters come byte by byte, and the server keeps tokens back until it has a whole one


TRIALS = (
    Trial("/v1/completions, token ids", "completions", "tokens"),
    Trial("/v1/completions, texts", "completions", "text"),
    Trial("/v1/chat/completions", "chat", "text"),
    Trial("/v1/completions, letters in several tokens", "completions", "tokens", words_only=False),
)


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """See `bench.servers.launch.Plan`."""

    python: Path
    checkpoint: Path
    port_count: int = 1
    ready_limit_s: float = READY_LIMIT_S

    @property
    def facts(self) -> ServerFacts:
        return ServerFacts("openai", VERSION, f"xllamacpp {VERSION} from PyPI", "llama.cpp", {"slots": USERS})

    def order(self, ports: Ports, log: Path) -> Order:
        argv = [str(self.python), str(_PROGRAM), str(self.checkpoint), _MODEL, str(ports[0]), str(USERS)]
        return Order(argv=argv, log=str(log))

    def ready(self, ports: Ports, said: str) -> bool:
        return ask(ports[0], "/health")[0] == 200

    def words(self, ports: Ports) -> dict[str, str]:
        return {api: f"openai://{HOST}:{ports[0]}?api={api},ignore_eos=yes" for api in ("completions", "chat")}

    def root(self, pid: int) -> int:
        return pid


def environment(say: Say) -> Path:
    """The Python that has the server, in an environment of its own in the cache; made by pip unless it stands already."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = resources.cache_dir() / "peers" / f"python{version}-xllamacpp-{VERSION}"
    python = folder / "bin" / "python"
    if python.exists():
        return python
    with staging(folder, "fetches llama.cpp's server", say) as new:
        if python.exists():
            return python
        say(f"fetching llama.cpp's server: xllamacpp {VERSION} (34 MB)")
        make_environment(new, ["--no-deps", f"xllamacpp=={VERSION}"], "cannot make the environment of llama.cpp's server")
        new.rename(folder)
    return python


def workload(trial: Trial, vocabulary: int, requests: int) -> Workload:
    """Prompts and answers of many lengths, sent by as many users as the server has slots."""
    generate = {
        "prompt_tokens": {"distribution": "uniform", "low": 4, "high": 96},
        "output_tokens": {"distribution": "uniform", "low": 1, "high": 64},
        "vocabulary": vocabulary,
        "form": trial.form,
    }
    document = {
        "name": "openai-peer",
        "model": {"name": _MODEL},
        "payload": {"generate": generate, "distinct": 16},
        "load": {"arrivals": "closed", "users": USERS},
        "warmup": "0s",
        "duration": "60s",
        "requests": requests,
        "check": {"reference": False},
    }
    return workloads.from_builtins(document, "the peer's workload")


@contextmanager
def serving(trial: Trial, folder: Path, say: Say) -> Iterator[tuple[Server, int]]:
    """The server on a checkpoint of its own, and the size of that one's vocabulary."""
    checkpoint = folder / "tiny.gguf"
    vocabulary = gguf.write(checkpoint, words_only=trial.words_only)
    plan = LlamaServer(environment(say), checkpoint)
    with launch(words.parse("llama"), plan, folder / "server.log") as server:
        yield server, vocabulary


def measure(trial: Trial, folder: Path, requests: int, say: Say) -> tuple[Run, int, int]:
    """One run through the real load process; of how many answers the text was compared, and how many were the same."""
    with serving(trial, folder, say) as (server, vocabulary):
        asked = workload(trial, vocabulary, requests)
        word = words.parse(server.words[trial.api])
        endpoint = Endpoint(word, word, trial.title, pid=server.pid, exited=server.exited)
        into = folder / "run"
        into.mkdir()
        load, clock = LocustLoad(), SystemClock()
        run = runner.execute(asked, endpoint, into, load=load, clock=clock, environment={}, sampler=None)
        got, _ = answers.read(into / "answers.arrow")
        prompts = payloads.prompts(asked, asked.payload.generate) if asked.payload.generate else []
        same = [_same(got[n], unstreamed(word.address(80), trial, prompt)) for n, prompt in enumerate(prompts) if n in got]
    return run, len(same), sum(same)


def unstreamed(address: tuple[str, int], trial: Trial, prompt: Prompt) -> str:
    """What the same server answers to the same prompt in one piece."""
    document: dict[str, Any] = {"model": _MODEL, "max_tokens": prompt.max_tokens, "temperature": 0, "ignore_eos": True}
    if trial.api == "chat":
        document["messages"] = [{"role": "user", "content": prompt.text}]
    else:
        document["prompt"] = prompt.text or prompt.ids.tolist()
    connection = http.client.HTTPConnection(*address, timeout=30)
    path = "/v1/chat/completions" if trial.api == "chat" else "/v1/completions"
    connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
    choice = json.loads(connection.getresponse().read())["choices"][0]
    connection.close()
    return str(choice["message"]["content"] if trial.api == "chat" else choice["text"])


def _same(outputs: dict[str, np.ndarray], text: str) -> bool:
    # a letter that is not whole at the end is left out of a stream, and shown as cut without one
    streamed: bytes = outputs["text"][0]
    return streamed.decode().rstrip(_CUT_LETTER) == text.rstrip(_CUT_LETTER)


def row(trial: Trial, run: Run, compared: int, same: int) -> list[str]:
    """The cells of the table."""
    assert run.workload.payload.generate is not None
    prompts = payloads.prompts(run.workload, run.workload.payload.generate)
    wanted = sum(prompts[n].max_tokens for n in run.records["payload"])
    found = of_records(run, np.arange(len(run.records)))
    codes, counts = np.unique(run.records["error"][run.records["error"] != OK], return_counts=True)
    errors = ", ".join(f"{count} {ERRORS[code]}" for code, count in zip(codes, counts, strict=True))
    cells = (
        trial.title, len(run.records), wanted, found.tokens.sum(), found.largest_piece,
        _median_ms(found.ttft_ns()), _median_ms(found.gaps_ns), errors or "0", f"{same} of {compared}",
    )  # fmt: skip
    return [str(cell) for cell in cells]


def _median_ms(values_ns: np.ndarray) -> str:
    return f"{np.median(values_ns) / 1e6:.2f}" if len(values_ns) else "–"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, a row as soon as it is known; 1 where a row has an error, a wrong count or another text."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.openai_peer", description=__doc__)
    parser.add_argument("--requests", type=int, default=64)
    requests, say, fine = parser.parse_args(arguments).requests, Terminal(), True
    try:
        environment(say)
        sys.stdout.write(f"llama.cpp's own server (xllamacpp {VERSION} from PyPI), {USERS} slots, {USERS} users.\n\n")
        sys.stdout.write(_line(_COLUMNS) + _line(["---"] * len(_COLUMNS)))
        for trial in TRIALS:
            folder = Path(tempfile.mkdtemp(prefix="bench-peer-"))
            run, compared, same = measure(trial, folder, requests, say)
            shutil.rmtree(folder)  # after an error it stays, and the error says where
            cells = row(trial, run, compared, same)
            fine = fine and cells[2] == cells[3] and cells[7] == "0" and same == compared > 0
            for message in run.load["messages"].values():
                say(f"{trial.title}: {message}")
            sys.stdout.write(_line(cells))
            sys.stdout.flush()
    except BenchError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
