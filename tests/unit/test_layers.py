"""Which room may know which (docs/architecture.md): no import runs up.

The imports are read from the source and not executed, those inside functions and behind
``TYPE_CHECKING`` included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.snapshots.import_graph import ImportGraph

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

GROUND = "harness.guest.contract"
"""It imports nothing and lies below all rooms, though it is the guest's: what services find in a
guest is in it."""

MOST_ROOMS = 24

HOSTS_ROOMS = {"bench", "docgen", "doctor", "manual", "report", "results", "snapshots"}
"""Rooms that the guest's modules import nothing of, and of vm no more than these."""

GUESTS_OF_VM = {"harness.vm", "harness.vm.contract", "harness.vm.guest_init", "harness.vm.mailbox"}

NOT_PUBLIC = {"harness.faults.process.processes"}
"""Modules behind a room's public names that scenarios still reach into. None is to be added."""

NOT_IN = {
    "vm": {"docker", "pytest", "_pytest", "testinfra", "locust"},
    "results": {"docker", "pytest", "pyroute2", "psutil", "testinfra", "locust", "fcntl", "pwd"},
    "report": {"docker", "pytest", "pyroute2", "psutil", "testinfra", "locust", "fcntl", "pwd"},
    "lab": {"pytest", "_pytest"},
    "engine": {"pytest", "_pytest"},
    "images": {"pytest", "_pytest"},
}
"""Third-party and platform modules that have no business in a room."""


def modules() -> list[Path]:
    return sorted(path for path in HARNESS.rglob("*.py"))


def room_of(module: str) -> str:
    """``harness.trial.clock`` -> ``trial``; ``harness`` itself -> ``""``."""
    return [*module.split("."), ""][1]


def name_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(source: str, module: str, *, package: bool = False) -> Iterator[str]:
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
                stem = node.module or ""
            # `from harness import trial` names a room only with what it takes.
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def allowed_to(room: str) -> set[str]:
    if room in BESIDE:
        return BESIDE[room] | {room}
    [floor] = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    below = set().union(*FLOORS[:floor]) if floor else set()
    top = USED_BY_TOP if room in {"pytest_plugin", "cli", "bench", "docgen", "doctor"} else set()
    return below | top | {room} | NEIGHBOURS.get(room, set())


def trespasses(source: str, module: str, *, package: bool = False) -> set[str]:
    """The imports in ``source`` that run up, or sideways, or into a forbidden library."""
    room = room_of(module)
    found = set()
    for name in imported_by(source, module, package=package):
        first = name.split(".")[0]
        if first == "harness":
            target = room_of(name)
            if name.startswith(f"{GROUND}.") and room != "vm":
                continue
            if target and target not in allowed_to(room) and target != "__version__":
                found.add(name)
        elif first in NOT_IN.get(room, set()):
            found.add(name)
    return found


def test_every_room_is_on_a_floor() -> None:
    known = set().union(*FLOORS) | set(BESIDE)
    there = {room_of(name_of(path)) for path in modules()} - {""}
    assert there <= known


def test_there_are_few_rooms() -> None:
    assert len({room_of(name_of(path)) for path in modules()} - {""}) <= MOST_ROOMS


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_import_runs_up(path: Path) -> None:
    module = name_of(path)
    if not room_of(module):
        return  # harness/__init__.py: below
    found = trespasses(path.read_text(), module, package=path.stem == "__init__")
    assert not found, f"{module} may not import {sorted(found)}"


def test_what_host_and_guest_agree_on_imports_nothing() -> None:
    for name in ("guest/contract.py", "vm/contract.py"):
        assert list(imported_by((HARNESS / name).read_text(), "harness.x")) == []


def imports() -> dict[str, set[str]]:
    """What each module of the harness imports of it, for type checkers too."""
    graph = ImportGraph(HARNESS)
    return {
        name: set(graph.imported_by(path.read_text(), typing=True)) - {name}
        for name, path in graph.modules.items()
    }


def circles(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one node, by Tarjan."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        path.append(node)
        for other in sorted(edges[node]):
            if other not in number:
                visit(other)
            if other in path:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == number[node]:
            start = path.index(node)
            if len(path) > start + 1:
                found.append(set(path[start:]))
            del path[start:]

    for node in sorted(edges):
        if node not in number:
            visit(node)
    return found


def test_circles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(edges) == [{"d", "e"}, {"b", "c"}]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_files_import_one_another_in_no_circle() -> None:
    assert circles(imports()) == []


def test_the_guests_modules_import_nothing_of_the_hosts() -> None:
    edges = imports()
    waiting = [name for name in edges if room_of(name) == "guest"]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(edges[name])
    assert {name for name in seen if room_of(name) in HOSTS_ROOMS} == set()
    assert {name for name in seen if room_of(name) == "vm"} <= GUESTS_OF_VM


def public_names(room: str) -> set[str] | None:
    """The names that a room's ``__init__`` gathers; None if it has a docstring and no more."""
    init = HARNESS / room / "__init__.py"
    if not init.exists():
        return None  # a module on the ground: all of it is public
    tree = ast.parse(init.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


def beyond_public(source: str) -> Iterator[str]:
    """What a scenario imports that is not public.

    Public are the names in the ``__all__`` of a room, and where a room's ``__init__`` gathers
    none, its modules.
    """
    for name in imported_by(source, "scenarios.x"):
        if not name.startswith("harness."):
            continue
        _, room, *rest = name.split(".")
        public = public_names(room)
        if public is None or (len(rest) == 1 and rest[0] in public):
            continue
        if name.rpartition(".")[0] not in NOT_PUBLIC:
            yield name


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "scenarios").rglob("*.py")), ids=lambda path: path.stem
)
def test_scenarios_import_public_names(path: Path) -> None:
    assert list(beyond_public(path.read_text())) == []


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("from harness.swarm import balanced_web", False),
        ("from harness.swarm import private", True),
        ("from harness.swarm.swarm import Swarm", True),
        ("from harness.probes.shared_file import SharedFile", False),
        ("from harness.wait import time_until", False),
    ],
)
def test_what_is_public_is_told_apart(source: str, refused: bool) -> None:
    assert bool(list(beyond_public(source))) == refused


def test_only_the_command_line_knows_click() -> None:
    found = [
        name_of(path)
        for path in modules()
        if room_of(name_of(path)) != "cli"
        for name in imported_by(path.read_text(), name_of(path))
        if name.split(".")[0] == "click"
    ]
    assert not found


def test_the_package_itself_imports_no_room() -> None:
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
def test_a_trespass_is_seen(module: str, source: str) -> None:
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
def test_what_is_allowed_is_left_alone(module: str, source: str) -> None:
    assert not trespasses(source, module)
