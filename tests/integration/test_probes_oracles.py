"""The oracles' controls: each is broken on real nodes, alone, and no other with it.

Two managers, a worker, and a node of no swarm.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lab_builds import LabOf

from harness.faults import Faults
from harness.faults.process.processes import containerd_of
from harness.lab import NamespacesLab, Node
from harness.probes.oracles import picture
from harness.probes.oracles.picture import Listing, Picture, shims_of, take_picture
from harness.probes.oracles.reconciled import resources_with_two_owners
from harness.probes.oracles.standing import Patience, StandingOracles
from harness.swarm import (
    APP_IMAGE,
    APP_PORT,
    Deployment,
    NoAnswer,
    RestartPolicy,
    Service,
    Swarm,
    Workload,
)
from harness.swarm.client import ask
from harness.trial import Expectation, Trial
from harness.trial.oracles import (
    ABSENT,
    DIED,
    LEADERS,
    MEMBERS,
    NAMES,
    ROUTES,
    STRAYS,
    TERMS,
    UPDATES,
    VIEWS,
    WRITES,
)
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

#: A swarm broken on purpose stays so: it need not be looked at for long.
BRIEF = Patience(rest=3.0, wrong=1.5, answer=2.0, write=3.0)


@pytest.fixture(scope="module")
def lab(lab_of: LabOf) -> Iterator[NamespacesLab]:
    with lab_of(2, 1, 1) as lab:
        yield lab


@pytest.fixture(scope="module")
def swarm(lab: NamespacesLab) -> Swarm:
    swarm = Swarm.form(lab, seed=1)
    attrs = swarm.ask(lambda api: api.api.inspect_swarm())
    # a node is known to be down after 3 s, and not after 15
    spec = {**attrs["Spec"], "Dispatcher": {"HeartbeatPeriod": 1_000_000_000}}
    swarm.ask(lambda api: api.api.update_swarm(attrs["Version"]["Index"], spec))
    return swarm


@pytest.fixture(scope="module")
def web(swarm: Swarm) -> Deployment:
    app = Service(
        "app", APP_IMAGE, ("web",), replicas=3, port=APP_PORT, restart=RestartPolicy(delay=1.0)
    )
    return swarm.deploy(Workload("web", ("web",), (app,)))


@pytest.fixture(scope="module")
def other(lab: NamespacesLab) -> Node:
    """The node of no swarm, now the only manager of another one."""
    node = lab.node("s1")
    ask(node, lambda api: api.swarm.init(advertise_addr=node.address))
    return node


class Asked:
    """The oracles on one trial."""

    def __init__(self, lab: NamespacesLab, swarm: Swarm, open_trial: Trial) -> None:
        self.swarm = swarm
        self.trial = open_trial
        self.standing = StandingOracles(lab.nodes.values(), self.trial, BRIEF)

    def broken(self) -> dict[str, str]:
        """Ask, and return the notes of those that do not hold, by name."""
        self.standing.record(self.swarm, {})
        return {measure.name: measure.note for measure in self.trial.measures.broken()}


@pytest.fixture
def oracles(lab: NamespacesLab, swarm: Swarm, web: Deployment, open_trial: Trial) -> Asked:
    wait_for(
        lambda: web.running("app"), state="what the test before has broken to be well", within=60
    )
    return Asked(lab, swarm, open_trial)


@pytest.fixture
def faults(open_trial: Trial, lab: NamespacesLab) -> Faults:
    return Faults(open_trial, lab)


def only(broken: dict[str, str], oracle: Expectation) -> str:
    """The note of the one that is broken."""
    assert broken.keys() == {oracle.name}, broken
    return broken[oracle.name]


def test_a_sound_swarm_breaks_none(oracles: Asked) -> None:
    assert oracles.broken() == {}
    assert {measure.name for measure in oracles.trial.measures.all()} == NAMES


def test_control_a_container_is_left_behind(oracles: Asked, lab: NamespacesLab) -> None:
    labels = {
        "com.docker.swarm.task.id": "gone",
        "com.docker.swarm.task.name": "old.1.gone",
        "com.docker.swarm.service.name": "old",
    }
    left = lab.node("w1").docker.containers.run(APP_IMAGE, labels=labels, detach=True)
    said = only(oracles.broken(), STRAYS)
    left.remove(force=True)
    assert said == "w1: old.1.gone is of no task"


def test_control_a_container_is_gone(oracles: Asked, swarm: Swarm, lab: NamespacesLab) -> None:
    """A task that dies while containerd is away: nobody tells dockerd of it (for-linux#779)."""
    node = lab.node("w1")
    [task] = shims_of(node).values()
    with closing(containerd_of(node)) as containerd:
        containerd.signal(signal.SIGKILL)
        os.kill(task, signal.SIGKILL)
    broken = oracles.broken()
    node.dockerd.stop()  # the next dockerd looks at what runs
    node.dockerd.start()
    node.dockerd.wait_ready()
    swarm.wait_for_ready([node])
    assert broken[ABSENT.name].endswith("has no process")


def test_control_a_member_stays_away(
    oracles: Asked, swarm: Swarm, lab: NamespacesLab, faults: Faults
) -> None:
    node = lab.node("w1")
    with faults.network.isolate(node, plane="control"):
        wait_for(
            lambda: swarm.member(node).state == "down" or NotYet("it is ready"),
            state="the managers to give w1 up",
            within=30.0,
        )
        broken = oracles.broken()
    swarm.wait_for_ready([node])
    # its tasks go on there, and another node has been given them
    assert broken.keys() <= {MEMBERS.name, STRAYS.name, ROUTES.name}
    assert broken[MEMBERS.name] == "w1 is down"


def test_control_a_manager_answers_otherwise(
    oracles: Asked, web: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One store that is written to between two managers' answers: the second is another's."""
    real = picture._listing

    def after_a_write(node: Node, patience: float) -> Any:
        if node.name == "m2":
            web.change("app", lambda spec: spec.update(Labels={"at": str(time.monotonic())}))
        return real(node, patience)

    monkeypatch.setattr(picture, "_listing", after_a_write)
    assert only(oracles.broken(), VIEWS) == "m2 lists services otherwise"


def test_control_an_update_is_under_way(oracles: Asked, web: Deployment) -> None:
    def slowly(spec: dict[str, Any]) -> None:
        template = spec["TaskTemplate"]
        template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1
        spec["UpdateConfig"] = {"Parallelism": 1, "Delay": 60_000_000_000}

    def at_once(spec: dict[str, Any]) -> None:
        slowly(spec)
        spec["UpdateConfig"] = {"Parallelism": 0, "Monitor": 1_000_000}

    web.change("app", slowly)
    broken = oracles.broken()
    web.change("app", at_once)
    assert web.time_to_updated("app", within=60.0).reached
    assert broken[UPDATES.name] == "app is updating"


def test_control_a_route_is_gone(oracles: Asked, lab: NamespacesLab, faults: Faults) -> None:
    with faults.network.forget_neighbours(lab.node("w1")):
        said = only(oracles.broken(), ROUTES)
    assert said.startswith("w1: no neighbour entry for ")


def test_control_two_clusters_elect_in_one_term(oracles: Asked, other: Node) -> None:
    """A second swarm elects its first leader in the term in which the first has elected its own."""
    assert only(oracles.broken(), LEADERS).startswith("term 2: ")


def test_control_a_manager_forgets_its_term(oracles: Asked, other: Node) -> None:
    """The lone manager of the second swarm elects itself at each start, from an older disk."""
    node = other
    state = Path(f"/proc/{node.here.pid}/root/var/lib/docker/swarm")
    node.dockerd.stop()
    old = shutil.copytree(state, node.here.dir / "old")
    for _ in range(2):
        start_and_lead(node)
        node.dockerd.stop()
    shutil.rmtree(state)
    shutil.copytree(old, state)
    start_and_lead(node)
    broken = oracles.broken()
    assert broken.keys() == {LEADERS.name, TERMS.name}, broken
    assert broken[TERMS.name].startswith("s1: term ")


def start_and_lead(node: Node) -> None:
    node.start()

    def leads() -> bool | NotYet:
        try:
            return bool(ask(node, lambda api: api.api.nodes()))
        except NoAnswer as error:
            return NotYet(error.what)

    wait_for(leads, state="s1 to lead", within=30.0)


def test_control_two_swarms_are_taken_for_one(
    lab: NamespacesLab, swarm: Swarm, other: Node
) -> None:
    """Each has an ingress network of its own, with the same subnet, VXLAN id and gateway."""
    listings = take_picture(lab.nodes.values(), 5.0).listings
    one, another = listings["m1"], listings[other.name]
    assert isinstance(one, Listing)
    assert isinstance(another, Listing)
    both = replace(one, networks=[*one.networks, *another.networks])
    said = resources_with_two_owners(Picture(listings={"m1": both}))
    assert "ingress and ingress are both 4096" in said


def test_control_no_majority(oracles: Asked, lab: NamespacesLab) -> None:
    """A manager of two dies unasked, so that one is left that may not lead."""
    node = lab.node("m2")
    os.kill(node.dockerd.pid, signal.SIGKILL)
    wait_for(lambda: not node.dockerd.alive or NotYet("it runs"), state="its end", within=10.0)
    broken = oracles.broken()
    node.start()
    assert broken.keys() >= {DIED.name, WRITES.name}


def test_what_the_kernel_runs_is_what_the_engine_lists(lab: NamespacesLab, web: Deployment) -> None:
    began = time.monotonic()
    picture = take_picture(lab.nodes.values(), 5.0)
    assert time.monotonic() - began < 5
    running = [each for local in picture.local.values() for each in local.running]
    assert running
    assert all(each.pid for each in running)
