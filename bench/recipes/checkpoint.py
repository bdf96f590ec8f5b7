"""Hugging Face checkpoints as a source of weights: a folder with config.json and safetensors files, or a name on the hub."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import RunError, UsageError
from bench.recipes.tensor_files import READABLE, FileTensor, open_tensors, read_into, read_rows
from bench.recipes.weights import Source, Weight

Say = Callable[[str], None]
Mapping = Callable[[str], str | None]  # a weight's name -> what the checkpoint calls it; None: it may be missing, and is

CONFIG, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ASKED_FOR = [
    CONFIG,
    SINGLE,
    INDEX,
    "model-*.safetensors",
]  # of the hub: repositories hold the same weights in other formats too
WHOLE, BLOCKS, BLOCK = 2**20, 16, 4096  # the label covers tensors of up to WHOLE bytes, and of larger ones so many blocks
_HUB_NAME = re.compile(r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?")


class Checkpoint:
    """An open checkpoint, all of its files there and whole. `close` it.

    Its label is the name it was opened by and 8 hex digits over config.json, the names, types and shapes of all tensors, and
    samples of their values: training moves all values of a tensor, and reading all of it would take seconds at every run.
    """

    def __init__(self, shown: str, folder: Path) -> None:
        self._shown = shown
        self.config: dict[str, Any] = _read_json(folder / CONFIG)
        with ExitStack() as files:
            self._tensors = _open_all(folder, files)
            self.names = frozenset(self._tensors)
            self.label = f"{_slug(shown)}-{_digest((folder / CONFIG).read_bytes(), self._tensors)}"
            self._files = files.pop_all()

    def close(self) -> None:
        """Close its files."""
        self._files.close()

    def check(self, weights: Iterable[Weight], mapping: Mapping) -> None:
        """UsageError unless each weight that `mapping` has a name for is there, in this shape and a type that can be read."""
        named = [(weight, mapping(weight.name)) for weight in weights]
        problems = [found for weight, name in named if name is not None and (found := self._problem(weight, name))]
        if problems:
            more = f" (and {len(problems) - 1} more such)" if len(problems) > 1 else ""
            raise UsageError(f"checkpoint {self._shown}: {problems[0]}{more}")

    def source(self, mapping: Mapping, otherwise: Source) -> Source:
        """A source of its tensors as float32; weights that `mapping` has no name for come from `otherwise`."""

        def source(weight: Weight, rows: slice = slice(None)) -> np.ndarray:
            name = mapping(weight.name)
            if name is None:
                return otherwise(weight, rows)
            self.check([weight], mapping)
            return read_rows(self._tensors[name], rows)

        return source

    def _problem(self, weight: Weight, name: str) -> str | None:
        tensor, known = self._tensors.get(name), "" if name == weight.name else f" (the model's {weight.name})"
        if tensor is None:
            return f"no tensor {name!r}{known} among its {len(self.names)}"
        if tensor.shape != weight.shape:
            return f"tensor {name!r}{known}: expected the shape {list(weight.shape)}, got {list(tensor.shape)}"
        if tensor.dtype not in READABLE:
            return f"tensor {name!r}{known}: expected values of type {', '.join(READABLE)}, got {tensor.dtype}"
        return None


def open_checkpoint(where: str, say: Say) -> Checkpoint:
    """The checkpoint in the folder `where`, or of that name on the Hugging Face hub ("org/name", "org/name@revision").

    UsageError where it is none, is damaged or incomplete; RunError where it cannot be fetched.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        return Checkpoint(where, path)
    if path.exists():
        raise UsageError(f"weights {where}: expected the folder that holds {CONFIG} and {SINGLE}, got a file")
    if (name := _HUB_NAME.fullmatch(where)) is None:
        raise UsageError(f"weights {where}: no such folder, and no name on the Hugging Face hub, which are like org/name")
    return Checkpoint(where, _fetch(where, name["id"], name["revision"], say))


def _fetch(where: str, name: str, revision: str | None, say: Say) -> Path:
    """The folder that holds the hub's files, fetched unless they are there."""
    wanted = f"{name} --revision {revision}" if revision else name
    elsewhere = f"`hf download {wanted} --local-dir FOLDER` where there is a network, and pass that folder"
    try:
        from huggingface_hub import snapshot_download  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise RunError(
            f"weights {where}: no such folder, and to fetch it from the Hugging Face hub takes `pip install huggingface_hub`; "
            f"or run {elsewhere}"
        ) from None
    say(f"fetching {where} from the Hugging Face hub")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=ASKED_FOR))
    except Exception as error:  # whatever that library and those below it raise, which differs between their versions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(
            f"weights {where}: no such folder, and it cannot be fetched from the Hugging Face hub: {reason}; run {elsewhere}"
        ) from None


def _open_all(folder: Path, files: ExitStack) -> dict[str, FileTensor]:
    """All tensors of a checkpoint, in one file or several."""
    if (folder / SINGLE).exists():
        return open_tensors(folder / SINGLE, files)
    if not (folder / INDEX).exists():
        raise _no_weights(folder)
    placed = _weight_map(folder)
    names = sorted(set(placed.values()))
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UsageError(f"{folder}: {len(missing)} of the {len(names)} files that {INDEX} names are missing: {_some(missing)}")
    opened = {name: open_tensors(folder / name, files) for name in names}
    for tensor, name in placed.items():
        if tensor not in opened[name]:
            raise UsageError(f"{folder / name}: no tensor {tensor!r} in it, where {INDEX} places it")
    return {tensor: opened[name][tensor] for tensor, name in placed.items()}


def _weight_map(folder: Path) -> dict[str, str]:
    """Tensor -> file, as the index of a checkpoint in several files has it."""
    found = _read_json(folder / INDEX).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise UsageError(f"{folder / INDEX}: expected a weight_map, from tensors to files")
    for name in found.values():
        if not isinstance(name, str) or Path(name).name != name:
            raise UsageError(f"{folder / INDEX}: expected files that lie beside it, got {name!r}")
    return found


def _no_weights(folder: Path) -> UsageError:
    there = [path.name for path in folder.iterdir()]
    if any(name.endswith((".bin", ".pt", ".pth")) for name in there):
        return UsageError(
            f"{folder}: its weights are pickled by PyTorch; convert them to {SINGLE} first, for example by loading and "
            "saving the model with transformers (save_pretrained)"
        )
    return UsageError(f"{folder}: no {SINGLE} and no {INDEX} in it; there is: {_some(there)}")


def _digest(config: bytes, tensors: dict[str, FileTensor]) -> str:
    digest = hashlib.sha256(config)
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, tensor.dtype, tensor.shape]).encode())
        for start, count in _sampled(tensor.nbytes):
            block = np.empty(count, np.uint8)
            read_into(tensor, start, block)
            digest.update(block.data)
    return digest.hexdigest()[:8]


def _sampled(nbytes: int) -> Iterator[tuple[int, int]]:
    """(start, count) of the bytes of a tensor that the label covers."""
    if nbytes <= WHOLE:
        yield 0, nbytes
    else:
        yield from ((block * (nbytes - BLOCK) // (BLOCKS - 1), BLOCK) for block in range(BLOCKS))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = _some(other.name for other in path.parent.iterdir())
        raise UsageError(f"{path.parent}: no {path.name} in it; there is: {there}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"{path}: damaged: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path}: damaged: expected a JSON object")
    return document


def _some(names: Iterable[str]) -> str:
    shown = sorted(names)
    return (", ".join(shown[:4]) or "nothing") + (f", ... ({len(shown)} in all)" if len(shown) > 4 else "")


def _slug(shown: str) -> str:
    """The name of a folder or on the hub, as part of a file name."""
    path = Path(shown).expanduser()
    name = path.resolve().name if path.is_dir() else shown
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:40] or "checkpoint"
