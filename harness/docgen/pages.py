"""The pages, where they lie, and whether they are what the code says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import harness
from harness.docgen.collection import collect
from harness.docgen.faults_page import faults_page
from harness.docgen.scenarios_page import scenarios_page

_HOME = Path(harness.__file__).parent.parent


def scenarios_folder() -> Path:
    """The project's scenarios."""
    return _HOME / "scenarios"


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/faults.md": faults_page,
    "docs/scenarios.md": lambda: scenarios_page(collect(scenarios_folder())),
}
"""Each page's path in the project, and what makes it."""


def stale() -> list[str]:
    """The pages that are not what the code says."""
    return [
        name
        for name, make in PAGES.items()
        if not (_HOME / name).is_file() or (_HOME / name).read_text() != make()
    ]


def write() -> list[str]:
    """Write the pages that are not what the code says; which these were."""
    changed = stale()
    for name in changed:
        (_HOME / name).write_text(PAGES[name]())
    return changed
