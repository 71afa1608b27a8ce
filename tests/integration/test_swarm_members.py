"""A real swarm: formed, asked, its members chosen, a workload on it, a fault proven on it."""

from __future__ import annotations

import gc
import http.client
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from lab_builds import LabOf
from optionals import not_none

from harness.errors import FaultError, SwarmError, UsageError, WaitTimeout
from harness.faults import Faults
from harness.lab import NamespacesLab
from harness.probes.leadership import Leadership
from harness.swarm import (
    APP_IMAGE,
    APP_PORT,
    Deployment,
    NoAnswer,
    Service,
    Swarm,
    Workload,
    ask,
    balanced_web,
)
from harness.trial import Trial, read_lines

pytestmark = pytest.mark.integration

# What NetworkDB takes a node for whose next incarnation comes: shutdown, failed or active.
INCARNATION = re.compile(r"is the new incarnation of the (\w+) node")


@pytest.fixture(scope="module")
def lab(lab_of: LabOf) -> Iterator[NamespacesLab]:
    with lab_of(3, 1, 1) as lab:
        yield lab


# What etcd's raft, from that of 26.1.5 on, says of the members it knows.
VOTERS = re.compile(r'msg="[0-9a-f]+ switched to configuration voters=\(([\d ]*)\)"')


@pytest.fixture(scope="module")
def swarm(lab: NamespacesLab) -> Swarm:
    swarm = Swarm.form(lab, seed=1)
    # A manager that was killed here, before the leader's log has reached it, would be lost.
    for name in ("m1", "m2", "m3"):
        known = VOTERS.findall(lab.node(name).log.read_text())
        assert known, f"{name} has heard of no member"
        assert len(known[-1].split()) == 3, f"{name} has not caught up"
    return swarm


@pytest.fixture(scope="module")
def web(swarm: Swarm) -> Deployment:
    return swarm.deploy(balanced_web(replicas=4))


def names(nodes: Any) -> list[Any]:
    return sorted(node.name for node in nodes)


def test_members_have_the_roles_that_were_planned(swarm: Swarm, lab: NamespacesLab) -> None:
    assert names(swarm.managers) == ["m1", "m2", "m3"]
    assert names(swarm.workers) == ["w1"]
    assert {m.state for m in swarm.members()} == {"ready"}
    assert lab.node("s1").docker.info()["Swarm"]["LocalNodeState"] == "inactive"


def test_every_manager_names_one_leader(swarm: Swarm, lab: NamespacesLab) -> None:
    leaders = {m.name for by in ("m1", "m2", "m3") for m in swarm.members(lab.node(by)) if m.leader}
    assert leaders == {swarm.leader.name}
    assert names([*swarm.followers, swarm.leader]) == ["m1", "m2", "m3"]
    assert swarm.has_leader() == swarm.leader.name


def test_choices_follow_roles_and_the_seed(swarm: Swarm, lab: NamespacesLab) -> None:
    assert swarm.quorum == 2
    assert len(swarm.minority()) == 1
    assert swarm.minority(of=[lab.node("m1")]) == []
    assert names(swarm.all_but(swarm.leader)) == names([*swarm.followers, lab.node("w1")])
    assert swarm.a_worker().name == "w1"

    def drawn(seed: int) -> Any:
        again = Swarm(lab, seed=seed)
        return [again.a_follower().name for _ in range(8)]

    assert drawn(5) == drawn(5)
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1


def test_drawing_again_leaves_gossip_without_a_doubt(swarm: Swarm, lab: NamespacesLab) -> None:
    """New processes, one election, and no old incarnation that is still to be given up."""
    before = {node.name: node.dockerd.pid for node in swarm.managers}
    already = {name: len(node.dockerd.log.read_text()) for name, node in lab.nodes.items()}
    swarm.reseed()
    swarm.wait_for_ready(lab.node(name) for name in ("m1", "m2", "m3", "w1"))
    assert all(lab.node(name).dockerd.pid != pid for name, pid in before.items())
    told = [
        found
        for name, start in already.items()
        for found in INCARNATION.findall(lab.node(name).dockerd.log.read_text()[start:])
    ]
    assert len(told) >= len(before)
    assert set(told) == {"shutdown"}, "a node that did not leave is suspected when it is back"


def test_a_worker_does_not_answer_for_the_swarm(lab: NamespacesLab, swarm: Swarm) -> None:
    with pytest.raises(NoAnswer, match=r"w1 answers: .*not a swarm manager") as caught:
        swarm.members(lab.node("w1"))
    assert caught.value.kind == "api"


def test_a_stranger_is_not_a_member(swarm: Swarm, lab: NamespacesLab) -> None:
    with pytest.raises(SwarmError, match="s1 is not in the swarm"):
        swarm.member(lab.node("s1"))


def test_a_state_that_does_not_come_is_named(swarm: Swarm, lab: NamespacesLab) -> None:
    with pytest.raises(WaitTimeout, match="s1 to be ready; last seen: s1 not listed"):
        swarm.wait_for_ready([lab.node("s1")], within=0.5)


def test_a_write_is_taken(swarm: Swarm) -> None:
    assert swarm.time_to_write(within=10).reached
    assert swarm.leader.docker.secrets.list() == [], "the probe cleans up"


def test_answers_name_the_task_that_gave_them(web: Deployment, lab: NamespacesLab) -> None:
    tasks = web.tasks("app")
    assert sum(task.running for task in tasks) == 4
    assert {task.slot for task in tasks} == {1, 2, 3, 4}
    known = {f"app.{task.slot}.{task.id}": task.node for task in tasks}
    site = lab.client_host()
    seen = set()
    for url in web.entries.values():
        for _ in range(8):
            answer = site.network.call(lambda url=url: get(url))  # type: ignore[misc]
            assert known[answer["task"]] == answer["node"]
            seen.add(answer["task"])
    assert len(seen) >= 3, "several tasks take part"
    assert set(web.entries) == {"m1", "m2", "m3", "w1"}


def get(url: Any) -> Any:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def test_a_port_that_is_taken_is_an_error_in_words(web: Deployment, swarm: Swarm) -> None:
    clash = Workload(
        "second",
        (),
        (Service("second", APP_IMAGE, (), replicas=1, port=APP_PORT, published=8080),),
    )
    with pytest.raises(SwarmError, match="the workload second did not come to serve") as caught:
        swarm.deploy(clash, within=8)
    assert "Traceback" not in str(caught.value)
    said = str(caught.value)
    assert "8080" in said or "port" in said, said


def test_services_that_cannot_be_are_refused_before_anything_is_made(swarm: Swarm) -> None:
    before = len(swarm.ask(lambda api: api.services.list()))
    with pytest.raises(UsageError, match="a port is published twice: 81/tcp"):
        swarm.deploy(
            Workload(
                "w",
                (),
                tuple(Service(n, APP_IMAGE, (), port=1, published=81) for n in ("a", "b")),
            )
        )
    assert len(swarm.ask(lambda api: api.services.list())) == before


def test_a_killed_leader_is_proven_followed_and_healed(
    swarm: Swarm, lab: NamespacesLab, open_trial: Trial
) -> None:
    leader = swarm.leader
    faults = Faults(open_trial)
    probe = Leadership(swarm.managers, open_trial)
    with faults.kill_dockerd(leader) as outage:
        failover = probe.time_to_new_leader(
            other_than=leader, since=not_none(outage.injected_at), within=45
        )
        assert failover.reached
        assert 0 < failover.seconds < 45
        assert not leader.dockerd.alive
        assert leader.up
        with pytest.raises(FaultError, match="contradicts"):
            faults.kill_dockerd(leader).inject()
        successor = swarm.wait_for_leader(other_than=leader)
        assert successor.name != leader.name
        assert swarm.has_leader(other_than=leader) == successor.name
    assert leader.dockerd.ping()
    swarm.wait_for_ready(lab.nodes[name] for name in ("m1", "m2", "m3"))
    entries = {entry["kind"]: entry for entry in read_lines(open_trial.folder / "journal.jsonl")}
    assert entries["fault.inject"]["target"] == leader.name
    assert "is gone" in entries["fault.evidence"]["proof"]
    assert entries["leader"]["leader"] != leader.name
    assert "answers" in entries["fault.healed"]["proof"]
    probe.save()
    rows = list(read_lines(open_trial.samples("leadership")))
    assert rows[0]["t"] == 0.0
    assert {row["by"] for row in rows} == {"m1", "m2", "m3"}
    assert rows[-1]["leader"] in {"m1", "m2", "m3"}


def test_without_a_majority_nobody_leads(
    swarm: Swarm, lab: NamespacesLab, open_trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = swarm.leader, swarm.a_follower()
    faults = Faults(open_trial)
    for node in swarm.managers:
        # seconds; a manager without a leader answers late
        monkeypatch.setattr(node.docker.api, "timeout", 2)
    with faults.kill_node(follower), faults.kill_dockerd(leader):
        write = swarm.time_to_write(within=4)
        assert not write.reached
        assert write.seconds >= 4
        assert write.last, "why nothing was written is told"
    swarm.wait_for_leader(within=60)
    swarm.wait_for_ready(swarm.managers)


def test_a_refused_question_leaves_no_socket_behind(lab: NamespacesLab) -> None:
    node = lab.node("s1")
    node.docker.ping()
    node.dockerd.kill()
    gc.collect()  # what other tests have left is not this question's
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(NoAnswer) as refused:
            ask(node, lambda api: api.info())
        assert refused.value.kind == "refused"
        del refused
        gc.collect()
    assert [str(w.message) for w in caught if w.category is ResourceWarning] == []
    node.start()
