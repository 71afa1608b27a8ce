"""The harness's own sources: what a guest is frozen with, and what a trial brings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import harness
from harness.snapshots.extension_files import extension_files
from harness.snapshots.import_graph import ImportGraph
from harness.vm.mailbox import pack

#: What a guest runs until it is frozen.
FREEZE_ENTRY = "harness.guest.agent"

#: What is run in a thawed guest besides that: what it can be asked to do, pytest's plugin, and the
#: manual fault commands. All else that a trial brings follows from these and the scenarios.
TRIAL_ENTRIES = (
    FREEZE_ENTRY,
    "harness.guest.commands",
    "harness.pytest_plugin",
    "harness.cli.main",
    "harness.cli.heal",
    "harness.cli.inject",
    "harness.cli.schedule",
    "harness.cli.status",
)

_HOME = Path(harness.__file__).parent


def freezing_sources() -> bytes:
    """Pack what of the harness a freeze runs, as a tar."""
    return pack(_contents(ImportGraph(_HOME), [FREEZE_ENTRY]))


def digest(sources: bytes) -> str:
    """Return what tells whether a guest was frozen with the sources that a trial brings."""
    return hashlib.sha256(sources).hexdigest()


def trial_sources(
    root: Path, folders: Iterable[str], python_path: Iterable[Path] = ()
) -> dict[str, bytes]:
    """Read what a trial runs, by path.

    That is pytest's set-up and ``folders`` of the project at ``root``, what lies to be imported
    in the folders of ``python_path`` (pytest's ``pythonpath``), the packages of installed
    extensions, and what they need of the harness.
    """
    wanted = [root / name for name in ("pyproject.toml", "conftest.py") if (root / name).is_file()]
    wanted.extend(file for folder in folders for file in _files(root / folder))
    for folder in python_path:
        if folder.is_relative_to(root):
            wanted.extend(_importable(folder))
    project = extension_files()
    project |= {str(file.relative_to(root)): file.read_bytes() for file in wanted}
    graph = ImportGraph(_HOME)
    entries = set(TRIAL_ENTRIES)
    for name, content in project.items():
        if name.endswith(".py"):
            entries.update(_imported_by(content, graph))
    return _contents(graph, entries) | project


def is_pytests(file: str) -> bool:
    """Return whether a file of that name is pytest's to find and to compile, in its own way."""
    return file == "conftest.py" or file.startswith("test_")


def _contents(graph: ImportGraph, entries: Iterable[str]) -> dict[str, bytes]:
    files = graph.files(entries)
    return {f"harness/{file.relative_to(graph.home)}": file.read_bytes() for file in files}


def _imported_by(content: bytes, graph: ImportGraph) -> set[str]:
    """Return the harness's modules that a file imports; none if it is not Python."""
    try:
        return set(graph.imported_by(content.decode()))
    except (SyntaxError, ValueError):
        return set()


def _importable(folder: Path) -> list[Path]:
    """Return the modules and packages directly in ``folder``, what pytest collects left out."""
    modules = [file for file in sorted(folder.glob("*.py")) if not is_pytests(file.name)]
    packages = [package.parent for package in sorted(folder.glob("*/__init__.py"))]
    return modules + [file for package in packages for file in _files(package)]


def _files(folder: Path) -> list[Path]:
    """Return the files below ``folder``, without what is hidden, compiled or a run's."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".pyc" and not _is_left_out(file.relative_to(folder))
    )


def _is_left_out(file: Path) -> bool:
    return any(part in ("__pycache__", "reports") or part[0] == "." for part in file.parts)
