"""Open labs: held up by one process, entered by others, one after the other."""

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
from harness.lab import NamespacesLab, labs_folder
from harness.lab.leftovers import living

#: In the folder of a lab that `swarm-chaos lab up` holds open; others are a trial's.
_MARK = "open"

#: Where a guest that was thawed for a person has its lab.
GUEST_LAB = Path("/run/swarm-chaos-lab")

#: Seconds to wait for another command on the same lab: to start a dockerd again takes a few.
_TURN_WITHIN = 120.0


class BusyError(LabError):
    """Another command has the lab."""


@dataclass(frozen=True)
class OpenLab:
    """A lab that stands and that other processes can enter."""

    folder: Path

    @property
    def name(self) -> str:
        """Its id."""
        return self.folder.name

    @contextlib.contextmanager
    def entered(self, patience: float = _TURN_WITHIN) -> Iterator[NamespacesLab]:
        """The lab, taken over as it is now, for this process alone; its state is left described.

        Raises :class:`LabError` when it is gone, and :class:`BusyError` when another command is
        at work on it for longer than ``patience`` seconds.
        """
        try:
            with FileLock(self.folder / "by-hand.lock", timeout=patience):
                _forget_the_dead(self.folder)
                lab = NamespacesLab.attach(self.folder)
                try:
                    yield lab
                finally:
                    with contextlib.suppress(OSError):  # the lab went away meanwhile
                        lab.describe()
                    lab.release()
        except Timeout:
            raise BusyError(
                f"another command is still at work on the lab {self.name}",
                hint="it may hold a fault that lives as long as it does (--for): end it there",
            ) from None


def open_labs() -> list[OpenLab]:
    """Labs that are held open, and in a guest its own."""
    if GUEST_LAB.is_symlink():
        return [OpenLab(GUEST_LAB.resolve())]
    alive = living()
    try:
        folders = sorted(path.parent for path in labs_folder().glob(f"*/{_MARK}"))
    except OSError:
        return []
    return [OpenLab(folder) for folder in folders if folder.name in alive]


def find(words: str | None) -> OpenLab:
    """The lab of this id or folder; without words the only one that is open.

    Raises :class:`UsageError` when there is none, or more than one and no words.
    """
    if words is not None:
        for folder in (labs_folder() / words, Path(words)):
            if (folder / "lab.json").is_file():
                return OpenLab(folder.resolve())
        raise UsageError(f"there is no lab {words}", hint="`swarm-chaos status` shows open ones")
    match open_labs():
        case []:
            raise UsageError(
                "no lab is open here",
                hint="`swarm-chaos lab up` opens one as root; `swarm-chaos shell` opens a guest, "
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
def hold(lab: NamespacesLab) -> Iterator[OpenLab]:
    """Mark a lab that this process has built as open to others for as long as the block lasts."""
    folder = lab.keeper.lab_dir
    lab.describe()
    (folder / _MARK).write_text(f"{os.getpid()}\n")
    try:
        yield OpenLab(folder)
    finally:
        (folder / _MARK).unlink(missing_ok=True)


def wait_for_the_end(lab: NamespacesLab) -> None:
    """Stay until somebody interrupts, or the lab's keeper is gone (:class:`LabError`)."""
    while Path(f"/proc/{lab.keeper.keeper}").exists():
        time.sleep(1.0)
    raise LabError(f"the lab {lab.keeper.lab_id} has ended under us")


def _forget_the_dead(folder: Path) -> None:
    """Have ``lab.json`` say of every node that has lost its power that it is off."""
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
    """Whether a process lives and is one of the lab's, by its cgroup."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX" and lab_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False
