"""What serves a model, wherever it runs: this package is also copied beside a model, and needs nothing else of bench."""

import shutil
from pathlib import Path


def copy_beside(model: str, version: Path) -> None:
    """Make one of these modules the model.py in `version`, a version's folder in a model repository, and copy all beside it.

    The copies keep the name bench.runtime, so that they import each other there by the names they have here; `bench` has no
    __init__.py there, and nothing else of it can be imported.
    """
    here = Path(__file__).parent
    shutil.copy(here / f"{model}.py", version / "model.py")
    beside = version / "bench" / "runtime"
    beside.mkdir(parents=True)
    for module in here.glob("*.py"):
        shutil.copy(module, beside)
