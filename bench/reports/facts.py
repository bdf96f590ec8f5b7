"""What a run says of its target, load and machine, read from dicts of any shape: missing keys are left out, never guessed."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench import lengths
from bench.lengths import Length
from bench.record import Run
from bench.reports.tables import amount, number, plain
from bench.workload import Workload

Facts = dict[str, str]

_SERVER = (("kind", "server"), ("version", "version"), ("backend", "backend"), ("source", "source"))
_DIGEST = 16  # of a digest, enough to tell two apart
_SHOWN = ("name", "asked", "word", "server", "model", "reference_model", "parts")


def target_name(run: Run) -> str:
    """What people call the target: its name, else the word that was asked for, else the one that was driven."""
    return next((plain(run.target[key]) for key in ("name", "asked", "word") if run.target.get(key)), "target")


def settings(run: Run) -> Facts:
    """How the target was set up, flat: server, version, its options (threads, workers, instances, ...), model.

    Of a server that bench did not start, what it says of itself stands in their place.
    """
    server = _table(run.target, "server")
    facts = {label: plain(server[key]) for key, label in _SERVER if server.get(key) not in (None, "")}
    if not server:
        facts["server"] = "not started by bench: its settings are not known"
    facts |= {key.replace("_", " "): value for key, value in flat(_table(server, "options"))}
    parts = _table(run.target, "parts")
    for who, of in [(f"{plain(name)} ", _table(parts, name)) for name in parts] or [("", run.target)]:
        for label, key in (("model", "model"), ("reference model", "reference_model")):
            model = {name: value for name, value in _table(of, key).items() if (name, value) != ("context", 0)}
            facts |= {f"{who}{label} {name}": value for name, value in flat(model)}
    facts |= {
        label: plain(run.target[key]) for key, label in (("word", "driven as"), ("asked", "asked for")) if run.target.get(key)
    }
    return facts if server else facts | said(run)


def said(run: Run) -> Facts:
    """What the endpoint says of itself, and whatever else is known of the target."""
    others = {key: value for key, value in run.target.items() if key not in _SHOWN}
    return {key.replace("_", " "): value for key, value in flat(others)}


def load_settings(run: Run, load: str) -> Facts:
    """How the target was driven; `load` is the summary's sentence for it."""
    workload = run.workload
    times = {"warm-up": f"{workload.warmup_ns / 1e9:g} s", "timeout": f"{workload.timeout_ns / 1e9:g} s"}
    said = {"load": plain(load)}
    parts = [(f"{plain(part.name)} " if workload.mix else "", part) for part in workload.parts]
    for who, part in parts:
        said |= {f"{who}payload": _payload(part), f"{who}distinct requests": str(part.payload.distinct)}
    said |= {"seed": str(workload.seed)} | times
    return said | {f"{who}compared replies": _compared(run, part) for who, part in parts} | _workers(run) | _generator(run)


def _workers(run: Run) -> Facts:
    """The processes that shared the load, and how well the clocks of other hosts are known."""
    workers = run.load.get("workers")
    if not isinstance(workers, list):
        return {}
    away = [worker for worker in workers if worker.get("host")]
    said = f"{len(workers) - len(away)} on this machine" + (f", {len(away)} on other hosts" if away else "")
    facts = {"workers": said}
    for worker in away:
        host = f"worker {worker.get('worker')} on {plain(worker['host'])}"
        within = worker.get("clock_within_ns")
        facts[host] = (
            "its clock could not be compared"
            if within is None
            else f"its clock is aligned to within {amount(within / 1e6, 'ms')}"
        )
    return facts


def _generator(run: Run) -> Facts:
    """What the generator reached, and took, against a server that does nothing."""
    found = _table(run.load, "ceiling")
    if not found.get("rate_hz"):
        return {}
    added = amount(found["added_p50_ns"] / 1e6, "ms")
    return {
        "generator": f"reaches {number(found['rate_hz'], 0)}/s here ({number(found['cpu_us'])} µs of CPU a request); "
        f"against a server that does nothing a request takes {added}"
    }


def _payload(workload: Workload) -> str:
    if (generate := workload.payload.generate) is None:
        return ", ".join(plain(spec) for spec in workload.input_specs())
    kind = "words" if generate.form == "text" else "token ids"
    said = f"prompts of {_length(generate.prompt_tokens)} {kind}, answers of {_length(generate.output_tokens)} tokens"
    if generate.prefix is not None:
        groups = f"{generate.prefix.groups} group{'s' if generate.prefix.groups > 1 else ''}"
        said += f", the first {generate.prefix.tokens} alike in {groups}"
    return said if generate.ignore_eos else f"{said} or until the model ends them"


def _length(length: Length) -> str:
    match length:
        case int():
            return str(length)
        case lengths.Uniform(low=low, high=high):
            return f"{low} to {high}"
        case lengths.Lognormal(median=median, low=low, high=high):
            return f"{low} to {high} (median {median:g})"
        case lengths.Values(values=values):
            return f"{min(values)} to {max(values)} (as listed)"


def _compared(run: Run, part: Workload) -> str:
    check = part.check
    if not check.reference:
        return "none: no reference"
    if part.generates:  # tokens are equal, but for near ties
        return f"1 in {check.every}"
    tolerance = run.load.get("tolerance", check.tolerance)
    return f"1 in {check.every}, within {tolerance[part.name] if isinstance(tolerance, dict) else tolerance:g}"


def load_report(run: Run) -> Facts:
    """What the load process said of itself at the end."""
    return dict(flat({key: value for key, value in run.load.items() if key not in ("messages", "batches")}))


def messages(run: Run) -> Facts:
    """The first message of each kind of error."""
    return dict(flat(_table(run.load, "messages")))


def environment(run: Run) -> Facts:
    """The fingerprint of the machine, flat."""
    return dict(flat(run.environment))


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, text) of every leaf of nested dicts and lists; lists of plain values stay on one line."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{plain(key)}" if path else plain(key))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping | list | tuple) for inner in value):
        for index, inner in enumerate(value):
            yield from flat(inner, f"{path}[{index}]")
    elif isinstance(value, list | tuple):
        yield path, ", ".join(_leaf(path, inner) for inner in value) or "none"
    else:
        yield path, _leaf(path, value)


def _leaf(path: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return amount(value, "bytes") if path.endswith("bytes") else f"{value:,}" if isinstance(value, int) else f"{value:g}"
    text = plain(value)
    return text[:_DIGEST] if path.endswith("digest") else text


def _table(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = holder.get(key)
    return inner if isinstance(inner, Mapping) else {}
