"""Runs as people name them on a command line: a folder, an id, or ``latest``."""

from __future__ import annotations

from pathlib import Path

from harness.results.run import latest_run


def chosen_run(name: Path | None, reports: Path) -> Path:
    """The folder of a run: itself, or ``reports/name``; the latest one for None.

    Raises :class:`UsageError` where there is no run at all to be the latest. A name that leads
    nowhere is handed back as it is, for the reader of the run to complain of.
    """
    if name is None:
        return latest_run(reports)
    if name.exists() or not (reports / name).is_dir():
        return name
    return reports / name
