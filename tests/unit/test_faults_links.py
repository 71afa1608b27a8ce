"""Links and planes: what they mean, and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.faults.links import DirectedLinks, Links
from harness.faults.network.group import NetworkFaults
from harness.faults.planes import PLANES, Plane, plane_of

LAB: Any = SimpleNamespace(
    nodes=dict.fromkeys(["m1", "m2", "w1"]), client_hosts=dict.fromkeys(["client", "gelf"])
)
EVERYBODY = {"m1", "m2", "w1", "client", "gelf"}


def test_links_between_two_groups_have_both_directions() -> None:
    links = Links.by_name(LAB, ["w1"], ["m1", "m2"])
    assert links.pairs() == {("w1", "m1"), ("w1", "m2"), ("m1", "w1"), ("m2", "w1")}
    assert str(links) == "w1 <-> m1 m2"


@pytest.mark.parametrize(
    ("direction", "pairs", "words"),
    [("out", {("w1", "m1")}, "w1 -> m1"), ("in", {("m1", "w1")}, "w1 <- m1")],
)
def test_one_direction_is_seen_from_the_first_group(
    direction: Any, pairs: AbstractSet[tuple[str, str]], words: str
) -> None:
    links = Links.by_name(LAB, ["w1"], ["m1"], direction=direction)
    assert (links.pairs(), str(links)) == (pairs, words)


def test_everybody_else_is_who_is_there_when_it_is_asked() -> None:
    lab: Any = SimpleNamespace(nodes=dict.fromkeys(["m1", "w1"]), client_hosts={})
    links = Links.by_name(lab, ["w1"], direction="out")
    assert links.pairs() == {("w1", "m1")}
    lab.client_hosts["client"] = None
    assert links.pairs() == {("w1", "m1"), ("w1", "client")}


def test_a_group_that_is_isolated_hears_itself() -> None:
    pairs = Links.by_name(LAB, ["m1", "m2"]).pairs()
    assert not {("m1", "m2"), ("m2", "m1")} & pairs
    assert {("m1", "w1"), ("client", "m2")} < pairs


places = st.frozensets(st.sampled_from(sorted(EVERYBODY)), max_size=4)


@given(places, places)
def test_a_way_leads_from_its_sources_to_its_destinations(
    sources: frozenset[str], destinations: frozenset[str]
) -> None:
    if not (sources or destinations) or sources & destinations:
        with pytest.raises(UsageError):
            DirectedLinks(sources, destinations)
        return
    pairs = DirectedLinks(sources, destinations).pairs(EVERYBODY)
    assert all(a != b for a, b in pairs)
    assert {a for a, _ in pairs} == (sources or EVERYBODY - destinations)
    assert {b for _, b in pairs} == (destinations or EVERYBODY - sources)


def test_links_are_put_together() -> None:
    links = Links.by_name(LAB, ["w1"], ["m1"]) | Links.by_name(LAB, ["m2"], ["m1"], direction="out")
    assert links.pairs() == {("w1", "m1"), ("m1", "w1"), ("m2", "m1")}
    assert str(links) == "w1 <-> m1, m2 -> m1"
    other: Any = SimpleNamespace(nodes={"m1": None, "w1": None}, client_hosts={})
    with pytest.raises(UsageError, match="two labs"):
        _ = links | Links.by_name(other, ["w1"], ["m1"])


@pytest.mark.parametrize(
    ("left", "right", "direction", "why"),
    [
        (["m9"], ["w1"], "both", "m9"),
        (["m1"], ["m1", "w1"], "both", "m1 to itself"),
        ([], [], "both", "have no ends"),
        (["m1"], ["w1"], "up", "up"),
        (["m1", "m2", "w1"], [], "both", "are all nodes: nothing is at the other end but"),
        (["m1", "m2", "w1", "client"], [], "out", "are all nodes"),
    ],
)
def test_links_that_cannot_be_are_refused(
    left: Sequence[str], right: Sequence[str], direction: Any, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        Links.by_name(LAB, left, right, direction=direction)


def test_a_blackout_pulls_each_cable_and_a_mesh_is_every_two() -> None:
    trial: Any = None
    network = NetworkFaults(trial, LAB)
    m1, m2, w1 = (place(name) for name in ("m1", "m2", "w1"))
    dark = network.blackout([m1, m2]).links
    assert {("m1", "m2"), ("m2", "m1"), ("m1", "w1"), ("client", "m2")} < dark.pairs()
    assert not {pair for pair in dark.pairs() if not {"m1", "m2"} & set(pair)}
    assert network.blackout([m1, m2, w1]).links.pairs() >= {("m1", "w1"), ("w1", "client")}
    among = network.links_among([m1, m2, w1])
    assert among.pairs() == {(a, b) for a in LAB.nodes for b in LAB.nodes if a != b}
    with pytest.raises(UsageError, match="at least one place"):
        network.blackout([])


def place(name: str) -> Any:
    """A place of which only the name is asked."""
    return SimpleNamespace(name=name)


@pytest.mark.parametrize("name", PLANES)
def test_planes_are_known_by_their_names(name: str) -> None:
    assert plane_of(name) is plane_of(f" {name.upper()} ") is PLANES[name]


@pytest.mark.parametrize("words", ["8080/tcp", "1/udp", "65535/tcp"])
def test_a_port_is_a_plane(words: str) -> None:
    plane = plane_of(words)
    assert [str(ports) for ports in plane.ports] == [words]
    assert plane_of(plane) is plane


@pytest.mark.parametrize(
    "words", ["", "gosip", "8080", "0/tcp", "65536/tcp", "8080/sctp", "-1/tcp"]
)
def test_what_is_no_plane_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="there is no plane"):
        plane_of(words)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("everything", "gossip", True),
        ("ip", "everything", True),
        ("gossip", "gossip-udp", True),
        ("gossip-tcp", "gossip-udp", False),
        ("control", "data", False),
        ("2377/tcp", "control", True),
        ("2377/udp", "control", False),
    ],
)
def test_planes_meet_where_a_packet_can_be_in_both(one: str, other: str, meet: bool) -> None:
    assert plane_of(one).meets(plane_of(other)) is meet
    assert plane_of(other).meets(plane_of(one)) is meet


def test_the_planes_of_swarm_have_the_ports_that_docker_documents() -> None:
    def ports(plane: Plane) -> set[str]:
        return {str(each) for each in plane.ports}

    assert ports(PLANES["control"]) == {"2377/tcp"}
    assert ports(PLANES["gossip"]) == {"7946/tcp", "7946/udp"}
    assert ports(PLANES["data"]) == {"4789/udp"}
