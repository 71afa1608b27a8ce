"""The harness's own options: what they mean, and what they cannot mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from plugin_options import given_options as given

from harness.errors import UsageError
from harness.lab import Topology


def test_nothing_given_is_one_trial_of_the_stable_engine() -> None:
    options = given()
    assert (options.engines, options.seeds, options.lab) == (("stable",), (1,), "auto")
    assert (options.topology, options.controls) == (None, False)
    assert options.reports == Path("/project/reports")
    assert (options.attach, options.into) == (None, None)


def test_engines_may_be_repeated_and_listed_and_count_once() -> None:
    options = given(engine=["stable, oldest", "stable", "dir:/opt/docker"])
    assert options.engines == ("stable", "oldest", "dir:/opt/docker")


def test_roles_may_have_an_engine_each() -> None:
    options = given(engine=["20.10.24:managers,28.5.2:workers"])
    assert options.engines == ("20.10.24",)
    assert options.role_engines == {"workers": "28.5.2"}
    assert given(engine=["dir:/opt/docker:managers"]).engines == ("dir:/opt/docker",)


@pytest.mark.parametrize(
    "engine", ["28.5.2:workers", "stable,28.5.2:workers", "oldest:managers,newest:managers"]
)
def test_some_roles_with_an_engine_and_some_without_are_refused(engine: str) -> None:
    with pytest.raises(UsageError, match="leaves others open"):
        given(engine=[engine])


def test_seeds_count_up() -> None:
    assert given(seed="7", trials="3").seeds == (7, 8, 9)


def test_a_topology_is_read() -> None:
    assert given(topology="3m2w1s").topology == Topology(3, 2, 1)
    mixed = given(topology="1m1w,w1=oldest").topology
    assert mixed == Topology(1, 1, engines={"w1": "oldest"})
    with pytest.raises(UsageError, match="unknown engine 'eldest'"):
        given(topology="1m1w,w1=eldest")


def test_reports_may_lie_anywhere() -> None:
    assert given(reports="/elsewhere").reports == Path("/elsewhere")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": [""]}, "unknown engine ''"),
        ({"engine": ["stable,nope"]}, "unknown engine 'nope'"),
        ({"engine": ["dir:"]}, "engine 'dir:' names no folder"),
        ({"lab": "vbox"}, "there is no lab 'vbox'"),
        ({"seed": "x"}, "--seed: 'x' is not a whole number"),
        ({"seed": "1.5"}, "--seed: '1.5' is not a whole number"),
        ({"seed": "-1"}, "--seed -1 is too small"),
        ({"trials": "0"}, "--trials 0 is too small"),
        ({"trials": "100000000"}, "--trials 100000000 is too many"),
        ({"trials": "9" * 5000}, "is not a whole number"),
        ({"engine": ["dir:" + "x" * 5000]}, "no engine has a name this long"),
        ({"topology": ""}, "'' is not a valid topology"),
        ({"topology": "2w"}, "'2w' is not a valid topology"),
        ({"topology": "0m2w"}, "a swarm cannot have 0 managers"),
        ({"topology": "99m99w"}, "a lab cannot have 198 nodes"),
        ({"clock": "sundial"}, "there is no clock 'sundial'"),
        ({"kernel": "2.4"}, "2.4"),
        ({"cpus": "0"}, "--cpus 0 is too small"),
        ({"cpus": "99"}, "--cpus 99 is too much"),
        ({"memory": "3g"}, "--memory: '3g' is not a whole number"),
        ({"memory": "100"}, "--memory 100 is too small"),
        ({"memory": "999999"}, "--memory 999999 is too much"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    options: Mapping[str, list[str] | str], said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        given(**options)
    assert said in refused.value.what
    assert refused.value.exit_code == 64


@pytest.mark.parametrize("lab", ["dind", "ssh", "vagrant"])
def test_packets_are_captured_only_where_something_listens(lab: str) -> None:
    assert given(**{"capture-packets": True}).capture
    assert not given(lab=lab).capture
    with pytest.raises(UsageError, match=f"nothing listens between the nodes of the {lab} lab"):
        given(lab=lab, **{"capture-packets": True})
