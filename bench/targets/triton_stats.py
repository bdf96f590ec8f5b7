"""Which batch sizes Triton executed, from its statistics (the statistics extension of KServe v2)."""

from collections.abc import Callable
from typing import Any

from bench.errors import RunError
from bench.targets.control import ask
from bench.words import Word
from bench.workload import Model


def over_http(word: Word, model_path: str) -> dict[int, int] | None:
    """Batch size -> executions since the model was loaded; None where the server does not say."""
    try:
        status, found = ask(word, word.address(8000), f"{model_path}/stats")
        return _executions(found["model_stats"]) if status == 200 else None
    except (RunError, LookupError, TypeError, ValueError):
        return None


def over_grpc(connect: Callable[[], Any], model: Model) -> dict[int, int] | None:
    """The same, asked by a client of tritonclient.grpc, which `connect` gives and which is closed after."""
    from tritonclient.utils import InferenceServerException

    try:
        connection = connect()
    except RunError:
        return None
    try:
        stats = connection.get_inference_statistics(model.name, model.version, as_json=True, client_timeout=10.0)
        return _executions(stats["model_stats"])
    except (InferenceServerException, LookupError, TypeError, ValueError):
        return None
    finally:
        connection.close()


def _executions(stats: Any) -> dict[int, int]:
    # protobuf's JSON leaves zeros out and writes 64-bit numbers as texts
    return {int(b["batch_size"]): int(b["compute_infer"].get("count", 0)) for b in stats[0].get("batch_stats", ())}
