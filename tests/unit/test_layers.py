"""Which room may know which (docs/architecture.md): no import runs up.

The imports are read from the source and not executed, those inside functions and behind
``TYPE_CHECKING`` included.
"""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HARNESS = REPOSITORY / "harness"

FLOORS = (
    {"errors"},
    {"wait", "files", "theil_sen"},
    {"images", "trial"},
    {"engine"},
    {"lab", "vm"},
    {"swarm", "services"},
    {"faults", "probes", "load"},
    {"guest"},
    {"snapshots"},
    {"pytest_plugin"},
    {"bench", "docgen", "doctor", "manual"},
    {"cli"},
)
"""From the ground up. A room imports rooms of lower floors, and itself."""

BESIDE = {
    "results": {"errors", "wait", "files", "theil_sen", "trial"},
    "report": {"errors", "wait", "files", "trial", "results"},
}
"""Rooms beside the floors, and all they may import: a report can be built anywhere."""

USED_BY_TOP = set(BESIDE)
"""The plugin and the command line may call them."""

NEIGHBOURS: dict[str, set[str]] = {}
"""Rooms that may import one of their own floor. Each is an exception: say why."""

NOT_IN = {
    "vm": {"docker", "pytest", "_pytest", "testinfra", "locust"},
    "results": {"docker", "pytest", "pyroute2", "psutil", "testinfra", "locust", "fcntl", "pwd"},
    "report": {"docker", "pytest", "pyroute2", "psutil", "testinfra", "locust", "fcntl", "pwd"},
    "lab": {"pytest", "_pytest"},
    "engine": {"pytest", "_pytest"},
    "images": {"pytest", "_pytest"},
}
"""Third-party and platform modules that have no business in a room."""


def modules():
    return sorted(path for path in HARNESS.rglob("*.py"))


def room_of(module):
    """``harness.trial.clock`` -> ``trial``; ``harness`` itself -> ``""``."""
    return [*module.split("."), ""][1]


def name_of(path):
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(source, module, *, package=False):
    """Dotted names that ``source``, the text of ``module``, imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            if node.level:
                # One dot is the package that holds the module: itself, for an __init__.
                keep = len(base) - node.level + (1 if package else 0)
                stem = ".".join([*base[:keep], *([node.module] if node.module else [])])
            else:
                stem = node.module
            # `from harness import trial` names a room only with what it takes.
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def allowed_to(room):
    if room in BESIDE:
        return BESIDE[room] | {room}
    [floor] = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    below = set().union(*FLOORS[:floor]) if floor else set()
    top = USED_BY_TOP if room in {"pytest_plugin", "cli", "bench", "doctor"} else set()
    return below | top | {room} | NEIGHBOURS.get(room, set())


def trespasses(source, module, *, package=False):
    """The imports in ``source`` that run up, or sideways, or into a forbidden library."""
    room = room_of(module)
    found = set()
    for name in imported_by(source, module, package=package):
        first = name.split(".")[0]
        if first == "harness":
            target = room_of(name)
            if target and target not in allowed_to(room) and target != "__version__":
                found.add(name)
        elif first in NOT_IN.get(room, set()):
            found.add(name)
    return found


def test_every_room_is_on_a_floor():
    known = set().union(*FLOORS) | set(BESIDE)
    there = {room_of(name_of(path)) for path in modules()} - {""}
    assert there <= known


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_import_runs_up(path):
    module = name_of(path)
    if not room_of(module):
        return  # harness/__init__.py: below
    found = trespasses(path.read_text(), module, package=path.stem == "__init__")
    assert not found, f"{module} may not import {sorted(found)}"


def test_only_the_command_line_knows_click() -> None:
    found = [
        name_of(path)
        for path in modules()
        if room_of(name_of(path)) != "cli"
        for name in imported_by(path.read_text(), name_of(path))
        if name.split(".")[0] == "click"
    ]
    assert not found


def test_the_package_itself_imports_no_room():
    assert list(imported_by((HARNESS / "__init__.py").read_text(), "harness", package=True)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("harness.trial.clock", "from harness.lab import Node"),
        ("harness.trial.clock", "from ..lab import Node"),
        ("harness.trial.clock", "from harness import lab"),
        ("harness.trial.clock", "import harness.swarm.form"),
        ("harness.trial.clock", "def f():\n    import harness.swarm"),
        ("harness.engine.provide", "from harness.lab import Node"),
        ("harness.lab.lab", "from harness.vm import thaw"),
        ("harness.swarm.form", "from harness.load import Load"),
        ("harness.report.page", "from harness.images import Cache"),
        ("harness.report.page", "from harness.lab.features import probe_features"),
        ("harness.results.run", "import pytest"),
        ("harness.vm.thaw", "import docker.errors"),
        ("harness.vm.thaw", "from pytest import main"),
        ("harness.pytest_plugin.fixtures", "from harness.cli import x"),
    ],
)
def test_a_trespass_is_seen(module, source):
    assert trespasses(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("harness.lab.lab", "from harness.engine import Engine\nfrom harness.lab.fabric import x"),
        ("harness.lab.lab", "from . import fabric\nfrom .fabric import x"),
        ("harness.report.page", "from harness.results import read_run\nimport jinja2"),
        ("harness.pytest_plugin", "import pytest\nfrom harness.report import write_report"),
        ("harness.cli.main", "from harness import __version__"),
    ],
)
def test_what_is_allowed_is_left_alone(module, source):
    assert not trespasses(source, module)
