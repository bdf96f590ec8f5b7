"""`bench models`: build the models that bench knows, and list what can be built and what stands built."""

import argparse
from collections.abc import Callable

from bench import resources
from bench.errors import OK
from bench.recipes import catalog
from bench.recipes.catalog import BuiltModel


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `bench models`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="build|list")
    build = verbs.add_parser("build", help="build models into the repository that Triton, Flask and ONNX Runtime serve from")
    build.add_argument("names", nargs="+", metavar="NAME", help="a model; `bench models list` shows them")
    build.add_argument("--precision", default="fp32", help="of the weights (default: %(default)s)")
    build.add_argument("--preset", default="full", help="full, or tiny: the same operators, small (default: %(default)s)")
    verbs.add_parser("list", help="what can be built, and what is built")


def run(args: argparse.Namespace, out: Callable[[str], None], say: Callable[[str], None]) -> int:
    """Run `bench models`; `out` takes lines of the answer, `say` progress."""
    if args.verb == "build":
        _build(args.names, args.precision, args.preset, out, say)
    else:
        _list(out)
    return OK


def _build(names: list[str], precision: str, preset: str, out: Callable[[str], None], say: Callable[[str], None]) -> None:
    # imported here, because ONNX and ONNX Runtime take a quarter of a second that `bench models --help` need not
    from bench.recipes import build, recipe

    for name in names:
        recipe.choose(name, precision, preset)  # the last name may be wrong: before the first is built
    for name in names:
        out(_row(build.build(name, precision, preset, say)))


def _list(out: Callable[[str], None]) -> None:
    from bench.recipes import recipe

    out("can be built:")
    for name in resources.model_names():
        known = recipe.load(name)
        out(f"  {name:<12} {known.title}; precisions: {', '.join(known.precisions)}; presets: {', '.join(known.presets)}")
    models = catalog.built()
    out(f"built in {resources.cache_dir()}:" if models else f"nothing is built yet in {resources.cache_dir()}")
    for model in models:
        out(f"  {_row(model)}{'' if _is_current(model) else '  (by an older recipe: the next build replaces it)'}")


def _is_current(model: BuiltModel) -> bool:
    return model.name in resources.model_names() and catalog.find(model.name, model.precision, model.preset) is not None


def _row(model: BuiltModel) -> str:
    size = model.onnx.stat().st_size / 1e6
    return (
        f"{model.name:<12} {model.precision} {model.preset:<5} {size:9,.1f} MB {model.parameters:13,} parameters"
        f"  sha256 {model.digest[:12]}  {model.folder}"
    )
