"""Open labs: kept up by one process, entered by others, one at a time."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import LabError, UsageError
from harness.files import write_atomically
from harness.guest.contract import LAB_LINK
from harness.lab import Lab, labs_folder
from harness.lab.attach import attach
from harness.lab.leftovers import live_labs

#: In the folder of a lab that `swarm-chaos lab up` keeps open; the other labs belong to trials.
_MARK = "open"

#: Seconds to wait for another command on the same lab: restarting a dockerd takes a few.
_FREE_WITHIN = 120.0


class BusyError(LabError):
    """Another command is using the lab."""


@dataclass(frozen=True)
class OpenLab:
    """A running lab that other processes can enter."""

    folder: Path

    @property
    def name(self) -> str:
        """Its id."""
        return self.folder.name

    @contextlib.contextmanager
    def entered(self, patience: float = _FREE_WITHIN) -> Iterator[Lab]:
        """Attach to the lab, for this process alone; at the end its state is described.

        Raises :class:`LabError` when it is gone, and :class:`BusyError` when another command uses
        it for longer than ``patience`` seconds.
        """
        try:
            with FileLock(self.folder / "by-hand.lock", timeout=patience):
                _mark_dead_nodes(self.folder)
                lab = attach(self.folder)
                try:
                    yield lab
                finally:
                    with contextlib.suppress(OSError):  # the lab went away meanwhile
                        lab.describe()
                    lab.release()
        except Timeout:
            raise BusyError(
                f"another command is still using the lab {self.name}",
                hint="it may keep a fault up that ends with it (--for): end that command",
            ) from None


def open_labs() -> list[OpenLab]:
    """Return the labs that are kept open; in a guest, the guest's own."""
    in_guest = Path(LAB_LINK)
    if in_guest.is_symlink():
        return [OpenLab(in_guest.resolve())]
    alive = live_labs()
    try:
        folders = sorted(path.parent for path in labs_folder().glob(f"*/{_MARK}"))
    except OSError:
        return []
    return [OpenLab(folder) for folder in folders if folder.name in alive]


def find(name: str | None) -> OpenLab:
    """Return the lab of this id or folder; without a name, the only one that is open.

    Raises :class:`UsageError` when there is none, or more than one to choose from.
    """
    if name is not None:
        for folder in (labs_folder() / name, Path(name)):
            if (folder / "lab.json").is_file():
                return OpenLab(folder.resolve())
        raise UsageError(f"there is no lab {name}", hint="`swarm-chaos status` shows the open ones")
    match open_labs():
        case []:
            raise UsageError(
                "no lab is open here",
                hint="`swarm-chaos lab up` opens one, as root; `swarm-chaos shell` opens a guest, "
                "in which inject, heal and status are commands",
            )
        case [one]:
            return one
        case more:
            raise UsageError(
                "more than one lab is open",
                hint=f"say which: --lab {' or --lab '.join(lab.name for lab in more)}",
            )


@contextlib.contextmanager
def keep_open(lab: Lab) -> Iterator[OpenLab]:
    """Let other processes enter a lab of this process for as long as the block lasts."""
    folder = lab.folder
    lab.describe()
    (folder / _MARK).write_text(f"{os.getpid()}\n")
    try:
        yield OpenLab(folder)
    finally:
        (folder / _MARK).unlink(missing_ok=True)


def wait_until_ended(lab: Lab) -> None:
    """Wait for an interrupt; :class:`LabError` when the lab's keeper ends before."""
    while Path(f"/proc/{lab.here.keeper.keeper}").exists():
        time.sleep(1.0)
    raise LabError(f"the lab {lab.here.keeper.lab_id} has ended unexpectedly")


def _mark_dead_nodes(folder: Path) -> None:
    """Update ``lab.json``: nodes and client hosts whose processes are gone are off."""
    path = folder / "lab.json"
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LabError(f"there is no lab in {folder} any more: {error}") from error
    if not Path(f"/proc/{facts['keeper']}").exists():
        raise LabError(f"the lab {folder.name} has ended")
    for node in facts["nodes"].values():
        if node["pid"] is not None and not _belongs(node["pid"], facts["id"]):
            node["pid"] = None
    for name, host in list(facts["client_hosts"].items()):
        if not _belongs(host["pid"], facts["id"]):
            del facts["client_hosts"][name]
    write_atomically(path, json.dumps(facts, indent=1))


def _belongs(pid: int, lab_id: str) -> bool:
    """Return whether a process is alive and one of the lab's, by its cgroup."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX" and lab_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False
