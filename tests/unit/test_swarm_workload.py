"""Workloads are refused when they are made, not when they are deployed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.errors import UsageError
from harness.swarm import (
    FileFrom,
    HealthCheck,
    Job,
    LogDriver,
    Mount,
    Network,
    Port,
    Resources,
    RestartPolicy,
    Service,
    UpdateConfig,
    Workload,
    balanced_web,
)
from harness.swarm.workload import facts_of, identity, workload_from


def service(name: str = "app", **facts: Any) -> Service:
    return Service(name, "image", facts.pop("networks", ("net",)), **facts)


def workload(*services: Service, **facts: Any) -> Workload:
    return Workload("load", facts.pop("networks", ("net",)), services, **facts)


@pytest.mark.parametrize("replicas", [None, 0, 1, 100])
def test_a_sound_workload_is_taken(replicas: int | None) -> None:
    made = workload(service(replicas=replicas, published=80, port=80), entry="app")
    assert made.service("app").replicas == replicas


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: service(replicas=-1), "-1 is not a number of replicas"),
        (lambda: service(published=0), "0 is not a port"),
        (lambda: service(published=65536), "65536 is not a port"),
        (lambda: workload(service(), service()), "names must differ"),
        (
            lambda: workload(service("a", published=80), service("b", published=80)),
            "a port is published twice: 80/tcp",
        ),
        (lambda: workload(service(networks=("other",))), "names unknown networks"),
        (lambda: workload(service(), entry="web"), "no service 'web' as its entry"),
        (lambda: workload(service()).service("web"), "has no service 'web'"),
        (lambda: Network("net", subnet="10.0.0.1/26"), "network net: .*host bits set"),
        (lambda: Network("net", subnet="fd00::/64"), "fd00::/64 is not a subnet of IPv4"),
        (lambda: Network("net", mtu=67), "67 is no MTU"),
        (lambda: workload(service(configs=(FileFrom("app"),))), r"unknown configs: \['app'\]"),
        (lambda: workload(service(secrets=(FileFrom("key"),))), r"unknown secrets: \['key'\]"),
        (
            lambda: workload(service(published=53, port=53, ports=(Port(53, 53),))),
            "a port is published twice: 53/tcp",
        ),
        (lambda: service(job=Job(), replicas=2), "a job has no replicas"),
        (lambda: service(job=Job(), update=UpdateConfig()), "a job is not updated"),
        (lambda: service(reserve=Resources(pids=3)), "pids can be limited, not reserved"),
        (lambda: service(limit=Resources(generic={"gpu": 1})), "can be reserved, not limited"),
        (lambda: service(aliases={"far": ("x",)}), r"not on: \['far'\]"),
        (lambda: Job(completions=0), "a job of 0 completions"),
        (lambda: HealthCheck(("CMD", "true"), interval=-1), "interval cannot be -1"),
        (lambda: RestartPolicy(delay=-1.0), "delay cannot be -1.0"),
        (lambda: Port(70000), "70000 is not a port"),
        (lambda: Mount("/x", type="bind"), "the bind at /x has no source"),
        (lambda: Mount("/x", "there", "tmpfs"), "the tmpfs at /x has no source: 'there' is one"),
        (lambda: Mount("/x", size=3), "the volume at /x has no size"),
        (lambda: Mount("/x", "/y", "bind", driver="nfs"), "the bind at /x has no driver"),
    ],
)
def test_a_workload_that_cannot_be_is_refused(make: Callable[..., Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        make()


def test_the_balanced_web_is_entered_by_its_balancer() -> None:
    web = balanced_web(replicas=7, balancers=3, port=81)
    assert web.entry == "balancer"
    assert web.service("app").replicas == 7
    assert web.service("app").published is None
    balancer = web.service("balancer")
    assert (balancer.replicas, balancer.published) == (3, 81)
    assert balancer.env["UPSTREAM"] == "app"


def test_what_is_kept_to_a_role_runs_and_is_entered_there_only() -> None:
    everywhere, kept = service(), service(role="worker", constraints=("node.labels.disk==ssd",))
    assert [everywhere.may_run_on(role) for role in ("manager", "worker", "spare")] == [
        True,
        True,
        False,
    ]
    assert [kept.may_run_on(role) for role in ("manager", "worker", "spare")] == [
        False,
        True,
        False,
    ]
    assert everywhere.placement == []
    assert kept.placement == ["node.role==worker", "node.labels.disk==ssd"]
    assert {s.role for s in balanced_web(role="manager").services} == {"manager"}


@pytest.mark.parametrize(
    ("engines", "node"),
    [
        (["26.1.5", "20.10.24"], "{{.Node.Hostname}}"),
        (["17.10.0-ce"], "{{.Node.Hostname}}"),
        (["26.1.5", "17.05.0-ce"], "{{.Node.ID}}"),
    ],
)
def test_a_task_is_told_its_node_as_the_oldest_engine_can(
    engines: Sequence[str], node: str
) -> None:
    assert identity(engines)["NODE_NAME"] == node


def test_one_port_can_be_published_for_two_protocols() -> None:
    workload(service(ports=(Port(53, 53), Port(53, 53, "udp"))))


def test_a_workload_comes_back_from_its_facts_as_it_was() -> None:
    full = workload(
        service(
            port=80, published=8080, publish_mode="host", env={"A": "b"}, role="worker",
            constraints=("node.labels.disk==ssd",), log=LogDriver("gelf", {"gelf-address": "udp"}),
            command=("run", "--fast"), replicas=None,
        ),
        networks=(Network("net", subnet="10.77.0.0/26"),), entry="app", path="/x",
        configs={"c": b"\x00x"},
    )  # fmt: skip
    assert workload_from(json.loads(json.dumps(facts_of(full)))) == full
    assert workload_from(facts_of(balanced_web())) == balanced_web()
