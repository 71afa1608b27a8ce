"""What was given out twice is found, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.probes.ipam import allocated


def network(
    name: str, subnet: str, ids: str, gateway: str | None = None
) -> dict[str, str | dict[str, list[dict[str, str]] | str]]:
    return {
        "Id": f"id-{name}",
        "Name": name,
        "IPAM": {"Config": [{"Subnet": subnet, "Gateway": gateway or ""}]},
        "Options": {"com.docker.network.driver.overlay.vxlanid_list": ids},
    }


def service(name: str, **addresses: str) -> dict[str, dict[str, str | list[dict[str, str]]]]:
    virtual = [{"NetworkID": f"id-{on}", "Addr": at} for on, at in addresses.items()]
    return {"Spec": {"Name": name}, "Endpoint": {"VirtualIPs": virtual}}


def task(
    id_: str, state: str = "running", **addresses: str
) -> dict[str, str | dict[str, str] | list[dict[str, dict[str, str] | list[str]]]]:
    return {
        "ID": id_,
        "Status": {"State": state},
        "NetworksAttachments": [
            {"Network": {"ID": f"id-{on}"}, "Addresses": [at]} for on, at in addresses.items()
        ],
    }


NORTH = network("north", "10.0.1.0/24", "4097", "10.0.1.1")
SOUTH = network("south", "10.0.2.0/24", "4098", "10.0.2.1")


def test_a_sound_swarm_shares_nothing() -> None:
    found = allocated(
        [NORTH, SOUTH],
        [service("both", north="10.0.1.2/24", south="10.0.2.2/24"), service("none")],
        [
            task("t1", north="10.0.1.3/24", south="10.0.2.3/24"),
            task("t2", north="10.0.1.4/24"),
            task("t3", "shutdown", north="10.0.1.4/24"),
        ],
    )
    assert found.shared_addresses() == []
    assert found.shared_vxlan_ids() == []
    assert found.overlapping_subnets() == []
    assert len(found.given) == 7, "two gateways, two virtual addresses, three of tasks"


@pytest.mark.parametrize(
    ("services", "tasks", "said"),
    [
        (
            [service("a", north="10.0.1.2/24"), service("b", north="10.0.1.2/24")],
            [],
            "10.0.1.2 in north is a and b",
        ),
        (
            [service("a", north="10.0.1.2/24")],
            [task("t1", north="10.0.1.2/24")],
            "10.0.1.2 in north is a and task t1",
        ),
        ([], [task("t1", south="10.0.2.1/24")], "10.0.2.1 in south is task t1 and the gateway"),
        (
            [],
            [task("t1", "starting", north="10.0.1.7/24"), task("t2", north="10.0.1.7/24")],
            "10.0.1.7 in north is task t1 and task t2",
        ),
    ],
)
def test_an_address_of_two_is_found(
    services: Sequence[dict[str, dict[str, str | list[dict[str, str]]]]],
    tasks: Sequence[dict[str, str | dict[str, str] | list[dict[str, dict[str, str] | list[str]]]]],
    said: str,
) -> None:
    assert allocated([NORTH, SOUTH], services, tasks).shared_addresses() == [said]


def test_one_address_in_two_networks_is_nobodys_mistake() -> None:
    other = network("other", "10.0.9.0/24", "4099")
    tasks = [task("t1", north="10.0.1.7/24"), task("t2", other="10.0.1.7/24")]
    assert allocated([NORTH, other], [], tasks).shared_addresses() == []


def test_networks_of_one_id_or_of_one_piece_of_the_pool_are_found() -> None:
    twin = network("twin", "10.0.1.128/25", "4100,4097")
    found = allocated([NORTH, SOUTH, twin], [], [])
    assert found.shared_vxlan_ids() == ["north and twin are both 4097"]
    assert found.overlapping_subnets() == ["10.0.1.0/24 of north and 10.0.1.128/25 of twin"]


def test_what_was_not_given_out_yet_is_left_out() -> None:
    fresh = {"Id": "id-new", "Name": "new", "IPAM": {"Config": None}, "Options": None}
    found = allocated([fresh], [{"Spec": {"Name": "a"}, "Endpoint": {}}], [task("t1", new="")])
    assert found.networks[0].vxlan_ids == ()
    assert found.overlapping_subnets() == []
