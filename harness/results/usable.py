"""Which trials' measures may be used."""

from __future__ import annotations

from harness.trial import TrialRecord, judge


def is_usable(record: TrialRecord) -> bool:
    """Return whether the measures of a trial may be used.

    Those of a doubtful trial may not. Those of a trial that is unknown only because a measure is
    undecided ("longer than 30 s" against a limit of 45 s) may: it is the slow trials that end
    this way, and leaving them out would make the rest look fast.
    """
    if record.verdict != "unknown":
        return True
    return (record.verdict, record.reason) == judge(None, record.measures, ())
