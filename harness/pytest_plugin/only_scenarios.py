"""``-p harness.pytest_plugin.only_scenarios --only-scenario ID``: keep scenarios by their ids.

An id is what a trial's record has, ``scenarios/test_x.py::test_y[case]``: a node id without engine
and seed. Programs that draw trials of chosen scenarios load this plugin; a person has ``-k``.
"""

from __future__ import annotations

import pytest

from harness.pytest_plugin.markers import is_scenario, scenario_id


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option."""
    parser.getgroup("swarm-chaos").addoption(
        "--only-scenario", metavar="ID", action="append", default=[], help="(internal)"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave all other items out."""
    wanted = set(config.getoption("--only-scenario"))
    if not wanted:
        return
    kept = [item for item in items if is_scenario(item) and scenario_id(item) in wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
