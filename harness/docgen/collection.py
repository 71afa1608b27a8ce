"""Finding the scenarios, as pytest finds them."""

from __future__ import annotations

import contextlib
import io
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.docgen.scenario import Case, Scenario
from harness.errors import UsageError
from harness.pytest_plugin.expectations import stated_in
from harness.pytest_plugin.foreign_plugins import CALLED_WITH
from harness.pytest_plugin.markers import is_scenario, scenario_id, topology_of
from harness.pytest_plugin.options import Options
from harness.pytest_plugin.session import SESSION
from harness.trial import Expectation

_AS = (
    *("--collect-only", "-q", "--controls", "--thorough", "-p", "no:cacheprovider"),
    *CALLED_WITH,
)


class _Collector:
    """A pytest plugin that keeps the items that have been collected."""

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
    """Return all scenarios below a folder, controls and the thorough included, by file.

    Raises :class:`UsageError` with pytest's own message when they cannot be read.
    """
    return list(_scenarios(_collected(folder)).values())


def expectations(folder: Path) -> dict[str, dict[str, Expectation]]:
    """Return the expectations of each file of scenarios below a folder, by name.

    Raises :class:`UsageError` as :func:`collect` does.
    """
    return {
        item.path.name: {
            stated.name: stated
            for stated in stated_in(item.module)
            if isinstance(stated, Expectation)
        }
        for item in _collected(folder).items
    }


def collect_cases(folder: Path) -> list[Case]:
    """Return all cases of the scenarios below a folder but the controls, in order.

    Raises :class:`UsageError` with pytest's own message when they cannot be read.
    """
    items = _collected(folder).items
    cases = [Case.of(item) for item in items if item.get_closest_marker("control") is None]
    return list({case.id: case for case in cases}.values())


@cache
def _collected(folder: Path) -> _Collector:
    collector = _Collector()
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main(
            [*_AS, str(folder)],
            plugins=[collector],
        )
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise UsageError(f"the scenarios in {folder} cannot be read:\n{output.getvalue().strip()}")
    return collector


def _scenarios(collector: _Collector) -> dict[tuple[str, str], Scenario]:
    """Return one for each test function, its parametrized cases in it."""
    items: dict[tuple[str, str], list[pytest.Function]] = {}
    for item in collector.items:
        items.setdefault((item.path.name, item.originalname), []).append(item)
    found: dict[tuple[str, str], Scenario] = {}
    for key, own in items.items():
        assert collector.options is not None
        scenario = found[key] = Scenario.of(own[0], str(topology_of(own[0], collector.options)))
        cases = [_case(item) for item in own]
        scenario.cases.extend(filter(None, cases))
        scenario.add_marks(own, cases)
    return dict(sorted(found.items(), key=lambda pair: pair[0][0]))


def _case(item: Any) -> str:
    """Return what is in the brackets besides engine and seed."""
    _, bracket, rest = scenario_id(item).partition("[")
    return rest.removesuffix("]") if bracket else ""
