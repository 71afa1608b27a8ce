"""What crashed runs leave behind: found, and removed piece by piece.

A lab removes itself however the process that built it ends; only when its janitor is killed too,
or the machine loses its power, do files and cgroups stay. A lab is alive while its janitor runs
or holds the lock in its folder, and nothing of a live lab is ever among the leftovers.

Guests and probes leave temporary folders when they are killed. Those have no lock: one counts as
abandoned when no process has it on its command line and nothing in it has changed for an hour.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from harness.errors import LabError
from harness.files import is_locked
from harness.lab import janitor
from harness.lab.local_lab import labs_folder

_LAB_ID = re.compile(r"[0-9a-f]{8}")

#: Seconds without a change after which a folder for temporary files counts as abandoned.
_IDLE = 3600.0

#: Mounts every hierarchy (an option each, "" for the unified one) below a tmpfs on /tmp, in a
#: mount namespace that ends with it, and stays until its standard input ends.
_MOUNT_ALL = """
mount -t tmpfs -o mode=700 none /tmp || exit 1
for option in "" "$@"; do
    mkdir "/tmp/${option:-unified}"
    if [ "$option" ]; then mount -t cgroup -o "$option" none "/tmp/$option"
    else mount -t cgroup2 none /tmp/unified; fi
done 2>/dev/null
echo ready
exec cat
"""


@dataclass(frozen=True)
class Leftover:
    """One thing that no process owns any more.

    ``remove`` raises a :class:`~harness.errors.HarnessError` or an ``OSError`` when it cannot.
    """

    what: Literal[
        "container",
        "lab",
        "cgroup",
        "mount",
        "folder",
        "half-built cache entry",
        "cache entry",
        "half-frozen snapshot",
        "half-kept checkpoint",
        "useless checkpoint",
        "damaged snapshot",
    ]
    where: str
    remove: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.what} {self.where}"


@contextlib.contextmanager
def of_labs() -> Iterator[list[Leftover]]:
    """Yield what dead labs left, in the order in which it can be removed. Needs root.

    Cgroups are reached through mounts of our own, wherever the host has mounted its own and
    also when it has not; they last as long as the context.
    """
    with _hierarchies() as mounts:
        # First what is there, then who lives: a lab that came in between has only a janitor yet.
        folders = _folders()
        groups = [group for mount in mounts for group in _groups(mount)]
        alive = live_labs() | {folder.name for folder in folders if is_locked(folder / "lock")}
        dead = [folder for folder in folders if folder.name not in alive]
        yield [
            *(_group(g) for g in groups if g.name not in alive and not _has_foreign_processes(g)),
            *(_mount(at) for folder in dead for at in _mounts_below(folder)),
            *(Leftover("lab", str(f), partial(shutil.rmtree, f)) for f in dead),
        ]


def of_engine() -> list[Leftover]:
    """Return containers that dead labs left in the engine that ``DOCKER_HOST`` names, if any."""
    from harness.lab.outer_engine import OuterEngine  # the SDK takes its time

    socket = str(OuterEngine.from_environment().socket)
    try:
        found = janitor.containers(socket)
    except (OSError, ValueError):
        return []  # no engine, or nobody answers there: nothing of ours is known to be left
    alive = live_labs() | {folder.name for folder in _folders() if is_locked(folder / "lock")}
    return [
        Leftover("container", container[:12], partial(janitor.remove_container, socket, container))
        for container, lab in found.items()
        if lab not in alive
    ]


def of_temporary_files() -> list[Leftover]:
    """Return temporary folders of this user that killed guests and probes left."""
    places = {Path(tempfile.gettempdir()), Path("/dev/shm")}
    found = [
        folder
        for place in sorted(places)
        for folder in sorted(place.glob("swarm-chaos-*-*"))
        if folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.geteuid()
    ]
    named = "".join(_command_lines()) if found else ""
    return [
        Leftover("folder", str(folder), partial(shutil.rmtree, folder))
        for folder in found
        if str(folder) not in named and _unchanged_for(folder) > _IDLE
    ]


def live_labs() -> set[str]:
    """Return the ids of labs whose janitor is running."""
    found = set()
    for line in _command_lines():
        argv = line.split("\0")
        for script, lab_id in zip(argv, argv[2:], strict=False):
            if script.endswith("/lab/janitor.py"):  # of any checkout
                found.add(lab_id)
    return found


def _command_lines() -> Iterator[str]:
    """The command line of every process, its words ended by NUL."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                yield (process / "cmdline").read_bytes().decode(errors="replace")


def _unchanged_for(folder: Path) -> float:
    """Seconds since the last change of a folder or of anything in it."""
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):  # it is being removed just now
            newest = max(newest, path.lstat().st_mtime)
    return time.time() - newest


def _folders() -> list[Path]:
    try:
        return sorted(f for f in labs_folder().iterdir() if _LAB_ID.fullmatch(f.name))
    except OSError:
        return []


@contextlib.contextmanager
def _hierarchies() -> Iterator[list[Path]]:
    """Every cgroup hierarchy in use, mounted where only this process looks."""
    holder = subprocess.Popen(
        [
            *("unshare", "--mount", "--propagation", "private", "--"),
            *("sh", "-c", _MOUNT_ALL, "sh", *janitor.hierarchies()),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != b"ready\n":
            said = holder.stderr.read().decode(errors="replace").strip()
            raise LabError(f"cannot mount the cgroup hierarchies: {said}")
        yield sorted(Path(f"/proc/{holder.pid}/root/tmp").iterdir())


def _groups(mount: Path) -> list[Path]:
    root = mount / janitor.CGROUP_ROOT
    return sorted(group for group in root.iterdir() if group.is_dir()) if root.is_dir() else []


def _has_foreign_processes(group: Path) -> bool:
    """Return whether it has processes of other pid namespaces, which read as 0."""
    for folder, _, _ in os.walk(group):  # groups may go while this looks
        with contextlib.suppress(OSError):
            if "0" in Path(folder, "cgroup.procs").read_text().split():
                return True
    return False


def _group(group: Path) -> Leftover:
    mount, root, lab_id = group.parts[-3:]
    return Leftover("cgroup", f"{mount}:/{root}/{lab_id}", partial(_remove_group, group))


def _remove_group(group: Path) -> None:
    if not janitor.remove_group(group):
        raise LabError(f"the cgroup {group.name} has processes that do not end")
    with contextlib.suppress(OSError):  # others may be in it
        group.parent.rmdir()


def _mounts_below(folder: Path) -> list[str]:
    """Mount points at or below a folder in this mount namespace, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [at for at in reversed(points) if Path(at).is_relative_to(folder)]


def _mount(at: str) -> Leftover:
    return Leftover("mount", at, partial(_unmount, at))


def _unmount(at: str) -> None:
    done = subprocess.run(["umount", "--lazy", at], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"cannot unmount {at}: {done.stderr.strip()}")
