"""The probes on a real swarm of two nodes: they see what is, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bare_trials import bare_trial
from lab_builds import LabOf
from optionals import not_none

from harness.lab import NamespacesLab, Node
from harness.probes.api import Api
from harness.probes.containers import Containers
from harness.probes.discovery import Discovery
from harness.probes.gossip import Gossip
from harness.probes.logs import DockerdLogs
from harness.probes.reachability import Reachability, listening
from harness.probes.sampling.vantage_containers import VantageContainers
from harness.probes.sandboxes import network_objects
from harness.probes.tasks import Tasks
from harness.swarm import APP_IMAGE, APP_PORT, Deployment, Service, Swarm, Workload
from harness.trial import read_lines
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

PORT = 8080


@pytest.fixture(scope="module")
def lab(lab_of: LabOf) -> Iterator[NamespacesLab]:
    with lab_of(1, 1, 0) as lab:
        yield lab


@pytest.fixture(scope="module")
def swarm(lab: NamespacesLab) -> Swarm:
    return Swarm.form(lab, seed=1)


@pytest.fixture(scope="module")
def web(swarm: Swarm) -> Deployment:
    app = Service("app", APP_IMAGE, ("web",), replicas=2, port=APP_PORT, published=PORT)
    lone = Service("lone", APP_IMAGE, ("web",), replicas=1, port=APP_PORT, role="manager")
    return swarm.deploy(Workload("web", ("web",), (app, lone), entry="app"))


class Probes:
    """All of them on one trial."""

    def __init__(self, lab: NamespacesLab, swarm: Swarm, folder: Path) -> None:
        self.trial = bare_trial(folder / "trial")
        nodes = list(lab.nodes.values())
        self.containers = Containers(nodes, self.trial)
        self.discovery = Discovery(nodes, self.containers, self.trial)
        self.reach = Reachability(nodes, lab.client_host("reach"), self.containers, self.trial)
        self.tasks = Tasks(self.containers, self.trial)
        self.gossip = Gossip(nodes, self.containers, self.trial)
        self.api = Api(swarm.managers, self.trial)
        self.logs = DockerdLogs(nodes, self.trial)

    def rows(self, name: str) -> Any:
        return list(read_lines(self.trial.samples(name)))


@pytest.fixture
def probes(lab: NamespacesLab, swarm: Swarm, tmp_path: Path) -> Iterator[Probes]:
    probes = Probes(lab, swarm, tmp_path)
    with ExitStack() as stack:
        stack.callback(probes.trial.finish, None)
        for close in (
            probes.containers.close,
            probes.logs.save,
            probes.api.close,
            probes.gossip.save,
            probes.tasks.close,
            probes.reach.close,
            probes.discovery.close,
        ):
            stack.callback(close)
        yield probes
    assert probes.trial.doubts == []


def test_a_container_is_seen_by_all_that_it_has_on_its_node(
    lab: NamespacesLab, web: Deployment
) -> None:
    node = lab.node("w1")
    before = network_objects([node])
    vantage = VantageContainers([node], web.networks)
    vantage.start()
    try:
        more = network_objects([node]) - before
    finally:
        vantage.close()
    assert {each.partition(" ")[0] for each in more} == {
        "container",
        "sandbox",
        "interface",
        "endpoint",
    }
    assert network_objects([node]) == before


def test_a_swarm_that_is_well_looks_well(
    lab: NamespacesLab, web: Deployment, probes: Probes
) -> None:
    probes.discovery.start(web)
    probes.reach.start(web, inside=True, every_inside=0.5, by_name=probes.discovery)
    probes.tasks.start(web)
    probes.api.start()
    now = time.monotonic()
    assert probes.discovery.time_to_converged(within=10, since=now).reached
    assert probes.reach.time_to_converged(within=10, since=now).reached
    assert probes.api.time_to_all("write", within=10, since=now).reached
    assert {str(place) for place in probes.discovery.places if place.node == "w1"} >= {
        f"{name} in web on w1" for name in ("app", "tasks.app", "lone", "tasks.lone")
    }
    inside = {cell for cell in probes.reach.matrix() if cell.source != "outside"}
    assert len(inside) == 2 * 3 + 2 * 2, "two nodes ask three tasks, and two services by name"
    for attempt in probes.reach.attempts(inside=True):
        service, by_name, _ = attempt.cell.target.partition(" by name")
        asked = attempt.task.partition(".")[0] if by_name else attempt.task
        assert asked == service
    assert probes.gossip.wrong(web) == []
    assert probes.gossip.wrong_forwarding(web) == []
    assert probes.gossip.diagnose(lab.node("w1")) == {"m1", "w1"}
    assert probes.gossip.entries(lab.node("m1"), web.networks["web"])
    assert all(PORT in listening(node) for node in lab.nodes.values())

    began = time.monotonic()
    web.redeploy("lone")
    assert probes.tasks.time_to_running("lone", 1, within=30, since=began, fresh=True).reached
    assert probes.discovery.time_to_converged(within=10, since=began).reached
    assert probes.tasks.twins() == []
    [old, new] = probes.tasks.lives("lone")
    assert not_none(old.leaving) + 1.9 < not_none(old.ended), "swarm waits before it stops a task"
    assert not_none(old.ended) <= new.started
    assert probes.discovery.longest_stale().seconds == 0
    assert {"ready", "running", "shutdown"} <= {s.state for s in probes.tasks.history("lone")}
    assert set(probes.api.outcomes()) == {"ok"}


def test_a_service_that_is_away_is_seen(web: Deployment, probes: Probes) -> None:
    probes.reach.start(web)
    assert probes.reach.wrong() == [] or probes.reach.time_to_converged(within=5).reached
    web.scale("app", 0)
    cells = ["outside to m1:8080: refused", "outside to w1:8080: refused"]
    deadline = time.monotonic() + 15
    while probes.reach.wrong() != cells:
        assert time.monotonic() < deadline, probes.reach.wrong()
        time.sleep(0.1)
    time.sleep(1)  # the outage that is to be measured
    began = time.monotonic()
    web.scale("app", 2)
    assert probes.reach.time_to_converged(within=20, since=began).reached
    outages = {outage.cell.target: outage for outage in probes.reach.outages()}
    assert set(outages) == {"m1:8080", "w1:8080"}
    assert not probes.reach.longest_outage().seconds < 1


def wrong_as(words: str, probes: Probes, node: Node) -> bool | NotYet:
    wrong = probes.discovery.wrong(nodes=[node])
    return any(words in each for each in wrong) or NotYet(f"{wrong}")


def test_a_dead_node_is_seen(
    lab: NamespacesLab, swarm: Swarm, web: Deployment, probes: Probes
) -> None:
    """The probes' control: who cannot see a dead address is blind."""
    worker, manager = lab.node("w1"), lab.node("m1")
    probes.discovery.start(web)
    probes.gossip.start(web)
    began = time.monotonic()
    worker.kill()
    # Gossip takes some five seconds to give the node up; meanwhile its addresses are given.
    wait_for(lambda: wrong_as("is dead", probes, manager), state="a dead node's address", within=20)
    wait_for(lambda: wrong_as("nobody to ask", probes, worker), state="nobody to ask", within=20)
    failed = probes.gossip.time_to("failed", worker, within=20, since=began)
    assert failed.reached
    whole = probes.discovery.time_to_converged(within=20, since=began, nodes=[manager])
    stale = probes.discovery.longest_stale()
    assert stale.reached
    assert stale.seconds == pytest.approx(failed.seconds, abs=1.0)
    assert whole.seconds == pytest.approx(stale.seconds, abs=1.0)
    assert probes.logs.time_to("marked failed", within=5, since=began, node=manager).reached

    back = time.monotonic()
    worker.start()
    swarm.wait_for_ready([worker, manager])
    assert probes.gossip.time_to("joined", worker, within=30, since=back).reached
    assert probes.discovery.time_to_converged(within=40, since=back).reached, (
        "watchers are made anew"
    )
    probes.discovery.close()
    rows = probes.rows("discovery")
    assert {row["node"] for row in rows if row["error"] == "nobody to ask"} == {"w1"}
    left = [c.name for node in lab.nodes.values() for c in node.docker.containers.list()]
    assert all(not_none(name).startswith(("app.", "lone.")) for name in left), (
        "the watchers are gone"
    )
