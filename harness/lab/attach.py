"""Attach to a lab by its folder, whichever lab it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import LabError
from harness.lab.local_lab import read_description
from harness.lab.namespaces import NamespacesLab
from harness.lab.protocols import Lab


def attach(folder: Path) -> Lab:
    """Take over the lab that another process keeps in ``folder``.

    Raises :class:`LabError` when there is none, or none of this version.
    """
    name = read_description(folder).get("lab", "")
    if name not in _LABS:
        raise LabError(f"the lab in {folder} is of a kind that is not known here: {name}")
    return _LABS[name](folder)


def _dind(folder: Path) -> Lab:
    from harness.lab.dind import DindLab  # in a guest there is none, and imports are slow

    return DindLab.attach(folder)


_LABS: Mapping[str, Callable[[Path], Lab]] = {"namespaces": NamespacesLab.attach, "dind": _dind}
