"""One trial: sent where it runs, its scene set, its body run, wound down, judged, reported."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import suppress

import pytest

from harness.errors import ExpectationTimeout, HarnessError
from harness.guest.shell import HOLD_VARIABLE, hand_over
from harness.lab import probe_features
from harness.pytest_plugin.expectations import broken_by
from harness.pytest_plugin.fixtures import SCENE, Scene
from harness.pytest_plugin.known_bugs import (
    BugGone,
    bugs_of,
    conclude_expected,
    expected_of,
    unexpected,
)
from harness.pytest_plugin.markers import (
    about_of,
    chosen_lab,
    is_scenario,
    other_engines_of,
    point_of,
    scenario_id,
    title_of,
    topology_of,
)
from harness.pytest_plugin.session import SESSION, Session
from harness.trial import ExpectationFailed, Inconclusive, TrialRecord, as_expected

RECORD = pytest.StashKey[TrialRecord]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    """Send a scenario into a guest, if that is the lab; its reports are this item's."""
    session = item.config.stash[SESSION]
    if not is_scenario(item) or chosen_lab(session.options) != "microvm":
        return None
    if item.get_closest_marker("skip"):  # pytest says so itself, and no guest is needed
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    _run_in_guest(item, session)
    # Nothing was set up for it here, but what the item before it has left to it must go.
    call = pytest.CallInfo.from_call(
        lambda: item.session._setupstate.teardown_exact(nextitem),
        when="teardown",
        reraise=(KeyboardInterrupt, pytest.exit.Exception),
    )
    if call.excinfo is not None:
        item.ihook.pytest_runtest_logreport(
            report=item.ihook.pytest_runtest_makereport(item=item, call=call)
        )
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _run_in_guest(item: pytest.Item, session: Session) -> None:
    """Send a scenario into a guest, and report what comes home."""
    from harness.pytest_plugin.guest_runner import (  # as Session.guests does
        Assignment,
        run_in_guest,
        unknown_report,
    )

    point = point_of(item)
    others = other_engines_of(item, point.engine) or ()
    assignment = Assignment(
        item,
        scenario=scenario_id(item),
        engine=point.engine,
        seed=point.seed,
        topology=topology_of(item, session.options),
        control=item.get_closest_marker("control") is not None,
        topology_given=session.options.topology is not None,
        options=options_of(others, session.options.cpus),
        others=others,
    )
    try:
        for report in run_in_guest(
            assignment, session.guests, session.begin(), session.progress.say
        ):
            item.ihook.pytest_runtest_logreport(report=report)
    except HarnessError as error:
        item.ihook.pytest_runtest_logreport(report=unknown_report(item, "", str(error)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set the scene before the fixtures come; skip what this machine cannot serve."""
    if not is_scenario(item):
        return
    session = item.config.stash[SESSION]
    lab_name = os.environ.get("SWARM_CHAOS_LAB", "namespaces")
    needed = [name for mark in item.iter_markers("needs") for name in mark.args]
    features = probe_features()
    if missing := [name for name in needed if not features.has(name)]:
        pytest.skip(f"this kernel has no {', '.join(missing)}")
    point = point_of(item)
    others = other_engines_of(item, point.engine) or ()
    item.stash[SCENE] = Scene(
        point=point,
        engine_store=session.engine_store,
        topology=topology_of(item, session.options),
        lab_name=lab_name,
        attach=session.options.attach,
        scenario=scenario_id(item),
        control=item.get_closest_marker("control") is not None,
        options=options_of(others, session.options.cpus),
        others=others,
        clock=os.environ.get("SWARM_CHAOS_CLOCK", "real"),
        new_folder=session.new_folder,
        watch=session.progress.watch,
    )


def options_of(others: tuple[str, ...], cpus: int | None) -> dict[str, str]:
    """What a trial's record says of its scenario's choices, and of CPUs that were asked for."""
    options = {"other_engines": " ".join(others)} if others else {}
    return options if cpus is None else {**options, "cpus": str(cpus)}


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run the scenario's body, wind down, judge, and let the verdict be the outcome."""
    scene = pyfuncitem.stash.get(SCENE, None)
    if scene is None or scene.trial is None:
        return (yield)
    error: BaseException | None = None
    try:
        yield
    except pytest.skip.Exception:
        discard(pyfuncitem, scene)
        raise
    except KeyboardInterrupt:
        conclude(pyfuncitem, scene, Inconclusive(["interrupted"]))
        raise
    except Exception as raised:
        error = raised
    record = conclude(pyfuncitem, scene, error)
    if as_expected(record):
        if record.known_bugs:
            conclude_expected(record)
        else:
            return True
    if record.verdict == "unknown":
        raise Inconclusive([record.reason]) from error
    if record.inputs.control:
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
    scene = item.stash.get(SCENE, None)
    if scene is None:
        return report
    if call.when == "setup" and call.excinfo is not None and scene.trial is not None:
        if call.excinfo.errisinstance(pytest.skip.Exception):
            discard(item, scene)
        else:
            conclude(item, scene, in_set_up(call.excinfo.value))
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


def conclude(item: pytest.Item, scene: Scene, error: BaseException | None) -> TrialRecord:
    """Wind the trial down, judge it and write its record."""
    assert scene.trial is not None
    if os.environ.get(HOLD_VARIABLE) == "1" and scene.lab is not None:
        hand_over(scene.lab, scene.trial.folder)
    try:
        scene.wind_down()
    except (HarnessError, OSError) as trouble:
        scene.trial.doubt(f"the trial could not be wound down: {trouble}")
    threads, broken = expected_of(bugs_of(item), scene.trial.inputs.engine.version)
    record = scene.trial.finish(
        error,
        title=title_of(item),
        about=about_of(item),
        upstream=[thread for mark in item.iter_markers("upstream") for thread in mark.args],
        nodes=[place.name for place in scene.topology.places()],
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


def discard(item: pytest.Item, scene: Scene) -> None:
    """End the trial of a scenario that skipped itself: healed, and without a record."""
    assert scene.trial is not None
    with suppress(HarnessError, OSError):
        scene.wind_down()
    scene.trial.journal.close()
    run = item.config.stash[SESSION].run
    if run is not None:
        run.drop(scene.trial.folder.name)
