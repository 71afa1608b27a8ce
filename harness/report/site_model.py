"""What a site shows: the runs, their trials, and what could not be read of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.report.overview import version_key
from harness.report.page_names import page_names, scenario_words, trial_words
from harness.results import Damaged, Run, StoredTrial, journal, read_run
from harness.trial import EngineFacts, TrialInputs, TrialRecord


@dataclass(frozen=True)
class Entry:
    """A trial with a page of its own; ``lost``: what is wrong with one that has no record."""

    run: Run
    trial: StoredTrial
    page: str
    lost: str = ""


@dataclass(frozen=True)
class Lost:
    """What could not be read: where it lies, the sentence, and its page if it has one."""

    run: str
    name: str
    sentence: str
    page: str = ""


@dataclass(frozen=True)
class Scenario:
    """A scenario, or its control, with all of its trials."""

    scenario: str
    control: bool
    page: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Found:
    """All of it, in the order it ran."""

    runs: tuple[Run, ...]
    entries: tuple[Entry, ...]
    unfinished: tuple[Entry, ...]
    lost: tuple[Lost, ...]
    scenarios: tuple[Scenario, ...]
    pages: Mapping[Path, str]

    @property
    def trials(self) -> tuple[StoredTrial, ...]:
        """The trials that have a record."""
        return tuple(e.trial for e in self.entries)

    @property
    def engines(self) -> tuple[str, ...]:
        """Versions, from the oldest."""
        return tuple(sorted({t.record.inputs.engine.version for t in self.trials}, key=version_key))

    def page_of(self, trial: StoredTrial) -> str:
        """The page of a trial."""
        return self.pages[trial.folder]


def find(runs: Sequence[Run], unreadable: Iterable[Lost] = ()) -> Found:
    """Give everything in ``runs`` its page."""
    several = len(runs) > 1
    lost_trials = {damaged.path: unfinished(damaged) for run in runs for damaged in run.damaged}
    wanted = [
        (folder, trial_words([run.record.id if several else "", folder.name]))
        for run in runs
        for folder in (
            *(t.folder for t in run.trials),
            *(d.path for d in run.damaged if lost_trials[d.path] is not None),
        )
    ]
    pages = page_names("trial", wanted)
    entries = tuple(Entry(run, t, pages[t.folder]) for run in runs for t in run.trials)
    left = tuple(
        Entry(run, trial, pages[d.path], d.sentence)
        for run in runs
        for d in run.damaged
        if (trial := lost_trials[d.path]) is not None
    )
    lost = tuple(
        Lost(run.record.id, d.path.name, d.sentence, pages.get(d.path, ""))
        for run in runs
        for d in run.damaged
    )
    return Found(tuple(runs), entries, left, (*unreadable, *lost), _scenarios(entries), pages)


def read_runs(folders: Sequence[Path]) -> tuple[list[Run], list[Lost]]:
    """Read several runs; one that is none becomes :class:`Lost`, unless it is the only one."""
    if len(folders) == 1:
        return [read_run(folders[0])], []
    runs, lost = [], []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except HarnessError as error:
            lost.append(Lost(folder.name, folder.name, error.what))
    return sorted(runs, key=lambda r: (r.record.started, r.record.id)), lost


def unfinished(damaged: Damaged) -> StoredTrial | None:
    """A trial without a record, as far as its journal tells what it was; else None."""
    if not (damaged.path / "journal.jsonl").is_file():
        return None
    rows = journal(damaged.path).rows
    given = next((row.get("inputs") for row in rows if row.get("kind") == "trial.start"), None)
    try:
        inputs = msgspec.convert(given, TrialInputs)
    except msgspec.ValidationError:
        nobody = EngineFacts(name="?", version="?", source="", digest="")
        inputs = TrialInputs(
            scenario=damaged.path.name, engine=nobody, topology="?", lab="?", kernel="?",
            clock="real", seed=0,
        )  # fmt: skip
    last = rows[-1].get("t") if rows else 0.0
    record = TrialRecord(
        id=damaged.path.name,
        inputs=inputs,
        verdict="unknown",
        reason=damaged.sentence,
        seconds=float(last) if isinstance(last, int | float) else 0.0,
    )
    return StoredTrial(damaged.path, record)


def _scenarios(entries: Sequence[Entry]) -> tuple[Scenario, ...]:
    grouped: dict[tuple[str, bool], list[Entry]] = {}
    for entry in entries:
        given = entry.trial.record.inputs
        grouped.setdefault((given.scenario, given.control), []).append(entry)
    pages = page_names(
        "scenario", ((key, scenario_words(key[0], control=key[1])) for key in grouped)
    )
    return tuple(
        Scenario(scenario, control, pages[scenario, control], tuple(of_it))
        for (scenario, control), of_it in grouped.items()
    )
