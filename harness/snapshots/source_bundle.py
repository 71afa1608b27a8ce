"""The harness's own sources: what a guest is frozen with, and what a trial brings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import harness
from harness.guest.agent import FREEZING
from harness.vm.mailbox import pack

#: Of these rooms a freeze needs only the guest's own part.
GUEST_PART = ("vm/guest_init.py", "vm/mailbox.py", "guest/__init__.py", "guest/agent.py")

#: What their ``__init__`` gathers is the host's. A guest has an empty one, and imports modules.
SHARED = ("vm",)

#: Rooms that no trial needs; all that it brings takes a guest time to read.
HOST_ONLY = ("bench", "cli", "doctor", "docgen", "manual", "report", "snapshots")

_HOME = Path(harness.__file__).parent


def freezing_sources() -> bytes:
    """What of the harness a freeze runs, as a tar."""
    files = [_HOME / name for name in ("__init__.py", *GUEST_PART)]
    for name in FREEZING:
        module = _HOME / f"{name}.py"
        files.extend([module] if module.is_file() else _files(_HOME / name))
    contents = {f"harness/{file.relative_to(_HOME)}": file.read_bytes() for file in files}
    return pack(_without_the_hosts_faces(contents))


def digest(sources: bytes) -> str:
    """What tells whether a guest was frozen with the sources that a trial brings."""
    return hashlib.sha256(sources).hexdigest()


def _without_the_hosts_faces(contents: dict[str, bytes]) -> dict[str, bytes]:
    return contents | {f"harness/{room}/__init__.py": b"" for room in SHARED}


def trial_sources(
    root: Path, folders: Iterable[str], python_path: Iterable[Path] = ()
) -> dict[str, bytes]:
    """The harness, and from the project at ``root`` its pytest set-up and ``folders``.

    Without what is :data:`HOST_ONLY`; with what lies to be imported in the folders of
    ``python_path`` (pytest's ``pythonpath``). Contents by path.
    """
    contents = _without_the_hosts_faces(
        {
            f"harness/{file.relative_to(_HOME)}": file.read_bytes()
            for file in _files(_HOME)
            if file.relative_to(_HOME).parts[0] not in HOST_ONLY
        }
    )
    for name in ("pyproject.toml", "conftest.py"):
        if (root / name).is_file():
            contents[name] = (root / name).read_bytes()
    wanted = [file for folder in folders for file in _files(root / folder)]
    for folder in python_path:
        if folder.is_relative_to(root):
            wanted.extend(_importable(folder))
    contents.update({str(file.relative_to(root)): file.read_bytes() for file in wanted})
    return contents


def is_pytests(file: str) -> bool:
    """Whether a file of that name is pytest's to find and to compile, in its own way."""
    return file == "conftest.py" or file.startswith("test_")


def _importable(folder: Path) -> list[Path]:
    """The modules and packages directly in ``folder``, what pytest collects left out."""
    modules = [file for file in sorted(folder.glob("*.py")) if not is_pytests(file.name)]
    packages = [package.parent for package in sorted(folder.glob("*/__init__.py"))]
    return modules + [file for package in packages for file in _files(package)]


def _files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc"
    )
