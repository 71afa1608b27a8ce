"""All probes in a bundle: each by the name of its fixture, and not before it is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.pytest_plugin import fixtures
from harness.pytest_plugin.probe_bundle import Probes

NAMES = sorted(name for name, each in vars(Probes).items() if isinstance(each, property))


def test_every_probe_is_in_the_bundle() -> None:
    bare = {
        "trial",
        "lab",
        "swarm",
        "load",
        "faults",
        "services",
        "measure",
        "point",
        "probes",
        "checkpoint",
        "domains",
    }
    plugin = {
        name
        for name, each in vars(fixtures).items()
        if type(each).__name__ == "FixtureFunctionDefinition"
    }
    assert set(NAMES) == plugin - bare - {"other_engines"}


@pytest.mark.parametrize("name", NAMES)
def test_a_probe_is_its_fixture_and_made_when_asked_for(name: str) -> None:
    asked: list[str] = []

    def getfixturevalue(name: str) -> str:
        asked.append(name)
        return name

    request: Any = SimpleNamespace(getfixturevalue=getfixturevalue)
    bundle = Probes(request)
    assert asked == []
    assert getattr(bundle, name) == name
    assert asked == [name]
