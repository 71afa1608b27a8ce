"""Disks of single folders of a node: an ext4 in an image file, through a loop device.

A node's files are on the host's disk, which no fault may fill, throttle or cut off from power. A
folder that is to suffer such a fault first gets a disk of its own: limited in size, a block device
that cgroups can throttle, and a file system that can be shut down with its unwritten pages lost.
The image is in the node's folder and survives the node's death; the loop device ends with its
last mount, and so with the node, whatever becomes of this process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import LabError, MissingError
from harness.files import write_atomically
from harness.wait import NotYet, wait_for

_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4
#: struct loop_config: u32 fd, u32 block size, struct loop_info64 (232 bytes), u64[8] reserved.
#: Of loop_info64 only lo_flags is given, the u32 after five u64 and three u32.
_LOOP_CONFIG = struct.Struct("=II 5Q3II 176x 64x")

_FS_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: neither data nor journal is written any more

#: Real seconds for a loop device to come free after its last mount.
_FREE_WITHIN = 20.0

#: mke2fs takes less, but a journal of its own needs this much.
SMALLEST = 16 << 20

_MOVE = """
set -eu
folder=$1 device=$2 number=$3
[ -e "$device" ] || mknod "$device" b "${number%:*}" "${number#*:}"
mkdir -p /mnt
mount -t ext4 "$device" /mnt
if [ "$4" = fill ]; then cp -a --sparse=never "$folder/." /mnt/; chmod --reference="$folder" /mnt
elif [ "$4" = empty ]; then
    umount "$folder"
    find "$folder" -mindepth 1 -delete
    cp -a /mnt/. "$folder/"
    rm -rf "$folder/lost+found"
fi
[ "$4" = empty ] || mount --bind /mnt "$folder"
umount /mnt
"""


@dataclass(frozen=True)
class Disk:
    """A disk in use: the folder it is mounted on, its device as ``MAJOR:MINOR``, its image."""

    folder: str
    device: str
    image: Path


class Daemon(Protocol):
    """What is asked of the node's dockerd."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        ...


class DiskHost(Protocol):
    """What is asked of the node whose disks these are (:class:`harness.lab.node.Node`)."""

    name: str
    dir: Path

    @property
    def up(self) -> bool:
        """Whether it is switched on."""
        ...

    @property
    def pid(self) -> int:
        """Its first process."""
        ...

    @property
    def dockerd(self) -> Daemon:
        """Its daemon."""
        ...

    def run(
        self, argv: Sequence[str], *, timeout: float | None = 60.0, check: bool = True
    ) -> object:
        """Run a program on it to its end."""
        ...


class Disks:
    """The disks of one node. Folders are paths on the node."""

    def __init__(self, node: DiskHost) -> None:
        self._node = node
        self._list = node.dir / "disks.json"

    def __iter__(self) -> Iterator[str]:
        return iter(self._images())

    def of(self, folder: str) -> Disk | None:
        """Return the folder's own disk; None without one, or when the node is off."""
        image = self._images().get(folder)
        if image is None or not self._node.up:
            return None
        for line in Path(f"/proc/{self._node.pid}/mountinfo").read_text().splitlines():
            _, _, device, root, point, *_ = line.split()
            if point == folder and root == "/":
                return Disk(folder, device, image)
        raise LabError(f"the disk of {folder} on {self._node.name} is not mounted")

    def create(self, folder: str, size: int) -> Disk:
        """Move a folder and its content to a disk of its own of ``size`` bytes.

        Its dockerd must be down. Raises :class:`MissingError` where the kernel has no loop
        devices and :class:`LabError` where the content does not fit; nothing has changed then.
        """
        node = self._node
        self._require_quiet("cannot be moved to a disk")
        if self.of(folder) is not None:
            raise LabError(f"{folder} on {node.name} already has a disk of its own")
        if size < SMALLEST:
            raise LabError(f"a disk of {size} bytes is too small: at least {SMALLEST}")
        place = node.dir / "disks"
        place.mkdir(mode=0o700, exist_ok=True)
        image = place / f"{folder.strip('/').replace('/', '-')}.ext4"
        image.unlink(missing_ok=True)
        _make(image, size)
        try:
            with _loop(image) as (device, number):
                self._move(folder, device, number, "fill")
        except BaseException:
            with contextlib.suppress(LabError):
                node.run(["umount", "/mnt"], check=False)
            image.unlink(missing_ok=True)
            raise
        self._note({**self._images(), folder: image})
        found = self.of(folder)
        assert found is not None
        return found

    def remove(self, folder: str) -> None:
        """Move a folder, with its present content, back among the node's other files.

        Its dockerd must be down. Nothing happens if the folder has no disk of its own.
        """
        images = self._images()
        if (image := images.get(folder)) is None:
            return
        self._require_quiet("cannot be moved from its disk")
        disk = self.of(folder)
        assert disk is not None
        self._move(folder, f"/dev/loop{disk.device.partition(':')[2]}", disk.device, "empty")
        self._note({name: path for name, path in images.items() if name != folder})
        _wait_released(image)
        image.unlink()

    def mount_all(self) -> None:
        """Mount the disks of a node that was switched off, replaying their journals."""
        for folder, image in self._images().items():
            _wait_released(image)
            with _loop(image) as (device, number):
                self._move(folder, device, number, "keep")

    def shut_down(self) -> list[str]:
        """Cut the power of all disks, losing what was not synced; return their folders.

        Switch the node off next: the folders can be neither read nor written any more.
        """
        lost = []
        for folder in self._images():
            descriptor = os.open(f"/proc/{self._node.pid}/root{folder}", os.O_RDONLY)
            try:
                fcntl.ioctl(descriptor, _FS_IOC_SHUTDOWN, struct.pack("=I", _NO_LOG_FLUSH))
            except OSError as error:
                raise LabError(f"{folder} cannot be shut down: {error.strerror}") from error
            finally:
                os.close(descriptor)
            lost.append(folder)
        return lost

    def _move(self, folder: str, device: str, number: str, how: str) -> None:
        self._node.run(["sh", "-c", _MOVE, "sh", folder, device, number, how], timeout=300.0)

    def _require_quiet(self, what: str) -> None:
        if self._node.dockerd.alive:
            raise LabError(f"dockerd runs on {self._node.name}: its folder {what}")

    def _images(self) -> dict[str, Path]:
        if not self._list.exists():
            return {}
        place = self._node.dir / "disks"
        return {folder: place / name for folder, name in json.loads(self._list.read_text()).items()}

    def _note(self, images: dict[str, Path]) -> None:
        names = {folder: image.name for folder, image in images.items()}
        write_atomically(self._list, json.dumps(names))


def _make(image: Path, size: int) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if (mke2fs := shutil.which("mke2fs", path=path)) is None:
        raise MissingError("a disk needs mke2fs", hint="apt-get install e2fsprogs")
    with image.open("xb") as file:
        file.truncate(size)
    # Everything is written now: lazy initialization would write at moments of its own.
    eager = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    done = subprocess.run(
        [mke2fs, "-q", "-F", "-t", "ext4", "-m", "0", "-E", eager, str(image)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        image.unlink()
        raise LabError(f"cannot make a file system in {image}: {done.stderr.strip()}")


@contextlib.contextmanager
def _loop(image: Path) -> Iterator[tuple[str, str]]:
    """A loop device on an image, as path and ``MAJOR:MINOR``; it stays while it is mounted."""
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MissingError(
            f"a disk needs loop devices: /dev/loop-control: {error.strerror}",
            hint="modprobe loop",
        ) from error
    backing = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    device = -1
    try:
        while device < 0:
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            config = _LOOP_CONFIG.pack(backing, 0, *(0,) * 8, _LO_FLAGS_AUTOCLEAR)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, config)
            except OSError as error:
                if error.errno != errno.EBUSY:  # another process was faster
                    raise
                os.close(device)
                device = -1
        number = os.fstat(device).st_rdev
        yield path, f"{os.major(number)}:{os.minor(number)}"
    except OSError as error:
        raise LabError(f"no loop device for {image}: {error.strerror}") from error
    finally:
        for descriptor in (device, backing, control):
            if descriptor >= 0:
                os.close(descriptor)


def _wait_released(image: Path) -> None:
    """Wait until no loop device holds an image; a dead node's mounts end asynchronously."""

    def released() -> bool | NotYet:
        for held in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                if held.read_text().strip() == str(image.resolve()):
                    return NotYet(f"{held.parts[3]} holds it")
        return True

    wait_for(released, state=f"{image.name} to be released", within=_FREE_WITHIN, every=0.02)
