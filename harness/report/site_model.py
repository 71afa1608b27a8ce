"""What a site shows: the runs, their trials, and what could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.report.page_names import page_names, scenario_stem, trial_stem
from harness.results import Damaged, Run, StoredTrial, journal, read_run
from harness.results.versions import by_version
from harness.trial import EngineFacts, TrialInputs, TrialRecord


@dataclass(frozen=True)
class Entry:
    """A trial with its page; ``problem`` says what is wrong with one that has no record."""

    run: Run
    trial: StoredTrial
    page: str
    problem: str = ""


@dataclass(frozen=True)
class Unreadable:
    """A part of a run that could not be read; ``page`` is its page, "" if it has none."""

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
class SiteModel:
    """Everything that a site shows, in the order it ran."""

    runs: tuple[Run, ...]
    entries: tuple[Entry, ...]
    unfinished: tuple[Entry, ...]
    unreadable: tuple[Unreadable, ...]
    scenarios: tuple[Scenario, ...]
    pages: Mapping[Path, str]

    @property
    def trials(self) -> tuple[StoredTrial, ...]:
        """The trials that have a record."""
        return tuple(e.trial for e in self.entries)

    @property
    def engines(self) -> tuple[str, ...]:
        """Versions, from the oldest."""
        return tuple(sorted({t.record.inputs.engine.version for t in self.trials}, key=by_version))

    def page_of(self, trial: StoredTrial) -> str:
        """Return the page of a trial."""
        return self.pages[trial.folder]


def build_model(runs: Sequence[Run], unreadable: Iterable[Unreadable] = ()) -> SiteModel:
    """Assign a page to everything in ``runs``."""
    several = len(runs) > 1
    unfinished_trials = {
        damaged.path: unfinished(damaged) for run in runs for damaged in run.damaged
    }
    wanted = [
        (folder, trial_stem([run.record.id if several else "", folder.name]))
        for run in runs
        for folder in (
            *(t.folder for t in run.trials),
            *(d.path for d in run.damaged if unfinished_trials[d.path] is not None),
        )
    ]
    pages = page_names("trial", wanted)
    entries = tuple(Entry(run, t, pages[t.folder]) for run in runs for t in run.trials)
    left = tuple(
        Entry(run, trial, pages[d.path], d.sentence)
        for run in runs
        for d in run.damaged
        if (trial := unfinished_trials[d.path]) is not None
    )
    damaged_parts = tuple(
        Unreadable(run.record.id, d.path.name, d.sentence, pages.get(d.path, ""))
        for run in runs
        for d in run.damaged
    )
    return SiteModel(
        tuple(runs), entries, left, (*unreadable, *damaged_parts), _scenarios(entries), pages
    )


def read_runs(folders: Sequence[Path]) -> tuple[list[Run], list[Unreadable]]:
    """Read several runs; one that fails becomes :class:`Unreadable`, unless it is the only one."""
    if len(folders) == 1:
        return [read_run(folders[0])], []
    runs, unreadable = [], []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except HarnessError as error:
            unreadable.append(Unreadable(folder.name, folder.name, error.what))
    return sorted(runs, key=lambda r: (r.record.started, r.record.id)), unreadable


def unfinished(damaged: Damaged) -> StoredTrial | None:
    """Return a trial without a record as its journal describes it; None without a journal."""
    if not (damaged.path / "journal.jsonl").is_file():
        return None
    rows = journal(damaged.path).rows
    given = next((row.get("inputs") for row in rows if row.get("kind") == "trial.start"), None)
    try:
        inputs = msgspec.convert(given, TrialInputs)
    except msgspec.ValidationError:
        unknown = EngineFacts(name="?", version="?", source="", digest="")
        inputs = TrialInputs(
            scenario=damaged.path.name, engine=unknown, topology="?", lab="?", kernel="?",
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
        "scenario", ((key, scenario_stem(key[0], control=key[1])) for key in grouped)
    )
    return tuple(
        Scenario(scenario, control, pages[scenario, control], tuple(entries_of_it))
        for (scenario, control), entries_of_it in grouped.items()
    )
