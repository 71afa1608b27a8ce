"""Whether names, virtual addresses and forwarding lead to the tasks that run, on every node.

Asked from within: of the resolver in the network namespace of a task that runs there, of IPVS
where the kernel has it, and of the overlay's neighbour and forwarding entries.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabError
from harness.lab import Node
from harness.probes.containers import Life
from harness.probes.forwarding import forwarding, wrong_forwarding
from harness.probes.ipvs import TABLE, Destination, destinations_in, load_balancer
from harness.probes.oracles.picture import Picture, Running
from harness.probes.oracles.reconciled import wanted_running
from harness.probes.sampling.dns_prober import UNANSWERED, DnsProber, wait_for_answers
from harness.probes.sampling.dns_wire import Answer
from harness.probes.sampling.netns import NetworkNamespace, from_a_thread

Addresses = Mapping[tuple[str, str], frozenset[str]]
"""(service, network) -> the addresses of its tasks that run there; both by name."""


@dataclass(frozen=True)
class Place:
    """A task that runs on a node, from whose network namespace names are asked for."""

    node: str
    pid: int
    networks: frozenset[str]


def wrong_routes(picture: Picture, nodes: Iterable[Node]) -> list[str]:
    """Return all that leads elsewhere, or nowhere, as sentences."""
    if (truth := picture.truth) is None:
        return []
    networks = {n["Name"]: n["Id"] for n in truth.networks if not n.get("Ingress")}
    running = list(wanted_running(picture))
    addresses = addresses_of(running, networks)
    by_name = {node.name: node for node in nodes if node.name in picture.local}
    found = [problem for place in places(running, networks) for problem in _names(place, addresses)]
    for node in by_name.values():
        # What a killed dockerd left of a network that it has no task in any more leads nobody.
        joined = {
            network
            for name, container in running
            if name == node.name
            for network in container.addresses
        }
        for network, id_ in networks.items():
            if network not in joined:
                continue
            found += _forwarding(node, network, id_, running, by_name)
            balanced = {
                addresses.get((service["Spec"]["Name"], network), frozenset())
                for service in truth.services
                for each in (service.get("Endpoint") or {}).get("VirtualIPs") or ()
                if each["NetworkID"] == id_
            }
            found += _balancer(node, network, id_, balanced - {frozenset()})
    return found


def addresses_of(
    running: Iterable[tuple[str, Running]], networks: Iterable[str]
) -> dict[tuple[str, str], frozenset[str]]:
    """Return the addresses by service and network."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    known = set(networks)
    for _, container in running:
        for network, address in container.addresses.items():
            if network in known:
                key = (container.service, network)
                found[key] = found.get(key, frozenset()) | {address}
    return found


def places(running: Iterable[tuple[str, Running]], networks: Iterable[str]) -> list[Place]:
    """Return one task for each node and set of networks to ask from."""
    known = frozenset(networks)
    found: dict[tuple[str, frozenset[str]], Place] = {}
    for node, container in running:
        joined = known & frozenset(container.addresses)
        if joined and container.pid:
            found.setdefault((node, joined), Place(node, container.pid, joined))
    return list(found.values())


def wrong_names(place: Place, addresses: Addresses, answers: Mapping[str, Answer]) -> list[str]:
    """Return the names whose answers are the addresses in none of the place's networks."""
    found = []
    for service, answer in answers.items():
        expected = [
            given
            for (name, network), given in sorted(addresses.items())
            if name == service and network in place.networks
        ]
        if frozenset(answer.addresses) not in expected:
            said = answer.error or ", ".join(answer.addresses) or "nothing"
            wanted = " or ".join(", ".join(sorted(each)) for each in expected)
            found.append(f"{place.node}: tasks.{service} is {said} and not {wanted}")
    return found


def wrong_balancing(
    node: str, network: str, destinations: Iterable[Destination], balanced: set[frozenset[str]]
) -> list[str]:
    """Return which sets of addresses IPVS lacks, and which it has that are no service's."""
    by_mark: dict[int, set[str]] = {}
    for each in destinations:
        if each.weight:
            by_mark.setdefault(each.mark, set()).add(each.address)
    led_to = {frozenset(each) for each in by_mark.values()}
    where = f"{node}: IPVS in {network}"
    return [
        *(
            f"{where} does not lead to {_listed(each)}"
            for each in sorted(balanced - led_to, key=sorted)
        ),
        *(f"{where} leads to {_listed(each)}" for each in sorted(led_to - balanced, key=sorted)),
    ]


def _listed(addresses: Iterable[str]) -> str:
    return ", ".join(sorted(addresses))


# -- within ------------------------------------------------------------------------------------


def _names(place: Place, addresses: Addresses) -> list[str]:
    services = {service for service, network in addresses if network in place.networks}
    try:
        answers = from_a_thread(lambda: dict(_answers(place.pid, sorted(services))))
    except LabError as error:
        return [f"{place.node}: {error.what}"]
    return wrong_names(place, addresses, answers)


def _answers(pid: int, services: list[str]) -> Iterator[tuple[str, Answer]]:
    """Ask the resolver of a process's network namespace; on a thread that may enter it."""
    namespace = NetworkNamespace(Path(f"/proc/{pid}/ns/net"))
    try:
        prober = DnsProber(namespace)
    finally:
        namespace.close()
    answers: dict[str, Answer] = {}

    def report(name: str, _at: float, answer: Answer) -> None:
        answers[name.removeprefix("tasks.")] = answer

    try:
        began = time.monotonic()
        prober.ask([f"tasks.{service}" for service in services], began, report)
        while len(answers) < len(services):
            if (left := began + UNANSWERED - time.monotonic()) <= 0:
                break
            wait_for_answers([prober], left)
            prober.read(time.monotonic(), report)
    finally:
        prober.close()
    for service in services:
        yield service, answers.get(service, Answer(0, (), "no answer"))


def _forwarding(
    node: Node,
    network: str,
    id_: str,
    running: Iterable[tuple[str, Running]],
    nodes: Mapping[str, Node],
) -> list[str]:
    try:
        entries = forwarding(node, id_)
    except LabError:
        return []  # it has no task in this network
    lives = [
        Life(each.id, name, each.service, each.slot, each.task, each.addresses)
        for name, each in running
    ]
    at = {name: each.address for name, each in nodes.items()}
    return wrong_forwarding(node, network, entries.values(), lives, at)


def _balancer(node: Node, network: str, id_: str, balanced: set[frozenset[str]]) -> list[str]:
    def read() -> str:
        namespace = NetworkNamespace(load_balancer(node, id_))
        try:
            with namespace.entered():
                return TABLE.read_text()
        finally:
            namespace.close()

    with suppress(LabError, OSError):  # it has no task in this network, or the kernel no IPVS
        return wrong_balancing(node.name, network, destinations_in(from_a_thread(read)), balanced)
    return []
