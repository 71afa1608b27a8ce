"""Sending a trial into a thawed guest, and taking what comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.microvm import GuestResult, Pool, Snapshot, thaw

#: Lines on the guest's console that begin so are for the person who watches.
PROGRESS = "trial: "


@dataclass(frozen=True)
class Errand:
    """What a guest is woken for. ``args`` are pytest's; deadlines are in seconds."""

    trial: str
    args: tuple[str, ...]
    payload: bytes
    seed: int
    environment: dict[str, str] = field(default_factory=dict)
    virtual_deadline: float = 900.0
    wall_deadline: float = 3600.0


@dataclass(frozen=True)
class Sent:
    """What came back: how the guest ended, and the trial's folder if it left one."""

    result: GuestResult
    folder: Path | None
    thaw_seconds: float


def send(
    errand: Errand,
    snapshot: Snapshot,
    pool: Pool,
    into: Path,
    *,
    watch: Callable[[str], None] = lambda _: None,
) -> Sent:
    """Thaw a guest on a CPU of its own, let it run the errand, and bring home what it leaves.

    ``into`` gets everything the guest brought out and ``console.log``. ``watch`` gets the lines
    of progress while it runs. Ctrl-C ends the guest.
    """
    inputs = {
        "trial": errand.trial,
        "args": list(errand.args),
        "environment": errand.environment,
    }
    with (
        pool.slot() as cpu,
        thaw(
            snapshot,
            errand.payload,
            inputs,
            seed=errand.seed,
            virtual_deadline=errand.virtual_deadline,
            cpu=cpu,
        ) as guest,
    ):
        watcher = threading.Thread(target=_watch, args=(guest.console_lines(), watch), daemon=True)
        watcher.start()
        result = guest.wait(
            into,
            wall_deadline=errand.wall_deadline,
            virtual_deadline=errand.virtual_deadline + 60.0,
        )
        watcher.join(5.0)
    folder = into / errand.trial
    return Sent(result, folder if folder.is_dir() else None, guest.thaw_seconds)


def _watch(lines: Iterable[str], watch: Callable[[str], None]) -> None:
    for line in lines:
        if line.startswith(PROGRESS):
            watch(line.removeprefix(PROGRESS))
