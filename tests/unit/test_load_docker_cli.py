"""The docker command on a node: its words, its input, and what becomes of its errors."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import SwarmError
from harness.lab.nsenter import Completed
from harness.load.docker_cli import docker, log_in


class FakeNode:
    """A node on which every program ends in one way."""

    name = "m1"

    def __init__(self, code: int = 0, stdout: str = "", stderr: str = "") -> None:
        self._ends = (code, stdout.encode(), stderr.encode())
        self.ran: list[list[str]] = []
        self.stdin = b""

    def run(self, argv: list[str], *, stdin: bytes, **_: Any) -> Completed:
        """Keep what was asked for."""
        self.ran.append(argv)
        self.stdin = stdin
        return Completed(tuple(argv), *self._ends)


def test_it_asks_the_node_s_own_engine_and_returns_warnings_too() -> None:
    node: Any = FakeNode(stdout="id\n", stderr="image could not be accessed")
    assert docker(node, "service", "ls") == "id\nimage could not be accessed"
    [argv] = node.ran
    assert argv[0] == "docker"
    assert argv[1:3] == ["--host", "unix:///run/swarm-chaos/docker.sock"]
    assert argv[3:] == ["service", "ls"]


def test_what_it_refuses_is_an_error_with_its_own_words() -> None:
    node: Any = FakeNode(code=1, stderr="Error: No such service: web")
    with pytest.raises(SwarmError, match="`docker service rm web` on m1 failed: Error: No such"):
        docker(node, "service", "rm", "web")


def test_a_password_is_typed_and_not_an_argument() -> None:
    node: Any = FakeNode()
    log_in(node, "registry.test:5000", "swarm", "secret")
    assert node.stdin == b"secret"
    assert "secret" not in " ".join(node.ran[0])
