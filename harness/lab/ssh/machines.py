"""All machines of an inventory, reached and checked before anything is made on one of them."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeVar

from harness.errors import LabError
from harness.lab.ssh.connection import Connection
from harness.lab.ssh.inventory import Inventory, read_inventory
from harness.lab.ssh.machine import Machine

T = TypeVar("T")
S = TypeVar("S")


class Machines:
    """The machines in the inventory's order; their connections last as long as this object."""

    def __init__(self, inventory: Inventory, machines: Sequence[Machine], open_: ExitStack) -> None:
        self.inventory = inventory
        self._machines = tuple(machines)
        self._end = weakref.finalize(self, open_.close)

    @classmethod
    def reached(cls, path: Path) -> Self:
        """Connect to every machine of an inventory and check that it may and can be used.

        Raises a :class:`~harness.errors.HarnessError` for the first that is not; nothing has been
        changed on any.
        """
        return cls._reached(path, Machine.check)

    @classmethod
    def made_for_a_run(cls, path: Path) -> Self:
        """Connect to machines that have just booted; as :meth:`reached`, but their clocks are set.

        Errors are the same.
        """

        def set_and_check(machine: Machine) -> None:
            machine.set_clock()
            machine.check()

        return cls._reached(path, set_and_check)

    @classmethod
    def _reached(cls, path: Path, check: Callable[[Machine], None]) -> Self:
        inventory = read_inventory(path)
        with ExitStack() as made:
            folder = made.enter_context(tempfile.TemporaryDirectory(prefix="swarm-chaos-ssh-"))

            def reach(number: int) -> Machine:
                connection = Connection(inventory.machines[number], Path(folder, str(number)))
                made.callback(connection.close)
                return Machine(connection, inventory)

            machines = each_of(reach, range(len(inventory.machines)))
            each_of(check, machines)
            _refuse_twins(machines)
            return cls(inventory, machines, made.pop_all())

    def __iter__(self) -> Iterator[Machine]:
        return iter(self._machines)

    def __len__(self) -> int:
        return len(self._machines)

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._end()


def each_of(work: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """Do something to each, as many at once as help; the first error is raised, at the end."""
    with ThreadPoolExecutor(max(1, min(len(items), 8 * (os.cpu_count() or 1)))) as pool:
        waiting = [pool.submit(work, item) for item in items]
    return [done.result() for done in waiting]


def _refuse_twins(machines: Sequence[Machine]) -> None:
    for number, machine in enumerate(machines):
        for other in machines[:number]:
            if machine.identity and machine.identity == other.identity:
                raise LabError(
                    f"{other.name} and {machine.name} are one machine: "
                    f"both have the machine-id {machine.identity}",
                    hint="list it once; machines that were cloned need an id of their own: "
                    "systemd-machine-id-setup after removing /etc/machine-id",
                )
            if machine.fabric_address == other.fabric_address:
                raise LabError(
                    f"{other.name} and {machine.name} have one address for the other machines, "
                    f"{machine.fabric_address}",
                    hint="write for each where the others reach it: fabric-address = ...",
                )
