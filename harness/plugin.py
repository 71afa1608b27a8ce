"""The pytest plugin: collect scenarios, multiply them, run each as a trial, judge it, report.

A scenario is a test that uses the fixture ``trial`` or one that stands on it. Its outcome comes
from the trial's verdict, so a fault without evidence cannot pass, and a broken bound does not
keep the other measures from being taken.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from _pytest.junitxml import LogXML

from harness import __version__
from harness.errors import (
    EXIT_INTERRUPTED,
    EXIT_TROUBLE,
    EXIT_USAGE,
    HarnessError,
    MissingError,
    UsageError,
)
from harness.fixtures import (
    SCENE,
    Point,
    Scene,
    Shelf,
    faults,
    lab,
    leadership,
    load,
    measure,
    point,
    swarm,
    trial,
)
from harness.frozen.prompt import HOLD_VARIABLE, hand_over
from harness.images import Cache
from harness.lab import Topology, probe_features
from harness.options import Options, declare, read
from harness.outer import (
    REPORTS,
    Assignment,
    Guests,
    ReportLog,
    console_line,
    run_in_guest,
    unknown_report,
)
from harness.progress import Progress, terminal_line
from harness.results import RunWriter
from harness.trial import (
    ExpectationFailed,
    Inconclusive,
    TrialInputs,
    TrialRecord,
    as_expected,
)

__all__ = ["faults", "lab", "leadership", "load", "measure", "point", "swarm", "trial"]

RECORD = pytest.StashKey[TrialRecord]()
SESSION = pytest.StashKey["Session"]()
SHARED_RUN = "swarm_chaos_run"
JUNIT = "swarm-chaos-junit"
QEMU = "qemu-system-x86_64"

MARKERS = (
    "swarm(managers=1, workers=0, spares=0): the topology a scenario asks for",
    "upstream(*threads): the upstream issues it is about, like moby/moby#32841",
    "control(*measures): a swarm broken on purpose; the check must fail by these measures",
    "deadline(seconds): how long a trial may take on its own clock (default: 900 s)",
    "needs(*features): what the kernel must have (netem, ip_vs, ...), else it is skipped",
)


class Session:
    """What all scenarios of a pytest session share."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.options = options
        inside = options.into is not None
        self.progress = Progress(console_line if inside else terminal_line(config))
        cache = Cache()
        say = self.progress.say
        self.shelf = Shelf(cache, say)
        self.guests = Guests(cache, say, config.rootpath, options.kernel, options.clock)
        self.run: RunWriter | None = None
        self.interrupted = False
        self._config = config

    def new_folder(self, inputs: TrialInputs) -> Path:
        """A folder for a trial: in this session's run, which begins with its first trial."""
        if self.options.into is not None:
            return self.options.into
        return self.begin().trial_folder(inputs)

    def begin(self) -> RunWriter:
        """The session's run, begun if it is not yet."""
        if self.run is None:
            shared = worker_input(self._config).get(SHARED_RUN)
            if shared is not None:
                self.run = RunWriter.join(Path(shared))
                return self.run
            self.run = RunWriter.create(
                self.options.reports,
                command=["pytest", *map(str, self._config.invocation_params.args)],
                harness=__version__,
            )
            write_junit(self._config, self.run.folder / "junit.xml")
        return self.run

    def end(self) -> None:
        """Write the run's page; a run that has come to no trial is taken back.

        (pytest-xdist wants to know of a run before it is known whether there are scenarios.)
        """
        if self.run is None or SHARED_RUN in worker_input(self._config):
            return
        if self.run.record.trials:
            self.progress.page(self.run.folder)
            return
        self._config.pluginmanager.unregister(name=JUNIT)
        self.run.take_back()
        self.run = None

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember that it was the person at the keyboard who ended it."""
        self.interrupted = excinfo.errisinstance(KeyboardInterrupt)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """List in the run what a worker of pytest-xdist has made for it."""
        for name, value in report.user_properties:
            if name == "trial" and self.run is not None:
                self.run.add(str(value))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the harness's options."""
    declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register markers; refuse options that cannot be meant before anything is touched."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    try:
        options = read(config)
        refuse_debugger(config, options)
    except UsageError as error:
        pytest.exit(str(error), returncode=EXIT_USAGE)
    config.stash[SESSION] = Session(config, options)
    config.pluginmanager.register(config.stash[SESSION], "swarm-chaos-session")
    if options.into is not None:
        log = ReportLog(config, options.into.with_name(REPORTS))
        config.pluginmanager.register(log, "swarm-chaos-report-log")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiply scenarios by engines and seeds."""
    if "point" in metafunc.fixturenames:
        options = metafunc.config.stash[SESSION].options
        points = [Point(engine, seed) for seed in options.seeds for engine in options.engines]
        metafunc.parametrize("point", points, ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave controls out unless they are asked for."""
    if config.stash[SESSION].options.controls:
        return
    controls = [item for item in items if item.get_closest_marker("control")]
    if controls:
        config.hook.pytest_deselected(items=controls)
        items[:] = [item for item in items if item not in controls]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse scenarios that this user can run in no lab: skipped, they would look green."""
    chosen = chosen_lab(session.config.stash[SESSION].options)
    if chosen != "namespaces" or os.geteuid() == 0 or session.config.option.collectonly:
        return
    if any(is_scenario(item) for item in session.items):
        missing = MissingError(
            "the namespaces lab needs root",
            hint=f"run as root, or take --lab microvm, which needs none (and {QEMU})",
        )
        pytest.exit(str(missing), returncode=missing.exit_code)


def refuse_debugger(config: pytest.Config, options: Options) -> None:
    """A debugger needs a keyboard, and nothing asynchronous enters a guest."""
    if chosen_lab(options) == "microvm" and config.getoption("usepdb"):
        raise UsageError(
            "a debugger cannot reach into a guest",
            hint="look around with `swarm-chaos shell`, or take --lab namespaces",
        )


def worker_input(config: pytest.Config) -> dict[str, Any]:
    """What the controller has told this process, if it is a worker of pytest-xdist."""
    told: dict[str, Any] = getattr(config, "workerinput", {})
    return told


def write_junit(config: pytest.Config, path: Path) -> None:
    """Have pytest write its JUnit XML beside the run's page, whatever else was asked for."""
    junit = LogXML(str(path), None, suite_name="swarm-chaos")
    junit.pytest_sessionstart()
    config.pluginmanager.register(junit, JUNIT)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker of pytest-xdist the run that all of them write to."""
    node.workerinput[SHARED_RUN] = str(node.config.stash[SESSION].begin().folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """``-n auto``: as many guests as the pool has CPUs for; nodes on this kernel share it."""
    session = config.stash.get(SESSION, None)
    if session is None or not any("scenarios" in str(arg) for arg in config.args):
        return None
    return session.guests.pool().slots if chosen_lab(session.options) == "microvm" else 1


def is_scenario(item: pytest.Item) -> bool:
    """Whether a test makes a trial."""
    return "point" in getattr(item, "fixturenames", ())


# -- one trial -----------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> object:
    """Send a scenario into a guest, if that is the lab; its reports are this item's."""
    session = item.config.stash[SESSION]
    if not is_scenario(item) or chosen_lab(session.options) != "microvm":
        return None
    callspec: Any = item.callspec  # type: ignore[attr-defined]
    point: Point = callspec.params["point"]
    assignment = Assignment(
        item,
        scenario=scenario_id(item),
        engine=point.engine,
        seed=point.seed,
        topology=topology_of(item, session.options),
        control=item.get_closest_marker("control") is not None,
        topology_given=session.options.topology is not None,
    )
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    try:
        for report in run_in_guest(
            assignment, session.guests, session.begin(), session.progress.say
        ):
            item.ihook.pytest_runtest_logreport(report=report)
    except HarnessError as error:
        item.ihook.pytest_runtest_logreport(report=unknown_report(item, "", str(error)))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


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
    callspec: Any = item.callspec  # type: ignore[attr-defined]
    item.stash[SCENE] = Scene(
        point=callspec.params["point"],
        shelf=session.shelf,
        topology=topology_of(item, session.options),
        lab_name=lab_name,
        attach=session.options.attach,
        scenario=scenario_id(item),
        control=item.get_closest_marker("control") is not None,
        options={},
        clock=os.environ.get("SWARM_CHAOS_CLOCK", "real"),
        new_folder=session.new_folder,
        watch=session.progress.watch,
    )


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
            conclude(item, scene, call.excinfo.value)
    record = item.stash.get(RECORD, None)
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, (HarnessError, ExpectationFailed, Inconclusive)):
        report.longrepr = str(error)
    if report.failed:
        trouble = isinstance(error, HarnessError)
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
    marks = [name for mark in item.iter_markers("control") for name in mark.args]
    record = scene.trial.finish(
        error,
        title=title_of(item),
        upstream=[thread for mark in item.iter_markers("upstream") for thread in mark.args],
        nodes=[place.name for place in scene.topology.places()],
        must_break=marks,
    )
    item.stash[RECORD] = record
    return record


def discard(item: pytest.Item, scene: Scene) -> None:
    """End the trial of a scenario that skipped itself: healed, and without a record."""
    assert scene.trial is not None
    with suppress(HarnessError, OSError):
        scene.wind_down()
    scene.trial.journal.close()
    run = item.config.stash[SESSION].run
    if run is not None:
        run.drop(scene.trial.folder.name)


def scenario_id(item: pytest.Item) -> str:
    """A scenario's node id without engine and seed: they are inputs of their own."""
    callspec: Any = getattr(item, "callspec", None)
    if callspec is None:
        return item.nodeid
    inner = f"{callspec.params['point']}"
    return re.sub(rf"(\[|-){re.escape(inner)}(\]|-)", _join, item.nodeid).removesuffix("[]")


def _join(match: re.Match[str]) -> str:
    """What is left between other parameters when one is cut out of the brackets."""
    return "-" if match.groups() == ("-", "-") else match[1].strip("-") + match[2].strip("-")


def title_of(item: pytest.Item) -> str:
    """The first line of the scenario's docstring."""
    doc = getattr(getattr(item, "function", None), "__doc__", None) or ""
    return next((line.strip() for line in doc.splitlines() if line.strip()), "")


def topology_of(item: pytest.Item, options: Options) -> Topology:
    """The topology asked for on the command line, else by the scenario's marker."""
    if options.topology is not None:
        return options.topology
    mark = item.get_closest_marker("swarm")
    return Topology(**mark.kwargs) if mark else Topology()


def chosen_lab(options: Options) -> str:
    """The lab that is asked for, or that ``auto`` means here: microvm where QEMU is."""
    if options.lab != "auto":
        return options.lab
    return "microvm" if shutil.which(QEMU) else "namespaces"


# -- the session's end ---------------------------------------------------------------------------


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Unknown is a status of its own: neither passed nor failed."""
    if report.failed and ("outcome", "unknown") in getattr(report, "user_properties", ()):
        return "unknown", "U", ("UNKNOWN", {"yellow": True})
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured, and where the page is."""
    session = terminalreporter.config.stash.get(SESSION, None)
    for report in terminalreporter.getreports("unknown"):
        terminalreporter.write_line(f"UNKNOWN {report.nodeid}: {report.longrepr}", yellow=True)
    if session is not None and session.run is not None:
        session.progress.summary(session.run.folder, terminalreporter)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the page, and tell "failed" from "unknown" by the exit code."""
    ours = session.config.stash.get(SESSION, None)
    if ours is None:
        return
    ours.end()
    if ours.interrupted:
        session.exitstatus = EXIT_INTERRUPTED
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or exitstatus not in (0, 1):
        return
    stats = reporter.stats
    if stats.get("unknown") and not stats.get("failed") and not stats.get("error"):
        session.exitstatus = EXIT_TROUBLE
