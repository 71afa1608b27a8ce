"""``faults.process``: processes of nodes, engines over the same state, members of a swarm."""

from __future__ import annotations

from collections.abc import Sequence

from harness.engine import Engine
from harness.faults.group import FaultGroup
from harness.faults.process.membership import (
    NodeDemoted,
    NodeDrained,
    NodeLeft,
    NodePromoted,
    RootRotated,
    member_name,
)
from harness.faults.process.restarts import DockerdRestarted, EngineChanged, PowerCut
from harness.faults.process.signals import (
    ContainerdKilled,
    DockerdPaused,
    DockerdSignalled,
    NodePaused,
)
from harness.faults.process.tasks import ShimKilled, TaskFlapping, TaskKilled
from harness.lab import Node
from harness.swarm import Swarm


class ProcessFaults(FaultGroup):
    """Faults of processes and of membership."""

    def signal_dockerd(self, node: Node, signal: str = "TERM") -> DockerdSignalled:
        """dockerd ends by a signal: TERM or INT in order, QUIT, ABRT, SEGV or KILL at once."""
        return DockerdSignalled(self._trial, node, signal=signal)

    def pause_dockerd(self, node: Node) -> DockerdPaused:
        """dockerd stands still (SIGSTOP); its sockets stay open, its containers run on."""
        return DockerdPaused(self._trial, node)

    def pause_node(self, node: Node) -> NodePaused:
        """Every process of a node stands still."""
        return NodePaused(self._trial, node)

    def kill_containerd(self, node: Node) -> ContainerdKilled:
        """containerd dies; dockerd starts another."""
        return ContainerdKilled(self._trial, node)

    def kill_task(self, node: Node, service: str) -> TaskKilled:
        """The first process of a service's task on a node dies."""
        return TaskKilled(self._trial, node, service=service)

    def kill_shim(self, node: Node, service: str) -> ShimKilled:
        """The shim that holds a service's task on a node dies."""
        return ShimKilled(self._trial, node, service=service)

    def flap_tasks(self, node: Node, service: str, lives: float = 2.0) -> TaskFlapping:
        """Each task of a service on a node dies when it has lived for ``lives`` seconds."""
        return TaskFlapping(self._trial, node, service=service, lives=lives)

    def restart_dockerd(self, node: Node, flags: Sequence[str] = ()) -> DockerdRestarted:
        """dockerd is stopped in order and started, with more flags if some are given."""
        return DockerdRestarted(self._trial, node, flags=flags)

    def change_engine(self, node: Node, engine: Engine | str) -> EngineChanged:
        """The node comes back with another engine over the same state; ``settle()`` keeps it."""
        return EngineChanged(self._trial, node, engine=engine)

    def cut_power(self, node: Node) -> PowerCut:
        """Every process dies, and what was not synced on the node's own disks is lost."""
        return PowerCut(self._trial, node)

    def drain(self, swarm: Swarm, node: Node | str) -> NodeDrained:
        """A member is drained."""
        return NodeDrained(self._trial, swarm, node=member_name(node))

    def demote(self, swarm: Swarm, node: Node | str) -> NodeDemoted:
        """A manager becomes a worker."""
        return NodeDemoted(self._trial, swarm, node=member_name(node))

    def promote(self, swarm: Swarm, node: Node | str) -> NodePromoted:
        """A worker becomes a manager."""
        return NodePromoted(self._trial, swarm, node=member_name(node))

    def leave(self, swarm: Swarm, node: Node | str) -> NodeLeft:
        """A member leaves by force."""
        return NodeLeft(self._trial, swarm, node=member_name(node))

    def rotate_root(self, swarm: Swarm) -> RootRotated:
        """The swarm's root certificate is rotated."""
        return RootRotated(self._trial, swarm)
