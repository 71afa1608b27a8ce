"""A node's cgroups, in every hierarchy that the janitor has mounted for the lab.

The mounts are in the janitor's mount namespace and are reached through ``/proc/PID/root``.
In the unified hierarchy a node's processes sit in the leaf ``init``, so that the group above can
hand its controllers to the containers' groups (no process may sit in between).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from harness.lab.cgroup_filter import filter_group
from harness.lab.janitor import CGROUP_ROOT, delegate, inherit_cpuset, remove_group


@dataclass(frozen=True)
class NodeGroups:
    """The groups of one node: ``unified`` or None, and one per version 1 hierarchy."""

    unified: Path | None
    v1: tuple[Path, ...]

    @classmethod
    def under(cls, janitor: int, lab: Path, lab_id: str, node: str) -> NodeGroups:
        """Return where a node's groups are; makes nothing."""
        mounts = Path(f"/proc/{janitor}/root{lab}/cgroup")
        unified = mounts / "v2" / CGROUP_ROOT / lab_id
        v1 = mounts / "v1"
        return cls(
            unified / node if unified.is_dir() else None,
            tuple(
                mount / CGROUP_ROOT / lab_id / node
                for mount in (sorted(v1.iterdir()) if v1.is_dir() else ())
            ),
        )

    def make(self) -> None:
        """Make the groups, filled so that they take processes, which the filter then holds."""
        self.make_unfiltered()
        if self.unified is not None:
            filter_group(self.unified)

    def make_unfiltered(self) -> None:
        """Make the groups for processes that may open any device: containers that are nodes."""
        if self.unified is not None:
            (self.unified / "init").mkdir(parents=True, exist_ok=True)
        for group in self.v1:
            group.mkdir(parents=True, exist_ok=True)
            inherit_cpuset(group)

    def entry(self) -> list[Path]:
        """Return the groups that the node's init sees as the root once it has unshared them."""
        return [*([self.unified] if self.unified else []), *self.v1]

    def leaves(self) -> list[Path]:
        """Return the groups for processes that are started later."""
        return [*([self.unified / "init"] if self.unified else []), *self.v1]

    def settle(self) -> None:
        """Move what sits in the unified group to its leaf and hand its controllers down."""
        if self.unified is None:
            return
        for pid in (self.unified / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (self.unified / "init" / "cgroup.procs").write_text(pid)
        delegate(self.unified)

    def clear(self) -> None:
        """Remove the groups, killing what may still be in them."""
        for group in self.entry():
            remove_group(group)
