"""One execution of a scenario: its clock, journal, measures, doubts and folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import TrialError
from harness.trial.active_faults import ActiveFaults
from harness.trial.clock import TrialClock
from harness.trial.journal import Journal
from harness.trial.measure import Measures
from harness.trial.record import (
    TrialInputs,
    TrialRecord,
    digest_files,
    digest_of,
    write_record,
)
from harness.trial.verdict import judge, unanswered

#: The share by which the trial's clock may be off the kernel's raw one; NTP slews by 0.0005.
_CLOCK_OFF = 0.01

#: Seconds below which the two are not compared: reading them takes time, too.
_COMPARED_FROM = 1.0


class Trial:
    """An open trial::

        trial = Trial(folder, inputs)
        trial.journal.write("note", text="it begins")
        trial.measures(NEW_LEADER, 12.5)
        record = trial.finish(None)

    :meth:`finish` judges it and leaves a complete folder. Raises :class:`TrialError` when the
    folder cannot be made.
    """

    def __init__(
        self, folder: Path, inputs: TrialInputs, *, clock: TrialClock | None = None
    ) -> None:
        self.folder = folder
        self.inputs = inputs
        self.clock = clock or TrialClock()
        self._began = self.clock.now(), _raw()
        try:
            (folder / "samples").mkdir(parents=True)
            (folder / "logs").mkdir()
        except OSError as error:
            raise TrialError(f"cannot make the trial's folder {folder}: {error}") from error
        self.journal = Journal(folder / "journal.jsonl", self.clock)
        self.measures = Measures(self.journal)
        self.doubts: list[str] = []
        self.oracles_off: dict[str, str] = {}
        self.active_faults = ActiveFaults()
        self.faults = 0  # injected so far; numbers them in the journal
        self.loads = 0  # made so far; numbers them in the files that they share
        # The wall clock ties the daemons' logs, which know no other, to the trial's own time.
        self.journal.write(
            "trial.start", inputs=msgspec.to_builtins(inputs), wall=round(time.time(), 6)
        )

    def doubt(self, reason: str) -> None:
        """Record a reason for not believing this trial; its verdict will be unknown."""
        self.journal.write("doubt", reason=reason)
        self.doubts.append(reason)

    def oracle_off(self, name: str, reason: str) -> None:
        """Record that an oracle, by name, is not held against this trial, and why."""
        self.journal.write("oracle.off", oracle=name, reason=reason)
        self.oracles_off[name] = reason

    def samples(self, name: str) -> Path:
        """Return the path of a probe's samples, ``samples/<name>.jsonl``."""
        return self.folder / "samples" / f"{name}.jsonl"

    def write_samples(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write a probe's samples, in the order given, one JSON object a line."""
        with self.samples(name).open("wb") as file:
            for row in rows:
                file.write(msgspec.json.encode(row) + b"\n")

    def finish(
        self,
        error: BaseException | None,
        *,
        title: str = "",
        about: str = "",
        upstream: Iterable[str] = (),
        nodes: Iterable[str] = (),
        must_break: Sequence[str] = (),
        known_bugs: Sequence[str] = (),
    ) -> TrialRecord:
        """Judge the trial, write ``trial.json``, close the journal; return the record.

        ``title`` is one line, ``about`` the scenario's docstrings. ``must_break`` is for controls,
        and for scenarios in which the engine is known to have ``known_bugs`` (threads upstream):
        the names of the expectations that must not hold.
        """
        self._doubt_clock()
        verdict, reason = judge(error, self.measures.all(), self.doubts)
        seconds = self.journal.write("trial.end", verdict=verdict, reason=reason)
        self.journal.close()
        files = digest_files(self.folder)
        record = TrialRecord(
            id=self.folder.name,
            title=title,
            about=about,
            inputs=self.inputs,
            verdict=verdict,
            reason=reason,
            incomplete=unanswered(error, self.measures.all()),
            seconds=seconds,
            measures=self.measures.all(),
            upstream=tuple(upstream),
            nodes=tuple(nodes),
            must_break=tuple(must_break),
            known_bugs=tuple(known_bugs),
            oracles_off=self.oracles_off,
            files=files,
            digest=digest_of(files),
        )
        write_record(self.folder, record)
        return record

    def _doubt_clock(self) -> None:
        """Doubt a trial whose clock ran otherwise than the kernel's raw one: all times are off."""
        began, raw_began = self._began
        ran, raw = self.clock.now() - began, _raw() - raw_began
        if raw >= _COMPARED_FROM and abs(ran / raw - 1) > _CLOCK_OFF:
            self.doubt(f"the trial's clock counted {ran:.3f} s in {raw:.3f} s")


def _raw() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
