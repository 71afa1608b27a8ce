"""What a description becomes in the API's form, and that it is read back the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads import networks, services, spec_of

from harness.errors import UsageError
from harness.swarm import (
    HealthCheck,
    Job,
    Network,
    Port,
    Resources,
    Service,
    SwarmPools,
    SwarmSettings,
    network_spec,
)
from harness.swarm.releases import refuse_too_old, require
from harness.swarm.service_spec import described, published
from harness.swarm.spec_reader import read_service

VXLAN_IDS = "com.docker.network.driver.overlay.vxlanid_list"


@settings(max_examples=40)
@given(services())
def test_a_description_is_read_back_the_same(service: Service) -> None:
    names = {f"id-{name}": name for name in service.networks}
    assert read_service(spec_of(service), names) == service


@settings(max_examples=40)
@given(services(), st.booleans())
def test_an_unchanged_spec_changes_no_description(service: Service, mesh: bool) -> None:
    assert described(service, spec_of(service, mesh=mesh), mesh=mesh) == service


@settings(max_examples=40)
@given(networks())
def test_a_network_is_read_back_the_same(network: Network) -> None:
    made = network_spec.creation(network)
    attrs = {
        "Name": made["name"],
        "Options": {
            **(made["options"] or {}),
            "com.docker.network.driver.overlay.vxlanid_list": "4097",
        },
        "IPAM": {"Config": (made["ipam"] or {}).get("Config")},
        "Attachable": made["attachable"],
        "EnableIPv6": made["enable_ipv6"],
        "Internal": made["internal"],
        "Labels": made["labels"],
    }
    assert network_spec.described(attrs) == network
    assert made["enable_ipv6"] == (network.subnet_ipv6 is not None)


def test_what_is_not_said_is_not_sent() -> None:
    spec = spec_of(Service("app", "image"))
    assert spec["TaskTemplate"].keys() == {"ContainerSpec", "RestartPolicy"}
    assert spec["TaskTemplate"]["ContainerSpec"].keys() == {"Image", "Env", "StopGracePeriod"}
    assert spec["TaskTemplate"]["RestartPolicy"] == {"Condition": "any", "Delay": 5_000_000_000}
    assert spec["EndpointSpec"] == {"Mode": "vip"}


@pytest.mark.parametrize(
    ("service", "mode", "condition"),
    [
        (Service("a", "i", replicas=3), {"Replicated": {"Replicas": 3}}, "any"),
        (Service("a", "i", replicas=None), {"Global": {}}, "any"),
        (
            Service("a", "i", job=Job(5, 2)),
            {"ReplicatedJob": {"TotalCompletions": 5, "MaxConcurrent": 2}},
            "on-failure",
        ),
        (Service("a", "i", replicas=None, job=Job()), {"GlobalJob": {}}, "on-failure"),
    ],
)
def test_the_mode_of_a_service(service: Service, mode: dict[str, Any], condition: str) -> None:
    spec = spec_of(service)
    assert spec["Mode"] == mode
    assert spec["TaskTemplate"]["RestartPolicy"]["Condition"] == condition


@pytest.mark.parametrize(("mesh", "said"), [(True, None), (False, "host")])
def test_the_sdk_hears_of_a_port_only_what_engines_of_2017_may_be_told(
    mesh: bool, said: str | None
) -> None:
    service = Service("app", "image", port=80, published=8080, ports=(Port(53, 53, "udp"),))
    entry, other = spec_of(service, mesh=mesh)["EndpointSpec"]["Ports"]
    assert (entry["PublishedPort"], entry["TargetPort"], entry["Protocol"]) == (8080, 80, "tcp")
    assert entry.get("PublishMode") == said
    assert other == {"Protocol": "udp", "TargetPort": 53, "PublishedPort": 53}


def test_another_entry_leaves_the_ports_beside_it() -> None:
    service = Service("app", "image", port=80, published=8080, ports=(Port(53, 53, "udp"),))
    spec = spec_of(service)
    published(service, 8081, mesh=True)(spec)
    assert [port["PublishedPort"] for port in spec["EndpointSpec"]["Ports"]] == [8081, 53]
    assert described(service, spec, mesh=True).published == 8081


@pytest.mark.parametrize(
    ("facts", "what", "release", "engine"),
    [
        ({"job": Job()}, "a job", "20.10.0", "19.03.15"),
        ({"cap_add": ("NET_ADMIN",)}, "capabilities", "20.10.0", "19.03.15"),
        ({"limit": Resources(pids=5)}, "a limit of pids", "20.10.0", "19.03.15"),
        ({"max_per_node": 1}, "a number of replicas per node", "19.03.0", "18.09.9"),
        ({"sysctls": {"a": "1"}}, "sysctls", "19.03.0", "18.09.9"),
        ({"init": True}, "init", "18.06.0", "18.03.1"),
        ({"ports": (Port(1, 1, "sctp"),)}, "an SCTP port", "18.03.0", "17.12.1"),
        ({"reserve": Resources(generic={"gpu": 1})}, "a generic resource", "17.09.0", "17.06.2"),
        (
            {"health": HealthCheck(("CMD", "true"), start_interval=1.0)},
            "a health check's start interval",
            "25.0.0",
            "24.0.9",
        ),
    ],
)
def test_what_an_engine_does_not_know_is_refused_by_the_release_that_does(
    facts: dict[str, Any], what: str, release: str, engine: str
) -> None:
    service = Service("app", "image", **facts)
    require(service, {"m1": release})
    with pytest.raises(UsageError) as caught:
        require(service, {"m1": "28.5.2", "w1": engine})
    assert str(caught.value) == (
        f"service app asks for {what}, which Docker Engine has from {release} on: w1 runs {engine}"
    )


def test_pools_of_addresses_are_refused_the_same_way() -> None:
    pools = SwarmPools(("10.20.0.0/16",), prefix=26)
    assert pools.arguments() == {"default_addr_pool": ["10.20.0.0/16"], "subnet_size": 26}
    with pytest.raises(UsageError, match=r"a default address pool, .* from 18\.09\.0 on: m1 runs"):
        refuse_too_old("the swarm", pools.needs(), {"m1": "18.06.3"})
    assert SwarmPools().arguments() == {}


def test_settings_change_only_what_they_name() -> None:
    spec = {"Raft": {"SnapshotInterval": 10000, "ElectionTick": 10}, "CAConfig": {}}
    before = copy.deepcopy(spec)
    settings = SwarmSettings(snapshot_interval=100, heartbeat=2.5, autolock=False)
    assert settings.edited(spec) == {
        "Raft": {"SnapshotInterval": 100, "ElectionTick": 10},
        "CAConfig": {},
        "Dispatcher": {"HeartbeatPeriod": 2_500_000_000},
        "EncryptionConfig": {"AutoLockManagers": False},
    }
    assert spec == before
    with pytest.raises(UsageError, match="task_history cannot be -1"):
        SwarmSettings(task_history=-1)
