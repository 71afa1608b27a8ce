"""Sizes as they are written, how growth is told from a few of them, joins that take their time."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as some

from harness.bench import scale
from harness.bench.metric import Metric
from harness.bench.scale import MEASURES, growth, metrics, rows, sizes_in
from harness.errors import LabError, SwarmError, UsageError, WaitTimeout
from harness.lab import Lab, Node, Topology
from harness.probes.sampling.neighbour_table import NeighbourTable
from harness.swarm import NoAnswer, Swarm


def test_sizes_are_in_order_and_once() -> None:
    assert sizes_in("20, 5,10,5,97") == [5, 10, 20, 97]


@pytest.mark.parametrize("text", ["", "5,,10", "3", "98", "five", "-5", "5.5"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid number of nodes"):
        sizes_in(text)


@given(
    some.sampled_from([0.0, 0.5, 1.0, 2.0]),
    some.floats(0.1, 1000.0),
    some.lists(some.integers(3, 60), min_size=2, max_size=5, unique=True),
)
def test_a_power_is_found_again(exponent: float, factor: float, sizes: list[int]) -> None:
    found = growth({size: factor * size**exponent for size in sizes})
    assert found == pytest.approx(exponent, abs=0.011)


def test_one_size_grows_with_nothing() -> None:
    assert growth({5: 3.0}) is None
    assert growth({5: 0.0, 10: 0.0}) is None


class Labs:
    """Makes no labs, and keeps which were asked for and how many are open."""

    def __init__(self) -> None:
        self.made: list[Topology] = []
        self.open = 0

    def make(self, topology: Topology, _: str) -> Any:
        self.made.append(topology)
        self.open += 1
        return SimpleNamespace(topology=topology, close=self.close)

    def close(self) -> None:
        self.open -= 1


@pytest.fixture
def labs(monkeypatch: pytest.MonkeyPatch) -> Labs:
    """Labs in which each measure is the number of nodes and the number of the run."""
    labs = Labs()

    def measured(lab: Lab) -> Iterator[tuple[str, float]]:
        nodes = sum(1 for _ in lab.topology.places()) - scale.MORE
        for name in MEASURES:
            if name != "up":
                yield name, float(nodes + len(labs.made))

    monkeypatch.setattr(scale, "measured", measured)
    return labs


def test_each_size_is_measured_in_labs_of_its_own(labs: Labs) -> None:
    said: list[str] = []
    measured = metrics(cast("Any", labs), "any", [5, 10], runs=3, say=said.append)
    found = {metric.name: metric.value for metric in measured}
    assert "10 nodes, 3 of 3" in said
    assert [str(topology) for topology in labs.made] == ["3m5s"] * 3 + ["3m10s"] * 3
    assert labs.open == 0
    assert found["scale.5n.storm"] == 5 + 2
    assert found["scale.10n.failover"] == 10 + 5
    assert found["scale.growth.joined"] == growth({5: 7, 10: 15})
    assert {name.split(".", 2)[2] for name in found} == set(MEASURES)


def test_a_size_that_does_not_work_leaves_what_was_measured(
    labs: Labs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(lab: Lab) -> Iterator[tuple[str, float]]:
        yield "storm", 1.0
        if len(list(lab.topology.places())) > 5 + scale.MORE:
            raise WaitTimeout("a task on every node", within=300, waited=300.1, last="none on s9")
        yield "failover", 2.0

    monkeypatch.setattr(scale, "measured", measured)
    found: list[str] = []
    what = metrics(cast("Any", labs), "any", [5, 10, 20], runs=1, say=found.append)
    with pytest.raises(SwarmError, match=r"(?s)^10 nodes .*none on s9.*share .* CPUs"):
        found.extend(metric.name for metric in what)
    assert labs.open == 0
    assert "scale.5n.failover" in found
    assert "scale.10n.storm" in found
    assert "scale.growth.storm" in found
    assert not any("20" in name or name == "scale.10n.failover" for name in found)


def test_what_was_measured_on_a_full_table_of_neighbours_is_not_shown(
    labs: Labs, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = iter([5, 5, 5, 905])  # before and after each size
    monkeypatch.setattr(scale, "NeighbourTable", lambda: NeighbourTable(lambda: next(counted)))
    found: list[str] = []
    measured = metrics(cast("Any", labs), "any", [5, 10, 20], runs=1, say=lambda _: None)
    with pytest.raises(LabError, match=r"10 nodes cannot be measured: .* full 900 times"):
        found.extend(metric.name for metric in measured)
    assert len(labs.made) == 2
    assert "scale.5n.storm" in found
    assert not any("10n" in name for name in found)


def test_sizes_are_the_columns_of_the_table() -> None:
    found = [
        Metric("scale.5n.storm", 0.5, "s"),
        Metric("scale.5n.memory.worker", 52.5, "MiB"),
        Metric("scale.10n.storm", 1.0, "s"),
        Metric("scale.10n.memory.worker", 53.0, "MiB"),
        Metric("scale.growth.storm", 1.0, "1"),
    ]
    assert list(rows(found)) == [
        ("measure", "5 nodes", "10 nodes", "growth", "unit"),
        ("storm", "0.5", "1", "1", "s"),
        ("memory.worker", "52.5", "53", "", "MiB"),
    ]


class Joining:
    """A swarm that every node joins with one answer, and the nodes that were waited for."""

    leader = None

    def __init__(self, answer: NoAnswer | None) -> None:
        self.answer = answer
        self.waited: list[object] = []

    def ask(self, _: object) -> Any:
        return {"JoinTokens": {"Worker": "token"}}

    def join(self, _: object, **__: object) -> None:
        if self.answer is not None:
            raise self.answer

    def wait_for_ready(self, nodes: list[object], *, within: float) -> None:
        assert within > 20
        self.waited += nodes


NODES = cast("list[Node]", ["s1", "s2"])


@pytest.mark.parametrize(
    "answer",
    [
        None,
        NoAnswer("s1", "timeout", "no answer in time"),
        NoAnswer(
            "s1",
            "api",
            "Timeout was reached before node joined. The attempt to join the swarm will continue "
            "in the background.",
        ),
    ],
)
def test_a_join_that_goes_on_in_the_background_is_waited_for(answer: NoAnswer | None) -> None:
    swarm = Joining(answer)
    scale._storm(cast("Swarm", swarm), NODES)
    assert swarm.waited == NODES


def test_a_join_that_is_refused_ends_the_bench() -> None:
    refused = NoAnswer("s1", "api", "invalid join token")
    with pytest.raises(NoAnswer, match="invalid join token"):
        scale._storm(cast("Swarm", Joining(refused)), NODES)
