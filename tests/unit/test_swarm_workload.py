"""Workloads are refused when they are made, not when they are deployed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from docker.types import EndpointSpec

from harness.errors import UsageError
from harness.swarm import Service, Workload, balanced_web
from harness.swarm.service_spec import published_port
from harness.swarm.workload import identity


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
            r"two services publish one port: \[80, 80\]",
        ),
        (lambda: workload(service(networks=("other",))), "names unknown networks"),
        (lambda: workload(service(), entry="web"), "no service 'web' as its entry"),
        (lambda: workload(service()).service("web"), "has no service 'web'"),
        (lambda: workload(service(), subnets={"far": "10.0.0.0/26"}), "has no network 'far'"),
        (lambda: workload(service(), subnets={"net": "10.0.0.1/26"}), "host bits set"),
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


@pytest.mark.parametrize(("mode", "said"), [("ingress", None), ("host", "host")])
def test_the_sdk_hears_of_a_port_only_what_engines_of_2017_may_be_told(
    mode: Any, said: str | None
) -> None:
    [port] = EndpointSpec(ports={8080: published_port(80, mode)})["Ports"]  # type: ignore[dict-item]
    assert (port["PublishedPort"], port["TargetPort"], port["Protocol"]) == (8080, 80, "tcp")
    assert port.get("PublishMode") == said
