"""Finding the scenarios, as pytest finds them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from harness.docgen.scenario import Scenario
from harness.errors import UsageError
from harness.pytest_plugin.markers import is_scenario, scenario_id, topology_of
from harness.pytest_plugin.options import Options
from harness.pytest_plugin.session import SESSION

#: The plugin is imported already when this is called; its asserts are not the scenarios'.
_AS = (
    *("--collect-only", "-q", "--controls", "--thorough", "-p", "no:cacheprovider"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


class _Collector:
    """A pytest plugin that keeps what has been collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Function] = []
        self.options: Options | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep the scenarios."""
        self.options = session.config.stash[SESSION].options
        self.items = [
            item
            for item in session.items
            if isinstance(item, pytest.Function) and is_scenario(item)
        ]


def collect(folder: Path) -> list[Scenario]:
    """All scenarios below a folder, controls and long tail included, in the order of files.

    Raises :class:`UsageError` with pytest's own words when they cannot be read.
    """
    collector = _Collector()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(
            [*_AS, str(folder)],
            plugins=[collector],
        )
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise UsageError(f"the scenarios in {folder} cannot be read:\n{said.getvalue().strip()}")
    return list(_scenarios(collector, folder.resolve()).values())


def _scenarios(collector: _Collector, folder: Path) -> dict[tuple[str, str], Scenario]:
    """One for each test function, its parametrized cases in it."""
    found: dict[tuple[str, str], Scenario] = {}
    for item in collector.items:
        assert collector.options is not None
        key = (item.path.name, item.originalname)
        if key not in found:
            topology = str(topology_of(item, collector.options))
            found[key] = Scenario.of(item, topology, folder)
        if case := _case(item):
            found[key].cases.append(case)
    return dict(sorted(found.items(), key=lambda pair: pair[0][0]))


def _case(item: Any) -> str:
    """What stands in the brackets beside engine and seed."""
    _, bracket, rest = scenario_id(item).partition("[")
    return rest.removesuffix("]") if bracket else ""
