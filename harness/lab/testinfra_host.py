"""``node.host``: a testinfra Host over a backend of ours that enters the node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from testinfra.backend import base
from testinfra.host import Host

from harness.lab.nsenter import Completed


class NodeBackend(base.BaseBackend):  # type: ignore[misc]  # testinfra is untyped
    """Runs testinfra's commands in a node's namespaces, on its own files."""

    NAME = "swarm-chaos"

    def __init__(self, name: str, run: Callable[[Sequence[str]], Completed]) -> None:
        super().__init__(name)
        self._run = run

    def run(self, command: str, *args: str, **_: Any) -> base.CommandResult:
        """Run a shell command on the node, as testinfra expects it."""
        line = self.get_command(command, *args)
        done = self._run(["/bin/sh", "-c", line])
        return self.result(done.code, self.encode(line), done.stdout, done.stderr)

    def get_encoding(self) -> str:
        """Every node speaks UTF-8; testinfra would look for a Python on it to ask."""
        return "UTF-8"


def host_of(name: str, run: Callable[[Sequence[str]], Completed]) -> Host:
    """Return a testinfra Host whose commands go through ``run``."""
    return Host(NodeBackend(name, run))
