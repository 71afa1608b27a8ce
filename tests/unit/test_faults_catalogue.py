"""The catalogue: every fault says of itself what is needed to make, show and heal it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from optionals import not_none

from harness.cli.faults import faults
from harness.errors import SwarmError, UsageError
from harness.faults import Fault
from harness.faults.catalogue import catalogue, facts_of, kind_of, read_parameters, target_text
from harness.faults.links import Links
from harness.faults.parameter import parameters_of
from harness.faults.targets import ROLES, Targets
from harness.lab import Node
from harness.swarm import Swarm

EVERY = list(catalogue().values())


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_every_fault_can_be_made_shown_and_healed(kind: type[Fault]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", kind.name)
    assert kind.summary.endswith(".")
    assert kind.proof
    assert not kind.proof.endswith(".")
    _, _, *taken = inspect.signature(kind).parameters.values()  # a trial and a target, and then
    parameters = parameters_of(kind)
    assert {each.name for each in taken} == {parameter.name for parameter in parameters}
    must = {each.name for each in taken if each.default is each.empty}
    assert {parameter.name for parameter in parameters if parameter.default is None} == must
    for parameter in parameters:
        assert parameter.help
        if parameter.default is not None:
            parameter.default_value()
    json.dumps(facts_of(kind))


def test_names_that_are_not_there_get_the_nearest() -> None:
    with pytest.raises(UsageError, match="no fault 'node-kiled'") as refusal:
        kind_of("node-kiled")
    assert "node-killed" in not_none(refusal.value.hint)
    with pytest.raises(UsageError) as refusal:
        kind_of("zzz")
    assert "swarm-chaos faults" in not_none(refusal.value.hint)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            {"share": "1.2"},
            r"network-loss: share: '1.2' is not a valid share: give a number from 0.001",
        ),
        ({"share": "-0.1"}, r"share"),
        ({"shar": "0.1"}, r"no parameter shar"),
        ({}, r"needs share"),
        ({"share": "0.1", "plane": "gosip"}, r"no plane 'gosip'"),
    ],
)
def test_values_that_cannot_be_are_refused(words: Mapping[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_parameters(kind_of("network-loss"), words)


def test_values_are_read_and_defaults_filled_in() -> None:
    read = read_parameters(kind_of("network-delay"), {"delay": "200ms", "plane": "gossip"})
    assert read["delay"] == 0.2
    assert read["jitter"] == 0.0
    assert str(read["plane"]) == "gossip"


def test_the_command_prints_table_detail_and_json() -> None:
    def said(*args: str) -> str:
        return CliRunner().invoke(faults, args, catch_exceptions=False).output

    assert all(kind.name in said() for kind in EVERY)
    assert "must be given" in said("network-loss")
    assert json.loads(said("network-loss", "--json"))["planes"]
    assert len(json.loads(said("--json"))) == len(EVERY)


# -- targets ---------------------------------------------------------------------------------------


class FakeSwarm(Swarm):
    """m1 leads; w1 and w2 are workers; nobody is asked anything."""

    def __init__(self, lab: Any) -> None:
        super().__init__(lab, seed=1)

    def members(self, by: Node | None = None) -> Any:
        rows = [("m1", "manager", True), ("m2", "manager", False), ("m3", "manager", False)]
        rows += [("w1", "worker", False), ("w2", "worker", False)]
        return [SimpleNamespace(name=n, role=r, leader=led, id=f"id-{n}") for n, r, led in rows]

    def ask(
        self,
        question: Callable[..., Any],
        by: Node | None = None,
    ) -> list[dict[str, dict[str, str] | str]]:
        running: Any = {"Status": {"State": "running"}, "NodeID": "id-w2"}
        asked = {}
        api = SimpleNamespace(api=SimpleNamespace(tasks=lambda filters: asked.update(filters)))
        question(api)
        return [running] if asked["service"] == "app" else []


@pytest.fixture
def targets() -> Targets:
    names = ("m1", "m2", "m3", "w1", "w2")
    nodes = {name: SimpleNamespace(name=name, planned_role="") for name in names}
    lab: Any = SimpleNamespace(nodes=nodes, client_hosts={"client": SimpleNamespace(name="client")})
    lab.node = nodes.__getitem__
    return Targets(lab, FakeSwarm(lab), {"sink": "the sink"})


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("w1", ["w1"]),
        ("w1 m2", ["w1", "m2"]),
        ("w1, w1,m2", ["w1", "m2"]),
        ("leader", ["m1"]),
        ("followers", ["m2", "m3"]),
        ("leader managers", ["m1", "m2", "m3"]),
        ("workers", ["w1", "w2"]),
        ("members", ["m1", "m2", "m3", "w1", "w2"]),
        ("runs:app", ["w2"]),
    ],
)
def test_nodes_are_found_by_names_and_roles(
    targets: Targets, words: str, names: Sequence[str]
) -> None:
    assert [node.name for node in targets.nodes(words)] == names


def test_every_role_finds_somebody(targets: Targets) -> None:
    for role in ROLES:
        assert targets.nodes(role), role
    assert len(targets.nodes("minority")) == 1
    assert len(targets.nodes("majority")) == 2


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("w1", "w1 <-> *"),
        ("w1 <-> m1 m2", "w1 <-> m1 m2"),
        ("leader -> *", "m1 -> *"),
        ("* -> w1", "w1 <- *"),
        ("w1<-managers", "w1 <- m1 m2 m3"),
        ("w1 -> m1, w2 <- client", "w1 -> m1, w2 <- client"),
    ],
)
def test_links_are_found_and_found_again_by_what_they_show(
    targets: Targets, words: str, shown: str
) -> None:
    links = targets.links(words)
    assert str(links) == shown
    assert targets.links(target_text(links)).pairs() == links.pairs()
    assert isinstance(links, Links)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "names no node"),
        ("w9", "no node 'w9'"),
        ("ledaer", "no node 'ledaer'"),
    ],
)
def test_nodes_that_are_not_there_are_refused(targets: Targets, words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        targets.nodes(words)


@pytest.mark.parametrize(
    ("words", "shown", "cut"),
    [
        ("leader | followers", "m1 | m2 m3", {"m1>m2", "m2>m1", "m1>m3", "m3>m1"}),
        ("halves of workers", "halves of w1 w2", {"w1>w2", "w2>w1"}),
        ("bridge of managers", "bridge of m1 m2 m3", {"m1>m3", "m3>m1"}),
        ("ring of managers", "ring of m1 m2 m3", {"m3>m1", "m1>m2", "m2>m3"}),
        ("mesh of workers", "mesh of w1 w2", {"w1>w2", "w2>w1"}),
    ],
)
def test_partitions_have_words_that_can_be_read_again(
    targets: Targets, words: str, shown: str, cut: set[str]
) -> None:
    links = targets.links(words)
    assert str(links) == shown
    assert {f"{a}>{b}" for a, b in links.pairs()} == cut
    assert targets.links(str(links)).pairs() == links.pairs()


@pytest.mark.parametrize(
    "words",
    [
        "",
        " , ",
        "w1 -> w1",
        "* <-> *",
        "w1 -> w9",
        "w1 >> w2",
        "w1 | w1",
        "w1 |",
        "ring of workers",
        "mesh of w1",
    ],
)
def test_links_that_cannot_be_are_refused(targets: Targets, words: str) -> None:
    with pytest.raises(UsageError):
        targets.links(words)


def test_a_service_nobody_runs_and_roles_without_a_swarm(targets: Targets) -> None:
    with pytest.raises(SwarmError, match="no node runs a task of web"):
        targets.nodes("runs:web")
    with pytest.raises(UsageError, match="these nodes are in none"):
        Targets(targets.lab, None).nodes("leader")
    assert [node.name for node in Targets(targets.lab, None).nodes("w1")] == ["w1"]


def test_outside_services_are_found_by_name(targets: Targets) -> None:
    assert targets.find(kind_of("gelf-stalled"), "sink") == ["the sink"]
    with pytest.raises(UsageError, match="no external service 'sunk'"):
        targets.find(kind_of("gelf-stalled"), "sunk")
