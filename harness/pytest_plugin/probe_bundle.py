"""All probes in one fixture, for scenarios that want several: each is made when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.probes.api import Api
    from harness.probes.containers import Containers
    from harness.probes.discovery import Discovery
    from harness.probes.gossip import Gossip
    from harness.probes.leadership import Leadership
    from harness.probes.logs import DockerdLogs
    from harness.probes.memory import Memory
    from harness.probes.reachability import Reachability
    from harness.probes.tasks import Tasks


class Probes:
    """The fixtures of the same names, as attributes.

    Take those that watch before the fault: they are made for the members that are there::

    def test_x(swarm, faults, probes, measure):
        with probes.api.watch(), faults.kill_dockerd(swarm.leader) as outage:
            measure(LEADER, probes.leadership.time_to_new_leader(since=outage, within=45))
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    @property
    def api(self) -> Api:
        """What each manager's API answers, how fast, and with which error."""
        found: Api = self._request.getfixturevalue("api")
        return found

    @property
    def containers(self) -> Containers:
        """Which tasks' containers truly run."""
        found: Containers = self._request.getfixturevalue("containers")
        return found

    @property
    def discovery(self) -> Discovery:
        """What every node's embedded DNS and IPVS give, against the tasks that run."""
        found: Discovery = self._request.getfixturevalue("discovery")
        return found

    @property
    def dockerd_logs(self) -> DockerdLogs:
        """Lines of interest in dockerd's logs."""
        found: DockerdLogs = self._request.getfixturevalue("dockerd_logs")
        return found

    @property
    def gossip(self) -> Gossip:
        """The members of gossip as each dockerd sees them."""
        found: Gossip = self._request.getfixturevalue("gossip")
        return found

    @property
    def leadership(self) -> Leadership:
        """Who leads, by each manager's own view."""
        found: Leadership = self._request.getfixturevalue("leadership")
        return found

    @property
    def memory(self) -> Memory:
        """What dockerds hold, by time."""
        found: Memory = self._request.getfixturevalue("memory")
        return found

    @property
    def reachability(self) -> Reachability:
        """Who gets through to published ports, and from task to task."""
        found: Reachability = self._request.getfixturevalue("reachability")
        return found

    @property
    def tasks(self) -> Tasks:
        """How many tasks run, twins in one slot, and the states that managers list."""
        found: Tasks = self._request.getfixturevalue("tasks")
        return found
