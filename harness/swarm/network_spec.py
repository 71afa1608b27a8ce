"""An overlay network as the API has it."""

from __future__ import annotations

from typing import Any

from docker.types import IPAMConfig, IPAMPool

from harness.swarm.client import SwarmClient
from harness.swarm.workload import ANY_SUBNET, Network

_MTU = "com.docker.network.driver.mtu"


def create(swarm: SwarmClient, network: Network) -> str:
    """Create a network and return its id; :class:`NoAnswer` if it is refused."""
    arguments = creation(network)
    return str(swarm.ask(lambda api: api.api.create_network(**arguments))["Id"])


def creation(network: Network) -> dict[str, Any]:
    """Return the arguments with which the SDK's low-level client creates a network."""
    subnets = [network.subnet, network.subnet_ipv6]
    pools = [IPAMPool(subnet=each) for each in subnets if each not in (None, ANY_SUBNET)]
    options = {
        **network.options,
        **({"encrypted": ""} if network.encrypted else {}),
        **({_MTU: str(network.mtu)} if network.mtu is not None else {}),
    }
    return {
        "name": network.name,
        "driver": "overlay",
        "options": options or None,
        "ipam": IPAMConfig(pool_configs=pools) if pools else None,
        "internal": network.internal,
        "attachable": network.attachable,
        "labels": dict(network.labels) or None,
        "enable_ipv6": network.subnet_ipv6 is not None,
    }


def described(attrs: dict[str, Any]) -> Network:
    """Return the description of a network as ``GET /networks/ID`` has it.

    A subnet that swarm chose is in it, too.
    """
    subnets = [pool["Subnet"] for pool in (attrs.get("IPAM") or {}).get("Config") or ()]
    chosen = ANY_SUBNET if attrs.get("EnableIPv6") else None
    options = dict(attrs.get("Options") or {})
    options.pop("com.docker.network.driver.overlay.vxlanid_list", None)
    mtu = options.pop(_MTU, None)
    return Network(
        attrs["Name"],
        subnet=next((each for each in subnets if ":" not in each), None),
        subnet_ipv6=next((each for each in subnets if ":" in each), chosen),
        encrypted=options.pop("encrypted", None) is not None,
        mtu=None if mtu is None else int(mtu),
        attachable=bool(attrs.get("Attachable")),
        internal=bool(attrs.get("Internal")),
        labels=attrs.get("Labels") or {},
        options=options,
    )
