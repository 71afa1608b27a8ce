"""Read the JSON lines files of a stored trial, up to any damage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import TrialError
from harness.trial import read_lines


@dataclass(frozen=True)
class Lines:
    """The readable rows of one file; ``damage`` says what ended the reading, "" if nothing."""

    rows: tuple[dict[str, Any], ...]
    damage: str = ""


def journal(trial_folder: Path) -> Lines:
    """Read the journal of a trial; ``damage`` reports a missing or broken file."""
    return _read(trial_folder / "journal.jsonl")


def samples(trial_folder: Path, name: str) -> Lines:
    """Read a probe's samples, ``samples/<name>.jsonl``; no rows if there is no such file."""
    path = trial_folder / "samples" / f"{name}.jsonl"
    return _read(path) if path.exists() else Lines(())


def _read(path: Path) -> Lines:
    rows: list[dict[str, Any]] = []
    try:
        rows.extend(read_lines(path))
    except TrialError as error:
        return Lines(tuple(rows), _within_trial(error.what, path))
    return Lines(tuple(rows))


def _within_trial(sentence: str, path: Path) -> str:
    # A stored trial may be read far from where it was made: name the file, not the folder.
    return sentence.replace(str(path), path.name)
