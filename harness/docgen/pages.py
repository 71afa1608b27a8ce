"""The pages, their paths, and whether they are up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import harness
from harness.docgen.collection import collect, collect_cases
from harness.docgen.faults_page import faults_page
from harness.docgen.scenario_schema import scenario_schema, topology_schema
from harness.docgen.scenarios_page import scenarios_page
from harness.docgen.track_record import read_seen, track_record_page, with_runs
from harness.results import read_run

_HOME = Path(harness.__file__).parent.parent
_SEEN = _HOME / "docs" / "samples" / "track-record.csv"


def scenarios_folder() -> Path:
    """Return the folder of the project's scenarios."""
    return _HOME / "scenarios"


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/faults.md": faults_page,
    "docs/schema/scenario.schema.json": scenario_schema,
    "docs/schema/topology.schema.json": topology_schema,
    "docs/scenarios.md": lambda: scenarios_page(collect(scenarios_folder())),
    "docs/track-record.md": lambda: track_record_page(
        collect_cases(scenarios_folder()), read_seen(_SEEN)
    ),
}
"""Each page's path in the project, and the function that generates it."""


def add_runs(folders: Iterable[Path]) -> None:
    """Add the trials of runs to what the track record is made from.

    Raises :class:`~harness.errors.HarnessError` for a folder that is not a run.
    """
    _SEEN.write_text(with_runs(read_seen(_SEEN), map(read_run, folders)))


def stale() -> list[str]:
    """Return the paths of the pages that are not up to date."""
    return [
        name
        for name, make in PAGES.items()
        if not (_HOME / name).is_file() or (_HOME / name).read_text() != make()
    ]


def write() -> list[str]:
    """Write the pages that are not up to date; return their paths."""
    changed = stale()
    for name in changed:
        (_HOME / name).write_text(PAGES[name]())
    return changed
