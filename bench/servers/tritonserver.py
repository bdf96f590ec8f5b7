"""What every tritonserver is told, and asked, wherever its program comes from."""

from collections.abc import Iterable

from bench.servers.launch import HOST, Ports, ask


def arguments(repository: str, host: str, ports: Ports, server_id: str, more: tuple[str, ...]) -> list[str]:
    """tritonserver's arguments; `more` come last, and of two the last wins."""
    http, grpc, metrics = ports
    return [
        f"--model-repository={repository}",
        f"--id={server_id}",
        f"--http-address={host}",
        f"--http-port={http}",
        f"--grpc-address={host}",
        f"--grpc-port={grpc}",
        f"--metrics-address={host}",
        f"--metrics-port={metrics}",
        "--exit-timeout-secs=5",
        *more,
    ]


def options(facts: dict[str, str | int], args: tuple[str, ...]) -> dict[str, str | int]:
    """How it serves, for the record of a run."""
    return facts | ({"args": " ".join(args)} if args else {})


def ready(ports: Ports, server_id: str, models: Iterable[str]) -> bool:
    """Whether this very server, and not another on its port, serves the models."""
    status, about = ask(ports[0], "/v2")
    if status != 200 or about.get("name") != server_id:
        return False
    return ask(ports[0], "/v2/health/ready")[0] == 200 and all(ask(ports[0], f"/v2/models/{m}/ready")[0] == 200 for m in models)


def words(ports: Ports) -> dict[str, str]:
    """Its target words."""
    return {"http": f"triton-http://{HOST}:{ports[0]}", "grpc": f"triton-grpc://{HOST}:{ports[1]}"}
