"""``docs/track-record.md``: threads upstream and findings by engine, expected and seen.

What is expected comes from the scenarios' marks: with an engine that a ``known_bug`` concerns a
scenario fails, with any other it passes. What was seen comes from
``docs/samples/track-record.csv``, to which ``python -m harness.docgen --seen RUN…`` adds runs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from harness.docgen.markdown import cell, filled, linked
from harness.docgen.scenario import Case
from harness.engine import KNOWN, release_key
from harness.errors import UsageError
from harness.results import Run
from harness.trial import TrialRecord, as_expected


@dataclass(frozen=True)
class Seen:
    """How the trials of one scenario, engine and lab came out in one run.

    ``otherwise``: those that failed, with a known bug, but not by what the bug breaks.
    """

    scenario: str
    engine: str
    lab: str
    run: str
    passed: int
    failed: int
    otherwise: int
    unknown: int

    @property
    def day(self) -> str:
        """The day of the run, as its id begins: 2026-11-29."""
        return f"{self.run[:4]}-{self.run[4:6]}-{self.run[6:8]}"


@dataclass(frozen=True)
class Cell:
    """A scenario with one engine: whether it is to fail, and how often it did."""

    fails: bool
    passed: int
    failed: int
    otherwise: int
    unknown: int

    @property
    def tried(self) -> int:
        """How many trials have a verdict."""
        return self.passed + self.failed + self.otherwise

    @property
    def agrees(self) -> bool | None:
        """Whether all trials with a verdict came out as expected; None if there is none."""
        if not self.tried:
            return None
        return self.tried == (self.failed if self.fails else self.passed)

    def __str__(self) -> str:
        expected = "fails" if self.fails else "passes"
        if self.agrees is None:
            return f"{expected}; not run" if not self.unknown else f"{expected}; unknown"
        count = self.failed if self.fails else self.passed
        return f"{'✓' if self.agrees else '✗'} {expected}: {count} of {self.tried}"


def read_seen(path: Path) -> list[Seen]:
    """Return what was seen; nothing if there is no such file.

    Raises :class:`UsageError` for a file that is not one of these.
    """
    if not path.is_file():
        return []
    names = [each.name for each in fields(Seen)]
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != names:
            raise UsageError(f"{path} is no track record: its columns are not {', '.join(names)}")
        return [
            Seen(
                row["scenario"],
                row["engine"],
                row["lab"],
                row["run"],
                *(int(row[name]) for name in ("passed", "failed", "otherwise", "unknown")),
            )
            for row in reader
        ]


def seen_in(run: Run) -> list[Seen]:
    """Return how the trials of a run came out; controls are left out."""
    counts: dict[tuple[str, str, str], dict[str, int]] = {}
    for trial in run.trials:
        given = trial.record.inputs
        if not given.control:
            key = (given.scenario, given.engine.version.partition("+")[0], given.lab)
            count = counts.setdefault(key, dict.fromkeys(_OUTCOMES, 0))
            count[_outcome(trial.record)] += 1
    return [Seen(*key, run.record.id, *count.values()) for key, count in counts.items()]


_OUTCOMES = ("pass", "fail", "otherwise", "unknown")


def _outcome(record: TrialRecord) -> str:
    if record.verdict == "fail" and record.known_bugs and not as_expected(record):
        return "otherwise"
    return record.verdict


def with_runs(seen: Iterable[Seen], runs: Iterable[Run]) -> str:
    """Return the file's text with the trials of runs; those that it has are replaced."""
    new = {run.record.id: seen_in(run) for run in runs}
    kept = [each for each in seen if each.run not in new]
    rows = sorted(
        [*kept, *(each for found in new.values() for each in found)],
        key=lambda each: (each.scenario, release_key(each.engine), each.lab, each.run),
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Seen)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    return text.getvalue()


def track_record_page(cases: Iterable[Case], seen: Sequence[Seen]) -> str:
    """Return the page."""
    versions = {each.engine for each in seen} | {known.version for known in KNOWN}
    engines = sorted(versions, key=release_key)
    tried = {each.scenario for each in seen}
    cases = [case for case in cases if case.threads and (case.bugs or case.id in tried)]
    table = {case: {e: _cell(case, e, seen) for e in engines} for case in cases}
    decided = [c for row in table.values() for c in row.values() if c.agrees is not None]
    return filled(
        "track-record.md.j2",
        agreed=sum(c.agrees is True for c in decided),
        decided=len(decided),
        trials=sum(c.tried for c in decided),
        engines=engines,
        rows=list(_rows(table, engines, seen)),
    )


def _cell(case: Case, engine: str, seen: Iterable[Seen]) -> Cell:
    own = [each for each in seen if each.scenario == case.id and each.engine == engine]
    return Cell(
        fails=any(bug.concerns(engine) for bug in case.bugs),
        passed=sum(each.passed for each in own),
        failed=sum(each.failed for each in own),
        otherwise=sum(each.otherwise for each in own),
        unknown=sum(each.unknown for each in own),
    )


def _rows(
    table: dict[Case, dict[str, Cell]], engines: Sequence[str], seen: Iterable[Seen]
) -> Iterator[str]:
    """The rows of the table: those with a known bug first, then by what was seen."""
    last: dict[str, str] = {}
    for each in seen:
        last[each.scenario] = max(last.get(each.scenario, ""), each.day)
    for case in sorted(table, key=lambda case: (not case.bugs, case.id not in last)):
        cells = [str(table[case][engine]) for engine in engines]
        words = [
            linked(", ".join(case.threads)),
            cell(case.name),
            *cells,
            last.get(case.id, ""),
            f"`run -k '{case.keyword}'{' --thorough' if case.thorough else ''}`",
        ]
        yield f"| {' | '.join(words)} |"
