"""Building a model: its recipe becomes a folder of the Triton model repository in the cache, whole or not at all."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import resources
from bench.errors import RunError, UsageError
from bench.recipes import catalog, graph, onnx_file, repository
from bench.recipes.catalog import BuiltModel, built, find
from bench.recipes.checkpoint import open_checkpoint
from bench.recipes.graph import Architecture
from bench.recipes.progress import now_and_then
from bench.recipes.recipe import Recipe, adopt, choose
from bench.recipes.reference import reference
from bench.recipes.weights import Source, seeded

__all__ = ["BuiltModel", "build", "built", "find", "reference"]

Say = Callable[[str], None]
SPARE_BYTES = 2_000_000  # beside the model: reference answers, configuration


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be built, of what."""

    name: str
    precision: str
    preset: str
    weights: str  # the checkpoint's label, or catalog.SEEDED
    recipe: Recipe
    architecture: Architecture
    source: Source

    @property
    def label(self) -> str:
        """Names it among other builds."""
        weights = "" if self.weights == catalog.SEEDED else f" {self.weights}"
        return f"{self.name} {self.precision} {self.preset}{weights}"

    def find(self) -> BuiltModel | None:
        """The model, where it stands already."""
        return find(self.name, self.precision, self.preset, self.weights)


def build(name: str, precision: str = "", preset: str = "full", weights: str = "", say: Say = lambda text: None) -> BuiltModel:
    """The model, built unless it stands already; seeded, with the reference answers of the workload that bears its name.

    `precision` "" is the recipe's default; `weights` is a checkpoint's folder or its name on the Hugging Face hub.
    UsageError lists the models, precisions and presets that exist, or says what is wrong with the checkpoint; RunError where
    the cache cannot hold the model.
    """
    recipe, precision, architecture = choose(name, precision, preset)
    values = seeded(recipe.seed)
    if not weights:
        model = _built(_Order(name, precision, preset, catalog.SEEDED, recipe, architecture, values), say)
        _answer_own_workload(model, say)
        return model
    if preset != "full":
        raise UsageError(f"model {name}: preset {preset!r} and weights contradict each other: a checkpoint has its own size")
    with closing(open_checkpoint(weights, say)) as checkpoint:
        architecture, mapping = adopt(name, recipe, checkpoint.config, checkpoint.names)
        checkpoint.check(graph.trace(architecture).weights.values(), mapping)
        values = checkpoint.source(mapping, values)
        return _built(_Order(name, precision, preset, checkpoint.label, recipe, architecture, values), say)


def _built(order: _Order, say: Say) -> BuiltModel:
    if model := order.find():
        return model
    try:
        with _alone(order.label, say) as staging:
            return order.find() or _make(staging, order, say)
    except OSError as error:
        raise RunError(f"model {order.name}: cannot build it in {resources.cache_dir()}: {error.strerror or error}") from None


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


def _make(staging: Path, order: _Order, say: Say) -> BuiltModel:
    """Write the model's folder at `staging`, then move it to where it belongs."""
    architecture = order.architecture
    catalog.onnx_of(staging).parent.mkdir(parents=True)
    digest, parameters = _write(staging, order, say)
    folder = catalog.folder_of(order.name, order.precision, order.preset, order.weights)
    model = BuiltModel(
        name=order.name,
        precision=order.precision,
        preset=order.preset,
        folder=folder,
        onnx=catalog.onnx_of(folder),
        digest=digest,
        parameters=parameters,
        inputs=tuple(architecture.spec(port, order.precision) for port in architecture.inputs),
        outputs=tuple(architecture.spec(port, order.precision) for port in architecture.outputs),
        max_batch=order.recipe.max_batch,
        weights=order.weights,
        padded=order.recipe.padded,
        context=architecture.context,
        limits=architecture.limits(),
    )
    repository.write_stock(staging, model)
    catalog.record(model, staging)
    _publish(staging, folder)
    return model


def _write(staging: Path, order: _Order, say: Say) -> tuple[str, int]:
    """The model's files, their digest and the number of its parameters."""
    quantize = order.recipe.quantize.get(order.precision)
    traced = graph.trace(order.architecture, "fp32" if quantize else order.precision)
    # what is quantized as a whole is on the disk twice for a while
    nbytes = traced.nbytes() * (2 if quantize else 1)
    _check_space(order.name, nbytes)
    say(f"building {order.label} ({nbytes / 1e6:,.1f} MB)")
    final = catalog.onnx_of(staging).parent
    folder = staging / "fp32" if quantize else final
    folder.mkdir(exist_ok=True)
    progress = now_and_then(say, lambda share: f"building {order.label}: {share:.0%}")
    digest = onnx_file.write(folder, order.name, order.architecture, traced, order.source, progress)
    if quantize:
        quantize(folder, final)
        digest = onnx_file.digest(final)
        shutil.rmtree(folder)
    return digest, traced.parameters()


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
