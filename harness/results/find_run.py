"""Find a run by what a command line calls it: a folder or an id."""

from __future__ import annotations

from pathlib import Path

from harness.results.run import latest_run


def find_run(name: Path | None, reports: Path) -> Path:
    """Return the folder of a run: ``name`` itself, or ``reports/name``; the latest for None.

    Raises :class:`UsageError` for None if there is no run. A name that leads nowhere is returned
    as it is, so that reading it gives the error.
    """
    if name is None:
        return latest_run(reports)
    if name.exists() or not (reports / name).is_dir():
        return name
    return reports / name
