"""Topologies: written, read, named, refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.lab import Topology
from harness.lab.topology import MOST_NODES

SHAPES = st.builds(
    Topology,
    managers=st.integers(1, 40),
    workers=st.integers(0, 40),
    spares=st.integers(0, 20),
)


@given(SHAPES)
def test_what_is_written_is_read_back(topology: Topology) -> None:
    assert Topology.parse(str(topology)) == topology


@given(st.text(alphabet="0123456789mws -+,", max_size=8))
def test_anything_else_is_refused_in_words(written: str) -> None:
    try:
        topology = Topology.parse(written)
    except UsageError:
        return
    assert 1 <= sum(1 for _ in topology.places()) <= MOST_NODES
    assert Topology.parse(str(topology)) == topology


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "is not a valid topology"),
        ("3", "is not a valid topology"),
        ("2w", "is not a valid topology"),
        ("2w3m", "is not a valid topology"),
        ("3m2", "is not a valid topology"),
        ("-3m", "is not a valid topology"),
        ("0m2w", "0 managers"),
        ("50m51w", "101 nodes"),
        ("9999999m", "a lab cannot have"),
    ],
)
def test_what_cannot_be_a_swarm_is_refused(written: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Topology.parse(written)


@given(SHAPES)
def test_places_are_numbered_and_named_by_role(topology: Topology) -> None:
    places = list(topology.places())
    assert [place.index for place in places] == list(range(len(places)))
    assert len({place.name for place in places}) == len(places)
    for role, count in (
        ("manager", topology.managers),
        ("worker", topology.workers),
        ("spare", topology.spares),
    ):
        names = [place.name for place in places if place.role == role]
        assert names == [f"{role[0]}{number + 1}" for number in range(count)]


def test_an_even_number_of_managers_is_warned_of() -> None:
    [warning] = Topology(4).warnings()
    assert warning.startswith("4 managers tolerate the loss of 1, no more than 3")
    assert Topology(3).warnings() == ()


def test_engines_can_only_be_given_for_nodes_that_are_there() -> None:
    assert Topology(2, 1, engines={"w1": "oldest"}).engines == {"w1": "oldest"}
    with pytest.raises(UsageError, match="do not exist: w2"):
        Topology(2, 1, engines={"w2": "oldest"})


@pytest.mark.parametrize(
    ("written", "engines", "again"),
    [
        ("2m1w,w1=28.5.2", {"w1": "28.5.2"}, "2m1w,workers=28.5.2"),
        ("1m2w, workers=28.5.2", {"w1": "28.5.2", "w2": "28.5.2"}, "1m2w,workers=28.5.2"),
        ("1m2w,w2=oldest,workers=28", {"w1": "28", "w2": "oldest"}, "1m2w,w1=28,w2=oldest"),
        ("2m1s,m2=dir:/opt/x", {"m2": "dir:/opt/x"}, "2m1s,m2=dir:/opt/x"),
    ],
)
def test_engines_are_written_by_node_or_role(
    written: str, engines: dict[str, str], again: str
) -> None:
    topology = Topology.parse(written)
    assert topology.engines == engines
    assert str(topology) == again
    assert Topology.parse(again) == topology


@given(
    st.builds(Topology, st.integers(1, 4), st.integers(0, 3), st.integers(0, 2)).flatmap(
        lambda topology: st.dictionaries(
            st.sampled_from([place.name for place in topology.places()]),
            st.sampled_from(["oldest", "28.5.2", "dir:/opt/docker"]),
        ).map(topology.with_engines)
    )
)
def test_engines_that_are_written_are_read_back(topology: Topology) -> None:
    assert Topology.parse(str(topology)) == topology


@pytest.mark.parametrize("written", ["3m,w1", "3m,=28", "3m,m1=", "w1=28", "3m,,"])
def test_half_an_engine_is_no_topology(written: str) -> None:
    with pytest.raises(UsageError, match="not a valid topology"):
        Topology.parse(written)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="negative"):
        Topology(1, -1)
