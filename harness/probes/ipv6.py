"""IPv6 addresses of a service's tasks: which they have, and who answers there.

Each node gives its containers an address; no manager knows of it. So two tasks on two nodes may
have the same, and who is asked is not who was meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.errors import LabError
from harness.swarm import Deployment, ask

_SERVICE = "com.docker.swarm.service.name"
_TASK = "com.docker.swarm.task.name"

#: Asks the echo program at each address who it is; "-" for one that does not answer in 2 s.
_WHO = """
import socket, sys
for address in sys.argv[2:]:
    try:
        with socket.create_connection((address, int(sys.argv[1])), 2) as there:
            there.sendall(b"who\\n")
            print(there.makefile().readline().split()[0])
    except (OSError, IndexError):
        print("-")
"""


@dataclass(frozen=True)
class TaskAddress:
    """A running task's name, its node's, its container, and its IPv6 address, "" for none."""

    task: str
    node: str
    container: str
    address: str


def ipv6_addresses(web: Deployment, service: str, network: str) -> list[TaskAddress]:
    """Return the addresses in a network of a service's tasks, as their nodes have given them.

    Raises :class:`~harness.swarm.NoAnswer` when a node does not answer.
    """
    wanted = {"label": f"{_SERVICE}={service}"}
    return [
        TaskAddress(
            task=each["Labels"][_TASK],
            node=node.name,
            container=each["Id"],
            address=each["NetworkSettings"]["Networks"][network]["GlobalIPv6Address"],
        )
        for node in web.swarm.lab.nodes.values()
        for each in ask(node, lambda api: api.api.containers(filters=wanted))
    ]


def not_reached(web: Deployment, tasks: Iterable[TaskAddress], *, port: int) -> list[str]:
    """Have one task of each node ask all others by their addresses; return what went wrong.

    The tasks run the echo program on ``port``. ``echo.1.x2k on w1: echo.3.y7f answers m1``. Raises
    :class:`LabError` when a task ends before it has asked.
    """
    tasks = list(tasks)
    askers = {task.node: task for task in tasks}.values()
    return [
        f"{task.task} on {task.node}: {who or 'nobody'} answers {asker.node}"
        for asker in askers
        for task, who in _asked(web, asker, [task for task in tasks if task is not asker], port)
        if who != task.task
    ]


def _asked(
    web: Deployment, asker: TaskAddress, tasks: list[TaskAddress], port: int
) -> Iterator[tuple[TaskAddress, str]]:
    addressed = [task.address for task in tasks if task.address]
    command = ["/usr/bin/python3", "-I", "-S", "-c", _WHO, str(port), *addressed]
    node = web.swarm.lab.node(asker.node)
    started = ask(node, lambda api: api.api.exec_create(asker.container, command, stderr=False))
    said = ask(node, lambda api: api.api.exec_start(started["Id"])).decode().split()
    if len(said) != len(addressed):
        raise LabError(f"{asker.task} on {asker.node} has ended, or could not ask: {said}")
    who = iter(said)
    for task in tasks:
        yield task, next(who).removeprefix("-") if task.address else ""
