"""Building a model: its recipe becomes a folder of the Triton model repository in the cache, whole or not at all."""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import resources
from bench.errors import RunError, UsageError
from bench.recipes import catalog, graph, repository, weights
from bench.recipes.catalog import BuiltModel, built, find
from bench.recipes.graph import Architecture
from bench.recipes.recipe import Recipe, choose
from bench.recipes.reference import reference

__all__ = ["BuiltModel", "build", "built", "find", "reference"]

Say = Callable[[str], None]
SPARE_BYTES = 2_000_000  # beside the model: reference answers, configuration


def build(name: str, precision: str = "fp32", preset: str = "full", say: Say = lambda text: None) -> BuiltModel:
    """The model, built unless it stands already, with the reference answers of the workload that bears its name.

    UsageError lists the models, precisions and presets that exist; RunError where the cache cannot hold it.
    """
    recipe, architecture = choose(name, precision, preset)
    model = find(name, precision, preset)
    if model is None:
        try:
            with _alone(f"{name} {precision} {preset}", say) as staging:
                model = find(name, precision, preset) or _make(staging, name, precision, preset, recipe, architecture, say)
        except OSError as error:
            raise RunError(f"model {name}: cannot build it in {resources.cache_dir()}: {error.strerror or error}") from None
    _answer_own_workload(model, say)
    return model


@contextmanager
def _alone(label: str, say: Say) -> Iterator[Path]:
    """The path of a folder to build in, on the cache's own disk, held against other processes that build the same model."""
    staging = resources.cache_dir() / "building" / label.replace(" ", "-")
    staging.parent.mkdir(parents=True, exist_ok=True)
    with staging.with_name(f"{staging.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that builds {label}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(staging, ignore_errors=True)  # of a build that was killed
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _make(
    staging: Path, name: str, precision: str, preset: str, recipe: Recipe, architecture: Architecture, say: Say
) -> BuiltModel:
    """Write the model's folder at `staging`, then move it to where it belongs."""
    traced = graph.trace(architecture)
    _check_space(name, traced.nbytes())
    say(f"building {name} {precision} {preset} ({traced.nbytes() / 1e6:,.1f} MB)")
    data = graph.serialize(name, architecture, traced, weights.seeded(recipe.seed))
    catalog.onnx_of(staging).parent.mkdir(parents=True)
    catalog.onnx_of(staging).write_bytes(data)
    folder = catalog.folder_of(name, precision, preset)
    model = BuiltModel(
        name=name,
        precision=precision,
        preset=preset,
        folder=folder,
        onnx=catalog.onnx_of(folder),
        digest=hashlib.sha256(data).hexdigest(),
        parameters=traced.parameters(),
        inputs=tuple(architecture.spec(port) for port in architecture.inputs),
        outputs=tuple(architecture.spec(port) for port in architecture.outputs),
        max_batch=recipe.max_batch,
    )
    (staging / "config.pbtxt").write_text(repository.stock_config(model))
    catalog.record(model, staging)
    _publish(staging, folder)
    return model


def _check_space(name: str, nbytes: int) -> None:
    needed = round(1.1 * nbytes) + SPARE_BYTES
    free = shutil.disk_usage(resources.cache_dir()).free
    if free < needed:
        raise RunError(
            f"model {name}: {resources.cache_dir()} has {free / 1e6:,.1f} MB free and the model needs {needed / 1e6:,.1f} MB; "
            "make room there, or set BENCH_CACHE to a folder on a larger disk"
        )


def _publish(staging: Path, folder: Path) -> None:
    """Put the finished folder in its place. A server that serves the one before keeps the files it has open."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    before = staging.with_name(f"{staging.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.rename(before)
    staging.rename(folder)
    shutil.rmtree(before, ignore_errors=True)


def _answer_own_workload(model: BuiltModel, say: Say) -> None:
    """Reference answers for workloads/<model's name>.toml, so that a run of it need not wait for them."""
    if model.name not in resources.workload_names():
        return
    try:
        workload = resources.load_workload(model.name)
        if workload.model.name == model.name:
            reference(model, workload, say)
    except UsageError as error:
        # a file of that name in the user's own workloads/; the model is none the worse for it
        say(f"no reference answers made: {error}")
