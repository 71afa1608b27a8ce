"""Check a stored run for damage: every record, every line, every digest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.errors import TrialError
from harness.results.run import (
    TRIAL_FILE,
    TRIALS,
    Damaged,
    Run,
    StoredTrial,
    read_run,
    record_digest,
)
from harness.results.samples import Lines, journal, samples
from harness.trial import digest_files


def check_run(run: Run) -> tuple[Damaged, ...]:
    """Return everything that is wrong with a run: unreadable, cut short, changed since."""
    found = list(run.damaged)
    for trial in run.trials:
        found += _check_trial(trial, run.record.records.get(trial.id, ""))
    return tuple(found)


def check_trial(folder: Path) -> tuple[Damaged, ...]:
    """Return everything that is wrong with one trial of a run, as :func:`check_run` does.

    Nothing is held against a folder that lies in no run.
    """
    folder = folder.resolve()
    if folder.parent.name != TRIALS:
        return ()
    run = read_run(folder.parent.parent)
    found = [each for each in run.damaged if each.path == folder]
    for trial in run.trials:
        if trial.folder == folder:
            found += _check_trial(trial, run.record.records.get(trial.id, ""))
    return tuple(found)


def _check_trial(trial: StoredTrial, record: str) -> Iterator[Damaged]:
    """Yield what is wrong with a trial; ``record`` is its record's digest, "" if not known."""
    folder = trial.folder
    yield from _lines(folder / "journal.jsonl", journal(folder))
    inside = folder / "samples"
    if inside.is_dir():
        for path in sorted(inside.glob("*.jsonl")):
            yield from _lines(path, samples(folder, path.stem))
    try:
        there = digest_files(folder)
    except (OSError, TrialError) as error:
        yield Damaged(folder, f"cannot read its files: {error}")
        return
    recorded = trial.record.files
    changed = [name for name in recorded if name in there and there[name] != recorded[name]]
    if record and record_digest(folder) != record:
        changed.append(TRIAL_FILE)
    missing = [name for name in recorded if name not in there]
    if changed:
        yield Damaged(folder, f"changed since it was recorded: {_few(changed)}")
    if missing:
        yield Damaged(folder, f"missing: {_few(missing)}")


def _lines(path: Path, read: Lines) -> Iterator[Damaged]:
    if read.damage:
        yield Damaged(path, f"damaged: {read.damage}")


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(sorted(names)[:3]) + more
