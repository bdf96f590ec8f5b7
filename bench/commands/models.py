"""`bench models`: build the models that bench knows, and list what can be built and what stands built."""

import argparse
from collections.abc import Callable
from pathlib import Path

from bench import resources
from bench.errors import OK, UsageError
from bench.recipes import catalog
from bench.recipes.catalog import BuiltModel


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `bench models`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="build|list")
    build = verbs.add_parser("build", help="build models into the repository that Triton, Flask and ONNX Runtime serve from")
    build.add_argument("names", nargs="+", metavar="NAME", help="a model; `bench models list` shows them")
    build.add_argument("--precision", default="", help="of weights and arithmetic (default: the model's first, see the list)")
    build.add_argument("--preset", default="full", help="full, or tiny: the same operators, small (default: %(default)s)")
    build.add_argument(
        "--weights",
        default="",
        metavar="DIR|HF-ID",
        help="a Hugging Face checkpoint: its folder, or org/name[@revision] on the hub",
    )
    verbs.add_parser("list", help="what can be built, and what is built")


def run(args: argparse.Namespace, out: Callable[[str], None], say: Callable[[str], None]) -> int:
    """Run `bench models`; `out` takes lines of the answer, `say` progress."""
    if args.verb == "build":
        _build(args, out, say)
    else:
        _list(out)
    return OK


def _build(args: argparse.Namespace, out: Callable[[str], None], say: Callable[[str], None]) -> None:
    # imported here, because ONNX and ONNX Runtime take a quarter of a second that `bench models --help` need not
    from bench.recipes import build, recipe

    if args.weights and len(args.names) > 1:
        raise UsageError(f"--weights: one checkpoint is of one model; got {len(args.names)} models: {', '.join(args.names)}")
    for name in args.names:
        recipe.choose(name, args.precision, args.preset)  # the last name may be wrong: before the first is built
    for name in args.names:
        model = build.build(name, args.precision, args.preset, args.weights, say)
        _show(model, model.folder, out)


def _list(out: Callable[[str], None]) -> None:
    from bench.recipes import recipe

    out("can be built:")
    for name in resources.model_names():
        known = recipe.load(name)
        first, *others = known.precisions
        out(f"  {name:<12} {known.title}")
        out(f"  {'':<12} precisions: {', '.join([f'{first} (default)', *others])}; presets: {', '.join(known.presets)}")
    models = catalog.built()
    out(f"built in {resources.cache_dir()}:" if models else f"nothing is built yet in {resources.cache_dir()}")
    for model in models:
        _show(model, model.folder.relative_to(resources.cache_dir()), out)
        if not _is_current(model):
            out(f"  {'':<12} made by an older recipe: the next build replaces it")


def _is_current(model: BuiltModel) -> bool:
    known = model.name in resources.model_names()
    return known and catalog.find(model.name, model.precision, model.preset, model.weights) is not None


def _show(model: BuiltModel, folder: Path, out: Callable[[str], None]) -> None:
    size = sum(path.stat().st_size for path in model.onnx.parent.iterdir() if path.is_file()) / 1e6
    preset = model.preset if model.weights == catalog.SEEDED else ""  # a checkpoint has its own size
    out(
        f"  {model.name:<12} {model.precision:<4} {preset:<4} {size:8,.1f} MB {model.parameters:13,} parameters"
        f"  sha256 {model.digest[:8]}"
    )
    out(f"  {'':<12} {model.weights}, in {folder}")
