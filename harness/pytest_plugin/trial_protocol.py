"""Where a trial runs: it is set up, its body run, wound down, judged, and reported."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import nullcontext, suppress
from itertools import chain

import msgspec
import pytest

from harness.errors import ExpectationTimeout, HarnessError
from harness.guest.contract import HOLD_VARIABLE
from harness.lab import probe_features
from harness.probes.sampling.heartbeat import Heartbeat
from harness.probes.sampling.neighbour_table import NeighbourTable
from harness.probes.sampling.starvation import starvation_of
from harness.pytest_plugin.deadline import DeadlinePassed, body_deadline
from harness.pytest_plugin.expectations import broken_by
from harness.pytest_plugin.known_bugs import (
    BugGone,
    bugs_of,
    conclude_expected,
    expected_of,
    unexpected,
)
from harness.pytest_plugin.markers import (
    MISSING,
    SETTABLE_CLOCK,
    about_of,
    deadline_of,
    is_scenario,
    title_of,
)
from harness.pytest_plugin.oracles_off import oracles_off
from harness.pytest_plugin.session import SESSION
from harness.pytest_plugin.thread_errors import threads_reported
from harness.pytest_plugin.trial_setup import SETUP, TrialSetup, prepare_setup
from harness.trial import (
    ExpectationFailed,
    Inconclusive,
    Trial,
    TrialRecord,
    as_expected,
    said,
    unexpected_oracles,
    write_record,
)

RECORD = pytest.StashKey[TrialRecord]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set the trial up before the fixtures come; skip what this machine cannot serve."""
    if not is_scenario(item):
        return
    needed = [name for mark in item.iter_markers("needs") for name in mark.args]
    features, in_a_guest = probe_features(), item.config.stash[SESSION].options.attach is not None
    there = {SETTABLE_CLOCK} if in_a_guest else set()
    if missing := [name for name in needed if name not in there and not features.has(name)]:
        item.user_properties.append((MISSING, ", ".join(missing)))
        pytest.skip(f"this kernel has no {', '.join(missing)}")
    item.stash[SETUP] = prepare_setup(item, item.config.stash[SESSION])


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run the scenario's body, wind down, judge, and let the verdict be the outcome."""
    setup = pyfuncitem.stash.get(SETUP, None)
    if setup is None or setup.trial is None:
        return (yield)
    with threads_reported(setup.trial.doubt):
        record, error = yield from run_body(pyfuncitem, setup, setup.trial)
    expected = as_expected(record)
    if expected and record.known_bugs:
        conclude_expected(record)
    if not expected:
        failure = failure_of(record, error)
        raise failure from (error if failure is not error else None)
    return True


def run_body(
    item: pytest.Function, setup: TrialSetup, trial: Trial
) -> Generator[None, object, tuple[TrialRecord, BaseException | None]]:
    """Run the scenario's body and judge; return the record and what the body raised.

    A guest's own supervisor ends what takes too long.
    """
    error: BaseException | None = None
    deadline = deadline_of(item)
    in_guest = setup.session.options.attach is not None
    # A guest has a kernel to itself, and in virtual time no other's work takes any of its time.
    watched = [] if in_guest or setup.lab is None else starvation_of(setup.lab)

    def more() -> dict[str, float]:
        return {name: value for each in watched for name, value in each.row().items()}

    neighbours = [] if setup.lab is None else [NeighbourTable()]
    heartbeat = Heartbeat(trial, more=more)
    try:
        left = deadline - trial.clock.now()
        with heartbeat, nullcontext() if in_guest else body_deadline(left):
            yield
    except pytest.skip.Exception:
        discard(setup)
        raise
    except KeyboardInterrupt:
        conclude(item, setup, Inconclusive(["interrupted"]))
        raise
    except DeadlinePassed:
        error = Inconclusive([f"the trial took longer than its deadline of {deadline:g} s"])
    except Exception as raised:
        error = raised
    starved = (each.doubts(trial) for each in watched)
    crowded_out = (each.doubts(trial) for each in neighbours)
    for doubt in chain(heartbeat.doubts(trial.measures.all()), *starved, *crowded_out):
        trial.doubt(doubt)
    return conclude(item, setup, error), error


def failure_of(record: TrialRecord, error: BaseException | None) -> BaseException:
    """Return what pytest is told of a trial that is not as expected; ``error``: what it raised."""
    if as_expected(record) is None:
        return Inconclusive([record.reason if record.verdict == "unknown" else unsaid(record)])
    if record.inputs.control:
        if died := unexpected_oracles(record):
            return ExpectationFailed(died)
        return AssertionError(
            "this control is blind: the swarm was broken and the check did not fail by "
            + ", ".join(record.must_break)
        )
    if record.known_bugs:
        return unexpected(record)
    broken = [m for m in record.measures if m.ok is False]
    if broken:
        return ExpectationFailed(broken, said(error) if error is not None else "")
    assert error is not None, "what neither raises nor breaks a bound does not fail"
    return error


def unsaid(record: TrialRecord) -> str:
    """Return why a trial that was to fail, and does, is no proof of what it was to show."""
    shown = "a control" if record.inputs.control else f"known bug {', '.join(record.known_bugs)}"
    return (
        f"not all was answered, so this does not count as {shown}: "
        f"{record.incomplete} (seen: {record.reason})"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put verdict and measures on the report; show a sentence where a traceback says nothing."""
    report = yield
    setup = item.stash.get(SETUP, None)
    if setup is None:
        return report
    if call.when == "setup" and call.excinfo is not None and setup.trial is not None:
        if call.excinfo.errisinstance(pytest.skip.Exception):
            discard(setup)
        else:
            conclude(item, setup, in_set_up(call.excinfo.value))
    error = call.excinfo.value if call.excinfo else None
    if error is not None:
        amend(item, setup, error)
    report.user_properties = list(item.user_properties)
    record = item.stash.get(RECORD, None)
    if isinstance(error, (HarnessError, ExpectationFailed, BugGone, Inconclusive)):
        report.longrepr = str(error)
    if isinstance(error, ExpectationFailed) and isinstance(error.__cause__, AssertionError):
        raised = pytest.ExceptionInfo.from_exception(error.__cause__)
        report.longrepr = f"{error}\n\n{item.repr_failure(raised)}"  # where in the body
    if report.failed and not isinstance(error, pytest.xfail.Exception):
        expected = call.when == "call" and isinstance(error, ExpectationTimeout)
        trouble = isinstance(error, HarnessError) and not expected
        unknown = trouble or (record is not None and as_expected(record) is None)
        report.user_properties.append(("outcome", "unknown" if unknown else "fail"))
    return report


def properties_of(record: TrialRecord) -> list[tuple[str, object]]:
    """Return what reports, and JUnit with them, say of a trial.

    They are the item's: JUnit reads them off the last of its reports, the tear-down's.
    """
    measures = [(f"measure:{m.name} [{m.unit}]", m.value) for m in record.measures]
    return [
        ("verdict", record.verdict),
        ("trial", record.id),
        ("digest", record.digest),
        *measures,
    ]


def conclude(item: pytest.Item, setup: TrialSetup, error: BaseException | None) -> TrialRecord:
    """Wind the trial down, judge it and write its record."""
    assert setup.trial is not None
    if os.environ.get(HOLD_VARIABLE) == "1" and setup.lab is not None:
        setup.hand_over()
    threads, broken = expected_of(bugs_of(item), setup.trial.inputs.engine.version)
    must_break = [*broken_by(item), *broken]
    try:
        setup.wind_down(oracles_off(item, must_break, error))
    except (HarnessError, OSError) as trouble:
        setup.trial.doubt(f"the trial could not be wound down: {trouble}")
    record = setup.trial.finish(
        error,
        title=title_of(item),
        about=about_of(item),
        upstream=[thread for mark in item.iter_markers("upstream") for thread in mark.args],
        nodes=[place.name for place in setup.request.topology.places()],
        must_break=must_break,
        known_bugs=threads,
    )
    item.stash[RECORD] = record
    item.user_properties.extend(properties_of(record))
    return record


def amend(item: pytest.Item, setup: TrialSetup, error: BaseException) -> None:
    """Take back a verdict after which something else went wrong, so that record and pytest agree.

    Such as a warning that is an error: pytest raises it when the body has been judged.
    """
    record = item.stash.get(RECORD, None)
    if record is None or not as_expected(record) or isinstance(error, pytest.xfail.Exception):
        return
    assert setup.trial is not None
    reason = f"after the verdict: {said(error)}"
    record = msgspec.structs.replace(record, verdict="unknown", reason=reason)
    write_record(setup.trial.folder, record)
    item.stash[RECORD] = record
    item.user_properties[:] = [
        (name, "unknown" if name == "verdict" else value) for name, value in item.user_properties
    ]


def in_set_up(error: BaseException) -> BaseException:
    """Return what an error in a fixture says of the trial: a wait that ran out is no failure.

    The swarm owes a scenario nothing before its body has begun.
    """
    if isinstance(error, ExpectationTimeout):
        return Inconclusive([f"in the set-up: {error}"])
    return error


def discard(setup: TrialSetup) -> None:
    """End the trial of a scenario that skipped itself: healed, and without a record."""
    assert setup.trial is not None
    with suppress(HarnessError, OSError):
        setup.wind_down()
    setup.trial.journal.close()
    setup.session.folders.drop(setup.trial.folder)
