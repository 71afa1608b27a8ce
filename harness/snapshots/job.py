"""Sending a trial into a thawed guest, and taking what comes back."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import TrialError
from harness.guest.report_log import PROGRESS
from harness.vm import GuestResult, Pool, Snapshot, thaw

#: Lines on the guest's console that begin so are for the person who watches.

RECEIPT = "errand.json"
PAYLOADS = "payloads"


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
class Receipt:
    """``errand.json`` beside a trial: with it the very same guest can be sent again.

    ``snapshot`` is the frozen swarm's key, ``payload`` the sha256 of the code that was brought,
    kept in the run's folder ``payloads``.
    """

    snapshot: str
    payload: str
    errand: Errand

    @classmethod
    def of(cls, errand: Errand, snapshot: Snapshot) -> Receipt:
        """For an errand that is about to be sent."""
        return cls(snapshot.key, hashlib.sha256(errand.payload).hexdigest(), errand)

    def save(self, trial: Path) -> None:
        """Write it beside a trial, and the payload into the run (once)."""
        facts = {
            "snapshot": self.snapshot,
            "payload": self.payload,
            "trial": self.errand.trial,
            "args": list(self.errand.args),
            "environment": self.errand.environment,
            "seed": self.errand.seed,
            "virtual_deadline": self.errand.virtual_deadline,
            "wall_deadline": self.errand.wall_deadline,
        }
        (trial / RECEIPT).write_text(json.dumps(facts, indent=1) + "\n")
        kept = _payload_file(trial, self.payload)
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            half = kept.with_suffix(f".part-{trial.name}")
            half.write_bytes(self.errand.payload)
            half.replace(kept)

    @classmethod
    def load(cls, trial: Path) -> Receipt:
        """Read it back; :class:`TrialError` says what is missing or damaged."""
        try:
            facts = json.loads((trial / RECEIPT).read_text())
            payload = _payload_file(trial, facts["payload"]).read_bytes()
            errand = Errand(
                trial=facts["trial"],
                args=tuple(facts["args"]),
                payload=payload,
                seed=int(facts["seed"]),
                environment=dict(facts["environment"]),
                virtual_deadline=float(facts["virtual_deadline"]),
                wall_deadline=float(facts["wall_deadline"]),
            )
            receipt = cls(str(facts["snapshot"]), str(facts["payload"]), errand)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrialError(
                f"{trial} cannot be sent again: {error}",
                hint=f"a trial of the microvm lab has {RECEIPT}, and its code in the run's "
                f"folder {PAYLOADS}",
            ) from error
        if hashlib.sha256(payload).hexdigest() != receipt.payload:
            raise TrialError(f"the code kept for {trial} is not the code it was recorded with")
        return receipt


def _payload_file(trial: Path, digest: str) -> Path:
    return trial.parent.parent / PAYLOADS / f"{digest[:16]}.tar"


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
