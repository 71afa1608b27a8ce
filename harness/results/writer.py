"""Begin a run: its folder, its ``run.json``, and the names of its trials."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import msgspec

from harness.errors import TrialError
from harness.results.run import (
    LATEST,
    TRIALS,
    RunRecord,
    list_runs,
    record_digest,
    write_run,
)
from harness.results.scenario_names import short_name
from harness.trial import TrialInputs

_INCOMING = ".incoming"


def trial_id(inputs: TrialInputs) -> str:
    """Return a trial's folder name: ``<scenario>.<version>.<topology>.s<seed>[.control]``."""
    parts = [
        folder_name(inputs.scenario),
        _slug(inputs.engine.version, keep="."),
        _slug(inputs.topology),
    ]
    parts.append(f"s{inputs.seed}")
    return ".".join(parts + (["control"] if inputs.control else []))


def folder_name(scenario: str) -> str:
    """Return what the folder of a scenario's trials begins with, up to the first dot."""
    return _slug(short_name(scenario).removeprefix("test_"))


class RunWriter:
    """A run in the making. ``run.json`` on disk is complete after every call."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        command: Sequence[str],
        harness: str,
        started: datetime | None = None,
    ) -> RunWriter:
        """Make ``root/<run id>/`` with its ``run.json``, and point ``root/latest`` at it.

        ``started`` is the wall time with its zone (default: now). Raises :class:`TrialError`
        if the folder cannot be made.
        """
        when = (started or datetime.now(UTC)).astimezone(UTC)
        try:
            root.mkdir(parents=True, exist_ok=True)
            folder = free_folder(root, when.strftime("%Y%m%dT%H%M%SZ"))
            (folder / TRIALS).mkdir()
        except OSError as error:
            raise TrialError(f"cannot create a run's folder in {root}: {error.strerror}") from error
        record = RunRecord(
            id=folder.name,
            started=when.isoformat(timespec="seconds"),
            command=tuple(command),
            harness=harness,
        )
        write_run(folder, record)
        point_latest(root, folder.name)
        return cls(folder, record)

    @classmethod
    def join(cls, folder: Path) -> RunWriter:
        """Return a writer for a run whose ``run.json`` another process owns."""
        return _Joined(folder, RunRecord(id=folder.name, started="", command=(), harness=""))

    def trial_folder(self, inputs: TrialInputs) -> Path:
        """Reserve a folder for a trial and list it in ``run.json``.

        The folder exists and is empty; :class:`harness.trial.Trial` fills it. A name that is
        taken gets ``-2`` and so on.
        """
        try:
            folder = free_folder(self.folder / TRIALS, trial_id(inputs))
        except OSError as error:
            raise TrialError(
                f"cannot create a trial's folder in {self.folder / TRIALS}: {error.strerror}"
            ) from error
        self.add(folder.name)
        return folder

    def add(self, trial: str) -> None:
        """List a trial that another process made (a guest, a worker) in ``run.json``."""
        if trial in self.record.trials:
            return
        self.record = msgspec.structs.replace(self.record, trials=(*self.record.trials, trial))
        write_run(self.folder, self.record)

    def incoming(self, trial: str) -> Path:
        """Return where what a trial's guest leaves is taken in, before it is the trial's folder."""
        return self.folder / TRIALS / f".{trial}{_INCOMING}"

    def add_begun(self) -> None:
        """List the trials of workers that were killed in them, and remove what they took in."""
        for half in (self.folder / TRIALS).glob(f".*{_INCOMING}*"):
            shutil.rmtree(half, ignore_errors=True)
        for trial in sorted((self.folder / TRIALS).glob("[!.]*")):
            self.add(trial.name)

    def seal(self) -> None:
        """Note the digest of each trial's record in ``run.json``: no trial is changed any more."""
        found = {name: record_digest(self.folder / TRIALS / name) for name in self.record.trials}
        records = {name: digest for name, digest in found.items() if digest}
        self.record = msgspec.structs.replace(self.record, records=records)
        write_run(self.folder, self.record)

    def discard(self) -> None:
        """Remove the run's folder, and point ``latest`` at the newest run that is left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        left = list_runs(self.folder.parent)
        if left:
            point_latest(self.folder.parent, left[-1].name)
        else:
            (self.folder.parent / LATEST).unlink(missing_ok=True)

    def drop(self, trial: str) -> None:
        """Remove a trial that skipped itself, its folder included."""
        shutil.rmtree(self.folder / TRIALS / trial, ignore_errors=True)
        kept = tuple(name for name in self.record.trials if name != trial)
        if kept != self.record.trials:
            self.record = msgspec.structs.replace(self.record, trials=kept)
            write_run(self.folder, self.record)


class _Joined(RunWriter):
    """Makes folders in another process's run and leaves ``run.json`` alone."""

    def add(self, trial: str) -> None:
        """Do nothing: the process that owns ``run.json`` lists the trial."""


def free_folder(parent: Path, name: str) -> Path:
    """Create ``parent/name``, or ``name-2`` and so on if it exists, and return it."""
    for number in count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable: count() does not end")


def point_latest(root: Path, name: str) -> None:
    """Have ``root/latest`` lead to the run ``name``, where links can be made."""
    half = root / f".{LATEST}.{name}"
    # A convenience for people: file systems without symbolic links do without.
    with suppress(OSError):
        half.symlink_to(name, target_is_directory=True)
        half.replace(root / LATEST)
    with suppress(OSError):
        half.unlink()


def _slug(text: str, *, keep: str = "") -> str:
    return re.sub(rf"[^a-z0-9{re.escape(keep)}]+", "-", text.lower()).strip("-.") or "x"
