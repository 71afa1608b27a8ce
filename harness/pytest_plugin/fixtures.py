"""The fixtures that scenarios use; where the packages are wired together.

``trial`` opens the record, ``lab`` the nodes, ``swarm`` forms them into one; ``load``,
``faults``, ``services``, the probes and ``measure`` act on it. All of them belong to one trial.

What only some scenarios ask for is imported by the fixture that gives it: a guest is emulated, and
importing everything would take it longer than all else up to a scenario's first line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from harness.errors import UsageError
from harness.guest.contract import MARKED
from harness.lab import Lab, Node
from harness.pytest_plugin.markers import TrialPoint
from harness.pytest_plugin.probe_bundle import Probes
from harness.pytest_plugin.trial_setup import setup_of
from harness.swarm import Swarm
from harness.trial import Measures, Trial

if TYPE_CHECKING:
    from harness.faults import Faults
    from harness.load import Load
    from harness.probes.api import Api
    from harness.probes.containers import Containers
    from harness.probes.discovery import Discovery
    from harness.probes.gossip import Gossip
    from harness.probes.leadership import Leadership
    from harness.probes.logs import DockerdLogs
    from harness.probes.memory import Memory
    from harness.probes.reachability import Reachability
    from harness.probes.tasks import Tasks
    from harness.services.services import Services


@pytest.fixture
def point() -> TrialPoint:
    """Engine and seed of this trial; the plugin multiplies scenarios by it."""
    raise pytest.UsageError("a scenario's `point` comes from the plugin harness.pytest_plugin")


@pytest.fixture
def trial(request: pytest.FixtureRequest, point: TrialPoint) -> Trial:  # noqa: ARG001 - multiplies it
    """The open trial: its clock, journal, doubts and folder."""
    return setup_of(request).open_trial()


@pytest.fixture
def lab(
    request: pytest.FixtureRequest,
    trial: Trial,  # noqa: ARG001 - the record is open before anything happens
) -> Iterator[Lab]:
    """The nodes, each with its dockerd answering."""
    setup = setup_of(request)
    with setup.stack:
        yield setup.open_lab()


@pytest.fixture
def swarm(request: pytest.FixtureRequest, lab: Lab) -> Swarm:  # noqa: ARG001 - its nodes are up
    """The swarm of the scenario's topology, formed and ready, and serving what its mark names."""
    setup = setup_of(request)
    swarm = setup.form_swarm()
    if setup.request.serving is not None:
        setup.source.serve(swarm, setup.request.serving)
    return swarm


@pytest.fixture
def domains(request: pytest.FixtureRequest, lab: Lab) -> Mapping[str, list[Node]]:
    """The failure domains of the topology's file: the nodes of each, by its name."""
    file = setup_of(request).request.file
    if file is None or not file.domain:
        raise UsageError(
            "this scenario is about failure domains, and the topology has none",
            hint="give --topology a file with a table [domain]",
        )
    return {name: [lab.node(node) for node in group] for name, group in file.domain.items()}


@pytest.fixture
def load(lab: Lab, trial: Trial) -> Load:
    """Locust, at a place of its own on the fabric."""
    from harness.load import Load

    return Load(lab.client_host("client"), trial)


@pytest.fixture
def faults(lab: Lab, trial: Trial) -> Faults:
    """Makes faults; what a scenario leaves injected is healed after it."""
    from harness.faults import Faults

    return Faults(trial, lab)


@pytest.fixture
def leadership(request: pytest.FixtureRequest, swarm: Swarm, trial: Trial) -> Leadership:
    """Who leads, by each manager's own view."""
    from harness.probes.leadership import Leadership

    setup = setup_of(request)
    setup.leadership = Leadership(swarm.managers, trial)
    return setup.leadership


@pytest.fixture
def other_engines(request: pytest.FixtureRequest, trial: Trial) -> tuple[str, ...]:  # noqa: ARG001
    """The engines that the mark of the same name asks for, by name: none that a node has yet."""
    return setup_of(request).request.others


@pytest.fixture
def services(request: pytest.FixtureRequest, lab: Lab, trial: Trial) -> Services:
    """External services on the fabric: a GELF sink, a registry, a name server."""
    from harness.services.services import ServiceAssets, Services

    setup = setup_of(request)
    services = Services(lab, trial, ServiceAssets(setup.session.cache, setup.session.progress.say))
    setup.closing.append(services.close)
    return services


@pytest.fixture
def memory(
    request: pytest.FixtureRequest,
    lab: Lab,  # noqa: ARG001 - it is read after the probe has ended
    trial: Trial,
) -> Memory:
    """What dockerds hold, by time, from ``memory.start(nodes)`` on."""
    from harness.probes.memory import Memory

    memory = Memory(trial)
    setup_of(request).closing.append(memory.save)
    return memory


@pytest.fixture
def containers(request: pytest.FixtureRequest, swarm: Swarm, trial: Trial) -> Containers:
    """Which tasks' containers truly run: what the other probes are held against."""
    from harness.probes.containers import Containers

    containers = Containers(_members(swarm), trial)
    setup_of(request).closing.append(containers.close)
    return containers


@pytest.fixture
def discovery(
    request: pytest.FixtureRequest, swarm: Swarm, containers: Containers, trial: Trial
) -> Discovery:
    """What every node's embedded DNS and IPVS give, against the tasks that run."""
    from harness.probes.discovery import Discovery

    discovery = Discovery(_members(swarm), containers, trial)
    setup_of(request).closing.append(discovery.close)
    return discovery


@pytest.fixture
def reachability(
    request: pytest.FixtureRequest, swarm: Swarm, containers: Containers, trial: Trial
) -> Reachability:
    """Who gets through to every node's published ports, and from task to task."""
    from harness.probes.reachability import Reachability

    client = swarm.lab.client_host("reach")
    reachability = Reachability(_members(swarm), client, containers, trial)
    setup_of(request).closing.append(reachability.close)
    return reachability


@pytest.fixture
def tasks(request: pytest.FixtureRequest, containers: Containers, trial: Trial) -> Tasks:
    """How many tasks run, twins in one slot, and the states that managers list."""
    from harness.probes.tasks import Tasks

    tasks = Tasks(containers, trial)
    setup_of(request).closing.append(tasks.close)
    return tasks


@pytest.fixture
def dockerd_logs(request: pytest.FixtureRequest, lab: Lab, trial: Trial) -> DockerdLogs:
    """Lines of interest in dockerd's logs: how many, when, at whom."""
    from harness.probes.logs import DockerdLogs

    logs = DockerdLogs(lab.nodes.values(), trial)
    setup_of(request).closing.append(logs.save)
    return logs


@pytest.fixture
def gossip(
    request: pytest.FixtureRequest, swarm: Swarm, containers: Containers, trial: Trial
) -> Gossip:
    """The members of gossip as each dockerd sees them, and how often that changes."""
    from harness.probes.gossip import Gossip

    gossip = Gossip(_members(swarm), containers, trial)
    setup_of(request).closing.append(gossip.save)
    return gossip


@pytest.fixture
def api(request: pytest.FixtureRequest, swarm: Swarm, trial: Trial) -> Api:
    """What each manager's API answers, how fast, and with which error."""
    from harness.probes.api import Api

    api = Api(swarm.managers, trial)
    setup_of(request).closing.append(api.close)
    return api


@pytest.fixture
def probes(request: pytest.FixtureRequest, trial: Trial) -> Probes:  # noqa: ARG001 - is part of it
    """All probes in a bundle, each made when it is first asked for."""
    return Probes(request)


def _members(swarm: Swarm) -> list[Node]:
    return [node for node in swarm.lab.nodes.values() if node.planned_role != "spare"]


@pytest.fixture
def checkpoint(trial: Trial) -> Callable[[str], None]:
    """Marks a place that is worth coming back to: ``checkpoint("half of the nodes upgraded")``.

    In virtual time the trial's guest stops there, as it does where load and faults begin and end.
    """

    def mark(name: str) -> None:
        trial.journal.write(MARKED, name=name)

    return mark


@pytest.fixture
def measure(trial: Trial) -> Measures:
    """Records numbers and holds them against expectations: ``measure(NEW_LEADER, 9.7)``."""
    return trial.measures
