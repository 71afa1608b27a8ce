"""Whether managers have what the swarm has written, by what each one's own events say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from harness.errors import ExpectationTimeout
from harness.swarm import SwarmClient


class Manager:
    """A manager's API: of secrets, and of events that it tells after so many questions.

    ``lags``: how often its events are asked for before they have the removal; None for ever.
    """

    planned_role = "manager"
    up = True
    dockerd = SimpleNamespace(alive=True)

    def __init__(self, name: str, *, lags: int | None = 0, version: str = "26.1.5") -> None:
        self.name = name
        self.engine = SimpleNamespace(version=version)
        self.lags = lags
        self.asked = 0
        self.secrets: list[str] = []
        self.removed: list[str] = []
        self.fellows = [self]
        self.docker = SimpleNamespace(api=self)

    def create_secret(self, name: str, _: bytes) -> dict[str, str]:
        self.secrets.append(name)
        return {"ID": f"id of {name}"}

    def remove_secret(self, made: str) -> None:
        for fellow in self.fellows:
            fellow.removed.append(made)

    def events(
        self, *, since: int, until: str, filters: Mapping[str, str], decode: bool
    ) -> Iterator[dict[str, Any]]:
        assert (since, decode, float(until) > 0) == (0, True, True)
        assert filters == {"type": "secret", "event": "remove"}
        self.asked += 1
        has = self.lags is not None and self.asked > self.lags
        yield {"Actor": {"ID": "id of another"}}
        yield from ({"Actor": {"ID": made}} for made in self.removed if has)


def swarm_of(*managers: Manager) -> tuple[SwarmClient, Any]:
    for manager in managers:
        manager.fellows = list(managers)
    nodes: Any = {manager.name: manager for manager in managers}
    return SwarmClient(SimpleNamespace(nodes=nodes)), list(managers)


def test_all_managers_are_waited_for() -> None:
    m1, m2 = Manager("m1"), Manager("m2", lags=2)
    swarm, both = swarm_of(m1, m2)
    swarm.wait_for_raft(both)
    assert (m2.asked, len(m1.secrets)) == (3, 1), "one thing is written, and looked for"
    assert m1.removed == m2.removed == [f"id of {m1.secrets[0]}"]


def test_a_manager_that_never_has_it_is_named() -> None:
    swarm, both = swarm_of(Manager("m1"), Manager("m2", lags=None))
    with pytest.raises(ExpectationTimeout, match=r"m1, m2 to have what was written.*m2 not yet"):
        swarm.wait_for_raft(both, within=0.1)


def test_a_swarm_that_takes_no_write_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    m1 = Manager("m1")
    swarm, alone = swarm_of(m1)
    refusals = iter([requests.exceptions.ReadTimeout(), requests.exceptions.ConnectionError()])

    def create(name: str, _: bytes) -> dict[str, str]:
        for refusal in refusals:
            raise refusal
        return {"ID": f"id of {name}"}

    monkeypatch.setattr(m1, "create_secret", create)
    swarm.wait_for_raft(alone)
    assert next(refusals, None) is None
    assert len(m1.removed) == 1


def test_an_engine_that_does_not_say_is_not_waited_for() -> None:
    old = Manager("m1", lags=None, version="17.05.0-ce")
    swarm, alone = swarm_of(old, Manager("m2", version="17.06.2-ce"))
    swarm.wait_for_raft(alone, within=5)
    assert old.asked == 0
