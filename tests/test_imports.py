"""The architecture: who may import whom, and who owns which library."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import bench

ROOT = Path(bench.__file__).parent

# A module imports from the rows above its own, and from its own package. A package is one entry.
LAYERS = """
    errors units explain clock tensors wire runtime terminal headers
    slo
    arrivals lengths words draft
    workload_types
    workload_checks
    workload
    payload_files answers traces mix
    record payloads named_files
    resources
    columns recorded
    analysis store recipes targets testing
    servers samplers environment load reports
    serving
    endpoint
    book
    runner users
    experiments evidence locustfile
    commands
    cli
    __main__
"""

# no clock, no file, no log: the same input gives the same output
PURE = """
    errors units explain headers tensors wire slo arrivals lengths words draft
    workload_types workload_checks workload mix record analysis
"""
IMPURE = "os time pathlib logging socket io subprocess threading asyncio tempfile shutil random secrets"

# library -> the only places that import it
OWNERS = {
    "locust": "load/locust/ users/ locustfile.py",
    "gevent": "load/locust/ users/",
    "pynvml": "samplers/ environment.py",
    "psutil": "samplers/ environment.py",
    "matplotlib": "reports/",
    "onnxruntime": "runtime/ targets/ recipes/",
    "onnx": "recipes/",
    "tritonclient": "targets/ evidence/scripted_grpc.py evidence/truth_grpc.py",
    "grpc": "targets/ evidence/scripted_grpc.py",
    "hpack": "wire/",
    "h2": "evidence/truth_grpc.py",
    "flask": "runtime/",
    "pyarrow": "columns.py answers.py",
    "rich": "terminal.py reports/",
    "ruptures": "analysis/",
    "scipy": "analysis/ evidence/estimators.py",
    "docker": "",
    "pandas": "",
    "requests": "",
}

# imported when they are used: `bench --help` answers at once
HEAVY = """
    locust gevent pynvml psutil matplotlib onnxruntime onnx tritonclient grpc
    flask pyarrow pandas scipy ruptures rich numpy msgspec hpack h2
"""

MODULES = {
    ".".join(("bench", *p.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): p for p in ROOT.rglob("*.py")
}


@cache
def imports(path: Path) -> list[str]:
    """The modules that a file imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            wholes = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [whole if whole in MODULES else str(node.module) for whole in wholes]
    return found


def entry(module: str) -> str:
    """The entry of LAYERS that a module of bench belongs to; "" for bench itself."""
    return ([*module.split("."), ""])[1]


def place(path: Path) -> str:
    """Where in bench/ a file lies."""
    return path.relative_to(ROOT).as_posix()


def owned(path: Path, places: str) -> bool:
    """Whether a file is one of `places`, or in one."""
    return any(place(path) == p or (p.endswith("/") and place(path).startswith(p)) for p in places.split())


ROWS = {name: row for row, names in enumerate(LAYERS.strip().splitlines()) for name in names.split()}


def test_the_table_of_layers_has_every_module_and_no_other() -> None:
    """A new room is given its place in the architecture before it can be merged."""
    assert set(ROWS) == {entry(module) for module in MODULES} - {""}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_the_layers_below_it(module: str) -> None:
    """Reading a layer never needs one above it, and there is no circle."""
    own = entry(module)
    for imported in imports(MODULES[module]):
        if imported.split(".")[0] == "bench" and entry(imported) not in (own, ""):
            assert ROWS[entry(imported)] < ROWS[own], f"{place(MODULES[module])} imports {imported}"


@pytest.mark.parametrize("module", sorted(m for m in MODULES if entry(m) in PURE.split()))
def test_arithmetic_reads_no_clock_and_touches_no_file(module: str) -> None:
    """Statistics, protocols and vocabulary can be tested by tables, and give the same result anywhere."""
    found = {imported.split(".")[0] for imported in imports(MODULES[module])}
    assert not found & set(IMPURE.split())


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_a_library_is_imported_only_where_it_is_at_home(library: str) -> None:
    """Locust patches its process when imported, NVML may be missing, ONNX Runtime is optional: each stays in its room."""
    users = {path for path in MODULES.values() for imported in imports(path) if imported.split(".")[0] == library}
    assert [place(path) for path in users if not owned(path, OWNERS[library])] == []
    assert users or not OWNERS[library], "nothing imports it: take it out of the table"


def test_what_is_copied_into_a_model_repository_needs_nothing_else_of_bench() -> None:
    """Triton's Python environment has numpy and ONNX Runtime, and beside model.py this one package: by the name it has here."""
    allowed = {*sys.stdlib_module_names, "numpy", "onnxruntime", "triton_python_backend_utils"}
    for path in (ROOT / "runtime").glob("*.py"):
        of_bench = {i for i in imports(path) if i.split(".")[0] == "bench"}
        assert all(i.startswith("bench.runtime.") for i in of_bench), f"{place(path)} imports {of_bench}"
        if not path.name.startswith("flask_"):
            assert {i.split(".")[0] for i in imports(path)} - {"bench"} <= allowed, place(path)


@pytest.mark.parametrize(
    "words", ["import bench.cli", "from bench.cli import main; main(['--help'])", "from bench.cli import main; main(['x'])"]
)
def test_help_and_a_mistyped_command_load_no_room_and_no_heavy_library(words: str) -> None:
    """The first thing a newcomer types answers at once, also where a library is broken."""
    code = f"{words}\nimport sys\nprint('LOADED', *sorted(m for m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = run.stdout.split("LOADED ")[1].split()
    assert {m for m in loaded if m.split(".")[0] in HEAVY.split()} == set()
    assert {m for m in loaded if m.split(".")[0] == "bench"} == {"bench", "bench.cli", "bench.errors", "bench.terminal"}
