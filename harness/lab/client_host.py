"""A client host: an address on the fabric that is not a node, for clients and external services."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from harness.lab.network import NetworkDoor
from harness.lab.nsenter import entering, joining
from harness.lab.processes import Process
from harness.lab.warm_process import take_warm


class LocalClientHost:
    """A network namespace with an address; files and user are the host's."""

    def __init__(self, name: str, address: str, init: int, groups: Sequence[Path]) -> None:
        self.name = name
        self.address = address
        self.pid = init
        self._groups = tuple(groups)
        self._init = Process(init, f"client host {name}")
        self._door: NetworkDoor | None = None

    up = True
    """It is never switched off."""

    @property
    def here(self) -> Self:
        """Itself: it is on this machine."""
        return self

    def __repr__(self) -> str:
        return f"<ClientHost {self.name} {self.address}>"

    def popen(self, argv: Sequence[str], **popen: object) -> subprocess.Popen[bytes]:
        """Start a program in the client host's network; it dies with the lab."""
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            joining(self._groups, entering(self.pid, ("net",), argv)), **popen
        )

    def run_module(
        self, module: str, *, environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Run a Python module in the client host's network, its output appended to ``log``.

        Its standard input is a pipe that nobody writes to: its end tells the program that this
        process is dead. It runs in a process that has its imports done, if one waits
        (:mod:`harness.lab.warm_process`).
        """
        ready = take_warm()
        process = ready and ready.become(
            module, pid=self.pid, groups=self._groups, environment=environment, log=log
        )
        if process:
            return process
        with log.open("ab") as output:
            return self.popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
            )

    @property
    def network(self) -> NetworkDoor:
        """A door into the client host's network namespace for this process's own sockets."""
        if self._door is None:
            self._door = NetworkDoor(self.pid, self.name)
        return self._door

    def close(self) -> None:
        """Close threads and descriptors; the client host itself goes on."""
        if self._door is not None:
            self._door.close()
            self._door = None
        self._init.close()
