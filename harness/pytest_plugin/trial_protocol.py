"""Where a trial runs: it is set up, its body run, wound down, judged, and reported."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import suppress

import pytest

from harness.errors import ExpectationTimeout, HarnessError
from harness.guest.contract import HOLD_VARIABLE
from harness.lab import probe_features
from harness.pytest_plugin.expectations import broken_by
from harness.pytest_plugin.known_bugs import (
    BugGone,
    bugs_of,
    conclude_expected,
    expected_of,
    unexpected,
)
from harness.pytest_plugin.markers import about_of, is_scenario, title_of
from harness.pytest_plugin.session import SESSION
from harness.pytest_plugin.trial_setup import SETUP, TrialSetup, prepare_setup
from harness.trial import (
    ExpectationFailed,
    Inconclusive,
    TrialRecord,
    as_expected,
    unexpected_oracles,
)

RECORD = pytest.StashKey[TrialRecord]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set the trial up before the fixtures come; skip what this machine cannot serve."""
    if not is_scenario(item):
        return
    needed = [name for mark in item.iter_markers("needs") for name in mark.args]
    features = probe_features()
    if missing := [name for name in needed if not features.has(name)]:
        pytest.skip(f"this kernel has no {', '.join(missing)}")
    item.stash[SETUP] = prepare_setup(item, item.config.stash[SESSION])


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run the scenario's body, wind down, judge, and let the verdict be the outcome."""
    setup = pyfuncitem.stash.get(SETUP, None)
    if setup is None or setup.trial is None:
        return (yield)
    error: BaseException | None = None
    try:
        yield
    except pytest.skip.Exception:
        discard(setup)
        raise
    except KeyboardInterrupt:
        conclude(pyfuncitem, setup, Inconclusive(["interrupted"]))
        raise
    except Exception as raised:
        error = raised
    record = conclude(pyfuncitem, setup, error)
    if as_expected(record):
        if record.known_bugs:
            conclude_expected(record)
        else:
            return True
    if record.verdict == "unknown":
        raise Inconclusive([record.reason]) from error
    if record.inputs.control:
        if died := unexpected_oracles(record):
            raise ExpectationFailed(died)
        raise AssertionError(
            "this control is blind: the swarm was broken and the check did not fail by "
            + ", ".join(record.must_break)
        )
    if error is not None:
        raise error
    if record.known_bugs and not as_expected(record):
        raise unexpected(record)
    raise ExpectationFailed([m for m in record.measures if m.ok is False])


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
    record = item.stash.get(RECORD, None)
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, (HarnessError, ExpectationFailed, BugGone, Inconclusive)):
        report.longrepr = str(error)
    if report.failed and not isinstance(error, pytest.xfail.Exception):
        expected = call.when == "call" and isinstance(error, ExpectationTimeout)
        trouble = isinstance(error, HarnessError) and not expected
        unknown = trouble or (record is not None and record.verdict == "unknown")
        report.user_properties.append(("outcome", "unknown" if unknown else "fail"))
    if record is not None and call.when == "call":
        report.user_properties.append(("verdict", record.verdict))
        report.user_properties.append(("trial", record.id))
        report.user_properties.append(("digest", record.digest))
        for taken in record.measures:
            report.user_properties.append((f"measure:{taken.name} [{taken.unit}]", taken.value))
    return report


def conclude(item: pytest.Item, setup: TrialSetup, error: BaseException | None) -> TrialRecord:
    """Wind the trial down, judge it and write its record."""
    assert setup.trial is not None
    if os.environ.get(HOLD_VARIABLE) == "1" and setup.lab is not None:
        from harness.guest.shell import hand_over  # seldom: a guest takes time to import it

        hand_over(setup.lab, setup.trial.folder)
    try:
        setup.wind_down()
    except (HarnessError, OSError) as trouble:
        setup.trial.doubt(f"the trial could not be wound down: {trouble}")
    threads, broken = expected_of(bugs_of(item), setup.trial.inputs.engine.version)
    record = setup.trial.finish(
        error,
        title=title_of(item),
        about=about_of(item),
        upstream=[thread for mark in item.iter_markers("upstream") for thread in mark.args],
        nodes=[place.name for place in setup.request.topology.places()],
        must_break=[*broken_by(item), *broken],
        known_bugs=threads,
    )
    item.stash[RECORD] = record
    return record


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
