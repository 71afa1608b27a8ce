"""Disks: a folder of a node on a disk of its own, run full or made slow.

A node's files lie on the disk of the lab's host, which no fault may fill or slow down. So a
folder must be given a disk of its own first (:class:`DiskOwned`, for which dockerd is restarted);
what can be done to disks is done to those.

Raft's WAL is written into files that swarmkit has allocated beforehand, 64 MB each: on a full disk
raft goes on until such a file ends, and so does a real one. What fails at once is all else that
dockerd writes: tasks' state, networks' state, containers, certificates.
"""

from __future__ import annotations

import errno
import math
import os
import time
from dataclasses import replace
from pathlib import Path

from harness.errors import FaultError, LabError
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import COUNT, SIZE, one_of, parameter, state
from harness.faults.resource.controllers import Controller, controller
from harness.lab.disks import SMALLEST, Disk
from harness.lab.dockerd import NAMESPACES, environment
from harness.lab.nsenter import complete, entering, joining

FOLDERS = {"swarm": "/var/lib/docker/swarm", "docker": "/var/lib/docker"}
"""Folders that can have a disk of their own, by name."""

_MIB = 1 << 20
_FILLER = "filler-by-swarm-chaos"
_WITNESS = "witness-by-swarm-chaos"

#: What a full disk may have left: less than a block of the file system and its own bookkeeping.
_CRUMBS = 64 << 10

#: Writes that are timed as evidence, besides those that the kernel lets through at once.
_TIMED = 4

#: Seconds whose share of writes the kernel lets through at once: two of its slices
#: (block/blk-throttle.c, throtl_slice is a tenth of a second).
_AT_ONCE = 0.2


class _FolderFault(NodeFault):
    """A fault on the disk of one of a node's folders."""

    folder: str = parameter(
        one_of(*FOLDERS),
        "swarm (raft's WAL, certificates, tasks' state) or docker (all of /var/lib/docker)",
        default="swarm",
    )

    @property
    def path(self) -> str:
        """The folder on the node."""
        return FOLDERS[self.folder]

    def disk(self) -> Disk:
        """Return the folder's own disk; :class:`FaultError` if it has none."""
        if (disk := self.node.here.disks.of(self.path)) is None:
            raise FaultError(
                f"{self.path} on {self.node.name} has no disk of its own: "
                "its files are on the disk of this machine",
                hint=f"inject own-disk folder={self.folder} first",
            )
        return disk

    def inside(self) -> Path:
        """Return the folder's path on this side."""
        return Path(f"/proc/{self.node.here.pid}/root{self.path}")


class DiskOwned(_FolderFault):
    """A folder of a node lies on a disk of its own. dockerd is restarted for it, and to go back.

    A preparation for faults of disks, rather than a fault by itself.
    """

    name = "own-disk"
    summary = "Puts a folder of a node on a disk of its own (dockerd restarts): a preparation."
    needs = ("loop devices", "mke2fs")
    proof = "the kernel has it mounted there and dockerd answers; healed: it is not, and it does"

    size: float = parameter(
        SIZE.between(f"{SMALLEST // _MIB}MiB"), "size of the disk", default="256MiB"
    )

    def precheck(self) -> None:
        """Require a running dockerd, a folder without its own disk, and content that fits."""
        self.require_dockerd()
        if self.node.here.disks.of(self.path) is not None:
            raise FaultError(f"{self.path} on {self.node.name} has a disk of its own already")
        if (used := self._used()) > 0.9 * self.size:
            raise FaultError(
                f"{self.path} on {self.node.name} holds {used // _MIB} MiB: "
                f"a disk of {int(self.size) // _MIB} MiB is too small for it"
            )

    def apply(self) -> None:
        """Stop dockerd, move the folder, start it again."""
        self.node.dockerd.stop()
        self.node.here.disks.create(self.path, int(self.size))
        # What the node had before must survive a power cut.
        self.node.run(["sync", "-f", self.path])
        self.node.start()

    def evidence(self) -> str:
        """Check that it is mounted, and that the API answers."""
        disk = self.disk()
        return f"{self.path} on {self.node.name} is on device {disk.device}, {self.answers()}"

    def undo(self) -> None:
        """Move the folder back, with what is in it now."""
        if self.path in self.node.here.disks:
            if self.node.up and self.node.dockerd.alive:
                self.node.dockerd.stop()
            if not self.node.up:
                self.node.boot()
            self.node.here.disks.remove(self.path)
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that it is not mounted, and that the API answers."""
        if self.node.here.disks.of(self.path) is not None:
            raise FaultError(f"{self.path} on {self.node.name} still has a disk of its own")
        return f"{self.path} on {self.node.name} has no disk of its own, {self.answers()}"

    def _used(self) -> int:
        said = self.node.run(["du", "-sk", self.path]).text
        return int(said.split()[0]) << 10


class DiskFull(_FolderFault):
    """The disk of a folder is full to the last block, or nearly."""

    name = "disk-full"
    summary = "The disk of a folder is full: writes to it end with ENOSPC."
    needs = ("a folder with a disk of its own (own-disk)",)
    proof = "a write to it ends with ENOSPC; healed: the same write succeeds"
    may_end_dockerd = True
    excludes = ("the disk's room",)

    room: float = parameter(SIZE, "what is left free", default="0B")

    def precheck(self) -> None:
        """Require that the node is on, and a disk with more free than ``room``."""
        self.require_up()
        self.disk()
        if (free := _free(self.inside())) <= self.room:
            raise FaultError(f"{self.path} on {self.node.name} has only {free} bytes free")

    def apply(self) -> None:
        """Fill it with a file."""
        with (self.inside() / _FILLER).open("wb") as filler:
            if (much := int(_free(self.inside()) - self.room - _MIB)) > 0:
                _allocate(filler.fileno(), much)
            if self.room == 0:
                _fill_up(filler.fileno())

    def evidence(self) -> str:
        """Check that a write of more than what is left ends with ENOSPC."""
        free = _free(self.inside())
        if free > self.room + 2 * _MIB:
            raise FaultError(f"{self.path} on {self.node.name} has {free} bytes free")
        if _accepts(self.inside(), free + _CRUMBS):
            raise FaultError(f"{self.path} on {self.node.name} accepts more than it has free")
        return f"{self.path} on {self.node.name}: {free} bytes free, a write ends with ENOSPC"

    def undo(self) -> None:
        """Remove the file, before a dockerd that died of it is started."""
        if not self.node.up:
            self.node.boot()
        (self.inside() / _FILLER).unlink(missing_ok=True)
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that there is room again, and that the API answers."""
        if (self.inside() / _FILLER).exists() or not _accepts(self.inside(), _CRUMBS):
            raise FaultError(f"{self.path} on {self.node.name} is still full")
        return f"{self.path} on {self.node.name}: a write succeeds, {self.answers()}"


class DiskSlowed(_FolderFault):
    """The disk of a folder does a limited number of writes a second: each sync has to wait."""

    name = "disk-slowed"
    summary = "Limits the writes a second of a folder's disk."
    needs = (
        "a folder with a disk of its own (own-disk)",
        "the cgroup controller io with throttling",
    )
    proof = "synced writes take as long as the limit says; healed: the device has no throttle"
    excludes = ("the disk's speed",)
    needed_to_heal = ("device",)

    writes: int = parameter(
        replace(COUNT.between("1", "1000"), unit="1/s"), "how many writes a second", default="20"
    )
    device: str = state("")

    def precheck(self) -> None:
        """Require a folder with its own disk, and a kernel that can throttle it."""
        self.require_up()
        self.device = self.disk().device
        io = controller(self.node, "io")
        if not io.has(_throttle_file(io)):
            raise FaultError(f"this kernel cannot throttle disks: no {_throttle_file(io)}")

    def apply(self) -> None:
        """Set the throttle for all of the node's processes."""
        _throttle(controller(self.node, "io"), self.device, self.writes)

    def evidence(self) -> str:
        """Check that synced writes of a process of the node take as long as they must."""
        at_once = self.writes * _AT_ONCE
        timed = _TIMED + math.ceil(at_once)
        expected = (timed - 1 - at_once) / self.writes
        took = self._time(timed)
        if took < expected:
            raise FaultError(
                f"{timed} synced writes on {self.node.name} took {took:.3f} s, "
                f"at {self.writes} a second they need {expected:.3f} s"
            )
        return f"{timed} synced writes to {self.path} on {self.node.name} took {took:.3f} s"

    def undo(self) -> None:
        """Remove it; the groups of a node that was switched off went with it."""
        if self.node.up and self.path in self.node.here.disks:
            _throttle(controller(self.node, "io"), self.device, None)
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that no throttle is set, and that the API answers."""
        io = controller(self.node, "io")
        if self.device in io.read(_throttle_file(io)).split():
            raise FaultError(f"the disk of {self.path} on {self.node.name} is still throttled")
        return f"the disk of {self.path} on {self.node.name} is not throttled, {self.answers()}"

    def _time(self, writes: int) -> float:
        """Seconds that a number of synced writes by a process of the node take."""
        file = f"{self.path}/{_WITNESS}"
        script = [
            *("dd", "if=/dev/zero", f"of={file}"),
            *("bs=4096", f"count={writes}", "oflag=dsync", "status=none"),
        ]
        started = time.monotonic()
        complete(
            joining(
                self.node.here.groups.leaves(), entering(self.node.here.pid, NAMESPACES, script)
            ),
            shown=script,
            where=self.node.name,
            env=environment(self.node.engine),
            timeout=60.0 + 20.0 * writes / self.writes,
        ).check(self.node.name)
        took = time.monotonic() - started
        (self.inside() / _WITNESS).unlink(missing_ok=True)
        return took


def _free(folder: Path) -> int:
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def _allocate(descriptor: int, much: int) -> None:
    """Allocate blocks; what cannot be allocated is left for :func:`_fill_up`."""
    try:
        os.posix_fallocate(descriptor, 0, much)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise LabError(f"cannot fill a disk: {error.strerror}") from error


def _fill_up(descriptor: int) -> None:
    """Write until nothing more is accepted."""
    os.lseek(descriptor, 0, os.SEEK_END)
    piece = b"\xff" * 65536
    while piece:
        try:
            os.write(descriptor, piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise LabError(f"cannot fill a disk: {error.strerror}") from error
            piece = piece[: len(piece) // 2] if len(piece) > 1 else b""
    os.fsync(descriptor)


def _accepts(folder: Path, much: int) -> bool:
    """Whether a file of this many bytes can be written and synced; it is removed again."""
    witness = folder / _WITNESS
    try:
        with witness.open("wb") as file:
            file.write(b"\xff" * much)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise LabError(f"cannot write to {folder}: {error.strerror}") from error
        return False
    finally:
        witness.unlink(missing_ok=True)
    return True


def _throttle_file(io: Controller) -> str:
    return "io.max" if io.version == 2 else "blkio.throttle.write_iops_device"


def _throttle(io: Controller, device: str, writes: int | None) -> None:
    if io.version == 2:
        io.write("io.max", f"{device} wiops={writes or 'max'}")
    else:
        io.write(_throttle_file(io), f"{device} {writes or 0}")
