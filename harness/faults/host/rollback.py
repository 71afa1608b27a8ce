"""A host that comes back with yesterday's disk: its swarm state is that of an earlier moment.

It is what restoring a virtual machine from a snapshot does. Raft has to bear a member that has
forgotten what it acknowledged; a worker, tasks that it has long reported as ended.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
from pathlib import Path

from harness.errors import FaultError
from harness.faults.node_fault import DOCKERD, NodeFault
from harness.faults.parameter import state
from harness.lab import Node

STATE = "swarm"
"""The folder below /var/lib/docker that is rolled back: raft, certificates, the agent's tasks."""


def keep_disk(node: Node) -> None:
    """Keep a copy of a node's swarm state as it is now, to which it can be rolled back.

    dockerd stands still meanwhile, so the copy is what a disk's snapshot would have.
    """
    kept = kept_state(node.here.dir)
    shutil.rmtree(kept, ignore_errors=True)
    node.dockerd.signal(signal.SIGSTOP)
    try:
        copy_state(state_of(node), kept)
    finally:
        node.dockerd.signal(signal.SIGCONT)


class DiskRolledBack(NodeFault):
    """A host loses its power and comes back with the swarm state that was kept of it.

    Keep one first, by ``faults.host.keep_disk(node)``. Healed by giving it back the state that it
    had when it lost its power.
    """

    name = "disk-rolled-back"
    summary = "A host loses its power and comes back with swarm state that was kept earlier."
    needs = ("swarm state that was kept (faults.host.keep_disk)",)
    proof = "its state differs from what it was, and is what was kept; healed: it is as it was"
    excludes = (DOCKERD, "the swarm's state on disk")

    _differs: bool = state(default=False)

    def precheck(self) -> None:
        """Require a node that is on, whose state was kept and is not on a disk of its own."""
        self.require_dockerd()
        if not kept_state(self.node.here.dir).is_dir():
            raise FaultError(
                f"no state of {self.node.name} was kept: there is nothing to roll back to",
                hint="call faults.host.keep_disk(node) earlier in the scenario",
            )
        if list(self.node.here.disks):
            raise FaultError(f"{self.node.name} has a disk of its own, which is not rolled back")

    def apply(self) -> None:
        """Cut the power, exchange the state, switch the node on."""
        self.node.kill()
        current, today = state_of(self.node), _today(self.node)
        shutil.rmtree(today, ignore_errors=True)
        current.rename(today)
        copy_state(kept_state(self.node.here.dir), current)
        self._differs = digests(today) != digests(current)
        same = digests(kept_state(self.node.here.dir)) == digests(current)
        self.node.start()
        if not same:
            raise FaultError(f"the state of {self.node.name} is not what was kept")

    def evidence(self) -> str:
        """Check that its state has changed by it, and that it answers."""
        if not self._differs:
            raise FaultError(f"the state of {self.node.name} had not changed since it was kept")
        return f"its state is the one that was kept, {self.answers()}"

    def undo(self) -> None:
        """Cut the power again, and give it back the state that it had."""
        today = _today(self.node)
        if not today.is_dir():
            return
        if self.node.up:
            self.node.kill()
        shutil.rmtree(state_of(self.node), ignore_errors=True)
        today.rename(state_of(self.node))
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that the state of today is no longer set aside, and that the node answers."""
        if _today(self.node).exists():
            raise FaultError(f"{self.node.name} has not got its state back")
        return f"it has its own state again, {self.answers()}"


def state_of(node: Node) -> Path:
    """Return the folder of a node's swarm state."""
    return node.here.dir / "data" / STATE


def kept_state(folder: Path) -> Path:
    """Return where the state of the node with this folder is kept."""
    return folder / "kept-state"


def _today(node: Node) -> Path:
    return node.here.dir / "todays-state"


def copy_state(source: Path, target: Path) -> None:
    """Copy a node's swarm state as it is."""
    subprocess.run(["cp", "-a", "--sparse=auto", str(source), str(target)], check=True)


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of a state, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
