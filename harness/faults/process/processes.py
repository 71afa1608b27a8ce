"""A node's processes, found from outside: by their place in the tree, by container, by role."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.errors import FaultError
from harness.lab import Node
from harness.lab.processes import Held, Process
from harness.swarm import ask

_SERVICE = "com.docker.swarm.service.name"


def processes_of(node: Node) -> Iterator[int]:
    """Yield every process of a node, its init first, as pids on this side."""
    waiting = [node.here.pid]
    while waiting:
        pid = waiting.pop(0)
        yield pid
        waiting.extend(children_of(pid))


def children_of(pid: int) -> list[int]:
    """Return the children of all threads of a process: a Go program forks on any of them."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ended just now
            found.extend(int(child) for child in thread.read_text().split())
    return sorted(found)


def state_of(pid: int) -> str:
    """Return a process's state as one letter of proc(5) ("S": asleep, "T": stopped); "": gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return ""


def has_ended(pid: int) -> bool:
    """Return whether a process has ended: it is gone, or a zombie."""
    return state_of(pid) in ("", "Z", "X")


def command_of(pid: int) -> list[str]:
    """Return a process's command line; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def containerd_of(node: Node) -> Held:
    """Return the containerd that a node's dockerd started; :class:`FaultError` if none."""
    # The kernel cuts a name off after 15 characters: docker-containerd, before 18.09.
    found = node.dockerd.child("containerd", "docker-containe")
    if found is None:
        raise FaultError(f"dockerd on {node.name} runs no containerd of its own")
    return found


def shim_of(node: Node, container: str) -> Process:
    """Return the shim of a container, by the container's id."""
    for pid in processes_of(node):
        if "containerd-shim" in _program(pid) and container in " ".join(command_of(pid)):
            return Process(pid, f"the shim of {container[:12]} on {node.name}")
    raise FaultError(f"no shim on {node.name} holds the container {container[:12]}")


def task_of(node: Node, service: str) -> tuple[str, Process]:
    """Return a running task of a service on a node: its container's id and its first process.

    Of several the oldest. :class:`FaultError` if none runs there.
    """
    found = ask(node, lambda api: api.api.containers(filters={"label": f"{_SERVICE}={service}"}))
    if not found:
        raise FaultError(f"no task of {service} runs on {node.name}")
    container = min(found, key=lambda each: (each["Created"], each["Id"]))["Id"]
    inner = ask(node, lambda api: api.api.inspect_container(container))["State"]["Pid"]
    return container, Process(host_pid(node, inner), f"{service} on {node.name}")


def host_pid(node: Node, inner: int) -> int:
    """Return the pid on this side of the process that the node itself knows as ``inner``."""
    depth = len(_pids(node.here.pid)) - 1
    for pid in processes_of(node):
        known_as = _pids(pid)
        if len(known_as) > depth and known_as[depth] == inner:
            return pid
    raise FaultError(f"no process {inner} runs on {node.name}")


def _pids(pid: int) -> list[int]:
    """A process's pid in each pid namespace it is in, this side's first."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return [int(word) for word in line.split()[1:]]
    return []


def _program(pid: int) -> str:
    command = command_of(pid)
    return command[0].rpartition("/")[2] if command else ""
