"""Who answers at a task's IPv6 address, as it is told from what the tasks have heard."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import LabError
from harness.probes.ipv6 import TaskAddress, ipv6_addresses, not_reached


def a_node(name: str, heard: str = "") -> Any:
    """A node with one task, whose program says what it has heard."""
    addresses = {"both": {"GlobalIPv6Address": "fd00::3"}}
    listed = {
        "Id": f"c-{name}",
        "Labels": {"com.docker.swarm.task.name": f"echo.{name}"},
        "NetworkSettings": {"Networks": addresses},
    }
    api = SimpleNamespace(
        containers=lambda filters: [listed],
        exec_create=lambda container, command, stderr: {"Id": "e"},
        exec_start=lambda started: heard.encode(),
    )
    return SimpleNamespace(name=name, docker=SimpleNamespace(api=api))


def a_deployment(*nodes: Any) -> Any:
    by_name = {node.name: node for node in nodes}
    return SimpleNamespace(
        swarm=SimpleNamespace(lab=SimpleNamespace(nodes=by_name, node=by_name.__getitem__))
    )


def a_task(name: str, node: str, address: str = "fd00::3") -> TaskAddress:
    return TaskAddress(name, node, f"c-{node}", address)


def test_addresses_are_those_that_the_nodes_have_given() -> None:
    found = ipv6_addresses(a_deployment(a_node("m1"), a_node("w1")), "echo", "both")
    assert found == [a_task("echo.m1", "m1"), a_task("echo.w1", "w1")]


def test_whoever_was_meant_has_to_answer() -> None:
    web = a_deployment(a_node("m1", "echo.2\n-\necho.1\n"), a_node("w1", "echo.3\n-\n"))
    tasks = [
        *(a_task("echo.3", "w1"), a_task("echo.2", "w1", "fd00::4"), a_task("echo.1", "m1")),
        a_task("echo.4", "m1", ""),
    ]
    assert not_reached(web, tasks, port=7007) == [
        "echo.1 on m1: nobody answers w1",
        "echo.4 on m1: nobody answers w1",
        "echo.3 on w1: echo.2 answers m1",
        "echo.2 on w1: nobody answers m1",
    ]


def test_one_that_could_not_ask_has_found_nothing() -> None:
    web = a_deployment(a_node("m1", "echo.3\n"), a_node("w1"))
    tasks = [a_task("echo.1", "m1"), a_task("echo.2", "w1"), a_task("echo.3", "w1")]
    with pytest.raises(LabError, match="has ended, or could not ask"):
        not_reached(web, tasks, port=7007)
