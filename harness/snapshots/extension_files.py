"""The files of other packages' faults and fixtures, for the guest of a trial.

A guest has no package but what swarm-chaos itself needs, so a trial brings the packages of all
extensions that are installed on the host, and their entry points, by which the guest finds them
as the host does. What such a package needs besides is not brought: the guest says what is missing.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from harness.errors import UsageError
from harness.faults.extensions import FAULTS, FIXTURES, distribution_of, extensions

_LARGEST = 16 << 20
"""Bytes of one package: every trial brings it, and writing a file takes a guest milliseconds."""


def extension_files() -> dict[str, bytes]:
    """Return the files of extensions by the path that a guest gets them at; none without any.

    Raises :class:`UsageError` for a package that is not there, or is too large to be brought.
    """
    packages: dict[str, str] = {}
    points: dict[tuple[str, str], dict[str, list[str]]] = {}
    for group in (FAULTS, FIXTURES):
        for entry in extensions(group):
            packages[entry.module.partition(".")[0]] = distribution_of(entry)
            dist = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "0")
            points.setdefault(dist, {}).setdefault(group, []).append(
                f"{entry.name} = {entry.value}"
            )
    files: dict[str, bytes] = {}
    for package, distribution in packages.items():
        files |= _package(package, distribution)
    for (name, version), groups in points.items():
        folder = f"{re.sub(r'[-_.]+', '_', name)}-{version}.dist-info"
        files[f"{folder}/METADATA"] = (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
        )
        files[f"{folder}/entry_points.txt"] = "".join(
            f"[{group}]\n" + "".join(f"{line}\n" for line in sorted(lines))
            for group, lines in sorted(groups.items())
        ).encode()
    return files


def _package(name: str, distribution: str) -> dict[str, bytes]:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not (spec.origin or spec.submodule_search_locations):
        raise UsageError(
            f"the package {name!r} of {distribution} is not there: a guest cannot be given it",
            hint="install it again, or uninstall it",
        )
    homes = [Path(home) for home in spec.submodule_search_locations or ()]
    if not homes:
        return {f"{name}.py": Path(spec.origin or "").read_bytes()}
    files = {
        f"{name}/{file.relative_to(home).as_posix()}": file.read_bytes()
        for home in homes
        for file in sorted(home.rglob("*"))
        if file.is_file() and file.suffix != ".pyc" and "__pycache__" not in file.parts
    }
    if (size := sum(map(len, files.values()))) > _LARGEST:
        raise UsageError(
            f"the package {name!r} of {distribution} has {size >> 20} MiB, too much for a guest: "
            f"at most {_LARGEST >> 20} MiB",
            hint="keep faults and fixtures in a small package of their own",
        )
    return files
