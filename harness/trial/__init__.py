"""One execution of a scenario: clock, journal, measures, verdict, and the folder it leaves."""

from harness.trial import oracles
from harness.trial.bound import Bound, Direction
from harness.trial.clock import TrialClock
from harness.trial.expectation import Expectation, Observation
from harness.trial.journal import Journal, read_lines
from harness.trial.measure import Measure, Measures, Readings
from harness.trial.quantity import limit_text, number_text, quantity_text
from harness.trial.record import (
    SCHEMA,
    EngineFacts,
    TrialInputs,
    TrialRecord,
    as_expected,
    digest_files,
    digest_of,
    read_record,
    unbroken,
    unexpected_oracles,
    unexplained,
    write_record,
)
from harness.trial.trial import Trial
from harness.trial.verdict import ExpectationFailed, Inconclusive, Verdict, judge, said

__all__ = [
    "SCHEMA",
    "Bound",
    "Direction",
    "EngineFacts",
    "Expectation",
    "ExpectationFailed",
    "Inconclusive",
    "Journal",
    "Measure",
    "Measures",
    "Observation",
    "Readings",
    "Trial",
    "TrialClock",
    "TrialInputs",
    "TrialRecord",
    "Verdict",
    "as_expected",
    "digest_files",
    "digest_of",
    "judge",
    "limit_text",
    "number_text",
    "oracles",
    "quantity_text",
    "read_lines",
    "read_record",
    "said",
    "unbroken",
    "unexpected_oracles",
    "unexplained",
    "write_record",
]
