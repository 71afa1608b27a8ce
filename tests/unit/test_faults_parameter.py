"""Parameters are stated once: constructor, methods, catalogue and command line follow from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import UsageError
from harness.faults import Faults
from harness.faults.catalogue import facts_of
from harness.faults.network import NetworkLoss
from harness.faults.parameter import (
    COUNT,
    DURATION,
    RATE,
    SHARE,
    SIZE,
    Quantity,
    parameters_of,
)
from harness.faults.process import DockerdRestarted

LAB: Any = SimpleNamespace(nodes={"m1": None, "w1": None}, client_hosts={}, fabric=())
NODE: Any = SimpleNamespace(name="w1")
PLACES: Any = [NODE]
TRIAL: Any = SimpleNamespace()


@pytest.mark.parametrize(
    ("of", "text", "value"),
    [
        (SHARE, "10%", 0.1),
        (SHARE, "0.25", 0.25),
        (DURATION, "200ms", 0.2),
        (DURATION, "5min", 300.0),
        (DURATION, " 1.5 h ", 5400.0),
        (SIZE, "64MiB", 64 << 20),
        (SIZE, "1.5KiB", 1536),
        (RATE, "10mbit", 10_000_000),
        (COUNT, "3", 3),
    ],
)
def test_values_are_read_in_the_unit_of_the_field(
    of: Quantity[float], text: str, value: float
) -> None:
    assert of.read(text) == pytest.approx(value)
    assert of.check(value) == value


@pytest.mark.parametrize(
    ("of", "text", "said"),
    [
        (SHARE, "x", "'x' is not a valid share: give a number from 0 to 1"),
        (SHARE, "nan", "'nan' is not a valid share"),
        (DURATION, "inf s", "'inf s' is not a valid duration: give a duration of 0s or more"),
        (DURATION, "10", "'10' is not a valid duration"),
        (SIZE, "5MB5", "'5MB5' is not a valid size"),
        (COUNT, "1.5", "'1.5' is not a valid count: give a whole number of 1 or more"),
        (COUNT, "", "'' is not a valid count"),
    ],
)
def test_texts_that_are_not_valid_are_refused(of: Quantity[float], text: str, said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        of.read(text)
    assert refusal.value.what.startswith(said)


@pytest.mark.parametrize("value", [True, "10%", None, float("nan"), -0.1, 1.1])
def test_values_in_python_are_held_to_the_same_bounds(value: object) -> None:
    with pytest.raises(UsageError, match="not a valid share: give a number from 0 to 1"):
        SHARE.check(value)


def test_a_misspelt_parameter_is_refused_with_those_that_there_are() -> None:
    network = Faults(TRIAL, LAB).network
    links = network.links(PLACES)
    with pytest.raises(UsageError, match="network-loss has no parameter shar") as e:
        network.loss(links, shar=0.1)  # type: ignore[call-arg]
    assert e.value.hint == "it takes: links, share, plane"
    with pytest.raises(UsageError, match="network-loss: missing a required argument: 'share'"):
        network.loss(links)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="cpu-limited has no parameter shar"):
        Faults(TRIAL).resource.limit_cpu(NODE, shar=0.1)  # type: ignore[call-arg]


def test_a_method_makes_the_fault_that_its_class_makes() -> None:
    loss = Faults(TRIAL, LAB).network.loss(PLACES, 0.1, plane="gossip")
    assert isinstance(loss, NetworkLoss)
    assert loss.describe() == {"target": "w1 <-> *", "plane": "gossip", "share": 0.1}
    assert loss.trial is TRIAL


def test_a_default_is_made_anew_for_each_fault() -> None:
    first, second = DockerdRestarted(TRIAL, NODE), DockerdRestarted(TRIAL, NODE)
    assert first.flags == second.flags == []
    assert first.flags is not second.flags


def test_the_reference_shows_defaults_as_people_write_them() -> None:
    assert [(p.name, p.default) for p in parameters_of(NetworkLoss)] == [
        ("plane", "everything"),
        ("share", None),
    ]
    assert facts_of(NetworkLoss)["parameters"][0]["default"] == "everything"
