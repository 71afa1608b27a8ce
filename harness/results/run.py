"""Read runs from disk: ``run.json`` and the trials next to it.

A run's folder::

    run.json             which run this is, the command, the trials in the order they began
    trials/<trial id>/   one folder per trial, see :mod:`harness.trial.record`
    index.html           the report, made from the rest
    junit.xml            what pytest says

``run.json`` has ``schema``, ``id`` (UTC time stamp, ``-2`` and so on when taken), ``started``
(ISO wall time), ``command`` (argv), ``harness`` (version), ``trials`` (ids), and of a merged run
``merged`` (the ids of those it came from). At its end it gets ``records``, the sha256 of each
``trial.json``, which in turn has those of all other files.

Reading tolerates damage: whatever is damaged or half-written becomes :class:`Damaged`, and the
rest is read all the same.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import TrialError, UsageError
from harness.files import write_atomically
from harness.results.files import odd_file
from harness.results.samples import journal
from harness.trial import SCHEMA, TrialRecord, read_record

RUN_SCHEMA = 1
RUN_FILE = "run.json"
TRIALS = "trials"
TRIAL_FILE = "trial.json"
LATEST = "latest"

#: Control characters in JSON but newline and tab, whether escaped or not.
_UNPRINTABLE = re.compile(rb"\\u00[01789]|\\[bfr]|\x7f|\xc2[\x80-\x9f]")

_LARGEST_RECORD = 1 << 28  # bytes; records are read whole, and have some thousands

_STAMP = re.compile(r"(\d{8}T\d{6}Z)(?:-(\d+))?")


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``run.json``. ``merged``: ids of the runs that were merged into this one, if any.

    ``records``: the sha256 of each ``trial.json`` by trial; a run that was killed has none.
    """

    schema: int = RUN_SCHEMA
    id: str
    started: str = ""
    command: tuple[str, ...] = ()
    harness: str = ""
    trials: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    records: dict[str, str] = {}


@dataclass(frozen=True)
class Damaged:
    """Something of a run that could not be read: where it lies, and what is wrong with it."""

    path: Path
    sentence: str


@dataclass(frozen=True)
class StoredTrial:
    """A finished trial, as it lies in its run's folder."""

    folder: Path
    record: TrialRecord

    @property
    def id(self) -> str:
        """The trial's name within its run (its folder's name, whatever the record says)."""
        return self.folder.name


@dataclass(frozen=True)
class Run:
    """A run read back: its record, its finished trials in order, and what could not be read."""

    folder: Path
    record: RunRecord
    trials: tuple[StoredTrial, ...]
    damaged: tuple[Damaged, ...]


def write_run(folder: Path, record: RunRecord) -> None:
    """Write ``run.json``, completely or not at all."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    try:
        write_atomically(folder / RUN_FILE, text)
    except OSError as error:
        raise TrialError(f"cannot write {folder / RUN_FILE}: {error.strerror}") from error


def read_run(folder: Path) -> Run:
    """Read a run and all of its trials that can be read.

    Trials come in the order of ``run.json``; those it does not know (the run was interrupted)
    come after, by name. Raises :class:`UsageError` for a folder that is not a run.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no run at {folder}",
            hint="name a folder under reports/, or run `pytest scenarios/` to make one",
        )
    if not (folder / RUN_FILE).exists() and not (folder / TRIALS).is_dir():
        raise UsageError(
            f"{folder} is not a run: it has neither {RUN_FILE} nor {TRIALS}/",
            hint="name one of the folders under reports/",
        )
    if _printable(folder.name) != folder.name:
        raise UsageError(f"{folder.name!r} is not a valid name for a run", hint="rename the folder")
    damaged: list[Damaged] = []
    try:
        record = _read_run_record(folder)
    except TrialError as error:
        damaged.append(Damaged(folder / RUN_FILE, str(error)))
        record = _partial_record(folder)
    trials: list[StoredTrial] = []
    for trial_id in _trial_ids(folder, record):
        found = _read_trial(folder / TRIALS, trial_id)
        if isinstance(found, Damaged):
            damaged.append(found)
        else:
            trials.append(found)
    return Run(folder, record, tuple(trials), tuple(damaged))


def record_digest(trial: Path) -> str:
    """Return the sha256 of a trial's ``trial.json``, "" without one."""
    try:
        return hashlib.sha256((trial / TRIAL_FILE).read_bytes()).hexdigest()
    except OSError:
        return ""


def list_runs(root: Path) -> tuple[Path, ...]:
    """Return the folders of the runs under ``root``, oldest first; empty without that folder."""
    if not root.is_dir():
        return ()
    return tuple(
        sorted(
            (
                path
                for path in root.iterdir()
                if path.is_dir()
                and not path.is_symlink()
                and (path / RUN_FILE).is_file()
                and _printable(path.name) == path.name
            ),
            key=_age,
        )
    )


def latest_run(root: Path) -> Path:
    """Return the folder of the newest run under ``root``. :class:`UsageError` if there is none."""
    if runs := list_runs(root):
        return runs[-1]
    raise UsageError(
        f"there is no run under {root} yet",
        hint="make one with `pytest scenarios/`, or name another folder with --reports",
    )


def _age(path: Path) -> tuple[str, int]:
    if match := _STAMP.fullmatch(path.name):
        return match[1], int(match[2] or 1)
    return path.name, 1


def _read_run_record(folder: Path) -> RunRecord:
    if (odd := _odd_record(folder / RUN_FILE)) is not None:
        raise TrialError(odd)
    try:
        raw = (folder / RUN_FILE).read_bytes()
    except FileNotFoundError:
        raise TrialError(
            f"{RUN_FILE} is missing: the run was interrupted or copied incompletely"
        ) from None
    except OSError as error:
        raise TrialError(f"cannot read {RUN_FILE}: {error.strerror}") from error
    try:
        head: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
        if (schema := head.get("schema")) != RUN_SCHEMA:
            raise TrialError(_schema_mismatch(RUN_FILE, schema, RUN_SCHEMA))
        record = msgspec.json.decode(raw, type=RunRecord)
        return msgspec.convert(_printable(msgspec.to_builtins(record)), RunRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrialError(f"{RUN_FILE} cannot be read: {error}") from error


def _odd_record(path: Path) -> str | None:
    """Return what is wrong with a record that is there and cannot be read; None for any other."""
    if path.exists() and not path.is_file():
        return f"{path.name} is not a file"
    if path.exists() and path.stat().st_size > _LARGEST_RECORD:
        return f"{path.name} is larger than any that swarm-chaos writes"
    return None


def _schema_mismatch(file: str, schema: object, ours: int) -> str:
    """Return a sentence about a file with another schema."""
    if schema is None:
        return f"{file} has no schema number: swarm-chaos did not write it"
    if isinstance(schema, int) and schema > ours:
        return f"{file} has schema {schema}, from a newer swarm-chaos; this one reads {ours}"
    return f"{file} has schema {schema}; this swarm-chaos reads {ours}"


def _partial_record(folder: Path) -> RunRecord:
    """Return what can be read of a run whose record is damaged or of a newer schema."""
    head: dict[str, Any] = {}
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if _odd_record(folder / RUN_FILE) is not None:
            raise FileNotFoundError
        head = msgspec.json.decode((folder / RUN_FILE).read_bytes(), type=dict[str, Any])
    if not isinstance(head.get("schema"), int) or head["schema"] <= RUN_SCHEMA:
        head = {}
    trials = head.get("trials")
    started = head.get("started")
    return RunRecord(
        id=folder.resolve().name,
        started=started if isinstance(started, str) else "",
        trials=tuple(t for t in trials if isinstance(t, str)) if isinstance(trials, list) else (),
    )


def _trial_ids(folder: Path, record: RunRecord) -> list[str]:
    ids = list(dict.fromkeys(record.trials))
    known = set(ids)
    trials = folder / TRIALS
    if trials.is_dir():
        ids += sorted(p.name for p in trials.iterdir() if p.is_dir() and p.name not in known)
    return ids


def _read_trial(trials: Path, trial_id: str) -> StoredTrial | Damaged:
    folder = trials / trial_id
    is_name = Path(trial_id).name == trial_id and _printable(trial_id) == trial_id
    if trial_id in {"", ".", ".."} or not is_name:
        return Damaged(
            trials, f"there is or should be a trial {trial_id!r}, which is not a valid folder name"
        )
    if not folder.is_dir():
        return Damaged(folder, f"{RUN_FILE} lists this trial, but its folder is missing")
    if (odd := odd_file(folder)) is not None:
        return Damaged(folder, f"{odd!r} is no file that a trial has: nothing here is read")
    if (odd := _odd_record(folder / TRIAL_FILE)) is not None:
        return Damaged(folder, odd)
    if not (folder / TRIAL_FILE).exists():
        return Damaged(folder, _progress(folder))
    try:
        record = read_record(folder)
        if _UNPRINTABLE.search((folder / TRIAL_FILE).read_bytes()):
            record = msgspec.convert(_printable(msgspec.to_builtins(record)), TrialRecord)
        return StoredTrial(folder, record)
    except (TrialError, UnicodeDecodeError, RecursionError) as error:
        if (schema := _schema_of(folder / TRIAL_FILE)) != SCHEMA:
            return Damaged(folder, _schema_mismatch(TRIAL_FILE, schema, SCHEMA))
        what = error.what if isinstance(error, TrialError) else str(error)
        return Damaged(folder, what.replace(f"{folder}/", ""))


def _printable(value: Any) -> Any:
    """Return a record's value without control characters, which a terminal would obey."""
    match value:
        case str():
            return "".join(c for c in value if c in "\n\t" or unicodedata.category(c) != "Cc")
        case dict():
            return {_printable(key): _printable(member) for key, member in value.items()}
        case list() | tuple():
            return [_printable(member) for member in value]
    return value


def _schema_of(path: Path) -> object:
    """Return the schema number in a file; ours if it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]).get("schema")
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return SCHEMA


def _progress(folder: Path) -> str:
    rows = journal(folder).rows
    if not rows:
        return "the trial began but left no record"
    last = rows[-1]
    return (
        "the trial did not finish; the last entry in its journal is "
        f"{_printable(str(last.get('kind', '?')))} at {_printable(str(last.get('t', '?')))} s"
    )
