"""What is wrong in a picture of a swarm, as sentences: one function for each oracle.

A node that is switched off, or whose dockerd was ended and not started again, is in no picture:
nothing is asked of it. A node that has left, or that the swarm has forgotten, is no member.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from harness.probes.ipam import allocated
from harness.probes.oracles.picture import Listing, Local, Picture, Running

#: States that a task is to pass through: on a node, and neither running nor over.
_ON_THE_WAY = frozenset({"assigned", "accepted", "preparing", "ready", "starting"})

#: Desired states of a task whose container is to be gone.
_UNWANTED = frozenset({"shutdown", "remove"})

Attributes = Mapping[str, Any]


def resources_with_two_owners(picture: Picture) -> list[str]:
    """Return addresses, subnets, VXLAN ids, published ports and slots that two own."""
    if (truth := picture.truth) is None:
        return []
    given = allocated(truth.networks, truth.services, truth.tasks)
    return [
        *given.shared_addresses(),
        *given.overlapping_subnets(),
        *given.shared_vxlan_ids(),
        *_shared_ports(truth),
        *_shared_slots(truth),
    ]


def containers_unwanted(picture: Picture) -> list[str]:
    """Return containers of tasks that are not, or no longer, to run on their node."""
    if (truth := picture.truth) is None:
        return []
    tasks = {task["ID"]: task for task in truth.tasks}
    found = []
    for name, local in members(picture).items():
        found += [
            f"{name}: {container.name} {why}"
            for container in local.running
            if container.task and (why := _unwanted(tasks.get(container.task), local))
        ]
        found += [f"{name}: the engine does not list container {id_}" for id_ in local.unlisted]
    return found


def tasks_absent(picture: Picture) -> list[str]:
    """Return tasks on members that do not run: without a container, or stuck on their way.

    And services with fewer tasks than replicas, where a policy replaces what ends. A task without
    a node is left out: that none takes it is the scheduler's answer.
    """
    if (truth := picture.truth) is None:
        return []
    names = _service_names(truth)
    by_member = {local.member: (name, local) for name, local in members(picture).items()}
    found = []
    for task in truth.tasks:
        if task["DesiredState"] != "running" or task.get("NodeID") not in by_member:
            continue
        node, local = by_member[task["NodeID"]]
        what = f"{node}: {names.get(task['ServiceID'], task['ServiceID'])} (task {task['ID']})"
        state = task["Status"]["State"]
        if state in _ON_THE_WAY:
            found.append(f"{what} is still {state}")
        elif state == "running" and (why := _not_running(task["ID"], local)):
            found.append(f"{what} {why}")
    return [*found, *_too_few(truth)]


def members_not_back(picture: Picture) -> list[str]:
    """Return members that are up and not ready, by the store or by their own word."""
    if (truth := picture.truth) is None:
        return []
    listed = {node["ID"]: node for node in truth.nodes}
    names = {(node.get("Description") or {}).get("Hostname") for node in truth.nodes}
    found = []
    for name, local in picture.local.items():
        if local.error:
            if name in names:
                found.append(local.error)
        elif local.member in listed:
            if said := _not_ready(listed[local.member], local):
                found.append(f"{name} is {said}")
        elif local.state in ("pending", "error", "locked"):
            found.append(f"{name} calls itself {local.state}")
    return found


def managers_apart(picture: Picture) -> list[str]:
    """Return managers that do not answer, or list otherwise than the first that does."""
    if (truth := picture.truth) is None:
        return []
    found = []
    for name in members(picture):
        listing = picture.listings.get(name)
        if isinstance(listing, str):
            found.append(listing)
        elif listing is not None:
            found += [f"{name} lists {each} otherwise" for each in _differing(truth, listing)]
    return found


def updates_under_way(picture: Picture) -> list[str]:
    """Return services whose update, or its rollback, has not ended."""
    if (truth := picture.truth) is None:
        return []
    states = (
        (each["Spec"]["Name"], (each.get("UpdateStatus") or {}).get("State", ""))
        for each in truth.services
    )
    return [
        f"{name} is {state}" for name, state in states if state in ("updating", "rollback_started")
    ]


def members(picture: Picture) -> dict[str, Local]:
    """Return the nodes in a picture that answer and that the store lists."""
    truth = picture.truth
    listed = {node["ID"] for node in truth.nodes} if truth is not None else set()
    return {
        name: local
        for name, local in picture.local.items()
        if not local.error and local.member in listed
    }


def wanted_running(picture: Picture) -> Iterator[tuple[str, Running]]:
    """Yield (node, container) of the tasks that are wanted and run, by kernel and store."""
    if (truth := picture.truth) is None:
        return
    tasks = {task["ID"]: task for task in truth.tasks}
    for name, local in members(picture).items():
        for container in local.running:
            task = tasks.get(container.task)
            if (
                task is not None
                and container.pid is not None
                and task["DesiredState"] == task["Status"]["State"] == "running"
            ):
                yield name, container


# -- within ------------------------------------------------------------------------------------


def _service_names(truth: Listing) -> dict[str, str]:
    return {each["ID"]: each["Spec"]["Name"] for each in truth.services}


def _shared_ports(truth: Listing) -> list[str]:
    owners: dict[tuple[str, int], list[str]] = {}
    for service in truth.services:
        for port in (service.get("Endpoint") or {}).get("Ports") or ():
            if port.get("PublishMode", "ingress") == "ingress" and port.get("PublishedPort"):
                key = (port.get("Protocol", "tcp"), port["PublishedPort"])
                owners.setdefault(key, []).append(service["Spec"]["Name"])
    return [
        f"port {port}/{protocol} is {' and '.join(sorted(whose))}"
        for (protocol, port), whose in sorted(owners.items())
        if len(whose) > 1
    ]


def _shared_slots(truth: Listing) -> list[str]:
    """Slots of replicated services in which more than one task is wanted and runs."""
    running = Counter(
        (task["ServiceID"], task["Slot"])
        for task in truth.tasks
        if task.get("Slot") and task["Status"]["State"] == task["DesiredState"] == "running"
    )
    names = _service_names(truth)
    return [
        f"{names.get(service, service)}.{slot} is {count} tasks"
        for (service, slot), count in sorted(running.items())
        if count > 1
    ]


def _unwanted(task: Attributes | None, local: Local) -> str:
    if task is None:
        return "is of no task"
    if task.get("NodeID") != local.member:
        return "is of another node's task"
    return f"is to be {task['DesiredState']}" if task["DesiredState"] in _UNWANTED else ""


def _not_running(task: str, local: Local) -> str:
    container = next((each for each in local.running if each.task == task), None)
    if container is None:
        return "has no container that runs"
    return "has no process" if container.pid is None else ""


def _too_few(truth: Listing) -> Iterator[str]:
    """Services with fewer tasks than replicas although every task that ends is to be replaced."""
    made = Counter(
        task["ServiceID"] for task in truth.tasks if task["DesiredState"] in ("ready", "running")
    )
    for service in truth.services:
        spec = service["Spec"]
        replicated = (spec.get("Mode") or {}).get("Replicated")
        policy = (spec.get("TaskTemplate") or {}).get("RestartPolicy") or {}
        if replicated is None or policy.get("MaxAttempts"):
            continue
        wanted = replicated.get("Replicas", 1)
        if policy.get("Condition", "any") == "any" and made[service["ID"]] < wanted:
            yield f"{spec['Name']} has {made[service['ID']]} of {wanted} tasks"


def _not_ready(node: Attributes, local: Local) -> str:
    if local.state != "active":
        return f"{local.state} by its own word"
    if (state := node["Status"]["State"]) != "ready":
        return str(state)
    reached = (node.get("ManagerStatus") or {}).get("Reachability", "reachable")
    return "" if reached == "reachable" else f"a manager that is {reached}"


def _differing(one: Listing, other: Listing) -> Iterator[str]:
    """Yield what two listings differ in; what changes by itself all the time is left out."""
    views: dict[str, Any] = {
        "services": lambda each: {(s["ID"], s["Version"]["Index"]) for s in each.services},
        "tasks": lambda each: {(t["ID"], t["DesiredState"]) for t in each.tasks},
        "nodes": lambda each: {
            (n["ID"], n["Spec"]["Role"], n["Status"]["State"]) for n in each.nodes
        },
        "networks": lambda each: {n["Id"] for n in each.networks},
    }
    return (what for what, view in views.items() if view(one) != view(other))
