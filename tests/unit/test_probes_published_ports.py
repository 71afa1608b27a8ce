"""Who holds a published port, of a node whose network is this process's own."""

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from stand_ins import FakeNode

from harness.errors import LabError
from harness.probes.published_ports import announced_ports, nodes_not_listening, port_taken

T = TypeVar("T")


class Door:
    def call(self, work: Callable[[], T]) -> T:
        return work()


def a_node(name: str = "w1") -> Any:
    return FakeNode(name=name, network=Door())


def a_free_port() -> int:
    with socket.create_server(("0.0.0.0", 0)) as server:
        return int(server.getsockname()[1])


def test_a_port_is_held_for_the_block_and_no_longer() -> None:
    port = a_free_port()
    with port_taken(a_node(), port), pytest.raises(OSError, match="in use"):
        socket.create_server(("0.0.0.0", port))
    socket.create_server(("0.0.0.0", port)).close()


def test_a_port_that_somebody_holds_cannot_be_taken() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        with (
            pytest.raises(LabError, match=f"port {port} of w1 cannot be taken"),
            port_taken(a_node(), port),
        ):
            pass


def test_nodes_that_do_not_listen_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"w1": {8080, 2377}, "w2": {2377}}
    monkeypatch.setattr("harness.probes.published_ports.listening", lambda node: held[node.name])
    assert nodes_not_listening([a_node("w1"), a_node("w2")], 8080) == ["w2"]


@pytest.mark.parametrize(
    ("endpoint", "ports"),
    [
        ({"Ports": [{"PublishedPort": 8081, "TargetPort": 8000}]}, [8081]),
        ({"Ports": None}, []),
        ({}, []),
    ],
)
def test_announced_ports_are_those_a_manager_lists(
    endpoint: dict[str, Any], ports: list[int]
) -> None:
    swarm = SimpleNamespace(ask=lambda question: {"Endpoint": endpoint})
    deployment: Any = SimpleNamespace(swarm=swarm, services={"app": "id"})
    assert announced_ports(deployment, "app") == ports
