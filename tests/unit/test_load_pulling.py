"""Nodes that pull for tasks: what they are told, in which order, and who is waited for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.load import have_tasks_pull


class FakeNode:
    """A node that notes what is done to it."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name = name
        self._done = done
        self.dockerd = SimpleNamespace(stop=lambda: done.append(f"stop {name}"))

    def run(self, argv: list[str], *, stdin: bytes) -> None:
        """Note the file that is written, and its text."""
        self._done.append(f"{self.name} {argv[-1]}: {stdin.decode().strip()}")

    def start(self) -> None:
        """Note it."""
        self._done.append(f"start {self.name}")


def test_each_dockerd_is_restarted_with_it_and_the_members_are_waited_for() -> None:
    done: list[str] = []
    nodes: list[Any] = [FakeNode("m1", done), FakeNode("s1", done)]
    swarm: Any = SimpleNamespace(
        members=lambda: [SimpleNamespace(name="m1")],
        wait_for_leader=lambda within: done.append("leader"),
        wait_for_ready=lambda asked, within: done.append(f"ready {[n.name for n in asked]}"),
    )
    have_tasks_pull(swarm, nodes)
    setting = "/etc/default/docker: DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=0"
    assert done == [
        *(f"m1 {setting}", "stop m1", "start m1"),
        *(f"s1 {setting}", "stop s1", "start s1"),
        *("leader", "ready ['m1']"),
    ]
